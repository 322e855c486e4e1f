"""The reference page of both programs, written from their own tables of commands and options."""

import inspect
from collections.abc import Iterator
from typing import Final

import click

from caxton_node.cli.command import SHARED, shared_options
from caxton_node.cli.main import ALIASES, caxton
from caxton_node.cli.node import caxton_node
from caxton_node.domain.errors import ERRORS

__all__ = ["cli_page", "commands"]

_OPENING: Final = """\
# The programs

*Written by `docs/generate.py` from the programs themselves.*

`caxton` is the command line of a server; it uses the public API only. `caxton-node` is one node.

Answers go to standard output; progress, warnings and errors to standard error. With
`--output json` standard output carries the documents of the API and nothing else, one a line,
and an error is the API's problem document on standard error. Control characters in what agents
say are spelled out, never sent to the terminal.

## Shared options

Every command of `caxton` has these, before or after its name.
"""

_ENVIRONMENT: Final = """
## The environment

| variable | meaning |
|---|---|
| `CAXTON_SERVER` | the server's address, as with `--server` |
| `NO_COLOR` | any value: no colors |
| `CAXTON_DEBUG` | `1`: show a traceback beside an error |
| `XDG_STATE_HOME` | the history of `caxton chat` is kept in its folder `caxton` |

The variables of a node are in [settings](settings.md).

## Exit codes

| code | meaning | errors |
|---|---|---|
"""

_EXIT_CODES: Final = {
    0: "done",
    1: "failed; also an agent's refusal, and whatever `doctor` finds",
    2: "used wrongly, or the input must be mended",
    3: "not found",
    4: "unreachable",
    5: "denied",
    6: "conflict",
    7: "timed out",
    130: "interrupted by Ctrl-C",
}


def cli_page() -> str:
    """Return `docs/reference/cli.md`."""
    lines = [_OPENING, *_option_rows(shared_options()), _ENVIRONMENT.rstrip("\n")]
    for exit_code, meaning in _EXIT_CODES.items():
        codes = [f"`{code}`" for code, kind in ERRORS.items() if kind.exit_code == exit_code]
        lines.append(f"| {exit_code} | {meaning} | {', '.join(codes)} |")
    for path, command in commands(caxton, "caxton"):
        lines += _section(path, command)
    lines += _section("caxton-node", caxton_node)
    return "\n".join(lines) + "\n"


def commands(group: click.Group, path: str) -> Iterator[tuple[str, click.Command]]:
    """Yield each command below a group under its whole name; groups come before their own."""
    ctx = click.Context(group, info_name=path)
    for name in group.list_commands(ctx):
        command = group.get_command(ctx, name)
        assert command is not None, "a listed command exists"
        yield f"{path} {name}", command
        if isinstance(command, click.Group):
            yield from commands(command, f"{path} {name}")


def _section(path: str, command: click.Command) -> list[str]:
    help_text = inspect.cleandoc(command.help or "")
    lines = ["", f"## `{path}`", "", help_text]
    short = path.removeprefix("caxton ")
    aliases = [alias for alias, name in ALIASES.items() if name == short]
    if aliases:
        lines += ["", f"Also: {', '.join(f'`caxton {alias}`' for alias in aliases)}."]
    if isinstance(command, click.Group):
        return lines
    ctx = click.Context(command, info_name=path)
    words = [path, *(piece for piece in command.collect_usage_pieces(ctx))]
    lines += ["", "```", " ".join(words), "```"]
    own = [
        param
        for param in command.params
        if isinstance(param, click.Option) and param.name not in SHARED
    ]
    if own:
        lines += ["", *_option_rows(own)]
    return lines


def _option_rows(params: list[click.Parameter] | list[click.Option]) -> list[str]:
    rows = ["| option | meaning |", "|---|---|"]
    for param in params:
        record = param.get_help_record(click.Context(click.Command("caxton")))
        if record is not None:
            names, meaning = (text.replace("|", "\\|") for text in record)
            rows.append(f"| `{names}` | {meaning} |")
    return rows
