"""Shows what went wrong, with the lines of the user's own files that it is about."""

from collections.abc import Iterable, Mapping
from typing import Any, Final

from caxton_node.cli.problem import failure_lines, place_lines, place_of, problem_of
from caxton_node.cli.session import Session
from caxton_node.domain.errors import CaxtonError

__all__ = ["line_of_file", "show_failure", "show_warnings"]

READ_BYTES_MAX: Final = 1_000_000
"""Of a file that an excerpt is taken from; no larger one is accepted anyway."""


def show_failure(session: Session, error: CaxtonError) -> None:
    """Print an error on stderr: as a problem document for programs, else for people."""
    if session.output.is_json:
        session.output.problem(problem_of(error))
    else:
        session.output.fail(failure_lines(error, line_of_file))


def show_warnings(session: Session, warnings: Iterable[Mapping[str, Any]]) -> None:
    """Print warnings as the API gives them. With `--output json` they are in the document."""
    if session.output.is_json:
        return
    for warning in warnings:
        session.output.warn(place_lines(place_of(warning), line_of_file))


def line_of_file(file: str, line: int) -> str | None:
    """Return a line (1-based) of a file here, or None where there is none."""
    try:
        with open(file, "rb") as opened:
            lines = opened.read(READ_BYTES_MAX).decode(errors="replace").splitlines()
    except (OSError, ValueError):
        return None
    return lines[line - 1] if 1 <= line <= len(lines) else None
