"""Facts told together and facts told one by one leave the same rows behind."""

from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from caxton_node.memory import bulk
from caxton_node.memory.database import MemoryFile
from caxton_node.memory.keeper import ArenaKeeper
from caxton_node.memory.records import Kind, NewFact, Scope, Source
from caxton_node.memory.writer import Change
from caxton_node.memory.writing import close_fact, remember

SCOPES = (Scope("global"), Scope("agent", "default", "Ada"))
TABLES = ("entities", "entity_versions", "observations", "unembedded", "unconsolidated")

FACTS = st.builds(
    NewFact,
    entity=st.sampled_from(["Ada", "ada", "Oslo", "the office", "Bob"]),
    text=st.sampled_from(["is here", "Is here.", "is there", "is green", "moved", "costs 3"]),
    type=st.sampled_from(["thing", "thing", "person"]),
    kind=st.sampled_from([Kind.FACT, Kind.FACT, Kind.EPISODE]),
    attribute=st.sampled_from(["", "", "", "place"]),
    context=st.sampled_from(["", "they asked"]),
    valid_from=st.sampled_from([None, None, 50]),
    valid_to=st.sampled_from([None, None, None, 9_000]),
    ttl_s=st.sampled_from([None, 60.0]),
    metadata=st.sampled_from([{}, {}, {"floor": 2}]),
    source=st.sampled_from([Source(), Source(conversation_id="c1", agent="Ada")]),
)
CALLS = st.lists(
    st.tuples(st.sampled_from(SCOPES), st.lists(FACTS, min_size=1, max_size=12), st.booleans()),
    max_size=6,
)


def rows_after(calls, folder: Path, bulk_min: int) -> dict[str, list[tuple]]:
    file = MemoryFile(folder / f"{bulk_min}.db", is_synced=False)
    connection, keeper, answers = file.open(), ArenaKeeper(), []
    before, bulk.BULK_MIN = bulk.BULK_MIN, bulk_min
    try:
        for turn, (scope, facts, is_closed) in enumerate(calls):
            answers += remember(
                connection, Change(), keeper=keeper, scope=scope, facts=facts, now=1_000 + turn
            )
            last = answers[-1].observation_id
            open_rows = connection.execute(
                "SELECT scope FROM observations WHERE id = ? AND valid_to IS NULL", (last,)
            ).fetchall()
            if is_closed and open_rows:
                close_fact(
                    connection, Change(), keeper=keeper, scopes=list(open_rows[0]),
                    observation_id=last, at=2_000,
                )  # fmt: skip
        found = {table: connection.execute(f"SELECT * FROM {table}").fetchall() for table in TABLES}
        connection.execute("INSERT INTO words (words, rank) VALUES ('integrity-check', 1)")
        return found | {"answers": answers}
    finally:
        bulk.BULK_MIN = before
        connection.close()
        file.release()


@settings(deadline=None, max_examples=60)
@given(CALLS)
def test_facts_told_together_leave_what_facts_told_one_by_one_leave(tmp_path_factory, calls):
    folder = tmp_path_factory.mktemp("bulk")
    assert rows_after(calls, folder, 1) == rows_after(calls, folder, 1_000)


def test_new_facts_are_written_together(tmp_path):
    file = MemoryFile(tmp_path / "memory.db", is_synced=False)
    connection = file.open()
    facts = [NewFact(entity=f"thing {n}", text=f"number {n}") for n in range(bulk.AT_ONCE)]
    scope = connection.execute("INSERT INTO scopes VALUES (1, 'global', '', '') RETURNING id")
    (row,) = scope.fetchone()
    written = bulk.in_bulk(connection, scope=row, facts=facts, now=5)
    assert written is not None
    assert bulk.in_bulk(connection, scope=row, facts=facts, now=6) is None
    connection.close()
    file.release()
