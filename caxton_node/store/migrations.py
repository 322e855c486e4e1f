"""Bringing a database file to the schema that this version of the program knows.

Each migration is one file, `migrations/0001_what_it_does.sql`, numbered without a gap and never
changed once released. The number of the last one applied is the file's `user_version`. A
migration runs in one transaction with that number: a crash leaves the file before or after it.

There is no way down. A file from a newer program is refused, not guessed at.
"""

import re
import sqlite3
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from importlib import resources
from typing import Final

from caxton_node.domain.errors import Rejected

__all__ = ["Migration", "load_migrations", "migrate"]

_FILE_NAME: Final = re.compile(r"(?P<number>\d{4})_(?P<name>[a-z0-9_]+)\.sql")


@dataclass(frozen=True, slots=True)
class Migration:
    """One step from schema `number - 1` to schema `number`."""

    number: int
    name: str
    sql: str


def load_migrations(package: str = "caxton_node.store") -> tuple[Migration, ...]:
    """Return the migrations that a package ships in its folder `migrations`, in order.

    Raises:
        ValueError: The files are misnamed or not numbered 1, 2, 3, … (a packaging mistake).
    """
    migrations = []
    for file in resources.files(package).joinpath("migrations").iterdir():
        match = _FILE_NAME.fullmatch(file.name)
        if match is None:
            raise ValueError(f"{file.name} is not named like 0001_what_it_does.sql")
        migrations.append(Migration(int(match["number"]), match["name"], file.read_text("utf-8")))
    migrations.sort(key=lambda migration: migration.number)
    if [migration.number for migration in migrations] != list(range(1, len(migrations) + 1)):
        raise ValueError("migrations must be numbered 1, 2, 3, … without a gap")
    return tuple(migrations)


def migrate(connection: sqlite3.Connection, migrations: Sequence[Migration]) -> int:
    """Apply what is missing, in order; return how many migrations were applied.

    Args:
        connection: In autocommit mode (`isolation_level=None`).
        migrations: All of them, numbered from 1.

    Raises:
        Rejected: `invalid_settings`: the file was written by a newer version.
        sqlite3.Error: The file cannot be read or written; it is as it was before the migration
            that failed.
    """
    found: int = connection.execute("PRAGMA user_version").fetchone()[0]
    if found > len(migrations):
        raise Rejected(
            "invalid_settings",
            f"The data directory was written by a newer version: its schema is number {found}, "
            f"this version knows schemas up to {len(migrations)}.",
            hint="Run the newer version, or choose another data directory.",
            facts={"schema_found": found, "schema_known": len(migrations)},
        )
    for migration in migrations[found:]:
        script = f"BEGIN IMMEDIATE;\n{migration.sql}\nPRAGMA user_version = {migration.number};"
        try:
            connection.executescript(script + "\nCOMMIT;")
        except sqlite3.Error:
            # Some errors have already rolled back; then there is nothing left to undo.
            with suppress(sqlite3.OperationalError):
                connection.execute("ROLLBACK")
            raise
    return len(migrations) - found
