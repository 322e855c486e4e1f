"""A stored message that means nothing to this version stops neither a node nor a list."""

import asyncio
import logging
import sqlite3
from contextlib import asynccontextmanager, closing

import msgspec
import pytest

from caxton_node.domain.delivery import DeliveryStatus
from caxton_node.domain.message import Message
from caxton_node.domain.performatives import Performative
from caxton_node.store.protocol import Settlement
from caxton_node.store.sqlite import SqliteStore

GARBAGE = b"\xc1 is no msgpack"
UNKNOWN_ACT = msgspec.msgpack.encode(["msg-2", "sing", "client", "agent"])


def message(seq: int) -> Message:
    return Message(
        id=f"msg-{seq}",
        performative=Performative.REQUEST,
        sender="client",
        receiver="agent",
        conversation_id="conv",
        created_at=seq,
    )


@asynccontextmanager
async def opened(path):
    store = SqliteStore(path)
    await store.open()
    try:
        yield store
    finally:
        await store.close()


@pytest.fixture
def damaged(tmp_path):
    """Return what makes a store of `count` accepted messages, some of them spoilt."""

    async def make(count: int, spoilt: dict[int, bytes]):
        path = tmp_path / "store.db"
        async with opened(path) as store:
            store.append([(seq, message(seq)) for seq in range(1, count + 1)], ())
        with closing(sqlite3.connect(path)) as connection:
            for seq, body in spoilt.items():
                connection.execute("UPDATE messages SET body = ? WHERE seq = ?", (body, seq))
            connection.commit()
        return path

    return make


@pytest.mark.parametrize("body", [GARBAGE, UNKNOWN_ACT, b""])
async def test_what_cannot_be_decoded_is_left_out_of_the_unsettled(damaged, body):
    path = await damaged(3, {2: body})
    async with opened(path) as store:
        assert [one.seq for one in await store.unsettled(after_seq=0, limit=10)] == [1, 3]


async def test_what_cannot_be_decoded_is_dead_with_the_reason(damaged, caplog):
    path = await damaged(2, {2: UNKNOWN_ACT})
    with caplog.at_level(logging.ERROR, logger="caxton_node.store"):
        async with opened(path) as store:
            await store.unsettled(after_seq=0, limit=10)
            await store.flush()
            assert await store.status_counts() == {
                DeliveryStatus.ACCEPTED: 1,
                DeliveryStatus.DEAD: 1,
            }
    with closing(sqlite3.connect(path)) as connection:
        [(reason, settled_at)] = connection.execute(
            "SELECT reason, settled_at FROM messages WHERE seq = 2"
        )
    assert reason.startswith("undecodable: Invalid enum value 'sing'")
    assert settled_at > 0
    assert "message msg-2 cannot be decoded and is dead" in caplog.text


async def test_a_portion_of_nothing_but_the_undecodable_is_not_the_end(damaged):
    path = await damaged(5, dict.fromkeys([1, 2, 3, 4], GARBAGE))
    async with opened(path) as store:
        assert [one.seq for one in await store.unsettled(after_seq=0, limit=2)] == [5]


async def test_lists_leave_out_what_cannot_be_decoded_and_say_so(damaged, caplog):
    path = await damaged(3, {2: GARBAGE})
    async with opened(path) as store:
        assert await store.message("msg-2") is None
        assert [one.seq for one in (await store.messages()).items] == [3, 1]
        assert [one.seq for one in await store.recent_messages("conv", limit=9)] == [1, 3]
    assert "1 messages that cannot be decoded are left out, first msg-2" in caplog.text


async def test_a_page_of_nothing_but_the_undecodable_names_the_next(damaged):
    path = await damaged(4, dict.fromkeys([3, 4], GARBAGE))
    async with opened(path) as store:
        page = await store.messages(limit=2)
        assert page.items == ()
        rest = await store.messages(limit=2, cursor=page.next_cursor)
        assert [one.seq for one in rest.items] == [2, 1]


async def test_a_dead_message_that_cannot_be_decoded_is_not_revived_but_can_be_dropped(damaged):
    path = await damaged(1, {1: GARBAGE})
    async with opened(path) as store:
        await store.unsettled(after_seq=0, limit=10)
        await store.flush()
        assert await store.revive("msg-1", seq=2) is None
        assert await store.status_counts() == {DeliveryStatus.DEAD: 1}
        assert await store.drop("msg-1")


async def test_a_flush_waits_for_what_a_failed_batch_left(tmp_path, monkeypatch):
    async with opened(tmp_path / "store.db") as store:
        committer = store._writer._committer
        commit, failures = committer.commit, [sqlite3.OperationalError("disk I/O error")]
        gate = asyncio.Event()

        def fail_once(batch):
            if failures:
                asyncio.run_coroutine_threadsafe(gate.wait(), loop).result(timeout=10)
                raise failures.pop()
            return commit(batch)

        loop = asyncio.get_running_loop()
        monkeypatch.setattr(committer, "commit", fail_once)
        store.append([(1, message(1))], ())
        await asyncio.sleep(0)  # the writer has it and waits at the gate
        store.append((), [Settlement(1, DeliveryStatus.DELIVERED, 9)])
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(store.flush())
            gate.set()
        stored = await store.message("msg-1")
        assert stored is not None
        assert stored.status is DeliveryStatus.DELIVERED
