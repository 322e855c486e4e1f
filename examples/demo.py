"""A node, three agents and real questions, in half a minute: what `make demo` runs.

It makes a CSV file of sales, serves it on loopback, starts a node of its own on free ports with a
data directory of its own, deploys agents, asks them, compares the answer with figures computed
here from the same file, restarts the node to see that an agent still knows what it was told, and
stops everything again. Every command it runs is printed, so that you can type it yourself.
Nothing leaves this machine and no API key is needed.
"""

import csv
import functools
import http.server
import io
import math
import os
import random
import re
import shlex
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.request import urlopen

HERE = Path(__file__).parent
ROWS = 1_200
START_TIMEOUT_S = 30.0
COMMAND_TIMEOUT_S = 60.0
TOWN = "Reykjavik"
REGIONS = ("north", "south", "east", "west")
PRODUCTS = {"anvil": 49.9, "rocket": 1250.0, "magnet": 12.5, "paint": 7.25}


def sales_csv(seed: int = 2026) -> str:
    """Return a year of invented sales, the same every time."""
    dice = random.Random(seed)
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["date", "region", "product", "units", "revenue"])
    for _ in range(ROWS):
        product = dice.choice(sorted(PRODUCTS))
        units = dice.randint(1, 40)
        revenue = round(units * PRODUCTS[product] * dice.uniform(0.85, 1.1), 2)
        day = f"2025-{dice.randint(1, 12):02}-{dice.randint(1, 28):02}"
        writer.writerow([day, dice.choice(REGIONS), product, units, revenue])
    return text.getvalue()


def figures(text: str) -> dict[str, float]:
    """Compute from the file itself what the agent is expected to find."""
    rows = list(csv.DictReader(io.StringIO(text)))
    revenue = [float(row["revenue"]) for row in rows]
    return {
        "count": len(rows),
        "sum": math.fsum(revenue),
        "mean": statistics.fmean(revenue),
        "median": statistics.median(revenue),
        "min": min(revenue),
        "max": max(revenue),
    }


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class says so
        pass


@contextmanager
def web_server(folder: Path) -> Iterator[int]:
    """Serve a folder on loopback; yield the port."""
    handler = functools.partial(_Quiet, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield server.server_address[1]
        finally:
            server.shutdown()
            thread.join(5)


def free_port() -> int:
    """Return a port on loopback that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@contextmanager
def node(folder: Path, http_port: int, csv_port: int) -> Iterator[None]:
    """Run `caxton-node` with a data directory below `folder`."""
    config = folder / "caxton.toml"
    config.write_text(
        "# http_client reaches public hosts only, unless the operator allows others by name.\n"
        f'[tools]\nallowed_private_hosts = ["127.0.0.1:{csv_port}"]\n'
    )
    command = [
        program("caxton-node"),
        *("--config", str(config)),
        *("--data-dir", str(folder / "data")),
        *("--http", f"127.0.0.1:{http_port}"),
        *("--grpc", "127.0.0.1:0"),
    ]
    show(command)
    log = (folder / "node.log").open("w")
    process = subprocess.Popen(command, stdout=log, stderr=log)
    try:
        wait_until_ready(process, http_port, folder / "node.log")
        yield
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(15)
        except subprocess.TimeoutExpired:
            process.kill()
        log.close()


def wait_until_ready(process: subprocess.Popen[bytes], port: int, log: Path) -> None:
    """Return once the node answers; give up after `START_TIMEOUT_S`."""
    deadline = time.monotonic() + START_TIMEOUT_S
    while time.monotonic() < deadline:
        if process.poll() is not None:
            sys.exit(f"the node ended with {process.returncode}:\n{log.read_text()}")
        try:
            with urlopen(f"http://127.0.0.1:{port}/health", timeout=1) as response:
                if response.status == 200:
                    return
        except OSError:
            time.sleep(0.05)
    sys.exit(f"the node did not answer within {START_TIMEOUT_S:g} s:\n{log.read_text()}")


def program(name: str) -> str:
    """Return the path of a program installed beside this Python."""
    return str(Path(sys.executable).with_name(name))


def show(command: list[str]) -> None:
    """Print a command as one would type it."""
    words = [Path(command[0]).name, *(word.replace(f"{HERE.parent}/", "") for word in command[1:])]
    print(
        f"\n\033[1m$ {shlex.join(words)}\033[0m"
        if sys.stdout.isatty()
        else f"\n$ {shlex.join(words)}"
    )


def caxton(*arguments: str) -> str:
    """Run the command line, print what it says, and return it."""
    command = [program("caxton"), *arguments]
    show(command)
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=COMMAND_TIMEOUT_S, check=False
    )
    print(done.stdout, end="", flush=True)
    if done.returncode != 0:
        sys.exit(f"{shlex.join(command)} ended with {done.returncode}:\n{done.stderr}")
    return done.stdout


def compare(answer: str, column: str, expected: dict[str, float]) -> None:
    """Fail unless the answer's line on a column holds the figures computed here."""
    line = next((line for line in answer.splitlines() if f"- {column}: " in line), "")
    found = {name: float(value) for name, value in re.findall(r"(\w+) (-?[0-9][0-9.]*)", line)}
    for name, value in expected.items():
        if not math.isclose(found.get(name, math.nan), value, rel_tol=1e-6):
            sys.exit(f"{name} of {column} is {found.get(name)} in the answer, {value} in the file")
    print(f"\n✓ {', '.join(expected)} of {column} agree with figures computed from the file itself")


def main() -> None:
    """Run the demonstration."""
    with tempfile.TemporaryDirectory(prefix="caxton-demo-") as name, web_server(Path(name)) as web:
        folder = Path(name)
        text = sales_csv()
        (folder / "sales.csv").write_text(text)
        port = free_port()
        with node(folder, port, web):
            os.environ["CAXTON_SERVER"] = f"http://127.0.0.1:{port}"
            caxton("deploy", str(HERE / "agents" / "data-analyzer.toml"))
            caxton("deploy", str(HERE / "agents" / "report-writer.md"))
            url = f"http://127.0.0.1:{web}/sales.csv"
            answer = caxton("chat", "DataAnalyzer", f"Analyze the sales data at {url}")
            compare(answer, "revenue", figures(text))
            ask_by_capability()
            caxton("deploy", str(HERE / "agents" / "note-keeper.toml"))
            caxton("chat", "NoteKeeper", f"The staging server is in {TOWN}.")
            caxton("status")
        print("\nThe node was stopped; it is started again, a new process on the same data.")
        with node(folder, port, web):
            recall_after_restart()
        print("\n✓ done; everything was stopped and removed again")


def recall_after_restart() -> None:
    """Ask in another conversation what was said before the node was stopped."""
    answer = caxton("chat", "NoteKeeper", "Where is our staging server?")
    if TOWN not in answer:
        sys.exit("what was said before the restart is forgotten")
    caxton("memory", "search", "--agent", "NoteKeeper", "which town hosts the test system?")


def ask_by_capability() -> None:
    """Ask whoever offers `report-writing`, without knowing who that is."""
    answer = caxton(
        *("message", "send", "--capability", "report-writing", "--wait", "30s"),
        'Count the words in "nobody knows who answers, and it does not matter"',
    )
    if "9" not in answer:
        sys.exit("nine words were to be counted")


if __name__ == "__main__":
    main()
