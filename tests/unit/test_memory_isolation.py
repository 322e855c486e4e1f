"""What lies beneath the embedded memory knows of scopes too: index, arena, graphs and caches.

That no call ever shows another scope's row is held for every backend by the contract test. Here
each part is asked alone, so that a mistake in one is not covered by the check of the next.
"""

import asyncio
import re
import sqlite3
import sys

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from caxton_node.memory.backend import Search
from caxton_node.memory.finding import scope_rows
from caxton_node.memory.graph import Walk
from caxton_node.memory.records import GLOBAL, Access, NewFact, NewRelation, Scope
from caxton_node.memory.sqlite import SqliteMemory
from caxton_node.memory.wording import shelved
from tests.memory_model import WordEncoder

NOW = 1_800_000_000_000
MODEL = WordEncoder()
SCOPES = [
    Scope("agent", "default", "Ada"), Scope("agent", "default", "Bob"),
    Scope("agent", "other", "Ada"), Scope("workspace", "default"), GLOBAL,
]  # fmt: skip
WORDS = ["red", "green", "s1qred", "s2q", "café", "x_y"]

tellings = st.lists(
    st.tuples(
        st.sampled_from(SCOPES),
        st.sampled_from(["hub", "rim"]),
        st.lists(st.sampled_from(WORDS), min_size=1, max_size=3).map(" ".join),
    ),
    min_size=1,
    max_size=12,
)
accesses = st.lists(st.sets(st.sampled_from(SCOPES), max_size=3), min_size=1, max_size=6)


async def fill(memory, told) -> None:
    for number, (scope, entity, text) in enumerate(told):
        access = Access.only(scope)
        fact = NewFact(entity=entity, text=f"{text} {number}")
        (done,) = await memory.remember(access, scope, [fact], now=NOW)
        vector = MODEL.encode([fact.text])[0].tobytes()
        await memory.put_vectors([(done.observation_id, vector)], now=NOW)
        relation = NewRelation(source_entity="hub", target_entity=f"t{number}", type="has")
        await memory.relate(access, scope, [relation], now=NOW)


async def homes(memory) -> dict[int, int]:
    """Return the scope of every observation, by their rows."""
    return dict(
        await memory._readers.read(
            lambda connection: connection.execute("SELECT id, scope FROM observations").fetchall()
        )
    )


def index_words(connection) -> list[tuple[str, int]]:
    connection.execute(
        "CREATE VIRTUAL TABLE temp.vocabulary USING fts5vocab(main, words, instance)"
    )
    found = connection.execute("SELECT term, doc FROM temp.vocabulary").fetchall()
    connection.execute("DROP TABLE temp.vocabulary")
    return found


async def look(memory, scopes, home) -> None:
    access = Access(frozenset(scopes), frozenset())
    rows = await memory._readers.read(lambda one: scope_rows(one, sorted(scopes)))
    vector = MODEL.encode(["red green"])[0].tobytes()
    near = memory._keeper.current.search(vector, list(rows), 99)
    assert {home[one] for one, _ in near} <= set(rows)
    search = Search(question="red green s1qred s2q cafe x y", vector=vector, limit=99)
    hits = await memory.search(access, search, now=NOW)
    assert {one.observation.scope for one in hits} <= scopes
    assert len(hits) == sum(one in rows for one in home.values())
    if rows:
        view = await memory.walk(access, "hub", Walk())
        assert {one.scope for one, _ in view.entities} == set(rows.values())
        for row, scope in rows.items():
            graph = memory._keeper.graphs.get(row)
            assert graph.scope == scope
            assert all(node.entity.scope == scope for node in graph._nodes.values())


def test_no_character_splits_a_word_from_its_scope():
    connection = sqlite3.connect(":memory:")
    connection.execute(
        "CREATE VIRTUAL TABLE words USING fts5(text, tokenize = 'porter unicode61 "
        "remove_diacritics 0')"
    )
    letters = filter(str.isalnum, map(chr, range(sys.maxunicode + 1)))
    connection.executemany(
        "INSERT INTO words (rowid, text) VALUES (?, ?)",
        ((ord(one), shelved(1, f"ab{one}s2qcd {one}s2qz")) for one in letters),
    )
    connection.execute("CREATE VIRTUAL TABLE vocabulary USING fts5vocab(words, instance)")
    astray = connection.execute("SELECT doc, term FROM vocabulary WHERE term NOT LIKE 's1q%'")
    assert astray.fetchall() == []


@settings(deadline=None, max_examples=40, suppress_health_check=[HealthCheck.too_slow])
@given(tellings, accesses)
def test_no_part_ever_holds_or_gives_a_row_for_another_scope(tmp_path_factory, told, seen):
    async def run() -> None:
        memory = SqliteMemory(tmp_path_factory.mktemp("scopes") / "memory.db", is_synced=False)
        await memory.open()
        await memory.use_model(MODEL.identity, MODEL.dimensions)
        await fill(memory, told)
        home = await homes(memory)
        for term, observation_id in await memory._write_alone(index_words):
            assert re.match(rf"s{home[observation_id]}q", term), (term, observation_id)
        # One after another: what is kept of one question must not answer the next.
        for scopes in (*seen, *seen):
            await look(memory, scopes, home)
        counted = memory._counts._counts
        assert all(count <= len(home) for count in counted.values())
        for (_, rows), count in counted.items():
            assert count <= sum(one in rows for one in home.values())
        await memory.close()

    asyncio.run(run())
