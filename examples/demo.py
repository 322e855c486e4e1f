"""Three nodes, agents on them, a real question, and a node that is killed: what `make demo` runs.

It makes a CSV file of sales, serves it on loopback, and starts a cluster of three nodes on free
ports with data directories of their own. An agent is deployed on one node and asked from another;
the answer is compared with figures computed here from the same file. Then two thousand messages
go to an agent whose node is killed in the middle, and the books are balanced: nothing that was
accepted is lost. At last an agent on a node of its own is told something, that node is killed
too, and the agent is asked for it after the restart. Every command it runs is printed, so that
you can type it yourself. Nothing leaves this machine and no API key is needed.
"""

import csv
import functools
import http.server
import io
import math
import random
import re
import statistics
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import demo_ledger
from demo_nodes import Node, caxton, lone_node, three_nodes

HERE = Path(__file__).parent
ROWS = 1_200
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
        with three_nodes(folder, allowed_host=f"127.0.0.1:{web}") as (n1, n2, n3):
            deploy(n1, "data-analyzer.toml")
            deploy(n2, "report-writer.md")
            url = f"http://127.0.0.1:{web}/sales.csv"
            question = f"Analyze the sales data at {url}"
            answer = caxton("chat", "DataAnalyzer", question, url=n3.url)
            compare(answer, "revenue", figures(text))
            show_route(n3)
            ask_by_capability(n3)
            caxton("status", "--cluster", url=n3.url)
            deploy(n1, "note-keeper.toml")
            tell_and_recall(told=n3, asked=n2)
            deploy(n2, "factors.toml")
            print(f"\n{demo_ledger.MESSAGES:,} messages to Factors, which works on {n2.name} …")
            demo_ledger.run(n3.url, "Factors", kill=n2.kill)
            caxton("status", "--cluster", url=n1.url)
        with lone_node(folder, allowed_host=f"127.0.0.1:{web}") as alone:
            deploy(alone, "note-keeper.toml")
            tell_kill_and_recall(alone)
        print("\n✓ done; everything was stopped and removed again")


def deploy(node: Node, file: str) -> None:
    """Deploy an agent on a node."""
    caxton("deploy", str(HERE / "agents" / file), "--node", node.name, url=node.url)


def show_route(node: Node) -> None:
    """Print which way the last question took, as the node where it was asked tells it."""
    listed = demo_ledger.call(f"{node.url}/api/v1/messages?limit=20")["items"]
    answered = next(
        one["message"]["in_reply_to"] for one in listed if one["message"]["in_reply_to"]
    )
    caxton("message", "trace", answered, url=node.url)


def tell_and_recall(*, told: Node, asked: Node) -> None:
    """Tell an agent something through one node, and ask for it through another, later."""
    caxton("chat", "NoteKeeper", f"The staging server is in {TOWN}.", url=told.url)
    answer = caxton("chat", "NoteKeeper", "Where is our staging server?", url=asked.url)
    if TOWN not in answer:
        sys.exit("what was said in another conversation is forgotten")


def tell_kill_and_recall(node: Node) -> None:
    """Tell an agent something, kill its node, and ask for it after the restart."""
    caxton("chat", "NoteKeeper", f"The staging server is in {TOWN}.", url=node.url)
    node.kill()
    node.start()
    node.wait_until_ready()
    answer = caxton("chat", "NoteKeeper", "Where is our staging server?", url=node.url)
    if TOWN not in answer:
        sys.exit("what was said before the restart is forgotten")


def ask_by_capability(node: Node) -> None:
    """Ask whoever offers `report-writing`, without knowing who and where that is."""
    answer = caxton(
        *("message", "send", "--capability", "report-writing", "--wait", "30s"),
        'Count the words in "nobody knows who answers, and it does not matter"',
        url=node.url,
    )
    if "9" not in answer:
        sys.exit("nine words were to be counted")


if __name__ == "__main__":
    main()
