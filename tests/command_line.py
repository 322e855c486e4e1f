"""Runs the command line in this process, for tests, and tells what it printed."""

import json
from dataclasses import dataclass
from typing import Any

import pytest

from caxton_node.cli.main import main


@dataclass(frozen=True)
class Ran:
    """What a run left behind."""

    code: int
    out: str
    err: str

    @property
    def documents(self) -> list[Any]:
        """What `--output json` printed."""
        return [json.loads(line) for line in self.out.splitlines()]


class CommandLine:
    """The program `caxton`, talking to one server."""

    def __init__(self, capsys: pytest.CaptureFixture[str], server: str) -> None:
        self._capsys = capsys
        self._server = server

    def __call__(self, *arguments: str) -> Ran:
        self._capsys.readouterr()
        code = main(["--server", self._server, *arguments])
        return Ran(code, *self._capsys.readouterr())
