"""The one thread that writes memory: what arrives together is committed together.

While the thread commits, the next calls gather; under load many share one sync. When one of them
fails, all are undone and each is run again within a savepoint of its own: the one that fails
leaves nothing behind and does not take its neighbours with it. Not so at once, because the word
index writes what it has gathered at every savepoint. What changes the arena and the graphs is
applied after the commit and before anybody is told about it; if that fails, they are declared
stale and are not searched until they are rebuilt.
"""

import asyncio
import logging
import sqlite3
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from threading import Condition, Thread
from typing import Any, Final, TypeVar

from caxton_node.domain.errors import Bug, CaxtonError, Unavailable

__all__ = ["Change", "MemoryWriter"]

BATCH_MAX: Final = 512
WAITING_MAX: Final = 20_000
"""Calls that may wait for the disk. One more is refused."""

WRITE_DEADLINE_S: Final = 30.0
CLOSE_DEADLINE_S: Final = 30.0

_log = logging.getLogger("caxton.memory")

T = TypeVar("T")


@dataclass(slots=True)
class Change:
    """What a transaction means for the arena, in the order in which it happened."""

    steps: list[Callable[[], None]] = field(default_factory=list)


Apply = Callable[[sqlite3.Connection, Change], T]


@dataclass(slots=True)
class _Call:
    apply: Apply[Any]
    done: asyncio.Future[Any]
    is_alone: bool


class MemoryWriter:
    """Group commit for the calls of the event loop.

    Args:
        connection: That writes; used in the thread only.
        on_stale: Called in the thread when the arena could not be brought up to date.
    """

    def __init__(self, connection: sqlite3.Connection, on_stale: Callable[[], None]) -> None:
        self._connection = connection
        self._on_stale = on_stale
        self._loop = asyncio.get_running_loop()
        self._waiting: deque[_Call] = deque()
        self._condition = Condition()
        self._is_closing = False
        self.trouble: str | None = None
        """Why the last commit failed; None when it did not."""
        self._thread = Thread(target=self._run, name="caxton-memory-writer", daemon=True)
        self._thread.start()

    async def write(self, apply: Apply[T], *, is_alone: bool = False) -> T:
        """Run `apply` in a transaction and return its result once it is on disk.

        Args:
            apply: Gets the connection and the change to note steps for the arena in.
            is_alone: Outside of any transaction: for what SQLite does not do within one.

        Raises:
            CaxtonError: What `apply` raised; then it changed nothing.
            Unavailable: `storage_unavailable`: the disk failed, or took longer than 30 s.
        """
        done: asyncio.Future[T] = self._loop.create_future()
        with self._condition:
            if self._is_closing:
                raise Unavailable("storage_unavailable", "The memory is closed.")
            if len(self._waiting) >= WAITING_MAX:
                raise Unavailable("node_busy", f"{WAITING_MAX:,} writes to memory wait already.")
            self._waiting.append(_Call(apply, done, is_alone))
            self._condition.notify()
        try:
            async with asyncio.timeout(WRITE_DEADLINE_S):
                return await done
        except TimeoutError as error:
            raise Unavailable(
                "storage_unavailable", f"The disk did not answer within {WRITE_DEADLINE_S:g} s."
            ) from error

    async def close(self) -> None:
        """Commit what waits, then close the connection."""
        with self._condition:
            self._is_closing = True
            self._condition.notify()
        await asyncio.to_thread(self._thread.join, CLOSE_DEADLINE_S)
        if not self._thread.is_alive():
            with suppress(sqlite3.Error):
                await asyncio.to_thread(self._connection.close)

    def _run(self) -> None:
        while batch := self._take():
            if batch[0].is_alone:
                self._run_alone(batch[0])
            else:
                self._commit(batch)

    def _take(self) -> list[_Call]:
        with self._condition:
            while not self._waiting and not self._is_closing:
                self._condition.wait()
            batch: list[_Call] = []
            while self._waiting and len(batch) < BATCH_MAX:
                if self._waiting[0].is_alone and batch:
                    break
                batch.append(self._waiting.popleft())
                if batch[0].is_alone:
                    break
            return batch

    def _run_alone(self, call: _Call) -> None:
        change = Change()
        try:
            result = call.apply(self._connection, change)
        except (sqlite3.Error, OSError, CaxtonError) as error:
            result = error if isinstance(error, CaxtonError) else self._unavailable(error)
        self._finish_arena(change)
        self._tell([(call, result)])

    def _commit(self, batch: list[_Call]) -> None:
        connection, change = self._connection, Change()
        results: list[tuple[_Call, Any]] = []
        try:
            connection.execute("BEGIN IMMEDIATE")
            together = self._apply_together(batch, change)
            if together is None:
                connection.execute("ROLLBACK")
                connection.execute("BEGIN IMMEDIATE")
                change = Change()
                together = [(call, self._apply(call, change)) for call in batch]
            results += together
            connection.execute("COMMIT")
            self.trouble = None
        except (sqlite3.Error, OSError) as error:
            # A full disk has rolled back by itself; then there is nothing left to undo.
            with suppress(sqlite3.Error):
                connection.execute("ROLLBACK")
            failure = self._unavailable(error)
            results = [(call, failure) for call in batch]
            change = Change()
        self._finish_arena(change)
        self._tell(results)

    def _apply_together(self, batch: list[_Call], change: Change) -> list[tuple[_Call, Any]] | None:
        """Run the calls one after another; None when one of them failed."""
        try:
            return [(call, call.apply(self._connection, change)) for call in batch]
        except sqlite3.IntegrityError:
            return None
        except (sqlite3.Error, OSError):
            raise
        except Exception:
            _log.debug("a write to memory failed; those beside it are done again", exc_info=True)
            return None

    def _apply(self, call: _Call, change: Change) -> Any:
        connection, step_count = self._connection, len(change.steps)
        connection.execute("SAVEPOINT one")
        try:
            result = call.apply(connection, change)
        except (CaxtonError, sqlite3.IntegrityError) as error:
            connection.execute("ROLLBACK TO one")
            del change.steps[step_count:]
            if not isinstance(error, CaxtonError):
                error = Bug("internal", f"A write broke a rule of the schema: {error}")
            result = error
        except (sqlite3.Error, OSError):
            raise
        except Exception as error:
            _log.exception("a write to memory failed")
            connection.execute("ROLLBACK TO one")
            del change.steps[step_count:]
            result = Bug("internal", f"A write to memory failed: {error!r}")
        connection.execute("RELEASE one")
        return result

    def _finish_arena(self, change: Change) -> None:
        try:
            for step in change.steps:
                step()
        except Exception:
            _log.exception("the arena could not be brought up to date; it is rebuilt")
            self._on_stale()

    def _unavailable(self, error: Exception) -> Unavailable:
        _log.error("memory could not be written", exc_info=error)
        self.trouble = str(error)
        return Unavailable(
            "storage_unavailable",
            f"Nothing can be written to memory: {error}",
            hint="Check the free space and the health of the disk of the data directory.",
        )

    def _tell(self, results: list[tuple[_Call, Any]]) -> None:
        try:
            self._loop.call_soon_threadsafe(_settle, results)
        except RuntimeError:
            _log.debug("the event loop is closed; nobody is left to tell")


def _settle(results: list[tuple[_Call, Any]]) -> None:
    for call, result in results:
        if call.done.done():
            continue
        if isinstance(result, Exception):
            call.done.set_exception(result)
        else:
            call.done.set_result(result)
