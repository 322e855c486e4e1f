"""An agent's state: JSON values under names of its choice, beyond conversations and restarts.

One SQLite file in the agent's own folder. A call writes all its values or none, and they are on
the disk when it returns. Writing the same again changes nothing, so a call that is repeated after
a crash does no harm.

A replica of the agent on another node has a state of its own. Blocking: call it in a thread.
"""

import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import msgspec

__all__ = ["KEY_LENGTH_MAX", "StateError", "StateLimits", "States"]

KEY_LENGTH_MAX: Final = 256
BUSY_TIMEOUT_S: Final = 5.0
SCHEMA_VERSION: Final = 1

_SCHEMA: Final = (
    "CREATE TABLE state (key TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT, WITHOUT ROWID"
)


class StateError(Exception):
    """The operation cannot be done. The text is for a model."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StateLimits:
    """How much an agent may keep."""

    key_count_max: int = 10_000
    value_bytes_max: int = 256_000
    total_bytes_max: int = 20_000_000


class States:
    """The state in one file.

    Args:
        path: Of the file; it and its folder are made at the first value.
        limits: How much may be kept.
    """

    def __init__(self, path: Path, limits: StateLimits | None = None) -> None:
        self._path = path
        self._limits = limits or StateLimits()

    def store(self, values: Mapping[str, Any]) -> None:
        """Keep values, all or none; one under a name that is there replaces it.

        Raises:
            StateError: A value is too large, or there would be too much.
        """
        rows = [(key, self._encoded(key, value)) for key, value in values.items()]
        with self._writing() as connection:
            connection.executemany(
                "INSERT INTO state VALUES (?, ?) "
                "ON CONFLICT (key) DO UPDATE SET value = excluded.value",
                rows,
            )
            count, size_bytes = connection.execute(
                "SELECT count(*), coalesce(sum(length(CAST(value AS BLOB))), 0) FROM state"
            ).fetchone()
            if count > self._limits.key_count_max:
                raise StateError(f"At most {self._limits.key_count_max:,} keys are kept.")
            if size_bytes > self._limits.total_bytes_max:
                raise StateError(f"At most {self._limits.total_bytes_max:,} bytes are kept in all.")

    def retrieve(self, keys: Sequence[str]) -> dict[str, Any]:
        """Return the values that are there, by their keys.

        Raises:
            StateError: The file cannot be read.
        """
        with self._reading() as connection:
            if connection is None:
                return {}
            rows = connection.execute(
                "SELECT key, value FROM state WHERE key IN (SELECT value FROM json_each(?))",
                (msgspec.json.encode(list(keys)).decode(),),
            ).fetchall()
        found = {key: msgspec.json.decode(value) for key, value in rows}
        return {key: found[key] for key in keys if key in found}

    def delete(self, key: str) -> bool:
        """Forget a value; return whether there was one.

        Raises:
            StateError: The file cannot be written.
        """
        if not self._path.exists():
            return False
        with self._writing() as connection:
            return connection.execute("DELETE FROM state WHERE key = ?", (key,)).rowcount > 0

    def keys(self, prefix: str, *, limit: int) -> tuple[list[str], int]:
        """Return the first keys that begin with a text, and how many there are.

        Raises:
            StateError: The file cannot be read.
        """
        with self._reading() as connection:
            if connection is None:
                return [], 0
            matching = "substr(key, 1, length(:prefix)) = :prefix"
            (total,) = connection.execute(
                f"SELECT count(*) FROM state WHERE {matching}",  # noqa: S608 - a constant
                {"prefix": prefix},
            ).fetchone()
            rows = connection.execute(
                f"SELECT key FROM state WHERE {matching} ORDER BY key LIMIT :limit",  # noqa: S608 - a constant
                {"prefix": prefix, "limit": limit},
            )
            return [key for (key,) in rows], total

    def _encoded(self, key: str, value: Any) -> str:
        data = msgspec.json.encode(value)
        if len(data) > self._limits.value_bytes_max:
            raise StateError(
                f"The value of {key!r} has {len(data):,} bytes as JSON; "
                f"at most {self._limits.value_bytes_max:,}."
            )
        return data.decode()

    @contextmanager
    def _writing(self) -> Iterator[sqlite3.Connection]:
        with _telling():
            self._path.parent.mkdir(parents=True, exist_ok=True)
            with closing(self._connect()) as connection:
                connection.execute("BEGIN IMMEDIATE")
                try:
                    if _schema_version(connection) == 0:
                        connection.execute(_SCHEMA)
                        connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
                    yield connection
                    connection.execute("COMMIT")
                except BaseException:
                    if connection.in_transaction:
                        connection.execute("ROLLBACK")
                    raise

    @contextmanager
    def _reading(self) -> Iterator[sqlite3.Connection | None]:
        """Yield a connection; None where nothing was ever kept."""
        with _telling():
            if not self._path.exists():
                yield None
                return
            with closing(self._connect()) as connection:
                yield connection if _schema_version(connection) else None

    def _connect(self) -> sqlite3.Connection:
        connection = sqlite3.connect(self._path, timeout=BUSY_TIMEOUT_S, isolation_level=None)
        connection.execute("PRAGMA synchronous = FULL")
        return connection


@contextmanager
def _telling() -> Iterator[None]:
    """Turn what the disk says into what a model can read."""
    try:
        yield
    except (sqlite3.Error, OSError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise StateError(f"The state cannot be used: {reason}.") from error


def _schema_version(connection: sqlite3.Connection) -> int:
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    if version > SCHEMA_VERSION:
        raise StateError("The state was written by a newer version of this program.")
    return int(version)
