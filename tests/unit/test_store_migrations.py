"""Database files are brought forward, never backward, and never half way."""

import sqlite3
from contextlib import closing

import pytest

from caxton_node.domain.errors import Rejected
from caxton_node.store.migrations import Migration, load_migrations, migrate

FIRST = Migration(1, "one", "CREATE TABLE one (a INTEGER); INSERT INTO one VALUES (7);")
SECOND = Migration(2, "two", "ALTER TABLE one ADD COLUMN b TEXT DEFAULT 'x';")
BROKEN = Migration(2, "broken", "CREATE TABLE half (a INTEGER); INSERT INTO nowhere VALUES (1);")


@pytest.fixture
def database():
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as connection:
        yield connection


def tables(database) -> set[str]:
    return {name for (name,) in database.execute("SELECT name FROM sqlite_master")}


def version(database) -> int:
    return database.execute("PRAGMA user_version").fetchone()[0]


def test_the_shipped_migrations_are_numbered_without_a_gap():
    numbers = [migration.number for migration in load_migrations()]
    assert numbers == list(range(1, len(numbers) + 1))
    assert numbers


def test_a_new_file_gets_the_whole_schema(database):
    assert migrate(database, load_migrations()) == len(load_migrations())
    assert {"messages", "agents", "steps", "log"} <= tables(database)
    assert version(database) == len(load_migrations())


def test_a_current_file_is_left_alone(database):
    migrate(database, load_migrations())
    assert migrate(database, load_migrations()) == 0


def test_an_old_file_keeps_its_rows(database):
    migrate(database, [FIRST])
    assert migrate(database, [FIRST, SECOND]) == 1
    assert database.execute("SELECT a, b FROM one").fetchall() == [(7, "x")]
    assert version(database) == 2


def test_a_failed_migration_leaves_nothing_behind(database):
    with pytest.raises(sqlite3.OperationalError):
        migrate(database, [FIRST, BROKEN])
    assert tables(database) == {"one"}
    assert version(database) == 1
    assert not database.in_transaction


def test_a_newer_file_is_refused_with_what_to_do(database):
    database.execute("PRAGMA user_version = 99")
    with pytest.raises(Rejected) as caught:
        migrate(database, load_migrations())
    assert caught.value.code == "invalid_settings"
    assert "newer version" in caught.value.detail
    assert "another data directory" in caught.value.hint
    assert caught.value.facts["schema_found"] == 99
