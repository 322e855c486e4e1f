"""A few connections that read, each used by one thread at a time."""

import asyncio
import sqlite3
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Final, TypeVar

from caxton_node.domain.errors import Unavailable
from caxton_node.memory.database import MemoryFile, reading_storage

__all__ = ["READ_DEADLINE_S", "MemoryReaders"]

READ_DEADLINE_S: Final = 10.0
"""For one read, and for waiting until a connection is free."""

T = TypeVar("T")


class MemoryReaders:
    """Threads and connections for reading one file."""

    def __init__(self, file: MemoryFile, *, count: int) -> None:
        self._file = file
        self._count = count
        self._threads = ThreadPoolExecutor(count, thread_name_prefix="caxton-memory-reader")
        self._all: list[sqlite3.Connection] = []
        self._free: asyncio.Queue[sqlite3.Connection] = asyncio.Queue(maxsize=count)

    async def open(self) -> None:
        """Open the connections; the file exists already."""
        for _ in range(self._count):
            connection = await asyncio.to_thread(self._file.connect_reader)
            self._all.append(connection)
            self._free.put_nowait(connection)

    async def close(self) -> None:
        """Interrupt what is being read, and close."""
        for connection in self._all:
            connection.interrupt()
        await asyncio.to_thread(self._threads.shutdown, cancel_futures=True)
        while self._all:
            self._all.pop().close()

    async def read(self, do: Callable[[sqlite3.Connection], T]) -> T:
        """Run `do` in a thread and return its result.

        Raises:
            Unavailable: `storage_unavailable`: the file cannot be read, or not within 10 s.
        """
        if not self._all:
            raise Unavailable("storage_unavailable", "The memory is closed.")
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(READ_DEADLINE_S):
                connection = await self._free.get()
                running = loop.run_in_executor(self._threads, do, connection)
                # The connection is free when the thread has let go of it, not before.
                running.add_done_callback(lambda _: self._free.put_nowait(connection))
                try:
                    with reading_storage(self._file.path):
                        return await asyncio.shield(running)
                except asyncio.CancelledError:
                    connection.interrupt()
                    running.add_done_callback(lambda done: done.cancelled() or done.exception())
                    raise
        except TimeoutError as error:
            raise Unavailable(
                "storage_unavailable", f"Reading memory took longer than {READ_DEADLINE_S:g} s."
            ) from error
