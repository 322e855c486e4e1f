"""The connection that writes: opens the file, commits batches, keeps the books behind them.

Plain blocking code for one thread. A small batch without ordinary writes is one statement outside
any transaction: its step inserts, updates, commits and syncs with the interpreter lock released
throughout. The books (the low-water mark, the log's length) are kept after a batch was reported.
The next batch waits for that, so it is kept short: the copying is done beside, by a `Copier`.

Reference: https://sqlite.org/wal.html
"""

import fcntl
import logging
import os
import sqlite3
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from caxton_node.domain.errors import CaxtonError, Conflict, Rejected, Unavailable
from caxton_node.store.batch import Batch
from caxton_node.store.checkpoint import Copier
from caxton_node.store.many_rows import MANY, MANY_BYTES_MAX, ROWS_MAX, ManyRows
from caxton_node.store.migrations import load_migrations, migrate
from caxton_node.store.writes import run_writes

__all__ = ["MARK_LAG", "MARK_STEP", "SQLITE_VERSION_MIN", "Committer"]

SQLITE_VERSION_MIN: Final = (3, 38, 0)
"""The first with `->>`; `UPDATE … FROM` is older."""

MARK_LAG: Final = 32_768
"""How far the low-water mark trails the newest message. A start reads about so many rows; a
message that waits longer costs one row among the stragglers."""

MARK_STEP: Final = 1_024
"""How far the mark moves at a time: small, because the next batch waits for it (0.4 ms and a sync).
With a large batch it moves in the same transaction, and as many steps as are due."""

_MARK_STEPS_MAX: Final = 4
"""Of one transaction: more than a batch has messages."""

_CHECKPOINT_BYTES: Final = 4 * 1024 * 1024
"""About how much is journaled between two copies of the log into the database."""

_LOG_PAGES_MAX: Final = 4_096
"""A longer log is begun anew after its last pages were copied, which takes the writer 1 to 2 ms."""

_ROW_COST_BYTES: Final = 300
"""What a message costs the log besides its body: its row and its index entries. Only paces the
checkpoints, as the next does."""

_END_COST_BYTES: Final = 60
"""What its end costs the log, or any other entry."""

_BUSY_TIMEOUT_MS: Final = 5_000

_LOG: Final = logging.getLogger(__name__)


class Committer:
    """Owns the writing connection and the lock that keeps other processes out."""

    def __init__(self, path: Path, *, is_synced: bool, queries: Mapping[str, str]) -> None:
        self._path = path
        self._is_synced = is_synced
        self._queries = queries
        self._accept_many = ManyRows(queries["accept_many"])
        self._connection: sqlite3.Connection | None = None
        self._lock_fd: int | None = None
        self._copier = Copier(path)
        self._unchecked_bytes = 0
        self._is_log_ahead = False
        """Whether something was written since the last copy of the log ended."""
        self._highest_seq = 0
        self.mark = 1
        self.last_seq = 0

    def open(self) -> None:
        """Lock, open or create, and migrate the file.

        Raises:
            Conflict: `state_conflict`: another process has it open.
            Rejected: `invalid_settings`: written by a newer version, or SQLite is too old.
            Unavailable: `storage_unavailable`: it cannot be opened or read.
        """
        if sqlite3.sqlite_version_info < SQLITE_VERSION_MIN:
            raise Rejected(
                "invalid_settings",
                f"SQLite {sqlite3.sqlite_version} is too old.",
                hint="Use a Python whose sqlite3 module has SQLite 3.38 or newer.",
            )
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._lock()
            self._connection = self._connect()
            applied = migrate(self._connection, load_migrations())
            self._copier.open()
            self.mark, self.last_seq = self._connection.execute(
                self._queries["positions"]
            ).fetchone()
        except (sqlite3.Error, OSError) as error:
            self.close()
            # What the disk refuses is an operational error; what SQLite cannot read is not.
            is_damaged = isinstance(error, sqlite3.DatabaseError) and not isinstance(
                error, sqlite3.OperationalError
            )
            raise Unavailable(
                "storage_unavailable",
                f"The store {self._path} cannot be opened: {error}",
                hint="It is damaged. Put a backup in its place; or move it away, and lose the"
                " agents and messages in it."
                if is_damaged
                else "Check that the data directory exists, is writable and has free space.",
            ) from error
        except CaxtonError:
            self.close()
            raise
        self._highest_seq = self.last_seq
        if applied:
            _LOG.info("store migrated", extra={"path": str(self._path), "migrations": applied})

    def close(self) -> None:
        """Close the connection, which checkpoints the log, and let go of the lock."""
        self._copier.close()
        if self._connection is not None:
            self._connection.close()
            self._connection = None
        self._copier.release()
        if self._lock_fd is not None:
            os.close(self._lock_fd)
            self._lock_fd = None

    def commit(self, batch: Batch) -> Sequence[Any]:
        """Write a batch, all or nothing; return the results of its ordinary writes, in order.

        The result of an ordinary write that failed alone is its exception.

        Raises:
            sqlite3.Error: Nothing of the batch was kept.
        """
        connection = self._open_connection()
        is_many = len(batch.accepted) >= MANY and batch.size_bytes <= MANY_BYTES_MAX
        parameters = batch.journal_parameters(self.mark, are_accepted_apart=is_many)
        # Looked at first: a copy that ends during this commit may have copied it, too.
        was_copier_idle = self._copier.is_idle
        change_count = connection.total_changes
        results: Sequence[Any] = ()
        highest_seq = self._highest_seq
        if batch.accepted:
            highest_seq = max(highest_seq, batch.accepted[-1][0])
        mark = self.mark
        if not batch.writes and not batch.marks and not is_many:
            connection.execute(self._queries["accept_and_settle"], parameters)
        else:
            try:
                connection.execute("BEGIN IMMEDIATE")
                if is_many:
                    self._accept(connection, batch)
                if batch.settled or (batch.accepted and not is_many):
                    connection.execute(self._queries["accept_and_settle"], parameters)
                if batch.marks:
                    connection.execute(self._queries["mark"], (batch.mark_rows(),))
                results = run_writes(connection, self._queries, batch.writes)
                if is_many:
                    mark = self._advance_mark(connection, highest_seq, _MARK_STEPS_MAX)
                connection.execute("COMMIT")
            except BaseException:
                # A full disk has rolled back by itself; then there is nothing left to undo.
                with suppress(sqlite3.Error):
                    connection.execute("ROLLBACK")
                raise
        if was_copier_idle and connection.total_changes != change_count:
            self._is_log_ahead = True
        self._highest_seq, self.mark = highest_seq, mark
        self._unchecked_bytes += (
            batch.size_bytes
            + (_ROW_COST_BYTES - _END_COST_BYTES) * len(batch.accepted)
            + _END_COST_BYTES * batch.entry_count
        )
        return results

    def _accept(self, connection: sqlite3.Connection, batch: Batch) -> None:
        """Insert the new messages of a large batch."""
        rows = batch.rows()
        for begin in range(0, len(rows), ROWS_MAX):
            connection.execute(*self._accept_many.statement(rows[begin : begin + ROWS_MAX]))

    def _advance_mark(
        self, connection: sqlite3.Connection, highest_seq: int, steps_max: int
    ) -> int:
        """Move the low-water mark by the steps that are due; return where it is then."""
        steps = min(steps_max, (highest_seq - self.mark - MARK_LAG) // MARK_STEP)
        if steps <= 0:
            return self.mark
        mark = self.mark + steps * MARK_STEP
        connection.execute(self._queries["advance_mark"], (mark,))
        return mark

    def keep_books(self) -> None:
        """Move the low-water mark and see to the log's length, if either is due.

        Raises:
            sqlite3.Error: The file cannot be written; both will be tried after the next batch.
        """
        connection = self._open_connection()
        self.mark = self._advance_mark(connection, self._highest_seq, 1)
        copier = self._copier
        if not copier.is_idle:
            return
        if copier.log_pages >= _LOG_PAGES_MAX:
            # Only what came since the copier ended is left. With everything copied, the next
            # commit begins the log anew. What a reader holds back is copied another time.
            connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()
            copier.log_pages = 0
            self._is_log_ahead = False
        elif self._is_log_ahead and (
            self._unchecked_bytes >= _CHECKPOINT_BYTES or copier.has_failed
        ):
            self._is_log_ahead = False
            self._unchecked_bytes = 0
            copier.order()

    def _open_connection(self) -> sqlite3.Connection:
        assert self._connection is not None, "the committer is open"
        return self._connection

    def _lock(self) -> None:
        """Take the lock file beside the database; the system lets go of it when we die."""
        lock_path = self._path.with_name(self._path.name + ".lock")
        self._lock_fd = os.open(lock_path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(self._lock_fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise Conflict(
                "state_conflict",
                f"The store {self._path} is in use by another process.",
                hint="Stop the other node, or give this one its own data directory.",
            ) from error

    def _connect(self) -> sqlite3.Connection:
        connection = sqlite3.connect(
            self._path,
            timeout=_BUSY_TIMEOUT_MS / 1_000,
            isolation_level=None,
            check_same_thread=False,  # opened by one thread, then used by the writer's only
        )
        for setting in (
            # Fewer, fuller pages: measured 10 % cheaper a message than 4 KiB. New files only.
            "page_size = 8192",
            # Some builds zero what they free; the log below keeps the old bytes anyway.
            "secure_delete = OFF",
            "journal_mode = WAL",
            f"synchronous = {'FULL' if self._is_synced else 'NORMAL'}",
            "foreign_keys = ON",
            # Nobody's commit waits for a checkpoint, and none begins but on our word.
            "wal_autocheckpoint = 0",
            # After a surge the log file shrinks back.
            "journal_size_limit = 67108864",
            # No mmap: an I/O error under it kills the process instead of raising.
            "cache_size = -32768",
            "temp_store = MEMORY",
        ):
            connection.execute(f"PRAGMA {setting}").fetchall()
        return connection
