"""A document: plain values, and the place of each key in the text they came from."""

import re
from bisect import bisect_right
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

__all__ = [
    "NESTING_MAX",
    "VALUES_MAX",
    "Document",
    "Flaw",
    "Path",
    "Unreadable",
    "dotted",
    "line_and_column",
    "shorten",
]

NESTING_MAX: Final = 32
"""Tables and lists within each other. People stop at five."""

VALUES_MAX: Final = 10_000
"""Keys and list items in one document."""

SHOWN_LENGTH_MAX: Final = 60
"""Characters of the user's own text that an error repeats."""

Path = tuple[str | int, ...]
"""From the top of the document to a value: keys of tables and indexes of lists."""

_BARE_KEY: Final = re.compile(r"[A-Za-z0-9_-]+")


def shorten(text: str, *, length_max: int = SHOWN_LENGTH_MAX) -> str:
    """Return `text` on one line, printable, and no longer than an error message can bear."""
    text = " ".join(text[: 2 * length_max].split())
    text = "".join(one if one.isprintable() else ascii(one)[1:-1] for one in text)
    return text if len(text) <= length_max else f"{text[:length_max]}…"


def dotted(path: Path) -> str:
    """Return a path as people write it: `llm.fallback[1]`, `tool_config."my tool"`."""
    text = ""
    for part in path:
        if isinstance(part, int):
            text += f"[{part}]"
        else:
            shown = shorten(part) if _BARE_KEY.fullmatch(part) else f'"{shorten(part)}"'
            text += f".{shown}" if text else shown
    return text


@dataclass(frozen=True, slots=True)
class Flaw:
    """Something wrong with a value, before it is known where the value stands."""

    message: str
    """Reads on from the field's name: `must be a number, not the text "hot"`."""
    rule: str
    """Stable name of the rule that was broken."""
    fix: str | None = None
    within: Path = ()
    """Where below the value, for a list or a table."""


class Unreadable(Exception):
    """The text breaks the rules of its format, or a limit of ours.

    Attributes:
        flaw: What is wrong, as a whole sentence.
        line: 1-based, where known.
        column: 1-based, in characters, where known.
    """

    def __init__(self, flaw: Flaw, *, line: int | None = None, column: int | None = None) -> None:
        super().__init__(flaw.message)
        self.flaw = flaw
        self.line = line
        self.column = column


def line_and_column(text: str, offset: int) -> tuple[int, int]:
    """Return the 1-based line and column of `offset` in `text`. Linear; for one-off use."""
    return text.count("\n", 0, offset) + 1, offset - text.rfind("\n", 0, offset)


@dataclass(frozen=True, slots=True, kw_only=True)
class Document:
    """The values of a text and the places of its keys."""

    values: Mapping[str, Any]
    """JSON values only."""
    text: str = ""
    offsets: Mapping[Path, int] = field(default_factory=dict)
    """Where in `text` each key, list item and table header begins. Empty for a format whose
    places are of no use to its writer."""
    spans: Mapping[Path, tuple[int, int]] = field(default_factory=dict)
    """Where in `text` each value begins and ends."""
    line_starts: tuple[int, ...] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        starts = (0, *(match.end() for match in re.finditer("\n", self.text)))
        object.__setattr__(self, "line_starts", starts)

    def place_of(self, path: Path) -> tuple[int, int] | None:
        """Return line and column of a key, or of the nearest thing around it that has a place.

        None when the document has no places at all.
        """
        if not self.offsets:
            return None
        while path and path not in self.offsets:
            path = path[:-1]
        return self._position(self.offsets.get(path, 0))

    def place_within(self, path: Path, needle: str) -> tuple[int, int] | None:
        """Return line and column of the first `needle` in the text of a value.

        The place of the key, when the needle is spelled otherwise there (with escapes).
        """
        start, end = self.spans.get(path, (0, 0))
        found = self.text.find(needle, start, end)
        return self.place_of(path) if found < 0 else self._position(found)

    def _position(self, offset: int) -> tuple[int, int]:
        line = bisect_right(self.line_starts, offset)
        return line, offset - self.line_starts[line - 1] + 1
