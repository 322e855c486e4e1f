"""Problem documents (RFC 9457), as errors of this program and as the lines that show them.

What the server says of an error survives the journey: its code, its places, what would help.
The excerpt of the offending line is added here, because the file lies here.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields
from typing import Any, Final

from caxton_node.domain.errors import ERRORS, CaxtonError, Place, error_from_code

__all__ = [
    "SUGGESTIONS_MAX",
    "error_of_problem",
    "failure_lines",
    "place_document",
    "place_lines",
    "place_of",
    "problem_of",
]

SUGGESTIONS_MAX: Final = 5
"""Names offered in place of one that does not exist."""

EXCERPT_LENGTH_MAX: Final = 120
"""Characters of an offending line that are shown."""

_STANDARD: Final = frozenset(
    {"type", "title", "status", "detail", "instance", "code", "hint", "errors"}
)
_PLACE_FIELDS: Final = tuple(field.name for field in fields(Place))

_SUGGESTION: Final = "Did you mean"
"""How the server begins an advice that is a name."""

ReadLine = Callable[[str, int], str | None]
"""Takes a file's name and a 1-based line; returns that line, or None when it cannot be read."""


def error_of_problem(document: Mapping[str, Any], status: int) -> CaxtonError:
    """Return the error that a problem document describes.

    Args:
        document: The decoded body.
        status: The HTTP status that it came with.
    """
    code = document.get("code")
    detail = document.get("detail") or document.get("title") or f"The server answered {status}"
    hint = document.get("hint")
    errors = document.get("errors")
    return error_from_code(
        code if isinstance(code, str) else code_of_status(status),
        str(detail),
        hint=hint if isinstance(hint, str) else None,
        places=[place_of(each) for each in errors if isinstance(each, Mapping)]
        if isinstance(errors, list)
        else (),
        facts={key: value for key, value in document.items() if key not in _STANDARD},
    )


def code_of_status(status: int) -> str:
    """Return a code for a status that came without one, from a proxy or a stranger."""
    exact = {401: "unauthenticated", 403: "denied", 404: "route_not_found", 409: "state_conflict"}
    if status in exact:
        return exact[status]
    if status in {502, 503}:
        return "unreachable"
    if status == 504:
        return "timed_out"
    return "internal" if status >= 500 else "invalid_request"


def place_of(document: Mapping[str, Any]) -> Place:
    """Return a place as the API writes it. What is not of its type is left out."""
    known: dict[str, Any] = {"message": str(document.get("message", ""))}
    for name in _PLACE_FIELDS[1:]:
        value = document.get(name)
        if isinstance(value, int if name in {"line", "column"} else str):
            known[name] = value
    return Place(**known)


def problem_of(error: CaxtonError) -> dict[str, Any]:
    """Return the problem document of an error, for `--output json`."""
    document: dict[str, Any] = {
        "type": f"urn:caxton:error:{error.code}",
        "title": error.kind.title,
        "status": error.kind.http_status,
        "detail": error.detail,
        "code": error.code,
    }
    if error.hint:
        document["hint"] = error.hint
    if error.places:
        document["errors"] = [place_document(place) for place in error.places]
    return error.facts | document


def place_document(place: Place) -> dict[str, Any]:
    """Return a place as the API writes it, without what is not known."""
    return {name: value for name in _PLACE_FIELDS if (value := getattr(place, name)) is not None}


def failure_lines(error: CaxtonError, read_line: ReadLine) -> list[str]:
    """Return what a person sees of an error: what is wrong, where, and what to do."""
    lines = [error.detail]
    for place in error.places:
        lines += [f"  {line}" for line in place_lines(place, read_line)]
    suggestions = error.facts.get("suggestions")
    if isinstance(suggestions, list) and suggestions:
        names = ", ".join(str(name) for name in suggestions[:SUGGESTIONS_MAX])
        lines.append(f"  Did you mean {names}?")
    if error.hint and not (suggestions and error.hint.startswith(_SUGGESTION)):
        lines.append(f"  {_advice(error.hint)}")
    if error.code == "timed_out" and "conversation_id" in error.facts:
        conversation_id = error.facts["conversation_id"]
        lines.append(f"  The turn may go on; look with: caxton conversation show {conversation_id}")
    if ERRORS[error.code].advice == "report" and "trace_id" in error.facts:
        lines.append(f"  Trace: {error.facts['trace_id']}")
    return lines


def place_lines(place: Place, read_line: ReadLine) -> list[str]:
    """Return a place as a person sees it: where and what, the line itself, what to do."""
    lines = [f"{Place(place.message, file=place.file, line=place.line, column=place.column)}"]
    if place.file is not None and place.line is not None:
        excerpt = read_line(place.file, place.line)
        if excerpt is not None:
            lines += _excerpt(excerpt, place.line, place.column)
    if place.fix:
        lines.append(f"  {_advice(place.fix)}")
    return lines


def _advice(text: str) -> str:
    return text if text.startswith(_SUGGESTION) else f"To fix: {text}"


def _excerpt(text: str, line: int, column: int | None) -> Sequence[str]:
    """Return a line of a file with its number, and a caret under the column."""
    # A line that is too long is shown around its column.
    start = max(0, (column or 1) - EXCERPT_LENGTH_MAX // 2) if len(text) > EXCERPT_LENGTH_MAX else 0
    shown = text[start : start + EXCERPT_LENGTH_MAX].replace("\t", " ").rstrip()
    lines = [f"  {line} | {shown}"]
    if column is not None:
        lines.append(f"  {'':>{len(str(line))}} | {'':>{column - 1 - start}}^")
    return lines
