"""Neither a start nor a count reads the whole history, however long something waits."""

import asyncio
import sqlite3
from contextlib import closing

import pytest

from caxton_node.domain.delivery import DeliveryStatus
from caxton_node.domain.message import Message
from caxton_node.domain.performatives import Performative
from caxton_node.store import committer, history
from caxton_node.store.protocol import Settlement
from caxton_node.store.queries import load_queries
from caxton_node.store.sqlite import SqliteStore

LAG = 64
STEP = 16


@pytest.fixture(autouse=True)
def short_lag(monkeypatch):
    monkeypatch.setattr(committer, "MARK_LAG", LAG)
    monkeypatch.setattr(committer, "MARK_STEP", STEP)


async def journal(store, accepted=(), settled=()):
    done = asyncio.get_running_loop().create_future()
    store.append(accepted, settled, done.set_result)
    assert await done is None


def message(seq: int) -> Message:
    return Message(
        id=f"msg-{seq}",
        performative=Performative.INFORM,
        sender="a",
        receiver="b",
        conversation_id=f"conv-{seq % 5}",
        created_at=seq,
    )


async def store_with_history(path, count: int, *, waiting: set[int]) -> SqliteStore:
    """Make a store of `count` messages, all delivered but those that wait."""
    store = SqliteStore(path, is_synced=False)
    await store.open()
    for first in range(1, count + 1, 8):
        seqs = range(first, min(first + 8, count + 1))
        await journal(store, [(seq, message(seq)) for seq in seqs])
        await journal(
            store,
            (),
            [Settlement(seq, DeliveryStatus.DELIVERED, seq) for seq in seqs if seq not in waiting],
        )
    return store


def steps_of(path, query: str, **parameters) -> int:
    """Return how many instructions of SQLite's machine a query takes."""
    with closing(sqlite3.connect(path)) as database:
        count = 0

        def step():
            nonlocal count
            count += 1

        database.set_progress_handler(step, 1)
        database.execute(load_queries()[query], parameters).fetchall()
        return count


async def test_a_message_that_waits_for_long_does_not_hold_the_mark(tmp_path):
    store = await store_with_history(tmp_path / "s.db", 800, waiting={3, 500})
    await store.close()
    with closing(sqlite3.connect(tmp_path / "s.db")) as database:
        (mark,) = database.execute("SELECT mark FROM watermark").fetchone()
        assert 800 - mark <= LAG + STEP
        assert database.execute("SELECT seq FROM stragglers").fetchall() == [(3,), (500,)]


async def test_what_waits_is_found_on_both_sides_of_the_mark_after_a_start(tmp_path):
    store = await store_with_history(tmp_path / "s.db", 400, waiting={3, 200, 399})
    await store.close()
    store = SqliteStore(tmp_path / "s.db")
    await store.open()
    waiting = await store.unsettled(after_seq=0, limit=10)
    assert [stored.seq for stored in waiting] == [3, 200, 399]
    page = await store.messages(status=DeliveryStatus.ACCEPTED)
    assert [stored.seq for stored in page.items] == [399, 200, 3]
    await store.close()


@pytest.mark.parametrize("query", ["unsettled_keys", "status_counts"])
async def test_the_cost_of_a_start_and_a_count_does_not_grow_with_history(tmp_path, query):
    costs = []
    for count in (400, 2_000):
        path = tmp_path / f"{count}.db"
        store = await store_with_history(path, count, waiting={3})
        await store.close()
        parameters = {"after": 0, "limit": 1_000} if query == "unsettled_keys" else {}
        costs.append(steps_of(path, query, **parameters))
    short, long = costs
    assert long < short + (LAG + STEP) * 30


async def test_a_late_settlement_leaves_the_stragglers_and_is_counted_once(tmp_path):
    store = await store_with_history(tmp_path / "s.db", 400, waiting={3, 4})
    late = [Settlement(3, DeliveryStatus.DEAD, 9), Settlement(3, DeliveryStatus.DEAD, 9)]
    await journal(store, (), late)
    await journal(store, (), late)
    assert await store.status_counts() == {
        DeliveryStatus.ACCEPTED: 1,
        DeliveryStatus.DEAD: 1,
        DeliveryStatus.DELIVERED: 398,
    }
    assert [one.seq for one in await store.unsettled(after_seq=0, limit=9)] == [4]
    await store.revive("msg-3", seq=401)
    await store.prune(before=11, limit=100)
    assert await store.status_counts() == {
        DeliveryStatus.ACCEPTED: 2,
        DeliveryStatus.DELIVERED: 390,
    }
    await store.close()


async def test_last_seq_does_not_go_back_when_the_newest_are_pruned(tmp_path):
    store = await store_with_history(tmp_path / "s.db", 20, waiting=set())
    assert await store.prune(before=1_000, limit=1_000) == 20
    await store.close()
    store = SqliteStore(tmp_path / "s.db")
    await store.open()
    assert store.last_seq == 20
    await store.close()


async def test_pages_beyond_a_window_go_on_below_it(tmp_path, monkeypatch):
    monkeypatch.setattr(history, "SCAN_WINDOW", 10)
    store = await store_with_history(tmp_path / "s.db", 95, waiting=set(range(11, 90)))
    seqs, ids = [], []
    cursor: str | None = None
    while True:
        page = await store.messages(status=DeliveryStatus.DELIVERED, cursor=cursor, limit=4)
        seqs += [stored.seq for stored in page.items]
        if (cursor := page.next_cursor) is None:
            break
    assert seqs == [*range(95, 89, -1), *range(10, 0, -1)]
    while True:
        conversations = await store.conversations(cursor=cursor, limit=2)
        ids += [one.id for one in conversations.items]
        if (cursor := conversations.next_cursor) is None:
            break
    assert ids == ["conv-0", "conv-4", "conv-3", "conv-2", "conv-1"]
    await store.close()


async def test_pages_are_bounded_in_bytes(tmp_path, monkeypatch):
    monkeypatch.setattr(history, "PAGE_BYTES_MAX", 100)
    store = await store_with_history(tmp_path / "s.db", 10, waiting=set(range(1, 11)))
    page = await store.messages(limit=10)
    assert 1 <= len(page.items) < 10
    assert page.next_cursor == str(page.items[-1].seq)
    assert len(await store.unsettled(after_seq=0, limit=10)) == 10
    await store.close()
