"""Does the wheel work where the checkout is not? `python installed_wheel.py WHEEL`.

Installs the wheel with its locked dependencies into a fresh environment in a temporary folder,
starts a node from there, deploys an agent, talks to it and stops the node. Every step has a
deadline; nothing is left behind. Exits 0 when all went well; otherwise says which step did not,
and shows what the node logged.
"""

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parents[2]
LOCK: Final = ROOT / "requirements" / "runtime.lock"
AGENT: Final = ROOT / "examples" / "agents" / "echo.toml"

INSTALL_TIMEOUT_S: Final = 600.0
COMMAND_TIMEOUT_S: Final = 60.0
START_TIMEOUT_S: Final = 30.0
STOP_TIMEOUT_S: Final = 30.0
_POLL_S: Final = 0.1


class SmokeFailed(Exception):
    """A step did not do what it should."""


def main(arguments: Sequence[str]) -> int:
    """Try the wheel and return the exit code."""
    if len(arguments) != 1:
        say("usage: installed_wheel.py WHEEL")
        return 2
    wheel = Path(arguments[0]).resolve()
    # Whoever ends this script early ends the node too: `finally` runs on the way out.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    with tempfile.TemporaryDirectory(prefix="caxton-smoke-") as folder:
        try:
            try_wheel(wheel, Path(folder))
        except SmokeFailed as error:
            say(f"FAILED: {error}")
            return 1
    say("the installed wheel works")
    return 0


def try_wheel(wheel: Path, folder: Path) -> None:
    """Install the wheel below `folder` and use it as a user would.

    Raises:
        SmokeFailed: A step did not do what it should.
    """
    programs = install(wheel, folder / "venv")
    caxton = str(programs / "caxton")
    version = wheel.name.split("-")[1]
    expect(run(folder, caxton, "version"), version)
    expect(run(folder, caxton, "--help"), "deploy")
    shutil.copy(AGENT, folder / AGENT.name)
    with running_node(folder, str(programs / "caxton-node")) as url:
        run(folder, caxton, "--server", url, "deploy", AGENT.name)
        expect(run(folder, caxton, "--server", url, "chat", "Echo", 'Echo "hello"'), "hello")


def install(wheel: Path, environment: Path) -> Path:
    """Make an environment with the wheel and its locked dependencies; return its programs."""
    folder = environment.parent
    run(folder, sys.executable, "-m", "venv", str(environment), timeout_s=INSTALL_TIMEOUT_S)
    python = environment / "bin" / "python"
    uv = shutil.which("uv") or shutil.which("uv", path=str(Path(sys.executable).parent))
    pip = (
        [uv, "pip", "install", "--quiet", "--python", str(python)]
        if uv
        else [
            str(python),
            "-m",
            "pip",
            "install",
            "--quiet",
            "--disable-pip-version-check",
        ]
    )
    run(folder, *pip, "--require-hashes", "-r", str(LOCK), timeout_s=INSTALL_TIMEOUT_S)
    run(folder, *pip, "--no-deps", str(wheel), timeout_s=INSTALL_TIMEOUT_S)
    return environment / "bin"


@contextlib.contextmanager
def running_node(folder: Path, program: str) -> Iterator[str]:
    """Run a node on free ports while the block runs, and give its address.

    Raises:
        SmokeFailed: It did not start or did not stop as it should, or the block failed.
    """
    listeners = run(folder, program, "--help")
    address = free_address()
    command = [program, "--http", address, "--data-dir", str(folder / "data")]
    for flag in ("--grpc", "--gossip"):
        if flag in listeners:
            command += [flag, free_address()]
    log = folder / "node.log"
    say("$ " + " ".join(command))
    with log.open("wb") as output:
        node = subprocess.Popen(
            command, cwd=folder, env=clean_environment(), stdout=output, stderr=subprocess.STDOUT
        )
    try:
        await_health(node, f"http://{address}/health")
        yield f"http://{address}"
        stop(node)
    except SmokeFailed:
        say(f"the node logged:\n{log.read_text(errors='replace')}")
        raise
    finally:
        if node.poll() is None:
            node.kill()
            node.wait(STOP_TIMEOUT_S)


def await_health(node: subprocess.Popen[bytes], url: str) -> None:
    """Return once the node says that it is healthy.

    Raises:
        SmokeFailed: It ended, or said nothing in time.
    """
    deadline = time.monotonic() + START_TIMEOUT_S
    while time.monotonic() < deadline:
        if node.poll() is not None:
            raise SmokeFailed(f"the node ended at once, with {node.returncode}")
        if is_healthy(url):
            say(f"{url} answers")
            return
        time.sleep(_POLL_S)
    raise SmokeFailed(f"{url} did not answer within {START_TIMEOUT_S:.0f} s")


def is_healthy(url: str) -> bool:
    """Ask once, past any proxy that the machine may have."""
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with direct.open(url, timeout=2) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


def stop(node: subprocess.Popen[bytes]) -> None:
    """Ask the node to drain and end.

    Raises:
        SmokeFailed: It ended badly or not in time.
    """
    node.send_signal(signal.SIGTERM)
    try:
        code = node.wait(STOP_TIMEOUT_S)
    except subprocess.TimeoutExpired:
        raise SmokeFailed(f"the node did not stop within {STOP_TIMEOUT_S:.0f} s") from None
    if code != 0:
        raise SmokeFailed(f"the node ended with {code} after SIGTERM")
    say("the node stopped")


def run(folder: Path, *command: str, timeout_s: float = COMMAND_TIMEOUT_S) -> str:
    """Run a command outside of the checkout and return its output.

    Raises:
        SmokeFailed: It failed, or took too long.
    """
    say("$ " + " ".join(command))
    try:
        outcome = subprocess.run(
            command,
            cwd=folder,
            env=clean_environment(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=timeout_s,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise SmokeFailed(f"{command[0]} took more than {timeout_s:.0f} s") from None
    except FileNotFoundError:
        raise SmokeFailed(f"{command[0]} does not exist") from None
    if outcome.returncode != 0:
        raise SmokeFailed(f"{command[0]} ended with {outcome.returncode}:\n{outcome.stdout}")
    return outcome.stdout


def expect(output: str, part: str) -> None:
    """Check that a command said what it should.

    Raises:
        SmokeFailed: It did not.
    """
    if part not in output:
        raise SmokeFailed(f"expected {part!r} in:\n{output}")


def clean_environment() -> dict[str, str]:
    """Return the environment without what would lead back to the checkout or to a real server."""
    return {
        name: value
        for name, value in os.environ.items()
        if name not in {"PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV"}
        and not name.startswith("CAXTON_")
    }


def free_address() -> str:
    """Return a loopback address that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return f"127.0.0.1:{probe.getsockname()[1]}"


def say(text: str) -> None:
    """Tell whoever reads the log of the run."""
    print(text, flush=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
