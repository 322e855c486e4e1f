"""Keeps what is in memory equal to the rows: brought up to date after each commit.

Nothing of the arena and of the graphs is on disk, so nothing of them can be older than the rows
after a crash. When bringing them up to date fails, the arena is stale and the graphs are gone:
searches then read the rows, slower and as exact, until both are made anew from them.
"""

import importlib
import logging
import sqlite3
import time
from collections.abc import Mapping, Sequence
from typing import Final, Protocol

from caxton_node.memory.adjacency import Graphs

__all__ = ["Arena", "ArenaKeeper"]

_ROWS_AT_ONCE: Final = 1_024
"""Their vectors fit into a core's cache."""

_ARENA: Final = "caxton_node.memory.arena"
"""Imported when there is a model: numbers in bulk take as much memory as a quarter of the node."""

_log = logging.getLogger("caxton.memory")


class Arena(Protocol):
    """The shelves of all scopes, for one model."""

    @property
    def size_bytes(self) -> int:
        """What the vectors take in memory."""
        ...

    def __len__(self) -> int: ...

    def reserve(self, counts: Mapping[int, int]) -> None:
        """Make room for so many vectors of scopes that have none yet."""
        ...

    def add_rows(self, rows: Sequence[tuple[int, int, bytes]]) -> None:
        """Add vectors: scope, observation, data."""
        ...

    def remove(self, scope: int, ids: Sequence[int]) -> None:
        """Forget observations of a scope."""
        ...

    def drop(self, scope: int) -> None:
        """Forget all of a scope."""
        ...

    def search(self, vector: bytes, scopes: Sequence[int], limit: int) -> list[tuple[int, float]]:
        """Return the nearest of these scopes and no others with their cosines, best first."""
        ...


class ArenaKeeper:
    """Owns the arena and the graphs. All but `current` is for the writer's thread."""

    def __init__(self) -> None:
        self.graphs = Graphs()
        self._arena: Arena | None = None
        self.model: int | None = None
        """Row of the model whose vectors are compared; None while none is known."""
        self.is_stale = True
        self.rebuild_count = 0

    @property
    def current(self) -> Arena | None:
        """The arena, if it may be searched."""
        return None if self.is_stale else self._arena

    def mark_stale(self) -> None:
        """Let nobody search what is in memory until it is rebuilt."""
        self.is_stale = True
        self.graphs.clear()

    def use_model(self, connection: sqlite3.Connection, identity: str, dimensions: int) -> None:
        """Compare the vectors of this model from now on.

        Outside of a transaction: what is not done when the process ends is done at the next start.
        """
        (model,) = connection.execute(
            "INSERT INTO models (identity, dimensions) VALUES (?, ?) "
            "ON CONFLICT (identity) DO UPDATE SET dimensions = excluded.dimensions RETURNING id",
            (identity, dimensions),
        ).fetchone()
        if model != self.model or self.is_stale:
            self.model = model
            if connection.execute("SELECT model FROM model_in_use").fetchone() != (model,):
                connection.execute(
                    "INSERT OR IGNORE INTO unembedded SELECT o.id FROM observations o "
                    "LEFT JOIN vectors v ON v.observation = o.id WHERE v.model IS NOT ?",
                    (model,),
                )
                connection.execute("INSERT OR REPLACE INTO model_in_use VALUES (1, ?)", (model,))
            self.rebuild(connection)

    def rebuild(self, connection: sqlite3.Connection) -> None:
        """Read all current vectors of the model from the rows."""
        self.is_stale = True
        if self.model is None:
            return
        started = time.monotonic()
        (dimensions,) = connection.execute(
            "SELECT dimensions FROM models WHERE id = ?", (self.model,)
        ).fetchone()
        arena: Arena = importlib.import_module(_ARENA).VectorArena(dimensions)
        arena.reserve(
            dict(connection.execute("SELECT scope, count(*) FROM observations GROUP BY scope"))
        )
        cursor = connection.execute(
            "SELECT o.scope, v.observation, v.data FROM vectors v "
            "JOIN observations o ON o.id = v.observation "
            "WHERE v.model = ? AND (o.valid_to IS NULL OR o.valid_to > ?)",
            (self.model, time.time_ns() // 1_000_000),
        )
        while rows := cursor.fetchmany(_ROWS_AT_ONCE):
            arena.add_rows(rows)
        self._arena, self.is_stale = arena, False
        self.rebuild_count += 1
        _log.info(
            "the arena holds %d vectors, read in %.2f s", len(arena), time.monotonic() - started
        )

    def add(self, model: int, rows: Sequence[tuple[int, int, bytes]]) -> None:
        """Take up vectors that were committed: scope, observation, data."""
        if self._arena is not None and model == self.model:
            self._arena.add_rows(rows)

    def remove(self, scope: int, ids: Sequence[int]) -> None:
        """Forget observations that are gone or closed."""
        if self._arena is not None:
            self._arena.remove(scope, ids)

    def drop(self, scope: int) -> None:
        """Forget a scope."""
        if self._arena is not None:
            self._arena.drop(scope)
