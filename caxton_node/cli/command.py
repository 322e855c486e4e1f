"""Commands and groups of commands as this program has them.

Three things that click does not do by itself: the shared options stand before or after any
command's name; a mistyped command gets *Did you mean*; and the groups at the top know their
commands by name only, and import one when it is called.
"""

import importlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import click
from click.core import ParameterSource

from caxton_node.cli.session import FORMS, Session
from caxton_node.documents.nearest import nearest
from caxton_node.domain.quantities import parse_duration_s

__all__ = ["Command", "Group", "Later", "LazyGroup", "duration", "shared_options"]

SHARED: Final = frozenset({"server", "output", "quiet", "no_color", "timeout"})


def duration(text: str) -> float:
    """Return the seconds that a time on the command line spells: `30s`, `2m`, plain seconds.

    Raises:
        click.BadParameter: It spells none, or none at all.
    """
    duration_s = parse_duration_s(text)
    if not duration_s:
        raise click.BadParameter(f"{text!r} is no time. Write 30s, 2m or plain seconds.")
    return duration_s


def _remember(ctx: click.Context, param: click.Parameter, value: Any) -> None:
    """Note a shared option that was given here. An outer one stands where this is silent."""
    if ctx.resilient_parsing or param.name is None:
        return
    if ctx.get_parameter_source(param.name) is not ParameterSource.COMMANDLINE:
        return
    session = ctx.find_object(Session)
    assert session is not None, "main() hands the session to the outermost context"
    match param.name:
        case "server":
            session.server, session.is_server_chosen = value, True
        case "output":
            session.form = value
        case "quiet":
            session.is_quiet = True
        case "no_color":
            session.wants_color = False
        case "timeout":
            session.timeout_s = value
        case unknown:
            raise AssertionError(f"{unknown} is no shared option")


def shared_options() -> list[click.Parameter]:
    """Return the options that every command has."""
    return [
        click.Option(
            ["--server"],
            metavar="URL",
            help="The server's address, or CAXTON_SERVER. [default: http://127.0.0.1:8080]",
            expose_value=False,
            callback=_remember,
        ),
        click.Option(
            ["--output"],
            type=click.Choice(FORMS),
            help="Text for people, or the API's documents, one a line.",
            expose_value=False,
            callback=_remember,
        ),
        click.Option(
            ["--quiet"],
            is_flag=True,
            help="Leave out what merely confirms.",
            expose_value=False,
            callback=_remember,
        ),
        click.Option(
            ["--no-color"],
            is_flag=True,
            help="No colors, as with NO_COLOR.",
            expose_value=False,
            callback=_remember,
        ),
        click.Option(
            ["--timeout"],
            type=duration,
            help="How long to wait for an answer, such as 30s or 2m.",
            expose_value=False,
            callback=_remember,
        ),
    ]


class Command(click.Command):
    """A command with the shared options, shown apart from its own."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.params = [*self.params, *shared_options()]

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the command's own options, then the shared ones."""
        _write_options(self, ctx, formatter)


class Group(click.Group):
    """Commands under one name, with the shared options and *Did you mean*."""

    command_class = Command
    group_class = type
    """Groups within a group are of its class."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.params = [*self.params, *shared_options()]

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command that the first argument names.

        Raises:
            click.UsageError: There is none, with the nearest name.
        """
        name = args[0]
        if self.get_command(ctx, name) is None and not ctx.resilient_parsing:
            near = nearest(name, self.list_commands(ctx))
            advice = f" Did you mean {near!r}?" if near else ""
            raise click.UsageError(f"{ctx.command_path} has no command {name!r}.{advice}", ctx)
        return super().resolve_command(ctx, args)

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the command's own options, then the shared ones."""
        _write_options(self, ctx, formatter)
        self.format_commands(ctx, formatter)


@dataclass(frozen=True, slots=True)
class Later:
    """A command that is imported when it is called."""

    module: str
    attribute: str
    summary: str
    """Its line in the help of the group: the first sentence of its docstring."""


class LazyGroup(Group):
    """A group that knows its commands by name and imports the one that is called."""

    def __init__(
        self,
        *args: Any,
        later: Mapping[str, Later],
        aliases: Mapping[str, str] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(*args, **kwargs)
        self._later = dict(later)
        self._aliases = dict(aliases or {})

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        """Return the names of the commands, in the order of the help."""
        return list(self._later)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002 - click's signature
        """Import a command, or return None for a name that is none."""
        later = self._later.get(self._aliases.get(cmd_name, cmd_name))
        if later is None:
            return None
        command = getattr(importlib.import_module(later.module), later.attribute)
        assert isinstance(command, click.Command), f"{later} names no command"
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002 - click's signature
        """Write the names and summaries, importing nothing."""
        rows = [(name, later.summary) for name, later in self._later.items()]
        with formatter.section("Commands"):
            formatter.write_dl(rows)


def _write_options(
    command: click.Command, ctx: click.Context, formatter: click.HelpFormatter
) -> None:
    own: list[tuple[str, str]] = []
    shared: list[tuple[str, str]] = []
    for param in command.get_params(ctx):
        # Arguments stand in the usage line and are told of in the text.
        record = param.get_help_record(ctx) if isinstance(param, click.Option) else None
        if record is not None:
            (shared if param.name in SHARED else own).append(record)
    for title, records in (("Options", own), ("Shared options", shared)):
        if records:
            with formatter.section(title):
                formatter.write_dl(records)
