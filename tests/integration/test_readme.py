"""The README's walk-through, command by command, as a reader would type it."""

import os
import re
import shlex
import socket
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent
README = (ROOT / "README.md").read_text()
COMMAND_TIMEOUT_S = 60


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def commands() -> list[tuple[str, list[str]]]:
    """Return each command with the lines of output that the README shows."""
    found: list[tuple[str, list[str]]] = []
    for block in re.findall(r"```console\n(.*?)```", README, re.DOTALL):
        for line in block.splitlines():
            if line.startswith("$ "):
                found.append((line[2:], []))
            elif line.strip():
                found[-1][1].append(line)
    return found


@pytest.mark.timeout(180)
def test_the_walk_through_works(tmp_path):
    port = free_port()
    environment = {
        name: value for name, value in os.environ.items() if not name.startswith("CAXTON_")
    } | {
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "HOME": str(tmp_path),
        "XDG_DATA_HOME": str(tmp_path / "share"),
        # The reader's node has port 8080; a test takes one that is free.
        "CAXTON_HTTP__BIND": f"127.0.0.1:{port}",
        "CAXTON_GRPC__BIND": "127.0.0.1:0",
        "CAXTON_SERVER": f"http://127.0.0.1:{port}",
    }
    agent = re.search(r"```toml\n(# greeter.toml\n.*?)```", README, re.DOTALL)
    assert agent is not None
    (tmp_path / "greeter.toml").write_text(agent[1])

    def run(command: str) -> str:
        done = subprocess.run(
            shlex.split(command),
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
            timeout=COMMAND_TIMEOUT_S,
            check=False,
        )
        assert done.returncode == 0, f"$ {command}\n{done.stdout}{done.stderr}"
        return done.stdout

    walked = commands()
    assert len(walked) >= 12
    try:
        for command, shown in walked:
            said = run(command).replace(str(port), "8080")
            for line in shown:
                assert line in said, f"$ {command}\nshows no {line!r} but\n{said}"
    finally:
        subprocess.run(
            ["caxton", "server", "stop"],
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            timeout=60,
            check=False,
        )


def test_make_knows_the_two_commands():
    makefile = (ROOT / "Makefile").read_text()
    for target in re.findall(r"^make (\w+)", README, re.MULTILINE):
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), target
