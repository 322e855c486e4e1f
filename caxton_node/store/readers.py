"""A few read-only connections, each in a thread of its own, shared with a deadline.

Queries answer with one row (see `queries.sql`), so that a page costs one crossing between
threads and not one a message.
"""

import asyncio
import sqlite3
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import aiosqlite

from caxton_node.domain.errors import Unavailable

__all__ = ["READ_DEADLINE_S", "Readers"]

READ_DEADLINE_S: Final = 5.0
"""For one query, and for waiting until a connection is free."""

Row = tuple[Any, ...]


class Readers:
    """A pool of read-only connections to one database file."""

    def __init__(self, path: Path, *, count: int, queries: Mapping[str, str]) -> None:
        assert count >= 1, "reading needs a connection"
        self._path = path
        self._count = count
        self._queries = queries
        self._all: list[aiosqlite.Connection] = []
        self._free: asyncio.Queue[aiosqlite.Connection] = asyncio.Queue(maxsize=count)

    async def open(self) -> None:
        """Open the connections; the file exists already.

        Raises:
            Unavailable: `storage_unavailable`: it cannot be opened.
        """
        uri = f"{self._path.absolute().as_uri()}?mode=ro"
        try:
            for _ in range(self._count):
                connection = await aiosqlite.connect(uri, uri=True, isolation_level=None)
                self._all.append(connection)
                for setting in ("query_only = ON", "busy_timeout = 5000", "cache_size = -8192"):
                    await connection.execute_fetchall(f"PRAGMA {setting}")
                self._free.put_nowait(connection)
        except sqlite3.Error as error:
            await self.close()
            raise Unavailable(
                "storage_unavailable", f"The store cannot be read: {error}"
            ) from error

    async def close(self) -> None:
        """Close all connections; a query under way ends first or is interrupted."""
        while self._all:
            connection = self._all.pop()
            await connection.interrupt()
            await connection.close()
        self._free = asyncio.Queue(maxsize=self._count)

    async def row(self, query: str, parameters: Mapping[str, Any]) -> Row:
        """Run a named query and return its only row.

        Raises:
            Unavailable: `storage_unavailable`: the file cannot be read, or not within 5 s.
        """
        if not self._all:
            raise Unavailable("storage_unavailable", "The store is closed.")
        try:
            async with asyncio.timeout(READ_DEADLINE_S):
                connection = await self._free.get()
                try:
                    return await self._only_row(connection, query, parameters)
                finally:
                    self._free.put_nowait(connection)
        except TimeoutError as error:
            raise Unavailable(
                "storage_unavailable", f"Reading took longer than {READ_DEADLINE_S:g} s."
            ) from error
        except sqlite3.Error as error:
            raise Unavailable(
                "storage_unavailable", f"The store cannot be read: {error}"
            ) from error

    async def _only_row(
        self, connection: aiosqlite.Connection, query: str, parameters: Mapping[str, Any]
    ) -> Row:
        try:
            rows = await connection.execute_fetchall(self._queries[query], dict(parameters))
        except asyncio.CancelledError:
            # The thread still works on it; stop it, or the next query waits behind.
            await connection.interrupt()
            raise
        (row,) = rows
        return tuple(row)
