"""Deliveries stand in a table of their own, and read as if they stood in the message's row."""

import asyncio
import sqlite3
from contextlib import closing

from caxton_node.domain.delivery import DeliveryStatus
from caxton_node.domain.message import Message
from caxton_node.domain.performatives import Performative
from caxton_node.store.batch import Batch
from caxton_node.store.migrations import load_migrations, migrate
from caxton_node.store.protocol import RECEIVER, Settlement
from caxton_node.store.queries import load_queries
from caxton_node.store.sqlite import SqliteStore

BEFORE_DELIVERIES = 4
"""Migrations of the versions that wrote every end into the message's row."""


def message(seq: int) -> Message:
    return Message(f"msg-{seq}", Performative.INFORM, "client", "receiver", conversation_id="conv")


def delivered(seq: int) -> Settlement:
    return Settlement(seq, DeliveryStatus.DELIVERED, 50, RECEIVER, 40, 1, None, "n2")


async def append(store: SqliteStore, accepted, settled) -> None:
    done = asyncio.get_running_loop().create_future()
    store.append(accepted, settled, done.set_result)
    assert await done is None


async def test_what_an_earlier_version_delivered_reads_as_before(tmp_path):
    path = tmp_path / "store.db"
    batch = Batch()
    batch.add([(seq, message(seq)) for seq in (1, 2, 3)], [delivered(1), delivered(2)], None)
    with closing(sqlite3.connect(path, isolation_level=None)) as database:
        migrate(database, load_migrations()[:BEFORE_DELIVERIES])
        database.execute(load_queries()["accept_and_settle"], batch.journal_parameters(1))
    store = SqliteStore(path)
    await store.open()
    await append(store, (), [delivered(3), Settlement(1, DeliveryStatus.DEAD, 99)])
    page = await store.messages(conversation_id="conv", limit=10)
    ends = {(one.status, one.settled_at, one.agent, one.started_at, one.node) for one in page.items}
    assert len(page.items) == 3
    assert ends == {(DeliveryStatus.DELIVERED, 50, "receiver", 40, "n2")}
    await store.close()


async def test_the_first_end_counts_in_whichever_table_it_is(tmp_path):
    store = SqliteStore(tmp_path / "store.db")
    await store.open()
    await append(store, [(1, message(1)), (2, message(2))], ())
    await append(store, (), [delivered(1), Settlement(2, DeliveryStatus.DEAD, 60)])
    await append(store, (), [Settlement(1, DeliveryStatus.DEAD, 70), delivered(2)])
    first, second = await store.message("msg-1"), await store.message("msg-2")
    assert first is not None
    assert second is not None
    assert (first.status, first.settled_at) == (DeliveryStatus.DELIVERED, 50)
    assert (second.status, second.settled_at) == (DeliveryStatus.DEAD, 60)
    await store.close()


async def test_a_message_that_goes_takes_its_delivery_with_it(tmp_path):
    path = tmp_path / "store.db"
    store = SqliteStore(path)
    await store.open()
    await append(store, [(1, message(1)), (2, message(2))], [delivered(1), delivered(2)])
    assert await store.prune(before=51, limit=10) == 2
    await store.close()
    with closing(sqlite3.connect(path)) as database:
        assert database.execute("SELECT count(*) FROM deliveries").fetchone() == (0,)
