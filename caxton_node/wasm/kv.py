"""Keys and values of guests: small, each guest its own, kept on disk.

One database for the node, one thread for it. A value is there for the next reader as soon as it is
set, and survives the death of the process; a power failure may cost the last moments.
"""

import asyncio
import sqlite3
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final, TypeVar

__all__ = ["KEY_BYTES_MAX", "KeyValueStore", "NoRoom"]

KEY_BYTES_MAX: Final = 512
KEYS_LISTED_MAX: Final = 10_000

ResultT = TypeVar("ResultT")

_SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS entry (
    owner TEXT NOT NULL, key TEXT NOT NULL, value BLOB NOT NULL, PRIMARY KEY (owner, key)
) WITHOUT ROWID
"""


class NoRoom(Exception):
    """The guest's room is used up."""


class KeyValueStore:
    """The keys and values of all guests of a node.

    Args:
        file: Of the database; made when it is first wanted.
    """

    def __init__(self, file: Path) -> None:
        self._file = file
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="wasm kv")
        self._database: sqlite3.Connection | None = None

    async def get(self, owner: str, key: str) -> bytes | None:
        """Return a value, None when there is none.

        Raises:
            OSError: The disk refused.
        """

        def read(database: sqlite3.Connection) -> bytes | None:
            row = database.execute(
                "SELECT value FROM entry WHERE owner = ? AND key = ?", (owner, key)
            ).fetchone()
            return None if row is None else bytes(row[0])

        return await self._run(read)

    async def set(self, owner: str, key: str, value: bytes, *, room_bytes: int) -> None:
        """Set a value.

        Raises:
            NoRoom: All keys and values of the guest together would exceed its room.
            OSError: The disk refused.
        """

        def write(database: sqlite3.Connection) -> None:
            used: int = database.execute(
                "SELECT coalesce(sum(length(CAST(key AS BLOB)) + length(value)), 0) "
                "FROM entry WHERE owner = ? AND key <> ?",
                (owner, key),
            ).fetchone()[0]
            needed = used + len(key.encode()) + len(value)
            if needed > room_bytes:
                raise NoRoom(f"{needed:,} bytes; {room_bytes:,} are granted")
            database.execute("INSERT OR REPLACE INTO entry VALUES (?, ?, ?)", (owner, key, value))

        await self._run(write)

    async def delete(self, owner: str, key: str) -> bool:
        """Delete a value; return whether there was one.

        Raises:
            OSError: The disk refused.
        """

        def remove(database: sqlite3.Connection) -> bool:
            cursor = database.execute("DELETE FROM entry WHERE owner = ? AND key = ?", (owner, key))
            return cursor.rowcount > 0

        return await self._run(remove)

    async def keys(self, owner: str, prefix: str) -> list[str]:
        """Return the keys that begin with a text, in order; at most `KEYS_LISTED_MAX`.

        Raises:
            OSError: The disk refused.
        """

        def read(database: sqlite3.Connection) -> list[str]:
            rows = database.execute(
                "SELECT key FROM entry WHERE owner = ? AND key >= ? AND substr(key, 1, ?) = ? "
                "ORDER BY key LIMIT ?",
                (owner, prefix, len(prefix), prefix, KEYS_LISTED_MAX),
            )
            return [row[0] for row in rows]

        return await self._run(read)

    async def forget(self, owner: str) -> None:
        """Delete all that a guest has.

        Raises:
            OSError: The disk refused.
        """
        await self._run(
            lambda database: database.execute("DELETE FROM entry WHERE owner = ?", (owner,))
        )

    async def _run(self, act: Callable[[sqlite3.Connection], ResultT]) -> ResultT:
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._thread, self._act, act)

    def _act(self, act: Callable[[sqlite3.Connection], ResultT]) -> ResultT:
        try:
            if self._database is None:
                self._file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
                self._database = sqlite3.connect(self._file, isolation_level=None)
                self._database.execute("PRAGMA journal_mode = WAL")
                self._database.execute("PRAGMA synchronous = NORMAL")
                self._database.execute(_SCHEMA)
            return act(self._database)
        except sqlite3.Error as error:
            raise OSError(f"the guests' store: {error}") from error

    async def close(self) -> None:
        """Close the database."""
        await asyncio.get_running_loop().run_in_executor(self._thread, self._close)
        self._thread.shutdown(wait=False)

    def _close(self) -> None:
        if self._database is not None:
            self._database.close()
            self._database = None
