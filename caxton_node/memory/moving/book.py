"""What a move has done so far, on disk: how far it is, and which observation became which.

A page that was copied and its pairs are one transaction, so that a move that is killed goes on
where it was. Ids differ between backends, and only the pairs make it possible to end or to forget
in one what was ended or forgotten in the other.
"""

import asyncio
import sqlite3
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final, TypeVar

import msgspec

from caxton_node.domain.errors import Unavailable

__all__ = ["BOOK_FILE", "Move", "MoveBook", "Pair", "Phase"]

BOOK_FILE: Final = "memory-move.db"
"""In the data directory."""

Phase = str
"""`copying`, `copied`, `failed`, `switched`, `finished`, or `rolled_back`."""

T = TypeVar("T")

_SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS move (id INTEGER PRIMARY KEY CHECK (id = 1), state TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS pairs (old INTEGER PRIMARY KEY, new INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS behind (since INTEGER PRIMARY KEY);
CREATE INDEX IF NOT EXISTS pairs_by_new ON pairs (new);
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Move:
    """How far a move is."""

    source: str
    """Name of the backend that it comes from."""
    target: str
    is_live: bool
    phase: Phase = "copying"
    part: str = "facts"
    """Then `relations`."""
    after: int = 0
    """The last id of the part that is copied."""
    passes: int = 0
    """Times that everything was gone through."""
    facts: int = 0
    relations: int = 0
    total_facts: int = 0
    report: dict[str, Any] = field(default_factory=dict)
    """What comparing the two came to."""

    @property
    def is_open(self) -> bool:
        """Whether both sides are still written to."""
        return self.phase not in ("finished", "rolled_back")


@dataclass(frozen=True, slots=True)
class Pair:
    """The ids of one observation on both sides."""

    old: int
    new: int


class MoveBook:
    """The file of a move. Its methods block for a moment, in a thread.

    Args:
        path: Of the file; made when missing.
    """

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        self._connection.execute("PRAGMA journal_mode = WAL").fetchall()
        self._connection.executescript(_SCHEMA)
        self._turn = asyncio.Lock()

    def close(self) -> None:
        """Close the file."""
        self._connection.close()

    def move(self) -> Move | None:
        """Return the move, if one was ever begun."""
        row = self._connection.execute("SELECT state FROM move").fetchone()
        return None if row is None else msgspec.json.decode(row[0], type=Move)

    def begin(self, move: Move) -> Move:
        """Forget the move before, and begin this one."""
        with self._connection as connection:
            connection.execute("BEGIN IMMEDIATE")
            connection.execute("DELETE FROM pairs")
            connection.execute("DELETE FROM behind")
            _put(connection, move)
        return move

    async def note(
        self, move: Move, *, pairs: Sequence[Pair] = (), gone: Sequence[Pair] = ()
    ) -> Move:
        """Write how far it is, with pairs that came and went, at once; return it."""

        def write(connection: sqlite3.Connection) -> Move:
            connection.execute("BEGIN IMMEDIATE")
            connection.executemany(
                "INSERT OR REPLACE INTO pairs VALUES (?, ?)", [(one.old, one.new) for one in pairs]
            )
            connection.executemany("DELETE FROM pairs WHERE old = ?", [(one.old,) for one in gone])
            _put(connection, move)
            connection.execute("COMMIT")
            return move

        return await self._do(write)

    async def add(self, pairs: Sequence[Pair]) -> None:
        """Write pairs of observations that were told to both sides."""
        if pairs:
            rows = [(one.old, one.new) for one in pairs]
            await self._do(
                lambda connection: connection.executemany(
                    "INSERT OR REPLACE INTO pairs VALUES (?, ?)", rows
                )
            )

    async def set_behind(self, *, is_behind: bool) -> None:
        """Note that a write reached one side only; or that a pass begins, which mends it."""
        statement = "INSERT OR IGNORE INTO behind VALUES (1)" if is_behind else "DELETE FROM behind"
        await self._do(lambda connection: connection.execute(statement))

    async def is_behind(self) -> bool:
        """Whether a write reached one side only."""
        rows = await self._do(
            lambda connection: connection.execute("SELECT 1 FROM behind").fetchall()
        )
        return bool(rows)

    async def twins(self, ids: Sequence[int], *, side: str) -> dict[int, int]:
        """Return the ids on the other side, of those observations that have one.

        Args:
            ids: On a side.
            side: `old` or `new`.
        """
        other = "new" if side == "old" else "old"
        query = (
            f"SELECT {side}, {other} FROM pairs WHERE {side} IN (SELECT value FROM json_each(?))"  # noqa: S608 - one of two names
        )
        given = msgspec.json.encode(ids).decode()
        return dict(
            await self._do(lambda connection: connection.execute(query, (given,)).fetchall())
        )

    async def between(self, after: int, up_to: int | None, *, side: str) -> list[Pair]:
        """Return the pairs whose id on a side lies after one, up to another."""
        query = f"SELECT old, new FROM pairs WHERE {side} > ? AND (? IS NULL OR {side} <= ?)"  # noqa: S608 - one of two names
        rows = await self._do(
            lambda connection: connection.execute(query, (after, up_to, up_to)).fetchall()
        )
        return [Pair(*row) for row in rows]

    async def sample(self, count: int) -> list[Pair]:
        """Return some pairs, spread over all, the same ones each time."""
        rows = await self._do(
            lambda connection: connection.execute(
                "SELECT old, new FROM (SELECT old, new, row_number() OVER (ORDER BY old) AS place, "
                "count(*) OVER () AS total FROM pairs) WHERE place % max(1, total / ?) = 0 LIMIT ?",
                (count, count),
            ).fetchall()
        )
        return [Pair(*row) for row in rows]

    async def count(self) -> int:
        """Return how many pairs there are."""
        rows = await self._do(
            lambda connection: connection.execute("SELECT count(*) FROM pairs").fetchall()
        )
        return int(rows[0][0])

    async def _do(self, work: Callable[[sqlite3.Connection], T]) -> T:
        async with self._turn:
            try:
                return await asyncio.to_thread(work, self._connection)
            except sqlite3.Error as error:
                if self._connection.in_transaction:
                    self._connection.rollback()
                raise Unavailable(
                    "storage_unavailable",
                    f"The book of the memory's move cannot be written: {error}",
                    hint="Check the free space and the health of the disk of the data directory.",
                ) from error


def _put(connection: sqlite3.Connection, move: Move) -> None:
    state = msgspec.json.encode(asdict(move)).decode()
    connection.execute(
        "INSERT INTO move VALUES (1, ?) ON CONFLICT DO UPDATE SET state = excluded.state", (state,)
    )
