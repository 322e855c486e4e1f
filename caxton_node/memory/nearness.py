"""The nearest vectors: from the arena, or from the rows where it does not hold them.

Imported when there is a vector to compare; for readers' threads.
"""

import sqlite3
from collections.abc import Sequence
from typing import Final

import msgspec
import numpy as np

from caxton_node.memory.backend import Search
from caxton_node.memory.finding import WIDENING, Filters, allowed
from caxton_node.memory.keeper import ArenaKeeper

__all__ = ["exact_scan", "nearest"]

_ROWS_AT_ONCE: Final = 4_096


def nearest(
    connection: sqlite3.Connection,
    search: Search,
    *,
    keeper: ArenaKeeper,
    scopes: Sequence[int],
    limit: int,
    now: int,
    is_checked: bool,
) -> list[tuple[int, float]]:
    """Return the nearest wanted observations with their cosines.

    Where they are to be checked, the arena's candidates are filtered after the scan; where the
    filter leaves too few, more are taken, until there are enough or all were looked at.

    Args:
        connection: To read with.
        search: With the vector and the filters.
        keeper: Has the arena.
        scopes: Rows of the scopes that may be seen.
        limit: How many.
        now: For what is true at present.
        is_checked: Leave out what the rows say is not wanted. Otherwise that is to be done by
            whoever fetches them; they are of these scopes in any case.
    """
    vector, model = search.vector, keeper.model
    if vector is None or model is None or not scopes:
        return []
    arena = keeper.current
    if arena is None or search.filters.needs_history:
        return exact_scan(
            connection, vector, model=model, scopes=scopes, filters=search.filters,
            limit=limit, now=now,
        )  # fmt: skip
    wanted = limit
    while True:
        candidates = arena.search(vector, scopes, wanted)
        if not is_checked:
            return candidates
        ids = [one for one, _ in candidates]
        kept = allowed(connection, ids, scopes=scopes, filters=search.filters, now=now)
        found = [one for one in candidates if one[0] in kept]
        if len(found) * 2 >= min(limit, wanted) or len(candidates) < wanted:
            return found[:limit]
        wanted *= WIDENING


def exact_scan(
    connection: sqlite3.Connection,
    vector: bytes,
    *,
    model: int,
    scopes: Sequence[int],
    filters: Filters,
    limit: int,
    now: int,
) -> list[tuple[int, float]]:
    """Return the nearest of all wanted observations, reading their vectors from the rows.

    For the past, which the arena does not hold, and for the moments in which it is not current.
    """
    cursor = connection.execute(
        "SELECT v.observation, v.data FROM observations o JOIN entities e ON e.id = o.entity "  # noqa: S608 - constants of this package
        "JOIN vectors v ON v.observation = o.id AND v.model = :model "
        f"WHERE {filters.condition()}",
        filters.parameters(now) | {"model": model, "scopes": _json(scopes)},
    )
    best: list[tuple[int, float]] = []
    while rows := cursor.fetchmany(_ROWS_AT_ONCE):
        best += _by_cosine(vector, rows)
        best.sort(key=lambda one: (-one[1], one[0]))
        del best[limit:]
    return best


def _by_cosine(vector: bytes, rows: Sequence[tuple[int, bytes]]) -> list[tuple[int, float]]:
    if not rows:
        return []
    matrix = np.frombuffer(b"".join(row[1] for row in rows), "<f4").reshape(len(rows), -1)
    cosines = (matrix @ np.frombuffer(vector, "<f4")).tolist()
    found = [(int(row[0]), float(c)) for row, c in zip(rows, cosines, strict=True)]
    found.sort(key=lambda one: (-one[1], one[0]))
    return found


def _json(value: Sequence[int]) -> str:
    return msgspec.json.encode(value).decode()
