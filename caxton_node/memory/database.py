"""The file that memory lives in: opened, checked, brought to the current schema, backed up.

One process owns it, by a lock beside it. A file that SQLite finds damaged is refused with the
latest backup named, and never written to.
"""

import fcntl
import os
import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from caxton_node.domain.errors import Conflict, Unavailable
from caxton_node.memory.wording import shelved
from caxton_node.store.migrations import load_migrations, migrate

__all__ = ["MemoryFile", "reading_storage"]

_BUSY_TIMEOUT_S: Final = 5.0
_STATEMENTS_CACHED: Final = 256
_BACKUP_PAGES: Final = 1_000


class MemoryFile:
    """The database of one node's memory.

    Args:
        path: Of the file; its folder is made when missing.
        is_synced: Wait for the disk at every commit.
    """

    def __init__(self, path: Path, *, is_synced: bool = True) -> None:
        self.path = path
        self._is_synced = is_synced
        self._lock_fd: int | None = None

    def open(self) -> sqlite3.Connection:
        """Lock, check and migrate the file; return the connection that writes. Blocks.

        Raises:
            Conflict: `state_conflict`: another process has it open.
            Rejected: `invalid_settings`: it was written by a newer version.
            Unavailable: `storage_unavailable`: it cannot be opened, or it is damaged.
        """
        with reading_storage(self.path):
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._lock()
        try:
            with reading_storage(self.path):
                connection = self._connect_writer()
                _check(connection)
                migrate(connection, load_migrations("caxton_node.memory"))
                return connection
        except BaseException:
            self.release()
            raise

    def release(self) -> None:
        """Let go of the lock."""
        if self._lock_fd is not None:
            os.close(self._lock_fd)
            self._lock_fd = None

    def connect_reader(self) -> sqlite3.Connection:
        """Return a connection that only reads."""
        connection = sqlite3.connect(
            f"{self.path.absolute().as_uri()}?mode=ro",
            uri=True,
            timeout=_BUSY_TIMEOUT_S,
            isolation_level=None,
            check_same_thread=False,
            cached_statements=_STATEMENTS_CACHED,
        )
        for setting in (
            "query_only = ON",
            "cache_size = -16384",
            "temp_store = MEMORY",
        ):
            connection.execute(f"PRAGMA {setting}").fetchall()
        return connection

    def back_up(self, connection: sqlite3.Connection, target: Path) -> int:
        """Copy the file as it is now to `target`, whole or not at all; return its bytes. Blocks.

        Writing goes on meanwhile.
        """
        draft = target.with_name(f".{target.name}.part")
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            copy = sqlite3.connect(draft)
            try:
                connection.backup(copy, pages=_BACKUP_PAGES, sleep=0.0)
                copy.execute("PRAGMA journal_mode = DELETE").fetchall()
            finally:
                copy.close()
            with draft.open("rb+") as file:
                os.fsync(file.fileno())
            draft.replace(target)
        finally:
            draft.unlink(missing_ok=True)
        return target.stat().st_size

    def put_in_place(self, backup: Path) -> Path:
        """Make a backup the file; return where the old one was moved.

        Raises:
            Conflict: `state_conflict`: a node has the file open.
            Unavailable: `storage_unavailable`: the backup cannot be read, or is damaged itself.
        """
        with reading_storage(self.path):
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._lock()
        try:
            return self._put_in_place(backup)
        finally:
            self.release()

    def _put_in_place(self, backup: Path) -> Path:
        with reading_storage(backup):
            check = sqlite3.connect(f"{backup.absolute().as_uri()}?mode=ro", uri=True)
            try:
                _check(check)
            finally:
                check.close()
            stamp = time.strftime("%Y%m%dT%H%M%S", time.gmtime())
            aside = self.path.with_name(f"{self.path.name}.damaged-{stamp}")
            copy = self.path.with_name(f".{self.path.name}.restored")
            copy.write_bytes(backup.read_bytes())
            with suppress(FileNotFoundError):
                self.path.replace(aside)
            for suffix in ("-wal", "-shm"):
                self.path.with_name(self.path.name + suffix).unlink(missing_ok=True)
            copy.replace(self.path)
            return aside

    def _lock(self) -> None:
        lock_path = self.path.with_name(self.path.name + ".lock")
        self._lock_fd = os.open(lock_path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(self._lock_fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            self.release()
            raise Conflict(
                "state_conflict",
                f"The memory {self.path} is in use by another process.",
                hint="Stop the other node, or give this one its own data directory.",
            ) from error

    def _connect_writer(self) -> sqlite3.Connection:
        connection = sqlite3.connect(
            self.path,
            timeout=_BUSY_TIMEOUT_S,
            isolation_level=None,
            check_same_thread=False,  # opened by one thread, then used by the writer's only
            cached_statements=_STATEMENTS_CACHED,
        )
        # What the schema makes the words of the index with.
        connection.create_function("shelved", 2, shelved, deterministic=True)
        for setting in (
            # A fact touches a dozen pages, each of which is written to the log as a whole: with
            # pages of 8 kB one fact takes a third longer. Counts for new files only.
            "page_size = 4096",
            # Free pages can be given back a few at a time. Counts for new files only.
            "auto_vacuum = INCREMENTAL",
            # What is forgotten is overwritten, not only unlinked.
            "secure_delete = ON",
            "journal_mode = WAL",
            f"synchronous = {'FULL' if self._is_synced else 'NORMAL'}",
            "foreign_keys = ON",
            "wal_autocheckpoint = 8192",
            "journal_size_limit = 134217728",
            "cache_size = -32768",
            "temp_store = MEMORY",
        ):
            connection.execute(f"PRAGMA {setting}").fetchall()
        return connection


def _check(connection: sqlite3.Connection) -> None:
    problem = connection.execute("PRAGMA quick_check(1)").fetchone()[0]
    if problem != "ok":
        raise sqlite3.DatabaseError(problem)


@contextmanager
def reading_storage(path: Path) -> Iterator[None]:
    """Turn what SQLite and the system raise into what a user can act upon."""
    try:
        yield
    except sqlite3.DatabaseError as error:
        is_damaged = not isinstance(error, sqlite3.OperationalError)
        raise Unavailable(
            "storage_unavailable",
            f"The memory {path} cannot be read: {error}",
            hint="It is damaged. Stop the node and put a backup in its place: caxton memory restore"
            if is_damaged
            else "Check that the data directory exists, is writable and has free space.",
        ) from error
    except OSError as error:
        raise Unavailable(
            "storage_unavailable",
            f"The memory {path} cannot be read: {error}",
            hint="Check that the data directory exists, is writable and has free space.",
        ) from error
