"""A memory that an older version wrote is found in by words after the schema has changed."""

import sqlite3

from caxton_node.memory.backend import Search
from caxton_node.memory.records import Access, Scope
from caxton_node.memory.sqlite import SqliteMemory
from caxton_node.store.migrations import load_migrations, migrate

NOW = 1_800_000_000_000
ADA = Access.only(Scope("agent", "default", "Ada"))


def first_schema(path) -> None:
    connection = sqlite3.connect(path, isolation_level=None)
    migrate(connection, load_migrations("caxton_node.memory")[:1])
    connection.execute("INSERT INTO scopes VALUES (1, 'agent', 'default', 'Ada')")
    connection.execute("INSERT INTO entities VALUES (1, 1, 'seal', 'seal', 'thing', '{}', 1, 0, 0)")
    connection.execute(
        "INSERT INTO observations (scope, entity, kind, attribute, subject, text, context, digest, "
        "confidence, strength, created_at, valid_from, is_pinned, use_count, used_at, agent, "
        "conversation, message, model) "
        "VALUES (1, 1, 'fact', '', 'seal', 'It dives for étages', '', x'00', 1, 1, 0, 0, 0, 0, 0, "
        "'', '', '', '')"
    )
    connection.execute(
        "INSERT INTO words (rowid, shelf, subject, text, context) "
        "SELECT id, shelf, subject, text, context FROM observations"
    )
    connection.close()


async def test_words_that_the_first_schema_indexed_are_found(tmp_path):
    first_schema(tmp_path / "memory.db")
    memory = SqliteMemory(tmp_path / "memory.db", is_synced=False)
    await memory.open()
    for question in ("diving", "Etage"):
        (hit,) = await memory.search(ADA, Search(question=question), now=NOW)
        assert hit.observation.text == "It dives for étages"
    assert await memory.check() == []
    await memory.close()
