"""One search over the rows, the arena and the graph. For readers' threads."""

import importlib
import sqlite3
from collections.abc import Mapping, Sequence
from dataclasses import replace
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
from caxton_node.memory.records import Hit, Scope

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
    """Return what fits best.

    Where anything that is true now is wanted, what the arena proposes is taken as it is, and the
    rows are asked when they are fetched. What has expired or is not true yet makes it be done
    again, every candidate checked.
    """
    words = search.words
    if words is None:
        words = by_keywords(
            connection, search.question, scopes=list(scopes), filters=search.filters,
            counts=counts, limit=max(CANDIDATES_MIN, search.limit), now=now,
        )  # fmt: skip
    for is_checked in (False, True) if search.filters.is_plain else (True,):
        proposals, fused = _proposed(
            connection, search, words, keeper=keeper, scopes=scopes, now=now, is_checked=is_checked
        )
        spare = SPARE if is_checked else 0
        best = contenders(fused, search.weights, search.limit + spare)
        found = observations(
            connection, scopes=scopes, filters=search.filters, now=now, ids=best, limit=len(best)
        )
        if len(found) == len(best):
            break
    return ranked(
        fused, found, proposals=proposals, weights=search.weights, now=now, limit=search.limit
    )


def _proposed(
    connection: sqlite3.Connection,
    search: Search,
    words: Words,
    *,
    keeper: ArenaKeeper,
    scopes: dict[int, Scope],
    now: int,
    is_checked: bool,
) -> tuple[Proposals, dict[int, float]]:
    """Return what each way proposes, and their scores together."""
    near: Sequence[tuple[int, float]] = ()
    if search.vector is not None and keeper.model is not None:
        near = importlib.import_module(_NEARNESS).nearest(
            connection, search, keeper=keeper, scopes=list(scopes),
            limit=max(CANDIDATES_MIN, search.limit), now=now, is_checked=is_checked,
        )  # fmt: skip
        if search.similarity_min > -1.0:
            near = [one for one in near if one[1] >= search.similarity_min]
    proposals = Proposals(similarity=near, keywords=words)
    fused = fuse(proposals, search.weights)
    if search.has_graph and fused and not search.filters.needs_history:
        linked = _linked(connection, fused, search, scopes, now)
        if linked:
            proposals = replace(proposals, graph=linked)
            fused = fuse(proposals, search.weights)
    return proposals, fused


def _linked(
    connection: sqlite3.Connection,
    fused: Mapping[int, float],
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


def _best(fused: Mapping[int, float], count: int) -> list[int]:
    return nsmallest(count, fused, key=lambda one: (-fused[one], one))
