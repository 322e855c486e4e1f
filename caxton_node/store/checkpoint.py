"""Copying the log into the database beside the writer, so that no commit waits for the disk twice.

SQLite can checkpoint on another connection while the writer appends to the log. Two things are
left to do. The log begins anew only once everything in it is copied, which under load is never
so: the writer has to copy the last pages itself (`Committer.keep_books`). And SQLite syncs the
database only then; we sync it after every copy, so that little is left for that moment.

One thread writes and this one copies, on the writer's word and never while the writer copies. The
word is given only when something was written since the last copy ended. So the log cannot begin
anew while a copy starts: that takes a log of which everything is copied. (Versions of SQLite
before 3.51.3 can lose pages where a commit begins the log anew while a checkpoint starts.)

Reference: https://sqlite.org/wal.html, "Checkpointing" and "The WAL-Reset Bug".
"""

import logging
import os
import sqlite3
from pathlib import Path
from queue import SimpleQueue
from threading import Thread
from typing import Final

__all__ = ["Copier"]

_CLOSE_DEADLINE_S: Final = 30.0

_LOG: Final = logging.getLogger(__name__)


class Copier:
    """A thread and a connection that copy the log when they are told to.

    All but `_run` and `_copy` belongs to the thread that writes.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._orders: SimpleQueue[bool] = SimpleQueue()
        self._connection: sqlite3.Connection | None = None
        self._thread: Thread | None = None
        self._fd: int | None = None
        self.is_idle = True
        """Whether the last order was carried out."""
        self.has_failed = False
        """Whether the last order could not be carried out."""
        self.log_pages = 0
        """How long the log was after the last copy."""

    def open(self) -> None:
        """Connect and start the thread; the file is in WAL mode already.

        Raises:
            sqlite3.Error | OSError: It cannot be opened.
        """
        self._fd = os.open(self._path, os.O_RDONLY | os.O_CLOEXEC)
        # Used by its thread only, but opened here, where a failure is told.
        self._connection = sqlite3.connect(
            self._path, isolation_level=None, check_same_thread=False
        )
        self._thread = Thread(target=self._run, name="caxton-store-copier", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Finish what was ordered, stop the thread and disconnect. Bounded: 30 s."""
        if self._thread is not None:
            self._orders.put(False)
            self._thread.join(_CLOSE_DEADLINE_S)
            if self._thread.is_alive():
                return  # a disk that does not answer; the process is about to end
            self._thread = None
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def release(self) -> None:
        """Let go of the file, once every connection of this process is closed.

        Closing any descriptor of a file gives up all locks that the process holds on it.
        """
        if self._fd is not None and self._thread is None:
            os.close(self._fd)
            self._fd = None

    def order(self) -> None:
        """Have everything copied that is in the log now."""
        assert self.is_idle, "one order at a time"
        self.is_idle = False
        self._orders.put(True)

    def _run(self) -> None:
        while self._orders.get():
            try:
                self.log_pages = self._copy()
                self.has_failed = False
            except Exception:
                _LOG.warning("the log could not be copied; it is tried again", exc_info=True)
                self.has_failed = True
            self.is_idle = True

    def _copy(self) -> int:
        """Copy and sync; return how many pages the log has, copied or not."""
        assert self._connection is not None, "the copier is open"
        assert self._fd is not None, "the copier is open"
        # Passive: neither readers nor the writer are waited for.
        row = self._connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
        os.fdatasync(self._fd)
        log_pages: int = row[1]
        return log_pages
