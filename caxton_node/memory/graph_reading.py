"""Reads a scope's graph from the rows while everybody goes on writing.

The writer begins to note what changes, readers read the rows by the page, and the writer applies
what was noted: it changes nothing where a page has it already. So no write waits for the reading,
which takes a second or two for half a million relations, and nobody waits for a reader longer than
for a page. Few relations are read by the first walk; where there are many, walks go by the rows
until a chore of the node has read them.
"""

import asyncio
import logging
import sqlite3
import sys
from collections.abc import Awaitable, Callable, Iterable, Mapping
from functools import partial
from typing import Any, Final, Protocol, TypeVar

import msgspec

from caxton_node.memory.adjacency import RELATIONS_KEPT_MAX, Filling, Graphs, ScopeGraph
from caxton_node.memory.records import Entity, Scope

__all__ = ["WantedGraphs", "are_small", "fill_graphs", "read_graph"]

ROWS_AT_ONCE: Final = 8_192

DEADLINE_S: Final = 30.0
"""For one graph. A walk goes by the rows where it takes longer."""

READ_AT_ONCE_MAX: Final = 2_000
"""Relations of a scope that its first walk reads: some ten milliseconds."""

_log = logging.getLogger("caxton.memory")

T = TypeVar("T")


class Runs(Protocol):
    """Runs a function in a thread that has a connection."""

    def __call__(self, do: Callable[[sqlite3.Connection], T]) -> Awaitable[T]:
        """Return its result."""
        ...


class WantedGraphs:
    """The graphs that walks have asked for and that nobody has read yet."""

    def __init__(self) -> None:
        self._scopes: dict[int, Scope] = {}
        self._is_any = asyncio.Event()

    def add(self, scopes: Mapping[int, Scope]) -> None:
        """Ask for the graphs of scopes."""
        self._scopes.update(scopes)
        self._is_any.set()

    async def take(self, *, timeout_s: float) -> dict[int, Scope]:
        """Wait until somebody asks, not for longer, and return of which scopes."""
        try:
            async with asyncio.timeout(timeout_s):
                await self._is_any.wait()
        except TimeoutError:
            return {}
        self._is_any.clear()
        taken, self._scopes = self._scopes, {}
        return taken


def are_small(connection: sqlite3.Connection, scopes: Iterable[int]) -> bool:
    """Whether none of some scopes has more relations than a walk may wait for."""
    return not any(_has_more(connection, scope, READ_AT_ONCE_MAX) for scope in scopes)


def _has_more(connection: sqlite3.Connection, row: int, count: int) -> bool:
    """Whether a scope has more current relations than so many; they are counted no further."""
    (found,) = connection.execute(
        "SELECT count(*) FROM (SELECT 1 FROM relations WHERE scope = ? AND valid_to IS NULL "
        "LIMIT ?)",
        (row, count + 1),
    ).fetchone()
    return bool(found > count)


async def fill_graphs(
    graphs: Graphs, scopes: Mapping[int, Scope], *, read: Runs, write: Runs
) -> None:
    """Read the graphs of scopes into memory, except of those with too many relations.

    Args:
        graphs: Where they go.
        scopes: With their rows.
        read: In a reader's thread.
        write: In the writer's thread.

    Raises:
        Unavailable: `storage_unavailable`.
    """
    for row, scope in scopes.items():
        if await read(partial(_has_more, row=row, count=RELATIONS_KEPT_MAX)):
            continue
        filling = await write(partial(_begin, graphs=graphs, row=row))
        if filling is None:
            continue
        try:
            async with asyncio.timeout(DEADLINE_S):
                graph = await read_graph(row, scope, read=read)
                if graph is not None:
                    await write(
                        partial(_finish, graphs=graphs, row=row, filling=filling, graph=graph)
                    )
        except TimeoutError:
            _log.warning("the graph of %s could not be read within %g s", scope, DEADLINE_S)
        finally:
            graphs.give_up(row, filling)


def _begin(_: sqlite3.Connection, *, graphs: Graphs, row: int) -> Filling | None:
    return graphs.begin(row)


def _finish(
    _: sqlite3.Connection, *, graphs: Graphs, row: int, filling: Filling, graph: ScopeGraph
) -> None:
    graphs.finish(row, filling, graph)


async def read_graph(row: int, scope: Scope, *, read: Runs) -> ScopeGraph | None:
    """Return the graph of a scope; None when it has too many relations.

    What changes meanwhile may be in it or not.
    """
    graph = ScopeGraph(scope)
    name = ""
    while entities := await read(partial(_entities, row=row, scope=scope, after=name)):
        await asyncio.to_thread(graph.read_entities, [one for _, one in entities])
        name = entities[-1][0]
    after = 0
    while relations := await read(partial(_relations, row=row, after=after)):
        await asyncio.to_thread(graph.read_relations, relations)
        after = relations[-1][0]
        if len(graph) > RELATIONS_KEPT_MAX:
            return None
    await asyncio.to_thread(graph.join)
    return graph


def _entities(
    connection: sqlite3.Connection, *, row: int, scope: Scope, after: str
) -> list[tuple[str, Entity]]:
    """Return a page of entities with their folded names, by which they are ordered."""
    rows = connection.execute(
        "SELECT name_key, id, name, type, metadata, version, created_at, updated_at "
        "FROM entities WHERE scope = ? AND name_key > ? ORDER BY name_key LIMIT ?",
        (row, after, ROWS_AT_ONCE),
    )
    return [
        (
            key,
            Entity(
                id=entity_id,
                scope=scope,
                name=name,
                type=sys.intern(type_name),
                metadata=msgspec.json.decode(metadata),
                version=version,
                created_at=created_at,
                updated_at=updated_at,
            ),
        )
        for key, entity_id, name, type_name, metadata, version, created_at, updated_at in rows
    ]


def _relations(connection: sqlite3.Connection, *, row: int, after: int) -> list[tuple[Any, ...]]:
    """Return a page of relations as `ScopeGraph.read_relations` takes them."""
    return connection.execute(
        "SELECT id, source, target, type, strength, confidence, valid_from, "
        "agent, conversation, message, model FROM relations "
        "WHERE scope = ? AND valid_to IS NULL AND id > ? ORDER BY id LIMIT ?",
        (row, after, ROWS_AT_ONCE),
    ).fetchall()
