"""Reads a scope's graph from the rows while everybody goes on writing.

The writer begins to note what changes, a reader reads the rows as they are at some moment after
that, and the writer applies what was noted. So no write waits for the reading, which takes a
second or two for half a million relations.
"""

import sqlite3
from collections.abc import Awaitable, Callable, Iterator, Mapping
from functools import partial
from typing import Any, Final, Protocol, TypeVar

import msgspec

from caxton_node.memory.adjacency import RELATIONS_KEPT_MAX, Filling, Graphs, ScopeGraph
from caxton_node.memory.records import Entity, Scope

__all__ = ["fill_graphs", "read_graph"]

_ROWS_AT_ONCE: Final = 4_096

T = TypeVar("T")


class Runs(Protocol):
    """Runs a function in a thread that has a connection."""

    def __call__(self, do: Callable[[sqlite3.Connection], T]) -> Awaitable[T]:
        """Return its result."""
        ...


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
        filling = await write(partial(_begin, graphs=graphs, row=row))
        if filling is None:
            continue
        try:
            graph = await read(partial(read_graph, row=row, scope=scope))
            if graph is not None:
                await write(partial(_finish, graphs=graphs, row=row, filling=filling, graph=graph))
        finally:
            graphs.give_up(row, filling)


def _begin(_: sqlite3.Connection, *, graphs: Graphs, row: int) -> Filling | None:
    return graphs.begin(row)


def _finish(
    _: sqlite3.Connection, *, graphs: Graphs, row: int, filling: Filling, graph: ScopeGraph
) -> None:
    graphs.finish(row, filling, graph)


def read_graph(connection: sqlite3.Connection, *, row: int, scope: Scope) -> ScopeGraph | None:
    """Return the graph of a scope as it is now; None when it has too many relations."""
    connection.execute("BEGIN")
    try:
        (size,) = connection.execute(
            "SELECT count(*) FROM relations WHERE scope = ? AND valid_to IS NULL", (row,)
        ).fetchone()
        if size > RELATIONS_KEPT_MAX:
            return None
        graph = ScopeGraph(scope)
        graph.read_entities(_entities(connection, row, scope))
        graph.read_relations(_relations(connection, row))
    finally:
        connection.execute("COMMIT")
    return graph


def _entities(connection: sqlite3.Connection, row: int, scope: Scope) -> Iterator[Entity]:
    cursor = connection.execute(
        "SELECT id, name, type, metadata, version, created_at, updated_at FROM entities "
        "WHERE scope = ?",
        (row,),
    )
    types: dict[str, str] = {}
    while rows := cursor.fetchmany(_ROWS_AT_ONCE):
        for entity_id, name, type_name, metadata, version, created_at, updated_at in rows:
            yield Entity(
                id=entity_id,
                scope=scope,
                name=name,
                type=types.setdefault(type_name, type_name),
                metadata=msgspec.json.decode(metadata),
                version=version,
                created_at=created_at,
                updated_at=updated_at,
            )


def _relations(connection: sqlite3.Connection, row: int) -> Iterator[list[tuple[Any, ...]]]:
    cursor = connection.execute(
        "SELECT id, source, target, type, strength, confidence, valid_from, "
        "agent, conversation, message, model FROM relations "
        "WHERE scope = ? AND valid_to IS NULL ORDER BY id",
        (row,),
    )
    while rows := cursor.fetchmany(_ROWS_AT_ONCE):
        yield rows
