"""The one writer: gathers on the event loop, commits in one thread, reports once a batch.

Natural group commit. While the thread is idle, what arrives within one iteration of the loop is
one batch; while it is busy, the next batch gathers. Under load batches grow by themselves, and
with them the number of messages that share one sync.

After a commit the thread wakes the loop once; the callbacks of the batch then run there, in
order. There is no future and no task for a journaled message.

When a batch fails (a full disk, an I/O error), whoever gave a callback or waits is told
`storage_unavailable`. Journal calls without a callback are kept, whole, and go in front of the
next batch.
"""

import asyncio
import logging
import sqlite3
from collections import deque
from collections.abc import Sequence
from queue import SimpleQueue
from threading import Thread
from typing import Any, Final

from caxton_node.domain.errors import Unavailable
from caxton_node.domain.message import Message
from caxton_node.store.batch import Batch, JournalCall, SingleWrite, Write
from caxton_node.store.committer import Committer
from caxton_node.store.protocol import Committed, Mark, Settlement

__all__ = ["IN_FLIGHT_MAX", "KEPT_ENTRIES_MAX", "Writer"]

KEPT_ENTRIES_MAX: Final = 100_000
"""Entries of failed calls without a callback that are kept to be tried again. Beyond it the
oldest are lost, and the log says so."""

IN_FLIGHT_MAX: Final = 4
"""Batches that the thread has at once. Few, so that what is kept from a failed one goes to disk
long before the low-water mark could pass it."""

_RETRY_DELAY_S: Final = 0.5
"""Until kept entries are tried again when nothing else arrives."""

_WRITE_DEADLINE_S: Final = 30.0
"""For one ordinary write to reach the disk."""

_CLOSE_DEADLINE_S: Final = 30.0
"""For what waits to reach the disk when the store is closed."""

_LOG: Final = logging.getLogger(__name__)


class Writer:
    """Group commit in front of a `Committer`. All methods belong to the event loop."""

    def __init__(self, committer: Committer) -> None:
        self._committer = committer
        self._open = Batch()
        self._full: deque[Batch] = deque()
        self._kept: deque[JournalCall] = deque()
        self._kept_count = 0
        self._queue: SimpleQueue[Batch | None] = SimpleQueue()
        self._thread: Thread | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._is_scheduled = False
        self._in_flight = 0
        self._retry: asyncio.TimerHandle | None = None
        self._reported = asyncio.Event()
        self.last_seq = 0
        self.backlog = 0
        self.trouble: str | None = None
        """Why the last batch could not be written; None when it was."""

    async def open(self) -> None:
        """Open the file and start the thread.

        Raises:
            Conflict | Rejected | Unavailable: As `Committer.open`.
        """
        assert self._thread is None, "a writer is opened once"
        self._loop = asyncio.get_running_loop()
        await asyncio.to_thread(self._committer.open)
        self.last_seq = self._committer.last_seq
        # A daemon: a disk that never answers must not keep the process from ending.
        self._thread = Thread(target=self._run, name="caxton-store-writer", daemon=True)
        self._thread.start()

    async def close(self) -> None:
        """Write what waits, stop the thread, close the file. Bounded: 30 s for each."""
        if self._thread is None:
            return
        try:
            async with asyncio.timeout(_CLOSE_DEADLINE_S):
                while self.backlog or self._in_flight or self._open.callbacks:
                    self._reported.clear()
                    had_kept = bool(self._kept)
                    self._hand_over()
                    await self._reported.wait()
                    if had_kept and self._kept:
                        break  # tried again, and failed again
        except TimeoutError:
            _LOG.warning("store closed before its backlog was written")
        if self._retry is not None:
            self._retry.cancel()
        if self._kept:
            _LOG.error("journal entries lost", extra={"entries": self._kept_count})
        self._queue.put(None)
        thread, self._thread = self._thread, None
        await asyncio.to_thread(thread.join, _CLOSE_DEADLINE_S)
        if not thread.is_alive():
            await asyncio.to_thread(self._committer.close)

    async def idle(self) -> None:
        """Wait until nothing waits for the disk: for tests and measurements."""
        async with asyncio.timeout(_WRITE_DEADLINE_S):
            while self.backlog or self._in_flight:
                self._reported.clear()
                await self._reported.wait()

    def append(
        self,
        accepted: Sequence[tuple[int, Message]],
        settled: Sequence[Settlement],
        committed: Committed | None,
        marks: Sequence[Mark] = (),
        packed: Sequence[bytes] = (),
    ) -> None:
        """See `Store.append`."""
        assert self._thread is not None, "the store is open"
        batch = self._open
        if batch.is_full:
            batch = self._batch()
        batch.add(accepted, settled, committed, marks, packed)
        self.backlog += len(accepted) + len(settled) + len(marks)
        if accepted:
            self.last_seq = max(self.last_seq, accepted[-1][0])
        if not self._is_scheduled and not self._in_flight:
            self._schedule()

    def raise_last_seq(self, seq: int) -> None:
        """Take note of a number that is used otherwise than by `append`."""
        self.last_seq = max(self.last_seq, seq)

    async def write(self, write: Write) -> Any:
        """Do an ordinary write and return its result once it is on disk.

        Cancelling the caller does not undo the write.

        Raises:
            CaxtonError: What the write itself raised.
            Unavailable: `storage_unavailable`: the batch failed, or took longer than 30 s.
        """
        if self._thread is None or self._loop is None:
            raise Unavailable("storage_unavailable", "The store is closed.")
        done = write.done = self._loop.create_future()
        self._batch().add_write(write)
        self.backlog += 1
        self._schedule()
        try:
            async with asyncio.timeout(_WRITE_DEADLINE_S):
                return await done
        except TimeoutError as error:
            raise Unavailable(
                "storage_unavailable", f"The disk did not answer within {_WRITE_DEADLINE_S:g} s."
            ) from error

    async def flush(self) -> None:
        """Return once everything appended so far is on disk.

        Raises:
            Unavailable: `storage_unavailable`: a batch failed, or took longer than 30 s.
        """
        if not self.backlog:
            return
        await self.write(SingleWrite(lambda _: None))
        if self._kept:
            # A batch before ours failed. What it left goes in front of whatever comes next.
            await self.write(SingleWrite(lambda _: None))

    def _batch(self) -> Batch:
        if self._open.is_full:
            # A full batch gains nothing by waiting: the thread finds it without the loop's help.
            self._full.append(self._open)
            self._open = Batch()
            if self._in_flight < IN_FLIGHT_MAX:
                self._send(self._full.popleft())
        return self._open

    def _schedule(self) -> None:
        """See to it that what waits is handed over at the end of this iteration of the loop."""
        if not self._is_scheduled and not self._in_flight:
            self._is_scheduled = True
            assert self._loop is not None
            self._loop.call_soon(self._hand_over)

    def _hand_over(self) -> None:
        """Give the thread full batches, and when it is idle the open one."""
        self._is_scheduled = False
        while self._full and self._in_flight < IN_FLIGHT_MAX:
            self._send(self._full.popleft())
        if not self._in_flight:
            batch, self._open = self._open, Batch()
            self._send(batch)

    def _send(self, batch: Batch) -> None:
        """Give the thread a batch, with what was kept in front of it."""
        if self._kept:
            again = Batch()
            for call in self._kept:
                again.add(call.accepted, call.settled, None)
            self._kept.clear()
            self._kept_count = 0
            again.extend(batch)
            batch = again
        if batch.entry_count or batch.callbacks:
            self._in_flight += 1
            self._queue.put(batch)

    def _run(self) -> None:
        """Commit batches until told to stop. Runs in the thread."""
        loop = self._loop
        assert loop is not None
        while (batch := self._queue.get()) is not None:
            results: Sequence[Any] = ()
            failure: Exception | None = None
            try:
                results = self._committer.commit(batch)
            except Exception as error:
                failure = error
            try:
                loop.call_soon_threadsafe(self._finish, batch, results, failure)
            except RuntimeError:
                return  # the loop was closed without closing the store; nobody is left to tell
            try:
                self._committer.keep_books()
            except sqlite3.Error:
                _LOG.warning("store upkeep failed; it is tried again", exc_info=True)

    def _finish(self, batch: Batch, results: Sequence[Any], failure: Exception | None) -> None:
        """Report a batch. The next one goes first, so that the thread works meanwhile."""
        self._in_flight -= 1
        self.backlog -= batch.entry_count
        unavailable: Unavailable | None = None
        if failure is None:
            if self.trouble is not None and batch.entry_count:
                self.trouble = None
                _LOG.warning("the store can write again")
        else:
            unavailable = self._failed(batch, failure)
            results = [unavailable] * len(batch.writes)
        if self._full or self._open.entry_count or self._open.callbacks:
            self._hand_over()
        for callback in batch.callbacks:
            try:
                callback(unavailable)
            except Exception:
                _LOG.exception("a commit callback failed")
        for write, result in zip(batch.writes, results, strict=True):
            if write.done is None or write.done.done():
                continue
            if isinstance(result, Exception):
                write.done.set_exception(result)
            else:
                write.done.set_result(result)
        self._reported.set()

    def _failed(self, batch: Batch, failure: Exception) -> Unavailable:
        """Log a failed batch, keep its silent calls, and return what the others are told."""
        is_known = self.trouble == str(failure)
        self.trouble = str(failure)
        # A full disk fails every batch: it is told once, and how it looks from inside is no news.
        _LOG.log(
            logging.DEBUG if is_known else logging.ERROR,
            "a batch could not be written: %s",
            failure,
            exc_info=None if isinstance(failure, sqlite3.OperationalError) else failure,
            extra={"entries": batch.entry_count, "kept_calls": len(batch.silent)},
        )
        # A broken rule of the schema is a bug and would fail again for ever.
        if isinstance(failure, sqlite3.DatabaseError) and not isinstance(
            failure, sqlite3.IntegrityError | sqlite3.DataError
        ):
            self._keep(batch.silent)
        return Unavailable(
            "storage_unavailable",
            f"Nothing can be written to disk: {failure}",
            hint="Check the free space and the health of the disk of the data directory.",
        )

    def _keep(self, calls: Sequence[JournalCall]) -> None:
        for call in calls:
            self._kept.append(call)
            self._kept_count += call.entry_count
            self.backlog += call.entry_count
        lost = 0
        while self._kept_count > KEPT_ENTRIES_MAX:
            entry_count = self._kept.popleft().entry_count
            self._kept_count -= entry_count
            self.backlog -= entry_count
            lost += entry_count
        if lost:
            _LOG.error("journal entries lost", extra={"entries": lost})
        if self._kept:
            assert self._loop is not None
            if self._retry is not None:
                self._retry.cancel()
            self._retry = self._loop.call_later(_RETRY_DELAY_S, self._hand_over)
