"""Which of several things of one kind a parameter takes.

*Convert 3pm from London to Tokyo* has two time zones, and a tool two parameters for them. The
preposition before a thing says which is which, or the time it stands next to.
"""

from collections.abc import Sequence
from typing import Final

from caxton_node.llm.offline.entities import Entity, is_directory
from caxton_node.llm.offline.reading import Reading
from caxton_node.llm.offline.stemming import stem_set
from caxton_node.llm.offline.wanted import Wanted

__all__ = ["in_role", "suits_path"]

NEAR_LENGTH_MAX: Final = 12
"""Characters between a time and the zone that it is given in."""

_FOLDER_NOUNS: Final = stem_set("repo repository dir directory folder root")


def in_role(found: Sequence[Entity], wish: Wanted, reading: Reading) -> Entity:
    """Return the one among `found`, at least one, that a parameter with this role takes."""
    if not wish.role or len(found) == 1:
        return found[0]
    marks = ("from", "in") if wish.role == "source" else ("to", "into", "as", "in")
    if wish.role == "source" and found[0].kind == "timezone":
        # *What is 3pm in London for Tokyo*: the zone that stands next to the time is its own.
        for clock in reading.entities:
            if clock.kind == "time":
                near = [zone for zone in found if 0 <= zone.start - clock.end <= NEAR_LENGTH_MAX]
                if near:
                    return near[0]
    for mark in marks:
        for entity in found:
            before = reading.text[: entity.start].rsplit(None, 1)
            if before and before[-1].strip("\"'`").lower() == mark:
                return entity
    return found[0] if wish.role == "source" else found[-1]


def suits_path(entity: Entity, wish: Wanted) -> bool:
    """Tell whether a path is a folder where one is wanted, or a file where a file is."""
    words = frozenset(wish.words)
    if words & _FOLDER_NOUNS:
        return is_directory(str(entity.value))
    return not words & {"file", "filenam"} or not is_directory(str(entity.value))
