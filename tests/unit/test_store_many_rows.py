"""A large batch is written by a statement with a group of parameters for each row."""

import sqlite3
from contextlib import closing

import pytest

from caxton_node.domain.delivery import DeliveryStatus
from caxton_node.domain.message import Message
from caxton_node.domain.performatives import Performative
from caxton_node.store.batch import Batch
from caxton_node.store.committer import Committer
from caxton_node.store.many_rows import MANY, ROWS_MAX, ManyRows
from caxton_node.store.migrations import load_migrations, migrate
from caxton_node.store.protocol import Settlement
from caxton_node.store.queries import load_queries

SQL = "INSERT INTO t SELECT * FROM (VALUES (?, ?)) WHERE column1 IS NOT NULL"


def message(seq: int) -> Message:
    return Message(
        id=f"msg-{seq}",
        performative=Performative.INFORM,
        sender="ä🙂",
        receiver=f"agent{seq % 7}",
        content=b'"' + b"x" * (seq % 90) + b'"',
        conversation_id=f"conv-{seq % 5}",
        created_at=seq * 10,
    )


def table_after(folder, batches: list[Batch]) -> list[tuple]:
    folder.mkdir()
    committer = Committer(folder / "store.db", is_synced=False, queries=load_queries())
    committer.open()
    for batch in batches:
        committer.commit(batch)
    committer.close()
    with closing(sqlite3.connect(folder / "store.db")) as database:
        return database.execute("SELECT * FROM journaled ORDER BY seq").fetchall()


@pytest.mark.parametrize("count", [1, 63, 64, 65, 700, ROWS_MAX])
def test_every_row_is_inserted_and_nothing_else(count):
    rows = [(number, f"r{number}") for number in range(count)]
    with closing(sqlite3.connect(":memory:")) as database:
        database.execute("CREATE TABLE t (number, text)")
        database.execute(*ManyRows(SQL).statement(rows))
        assert database.execute("SELECT * FROM t ORDER BY number").fetchall() == rows


def test_statements_come_in_few_sizes():
    many = ManyRows(SQL)
    rows = [(number, "") for number in range(ROWS_MAX)]
    statements = {many.statement(rows[:count])[0] for count in range(1, ROWS_MAX + 1)}
    assert len(statements) < 16


def test_a_large_batch_writes_what_many_small_ones_do(tmp_path):
    count = ROWS_MAX + MANY + 1
    ends = [Settlement(seq, DeliveryStatus.DEAD, 5, reason="x") for seq in range(1, count, 3)]
    large = Batch()
    large.add([(seq, message(seq)) for seq in range(1, count)], ends, None)
    small = []
    for seq in range(1, count):
        batch = Batch()
        batch.add([(seq, message(seq))], [end for end in ends if end.seq == seq], None)
        small.append(batch)
    assert table_after(tmp_path / "large", [large]) == table_after(tmp_path / "small", small)


def test_of_two_messages_with_one_id_the_first_is_kept_in_a_large_batch(tmp_path):
    batch = Batch()
    for seq in range(1, MANY + 2):
        batch.add([(seq, message(min(seq, 2)))], (), None)
    assert [row[0] for row in table_after(tmp_path / "data", [batch])] == [1, 2]


def test_a_large_batch_that_fails_leaves_nothing(tmp_path):
    committer = Committer(tmp_path / "store.db", is_synced=False, queries=load_queries())
    committer.open()
    batch = Batch()
    batch.add([(seq, message(seq)) for seq in range(1, MANY + 1)], (), None)
    batch.add([(1, message(MANY + 1))], (), None)  # a number that is taken
    with pytest.raises(sqlite3.IntegrityError):
        committer.commit(batch)
    assert committer._open_connection().execute("SELECT count(*) FROM messages").fetchone() == (0,)
    committer.close()


def test_what_went_wrong_is_found_by_its_index():
    sql = load_queries()["gone_wrong_keys"]
    parameters = {"status": "dead", "cursor": 9, "limit": 3}
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as database:
        migrate(database, load_migrations())
        plan = database.execute(f"EXPLAIN QUERY PLAN {sql}", parameters).fetchall()
    assert "messages_gone_wrong (status=? AND seq<?)" in str(plan)
