"""What all commands share: which server, what form of output, how long to wait."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import click

from caxton_node.cli.output import Output

__all__ = ["DEFAULT_SERVER", "FORMS", "Session", "pass_session", "session_from"]

DEFAULT_SERVER: Final = "http://127.0.0.1:8080"

FORMS: Final = ("human", "json")


@dataclass(slots=True)
class Session:
    """The shared options of one run. The command line fills it in while it is parsed."""

    server: str = DEFAULT_SERVER
    is_server_chosen: bool = False
    """The user named the server, by option or by environment."""
    form: str = "human"
    """One of `FORMS`."""
    is_quiet: bool = False
    wants_color: bool = True
    timeout_s: float | None = None
    """What the user said; None leaves it to the command."""
    is_debugging: bool = False
    """Show tracebacks."""

    @property
    def output(self) -> Output:
        """Where to print, as the options say by now."""
        return Output(
            is_json=self.form == "json", is_quiet=self.is_quiet, wants_color=self.wants_color
        )


pass_session = click.make_pass_decorator(Session)


def session_from(environment: Mapping[str, str]) -> Session:
    """Return a session as the environment has it, before any option is read."""
    server = environment.get("CAXTON_SERVER", "")
    return Session(
        server=server or DEFAULT_SERVER,
        is_server_chosen=bool(server),
        # https://no-color.org: any value but the empty one.
        wants_color=not environment.get("NO_COLOR") and environment.get("TERM") != "dumb",
        is_debugging=environment.get("CAXTON_DEBUG", "") not in {"", "0"},
    )
