"""The first line must be there at once: what is imported for it is a promise."""

import subprocess
import sys

import pytest

HEAVY = {
    "aiohttp",
    "asyncio",
    "caxton_node.agentfile",
    "caxton_node.api",
    "caxton_node.config",
    "grpc",
    "http.client",
    "logging",
    "msgspec",
    "openai",
    "orjson",
    "pydantic",
    "readline",
    "rich",
    "ssl",
    "uvloop",
    "yaml",
}

PROBE = """
import sys
from caxton_node.cli.{program} import main
code = main(sys.argv[1:])
assert code == 0, code
print(*sorted(sys.modules), file=sys.stderr)
"""


def imported(program, *arguments):
    done = subprocess.run(
        [sys.executable, "-c", PROBE.format(program=program), *arguments],
        capture_output=True,
        text=True,
        timeout=30,
        check=True,
    )
    return set(done.stderr.split())


@pytest.mark.parametrize(
    ("program", "arguments"),
    [("main", []), ("main", ["--help"]), ("main", ["--version"]), ("node", ["--help"])],
)
def test_help_imports_nothing_heavy(program, arguments):
    assert imported(program, *arguments) & HEAVY == set()


@pytest.mark.parametrize("group", ["agent", "server", "message", "conversation", "doctor", "chat"])
def test_the_help_of_a_command_imports_no_server(group):
    heavy = HEAVY - {"http.client", "ssl", "logging"}
    assert imported("main", group, "--help") & heavy == set()
