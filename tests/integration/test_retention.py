"""Settled messages are deleted when their time is over: all of them, and no others."""

from caxton_node.app import forget_before
from caxton_node.domain.delivery import DeliveryStatus
from caxton_node.domain.message import Message
from caxton_node.domain.performatives import Performative
from caxton_node.store.protocol import Settlement
from caxton_node.store.sqlite import SqliteStore

OLD = 2_500
"""More than one page, and no whole number of them."""


def message(seq: int, at: int) -> Message:
    return Message(
        id=f"m{seq}",
        performative=Performative.INFORM,
        sender="a",
        receiver="b",
        conversation_id="c",
        created_at=at,
    )


async def test_all_that_is_old_and_settled_goes_however_much_it_is(tmp_path):
    store = SqliteStore(tmp_path / "caxton.db")
    await store.open()
    old = [(seq, message(seq, 10)) for seq in range(1, OLD + 1)]
    ends = [Settlement(seq, DeliveryStatus.DELIVERED, 20) for seq, _ in old]
    store.append(old, ends)
    # One that is settled later, and an old one without an end.
    store.append(
        [(OLD + 1, message(OLD + 1, 10)), (OLD + 2, message(OLD + 2, 10))],
        [Settlement(OLD + 1, DeliveryStatus.DELIVERED, 200)],
    )
    await store.flush()
    assert await forget_before(store, 100) == OLD
    left = (await store.messages()).items
    assert sorted(one.seq for one in left) == [OLD + 1, OLD + 2]
    await store.close()
