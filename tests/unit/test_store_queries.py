"""Named SQL is found by its name, and all of it is SQL that fits the schema."""

import re
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from caxton_node import store
from caxton_node.store.migrations import load_migrations, migrate
from caxton_node.store.queries import load_queries, parse_queries

QUERIES = load_queries()


def test_a_file_is_cut_at_its_names():
    text = (
        "-- about the file\n\n-- name: one\nSELECT 1,\n  2\n\n-- a remark\n-- name: two\nSELECT 3\n"
    )
    assert parse_queries(text) == {"one": "SELECT 1,\n  2", "two": "SELECT 3"}


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("SELECT 1", "without a name"),
        ("-- name: a\n-- name: b\nSELECT 1", "'a' is empty"),
        ("-- name: a\nSELECT 1\n-- name: a\nSELECT 2", "line 3: there are two"),
    ],
)
def test_a_file_that_makes_no_sense_is_refused(text, complaint):
    with pytest.raises(ValueError, match=complaint):
        parse_queries(text)


@pytest.mark.parametrize("name", sorted(QUERIES))
def test_each_statement_fits_the_schema(name):
    sql = QUERIES[name]
    named = dict.fromkeys(re.findall(r"(?<!\w):([a-z_]+)", sql), 0)
    parameters = named or (0,) * sql.count("?")
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as database:
        migrate(database, load_migrations())
        assert database.execute(f"EXPLAIN {sql}", parameters).fetchall()


@pytest.mark.parametrize("name", sorted(QUERIES))
def test_each_statement_is_used(name):
    modules = Path(store.__file__).parent.glob("*.py")
    assert any(f'"{name}"' in module.read_text() for module in modules)
