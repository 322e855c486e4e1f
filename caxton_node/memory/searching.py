"""One search over the rows, the arena and the graph. For readers' threads."""

import importlib
import sqlite3
from collections.abc import Mapping
from heapq import nsmallest
from typing import Final

from caxton_node.memory.backend import Search, Words
from caxton_node.memory.finding import (
    TermCounts,
    by_keywords,
    newest_about,
    observations,
    subjects,
)
from caxton_node.memory.fusion import Proposals, contenders, fuse, ranked
from caxton_node.memory.graph import neighbours
from caxton_node.memory.keeper import ArenaKeeper
from caxton_node.memory.records import Hit, Reasons, Scope

__all__ = ["CANDIDATES_MIN", "search_rows"]

CANDIDATES_MIN: Final = 64
"""Candidates of each way, of which the best are fused."""

_NEARNESS: Final = "caxton_node.memory.nearness"
"""Imported when there is a vector: numbers in bulk take as much memory as a quarter of the node."""

SPARE: Final = 5
"""Fetched beyond the limit: something may be deleted since it was proposed."""

GRAPH_SEEDS: Final = 5
GRAPH_FAN_OUT: Final = 10
GRAPH_STRENGTH_MIN: Final = 0.3
GRAPH_PROPOSALS_MAX: Final = 20


def search_rows(
    connection: sqlite3.Connection,
    search: Search,
    *,
    keeper: ArenaKeeper,
    counts: TermCounts,
    scopes: dict[int, Scope],
    now: int,
) -> list[Hit]:
    """Return what fits best."""
    rows = list(scopes)
    limit = max(CANDIDATES_MIN, search.limit)
    near: list[tuple[int, float]] = []
    if search.vector is not None and keeper.model is not None:
        found = importlib.import_module(_NEARNESS).nearest(
            connection, search, keeper=keeper, scopes=rows, limit=limit, now=now
        )
        near = [one for one in found if one[1] >= search.similarity_min]
    words: Words = (
        by_keywords(
            connection, search.question, scopes=rows, filters=search.filters, counts=counts,
            limit=limit, now=now,
        )
        if search.words is None
        else search.words
    )  # fmt: skip
    fused = fuse(Proposals(similarity=near, keywords=words), search.weights)
    if search.has_graph and fused and not search.filters.needs_history:
        linked = _linked(connection, fused, search, scopes, now)
        if linked:
            fused = fuse(Proposals(similarity=near, keywords=words, graph=linked), search.weights)
    best = contenders(fused, search.weights, search.limit + SPARE)
    found = observations(
        connection, scopes=scopes, filters=search.filters, now=now, ids=best, limit=len(best)
    )
    return ranked(fused, found, weights=search.weights, now=now, limit=search.limit)


def _linked(
    connection: sqlite3.Connection,
    fused: Mapping[int, tuple[float, Reasons]],
    search: Search,
    scopes: dict[int, Scope],
    now: int,
) -> list[tuple[int, str]]:
    """Return what is known of the neighbours of the best finds."""
    best = _best(fused, GRAPH_SEEDS)
    rows = list(scopes)
    names = subjects(connection, best, rows)
    reached = neighbours(
        connection,
        list(names),
        scopes=rows,
        strength_min=GRAPH_STRENGTH_MIN,
        fan_out=GRAPH_FAN_OUT,
    )[:GRAPH_PROPOSALS_MAX]
    if not reached:
        return []
    via = dict(reached)
    known = newest_about(
        connection, list(via), scopes=rows, filters=search.filters, now=now,
        limit=GRAPH_PROPOSALS_MAX,
    )  # fmt: skip
    return [(one, names[via[entity]]) for one, entity in known]


def _best(fused: Mapping[int, tuple[float, Reasons]], count: int) -> list[int]:
    return nsmallest(count, fused, key=lambda one: (-fused[one][0], one))
