"""Whether a value can travel: as JSON between nodes, as UTF-8 text, in 64-bit numbers."""

import math
from collections.abc import Iterator
from dataclasses import replace
from typing import Any, Final

from caxton_node.documents.document import Flaw

__all__ = ["plain_flaws"]

_INTEGER_BITS_MAX: Final = 63


def plain_flaws(value: Any) -> Iterator[Flaw]:
    """Yield what in a JSON value cannot be carried or stored, each with its place below."""
    match value:
        case str():
            if not _is_text(value):
                yield Flaw("contains a character that is no text", "not_text", "Remove it")
        case bool() | None:
            return
        case int():
            if value.bit_length() > _INTEGER_BITS_MAX:
                yield Flaw("is a number beyond 64 bits", "range", "Write it as text, in quotes")
        case float():
            if not math.isfinite(value):
                yield Flaw("is no finite number", "range")
        case dict() | list():
            yield from _flaws_below(value)
        case _:
            raise AssertionError("documents hold JSON values only")


def _flaws_below(value: dict[str, Any] | list[Any]) -> Iterator[Flaw]:
    parts = value.items() if isinstance(value, dict) else enumerate(value)
    for part, item in parts:
        if isinstance(part, str) and not _is_text(part):
            yield Flaw("has a key that is no text", "not_text", "Rename it")
            continue
        for flaw in plain_flaws(item):
            yield replace(flaw, within=(part, *flaw.within))


def _is_text(text: str) -> bool:
    """No NUL, and no half of a surrogate pair."""
    return "\0" not in text and not any("\ud800" <= character <= "\udfff" for character in text)
