"""What somebody probably asked for who asked for an address that does not exist.

Compared part by part: every fixed part must at least resemble the one that was given, and a
variable part is taken as it is. An address in which nothing resembles gets no suggestion; a wrong
one helps less than none.
"""

import difflib
from collections.abc import Iterable, Sequence
from typing import Final

__all__ = ["nearest_address"]

PART_COUNT_MAX: Final = 12
PART_LENGTH_MAX: Final = 64
"""Nobody mistypes a longer address, and comparing costs the square of it."""

_LIKENESS_MIN: Final = 0.7

_PREFIX: Final = ("api", "v1")


def nearest_address(path: str, routes: Iterable[str]) -> str | None:
    """Return the address that was probably meant, its variable parts as they were given.

    Args:
        path: That was asked for.
        routes: All there are, such as `/api/v1/agents/{name}`.
    """
    given = [part for part in path.split("/") if part]
    if len(given) > PART_COUNT_MAX or any(len(part) > PART_LENGTH_MAX for part in given):
        return None
    known = [route.strip("/").split("/") for route in sorted(set(routes))]
    readings = [given]
    rest = given
    while rest and rest[0].lower() in {"api", "v0", "v1", "v2", "v3", "rest"}:
        rest = rest[1:]
    if rest and tuple(given[: len(_PREFIX)]) != _PREFIX:
        readings.append([*_PREFIX, *rest])
    found = [
        (likeness, _filled(reading, parts))
        for reading in readings
        for parts in known
        if (likeness := _likeness(reading, parts)) is not None
    ]
    _, meant = max(found, key=lambda one: one[0], default=(0.0, None))
    return None if meant == path else meant


def _filled(given: Sequence[str], parts: Sequence[str]) -> str:
    pairs = zip(given, parts, strict=True)
    return "/" + "/".join(one if _is_open(part) else part for one, part in pairs)


def _likeness(given: Sequence[str], parts: Sequence[str]) -> float | None:
    """Return how alike two addresses are, from 0 to 1; None where some part is another."""
    if len(given) != len(parts):
        return None
    total = 0.0
    for one, part in zip(given, parts, strict=True):
        if _is_open(part):
            continue
        likeness = difflib.SequenceMatcher(None, _plain(one), _plain(part)).ratio()
        if likeness < _LIKENESS_MIN:
            return None
        total += likeness
    return total / len(parts)


def _is_open(part: str) -> bool:
    return part.startswith("{")


def _plain(part: str) -> str:
    return part.lower().replace("_", "-")
