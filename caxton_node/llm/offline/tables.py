"""Which column of a known table a parameter means.

A chart wants an `x` and a `y`, statistics a `group_by`. What follows *by*, *per* or *over* in the
request is what things are grouped by; another column that the request names is what is measured.
Where a chart must have its columns and the request names none, the first that are of use serve.
"""

import re
from typing import Final

from caxton_node.llm.offline.gathered import Table
from caxton_node.llm.offline.reading import Reading
from caxton_node.llm.offline.stemming import stem, stem_set
from caxton_node.llm.offline.words import concepts, stems

__all__ = ["column_for"]

_GROUPING: Final = stem_set("x group groups by category categories label labels dimension")
_MEASURING: Final = stem_set("y column columns field fields measure metric series")
_BY: Final = re.compile(
    r"\b(?:by|per|for each|over|across|against|versus|vs\.?|grouped by)\s+(?:the\s+|each\s+)?",
    re.IGNORECASE,
)


def column_for(
    words: tuple[str, ...], reading: Reading, table: Table, *, is_required: bool = False
) -> str | None:
    """Return the column that a parameter with these stems in its name means, or None."""
    known = frozenset(words)
    is_grouping = not known.isdisjoint(_GROUPING)
    if not is_grouping and known.isdisjoint(_MEASURING):
        return None
    said = reading.text.casefold()
    grouped = [column for column in table.names if _follows_by(column, said)]
    named = [column for column in table.names if _position(column, said) is not None]
    measured = [column for column in named if column not in grouped]
    if is_grouping:
        if grouped:
            return grouped[0]
        texts = [column for column in table.names if column not in table.numeric]
        return (texts or list(table.names))[0] if is_required else None
    measured.sort(key=lambda column: (column not in table.numeric, _position(column, said) or 0))
    if not is_required:
        # *The sales data* is no choice of the column `sales`; *the average of sales* is.
        chosen = [column for column in measured if _is_chosen(column, said)]
        return chosen[0] if chosen else None
    if measured:
        return measured[0]
    usable = [
        column
        for column in table.names
        if column in table.numeric and column not in grouped and stem("id") not in stems(column)
    ]
    return usable[0] if usable else None


def _position(column: str, said: str) -> int | None:
    """Return where a column is named, in singular or plural."""
    for spelled in _spellings(column):
        match = re.search(rf"(?<!\w){re.escape(spelled)}(?:s|es)?(?!\w)", said)
        if match:
            return match.start()
    return None


def _is_chosen(column: str, said: str) -> bool:
    position = _position(column, said)
    if position is None:
        return False
    before = stems(said[max(0, position - 60) : position])[-2:]
    after = stems(said[position + len(column) :][:30])[:1]
    return after == [stem("column")] or any(
        word in {"of", "for", stem("column"), "only"} or "~statistics" in concepts(word)
        for word in before
    )


def _follows_by(column: str, said: str) -> bool:
    starts = [match.end() for match in _BY.finditer(said)]
    return any(
        re.match(rf"{re.escape(spelled)}(?:s|es)?(?!\w)", said[start:])
        for start in starts
        for spelled in _spellings(column)
    )


def _spellings(column: str) -> tuple[str, ...]:
    plain = column.casefold()
    spaced = " ".join(re.findall(r"[^\W_]+", plain))
    return tuple(dict.fromkeys(word for word in (plain, spaced) if word))
