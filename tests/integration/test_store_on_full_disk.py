"""A store that cannot write says so, keeps what nobody else would repeat, and recovers."""

import asyncio
import logging
import sqlite3

import pytest

from caxton_node.domain.delivery import DeliveryStatus
from caxton_node.domain.errors import Conflict, Unavailable
from caxton_node.domain.message import Message
from caxton_node.domain.performatives import Performative
from caxton_node.store.protocol import LogLine, Settlement
from caxton_node.store.sqlite import SqliteStore

BIG = b'"' + b"x" * 900_000 + b'"'


@pytest.fixture
async def store(tmp_path):
    made = SqliteStore(tmp_path / "store.db")
    await made.open()
    yield made
    await made.close()


def message(seq: int, content: bytes = b"null") -> Message:
    return Message(
        id=f"msg-{seq}",
        performative=Performative.INFORM,
        sender="a",
        receiver="b",
        content=content,
        conversation_id="conv",
        created_at=seq,
    )


async def journal(store, accepted=(), settled=()):
    done = asyncio.get_running_loop().create_future()
    store.append(accepted, settled, done.set_result)
    return await done


def limit_pages(store: SqliteStore, spare: int | None) -> None:
    """Let the file grow by so many pages; None lets it grow freely. SQLite enforces it."""
    connection = store._writer._committer._connection
    (used,) = connection.execute("PRAGMA page_count").fetchone()
    allowed = 2**30 if spare is None else used + spare
    connection.execute(f"PRAGMA max_page_count = {allowed}").fetchall()


async def test_a_full_disk_is_reported_and_forgotten_when_there_is_room(store, caplog):
    assert await journal(store, [(1, message(1))]) is None
    limit_pages(store, 2)
    error = await journal(store, [(2, message(2, BIG))], [Settlement(1, DeliveryStatus.DEAD, 9)])
    assert isinstance(error, Unavailable)
    assert error.code == "storage_unavailable"
    assert "a batch could not be written" in caplog.text
    assert "full" in store.trouble
    assert store.backlog == 0
    assert (await store.message("msg-1")).status is DeliveryStatus.ACCEPTED
    assert await store.message("msg-2") is None
    limit_pages(store, None)
    assert await journal(store, [(3, message(3, BIG))]) is None
    assert (await store.message("msg-3")).message == message(3, BIG)
    assert store.trouble is None


async def test_a_disk_that_stays_full_is_told_once_and_so_is_its_end(store, caplog):
    caplog.set_level(logging.INFO)
    limit_pages(store, 2)
    for number in range(1, 4):
        assert await journal(store, [(number, message(number, BIG))]) is not None
    limit_pages(store, None)
    assert await journal(store, [(4, message(4, BIG))]) is None
    assert [record.getMessage() for record in caplog.records] == [
        "a batch could not be written: database or disk is full",
        "the store can write again",
    ]
    assert caplog.records[0].exc_info is None


async def test_a_settlement_without_a_callback_is_written_with_the_next_batch(store):
    await journal(store, [(1, message(1))])
    limit_pages(store, 2)
    store.append((), [Settlement(1, DeliveryStatus.DELIVERED, 9)])
    assert await journal(store, [(2, message(2, BIG))]) is not None
    assert store.backlog == 1
    limit_pages(store, None)
    assert await journal(store, [(3, message(3))]) is None
    assert store.backlog == 0
    assert (await store.message("msg-1")).status is DeliveryStatus.DELIVERED


async def test_an_append_without_a_callback_is_kept_whole(store):
    await journal(store, [(1, message(1))])
    limit_pages(store, 2)
    store.append([(2, message(2, BIG))], [Settlement(1, DeliveryStatus.DELIVERED, 9)])
    await journal(store)
    assert (await store.message("msg-1")).status is DeliveryStatus.ACCEPTED
    limit_pages(store, None)
    await journal(store)
    assert (await store.message("msg-1")).status is DeliveryStatus.DELIVERED
    assert (await store.message("msg-2")).message == message(2, BIG)


async def test_what_was_kept_is_tried_again_by_itself(store):
    await journal(store, [(1, message(1))])
    limit_pages(store, 2)
    store.append((), [Settlement(1, DeliveryStatus.DELIVERED, 9)])
    assert await journal(store, [(2, message(2, BIG))]) is not None
    limit_pages(store, None)
    await store._writer.idle()
    assert (await store.message("msg-1")).status is DeliveryStatus.DELIVERED


async def test_closing_tries_once_more_and_says_what_is_lost(store, caplog):
    limit_pages(store, 2)
    store.append([(1, message(1, BIG))], ())
    await store.close()
    assert "journal entries lost" in caplog.text


async def test_an_ordinary_write_in_a_failed_batch_is_told(store):
    limit_pages(store, 2)
    with pytest.raises(Unavailable):
        await store.put_log("a", [LogLine(at=1, level="info", text="x" * 900_000)])
    limit_pages(store, None)
    await store.put_log("a", [LogLine(at=1, level="info", text="y")])
    assert [line.text for line in await store.log("a")] == ["y"]


async def test_a_second_owner_is_refused(store, tmp_path):
    with pytest.raises(Conflict) as caught:
        await SqliteStore(tmp_path / "store.db").open()
    assert caught.value.code == "state_conflict"


async def test_a_file_that_is_no_database_is_unavailable(tmp_path):
    (tmp_path / "other.db").write_bytes(b"not a database, but long enough to be read as one" * 99)
    with pytest.raises(Unavailable) as caught:
        await SqliteStore(tmp_path / "other.db").open()
    assert isinstance(caught.value.__cause__, sqlite3.DatabaseError)
    assert caught.value.hint.startswith("It is damaged. Put a backup in its place")


async def test_a_closed_store_is_unavailable(tmp_path):
    store = SqliteStore(tmp_path / "closed.db")
    await store.open()
    await store.close()
    with pytest.raises(Unavailable):
        await store.message("m")
    with pytest.raises(Unavailable):
        await store.put_log("a", [LogLine(at=1, level="info", text="x")])
