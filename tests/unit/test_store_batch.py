"""A batch turns calls into the parameters of one statement."""

import asyncio
import sqlite3
from contextlib import closing

import orjson
import pytest

from caxton_node.domain.delivery import DeliveryStatus
from caxton_node.domain.message import Message, decode_message
from caxton_node.domain.performatives import Performative
from caxton_node.store import batch as batch_module
from caxton_node.store.batch import Batch, RowKind, RowsWrite, SingleWrite
from caxton_node.store.migrations import load_migrations, migrate
from caxton_node.store.protocol import Settlement
from caxton_node.store.queries import load_queries
from caxton_node.store.sqlite import SqliteStore
from caxton_node.store.storable_text import storable_text
from caxton_node.store.writes import run_writes


def message(seq: int, **more) -> Message:
    return Message(
        id=f"msg-{seq}", performative=Performative.INFORM, sender="a", receiver="b", **more
    )


def bodies(batch: Batch) -> list[Message]:
    rows, packed, _, _ = batch.journal_parameters(mark=0)
    return [
        decode_message(packed[offset - 1 : offset - 1 + size])
        for *_, offset, size in orjson.loads(rows)
    ]


def test_each_row_points_at_its_own_body():
    batch = Batch()
    sent = [message(seq, content=b"1" * seq) for seq in range(1, 6)]
    batch.add(list(enumerate(sent[:2], 1)), (), None)
    batch.add(list(enumerate(sent[2:], 3)), (), None)
    assert bodies(batch) == sent


def test_rows_still_point_at_their_bodies_after_two_batches_became_one():
    first, second = Batch(), Batch()
    first.add([(1, message(1))], (), None)
    second.add([(2, message(2)), (3, message(3))], [Settlement(1, DeliveryStatus.DEAD, 5)], print)
    first.extend(second)
    assert bodies(first) == [message(1), message(2), message(3)]
    assert (first.entry_count, first.callbacks, len(first.silent)) == (4, [print], 1)


def test_settlements_below_the_mark_are_named_late():
    batch = Batch()
    batch.add((), [Settlement(seq, DeliveryStatus.DELIVERED, 5) for seq in (3, 9, 10, 11)], None)
    assert orjson.loads(batch.journal_parameters(mark=10)[3]) == [3, 9]


def test_a_message_that_cannot_be_packed_leaves_the_batch_as_it_was():
    batch = Batch()
    with pytest.raises(TypeError):
        batch.add([(1, message(1)), (2, message(2, metadata={"k": object()}))], (), print)
    assert batch == Batch()


def test_a_batch_is_full_by_count_or_by_size(monkeypatch):
    monkeypatch.setattr(batch_module, "BATCH_ENTRIES_MAX", 2)
    monkeypatch.setattr(batch_module, "BATCH_BYTES_MAX", 1_000)
    by_count, by_size = Batch(), Batch()
    by_count.add([(1, message(1))], (), None)
    assert not by_count.is_full
    by_count.add((), [Settlement(1, DeliveryStatus.DEAD, 5)], None)
    by_size.add([(1, message(1, content=b"1" * 1_000))], (), None)
    assert by_count.is_full
    assert by_size.is_full


@pytest.mark.parametrize(
    ("text", "stored"),
    [("plain", "plain"), ("ä🙂", "ä🙂"), ("a\0", "a\ufffd"), ("ä\0\udcff", "ä\ufffd\ufffd")],
)
def test_text_is_made_storable(text, stored):
    assert storable_text(text) == stored


def test_rows_of_a_kind_between_two_single_writes_are_one_statement():
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as database:
        migrate(database, load_migrations())
        statements: list[str] = []
        database.set_trace_callback(statements.append)
        log = RowsWrite(RowKind.LOG, [("alice", 1, "info", "x", None)])
        usage = RowsWrite(RowKind.USAGE, [("alice", "c", "2026-01-31", 1, 1, 0.5)])
        single = SingleWrite(
            lambda connection: connection.execute("SELECT count(*) FROM log").fetchone()[0]
        )
        results = run_writes(database, load_queries(), [log, usage] * 50 + [single] + [log] * 50)
        tops = [sql for sql in statements if not sql.startswith("--")]
        assert sum("INSERT INTO log" in sql for sql in tops) == 2
        assert sum("INSERT INTO usage_by_day" in sql for sql in tops) == 1
        assert results[:100] == [None] * 100
        assert results[100] == 50
        assert database.execute("SELECT count(*) FROM log").fetchone() == (100,)


async def test_what_arrives_in_one_iteration_is_one_batch_and_the_rest_gathers(tmp_path):
    store = SqliteStore(tmp_path / "store.db", is_synced=False)
    await store.open()
    committer = store._writer._committer
    sizes: list[int] = []
    commit = committer.commit

    def counting(batch):
        sizes.append(batch.entry_count)
        return commit(batch)

    committer.commit = counting
    for seq in range(1, 101):
        store.append([(seq, message(seq))], ())
    await asyncio.sleep(0)  # the batch is handed over; while it is written, others gather
    for seq in range(101, 151):
        store.append([(seq, message(seq))], ())
    await store._writer.idle()
    await store.close()
    assert sizes == [100, 50]
