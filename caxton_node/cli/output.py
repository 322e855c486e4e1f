"""What the command line prints, and where.

Answers go to stdout; progress, warnings and failures to stderr, so that a pipe carries answers
only. With `--output json` stdout carries the API's own documents and nothing else, each on one
line; `--quiet` leaves out what merely confirms.

Tables and trees are drawn by rich, which takes a fifth of a second to import: only then.
"""

import json
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import click

from caxton_node.cli.printable import printable

__all__ = ["Branch", "Output"]

PIPE_WIDTH: Final = 100_000
"""Columns of what is not a terminal: a program wants its lines whole."""


@dataclass(frozen=True, slots=True)
class Branch:
    """A line of a tree, and what hangs from it."""

    text: str
    twigs: tuple["Branch", ...] = ()


class Output:
    """stdout and stderr, as the user wants them."""

    def __init__(self, *, is_json: bool, is_quiet: bool, wants_color: bool) -> None:
        self.is_json = is_json
        self._is_quiet = is_quiet
        self._wants_color = wants_color

    def document(self, document: Any) -> None:
        """Print a JSON document on one line."""
        click.echo(json.dumps(document, ensure_ascii=False, separators=(",", ":")))

    def problem(self, document: Any) -> None:
        """Print the JSON document of an error on one line of stderr."""
        click.echo(json.dumps(document, ensure_ascii=False, separators=(",", ":")), err=True)

    def line(self, text: str = "") -> None:
        """Print an answer."""
        if not self.is_json:
            click.echo(printable(text))

    def fragment(self, text: str) -> None:
        """Print a piece of an answer that comes piecemeal, at once."""
        click.echo(printable(text), nl=False)

    def done(self, text: str) -> None:
        """Confirm that something was done."""
        if not self.is_json and not self._is_quiet:
            self._marked("✓", "green", text)

    def check(self, *, is_good: bool, text: str) -> None:
        """Print a finding."""
        if not self.is_json:
            self._marked(*(("✓", "green") if is_good else ("✗", "red")), text)

    def note(self, text: str) -> None:
        """Say what is going on."""
        if not self.is_json and not self._is_quiet:
            click.echo(printable(text), err=True)

    def warn(self, lines: Sequence[str]) -> None:
        """Say what should be mended; the first line is the headline."""
        self._report("⚠", "yellow", lines)

    def fail(self, lines: Sequence[str]) -> None:
        """Say what went wrong; the first line is the headline."""
        self._report("✗", "red", lines)

    def table(self, columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
        """Print rows under the names of their columns."""
        from rich.table import Table
        from rich.text import Text

        table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
        for column in columns:
            table.add_column(column, overflow="fold")
        for row in rows:
            table.add_row(*(Text(_cell(value)) for value in row))
        self._draw(table)

    def facts(self, facts: Iterable[tuple[str, object]]) -> None:
        """Print names and values, the values in one column. What has no value is left out."""
        shown = [(name, _cell(value)) for name, value in facts if value not in (None, "", [])]
        width = max((len(name) for name, _ in shown), default=0)
        for name, value in shown:
            head, *rest = value.split("\n")
            self.line(f"{name:<{width}}  {head}".rstrip())
            for line in rest:
                self.line(f"{'':<{width}}  {line}".rstrip())

    def tree(self, root: Branch) -> None:
        """Print a tree."""
        from rich.text import Text
        from rich.tree import Tree

        def grow(tree: Tree, branch: Branch) -> Tree:
            for twig in branch.twigs:
                grow(tree.add(Text(printable(twig.text))), twig)
            return tree

        self._draw(grow(Tree(Text(printable(root.text))), root))

    def _draw(self, drawing: object) -> None:
        from rich.console import Console

        console = Console(
            file=sys.stdout,
            no_color=not self._colors(is_error=False),
            highlight=False,
            width=None if sys.stdout.isatty() else PIPE_WIDTH,
        )
        # Rich fills each line with blanks to the width of its column.
        with console.capture() as capture:
            console.print(drawing)
        for line in capture.get().splitlines():
            click.echo(line.rstrip())

    def _report(self, mark: str, color: str, lines: Sequence[str]) -> None:
        head, *rest = lines
        self._marked(mark, color, head, is_error=True)
        for line in rest:
            click.echo(printable(line), err=True)

    def _marked(self, mark: str, color: str, text: str, *, is_error: bool = False) -> None:
        shown = click.style(mark, fg=color) if self._colors(is_error=is_error) else mark
        click.echo(f"{shown} {printable(text)}", err=is_error)

    def _colors(self, *, is_error: bool) -> bool:
        return self._wants_color and (sys.stderr if is_error else sys.stdout).isatty()


def _cell(value: object) -> str:
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list | tuple):
        return ", ".join(printable(str(item)) for item in value) or "-"
    return printable(str(value))
