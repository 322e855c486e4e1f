"""Which number of a request belongs to which parameter.

*The last 5 commits* answers a `max_count`, *the first ten lines* a `head`. A parameter that must
have a number and is given no hint takes the numbers in the order in which they stand.
"""

from typing import Final

from caxton_node.llm.offline.entities import Entity
from caxton_node.llm.offline.reading import Reading
from caxton_node.llm.offline.stemming import stem
from caxton_node.llm.offline.words import stems

__all__ = ["number_for"]

WORDS_BEFORE: Final = 3
WORDS_AFTER: Final = 2

_HINTS: Final = {
    stem(word): frozenset(stem(hint) for hint in hints.split())
    for word, hints in {
        "head": "first top beginning start",
        "tail": "last end bottom final",
        "limit": "first last top limit most up only maximum max",
        "max": "first last top limit most up only maximum newest recent latest",
        "count": "first last top only newest recent latest count",
        "n": "first last top",
        "num": "first last top",
        "top": "top best first",
        "k": "top best first",
        "length": "character characters chars length bytes",
        "size": "character characters chars bytes items",
        "duration": "second seconds minute minutes ms for",
        "timeout": "second seconds minute minutes ms",
        "second": "second seconds",
        "minute": "minute minutes",
        "steps": "step steps",
        "page": "page",
        "line": "line lines",
        "context": "context around",
        "offset": "from offset starting skip",
        "index": "from index position character offset starting",
        "year": "year in",
        "depth": "level levels deep depth",
        "id": "id number no",
    }.items()
}


def number_for(
    words: tuple[str, ...], reading: Reading, free: list[Entity], *, is_required: bool
) -> Entity | None:
    """Return the number among `free` that answers a parameter with these stems in its name."""
    hints = set(words)
    for word in words:
        hints |= _HINTS.get(word, frozenset())
    for entity in free:
        before = stems(reading.text[max(0, entity.start - 80) : entity.start])[-WORDS_BEFORE:]
        after = stems(reading.text[entity.end : entity.end + 60])[:WORDS_AFTER]
        if not hints.isdisjoint(before) or not hints.isdisjoint(after):
            return entity
    return free[0] if is_required and free else None
