"""Where datagrams wait for the driver, where it waits for them, and what leaves by them."""

import asyncio

import pytest

from caxton_cluster.transport.sockets import (
    INBOX_DATAGRAMS_MAX,
    UNSENT_SIZE_BYTES_MAX,
    Inbox,
    open_sockets,
)
from caxton_cluster.types import Address

PEER = ("127.0.0.1", 7946)


@pytest.fixture
async def inbox():
    inbox = Inbox()
    yield inbox
    inbox.connection_lost(None)


async def is_awake(inbox: Inbox, until_s: float | None) -> bool:
    """Return whether a wait ends by itself."""
    try:
        async with asyncio.timeout(0.05):
            await inbox.wait(until_s)
    except TimeoutError:
        return False
    return True


async def test_datagrams_beyond_the_bound_are_dropped_and_counted(inbox):
    for _ in range(INBOX_DATAGRAMS_MAX + 3):
        inbox.datagram_received(b"x", PEER)

    assert len(inbox.take(2 * INBOX_DATAGRAMS_MAX)) == INBOX_DATAGRAMS_MAX
    assert inbox.dropped_count == 3


async def test_a_datagram_that_came_before_the_wait_ends_it(inbox):
    inbox.datagram_received(b"x", PEER)

    assert await is_awake(inbox, None)


async def test_a_datagram_that_comes_later_ends_the_wait(inbox):
    async with asyncio.timeout(5), asyncio.TaskGroup() as tasks:
        waiting = tasks.create_task(inbox.wait(None))
        await asyncio.sleep(0)
        inbox.datagram_received(b"x", PEER)

    assert waiting.done()
    assert [data for data, _ in inbox.take(9)] == [b"x"]


async def test_nothing_to_do_is_waited_out(inbox):
    assert not await is_awake(inbox, None)


async def test_the_alarm_ends_the_wait_and_rings_once(inbox):
    now = asyncio.get_running_loop().time()

    assert await is_awake(inbox, now + 0.01)
    assert not await is_awake(inbox, None)


async def test_an_alarm_that_is_put_off_does_not_ring_at_its_old_time(inbox):
    now = asyncio.get_running_loop().time()
    inbox.ring()
    await inbox.wait(now + 0.01)
    assert not await is_awake(inbox, now + 60)

    assert not await is_awake(inbox, now + 60)


async def test_datagrams_left_behind_end_the_next_wait(inbox):
    for data in (b"x", b"y"):
        inbox.datagram_received(data, PEER)
    await inbox.wait(None)
    assert [data for data, _ in inbox.take(1)] == [b"x"]

    assert await is_awake(inbox, None)
    assert [data for data, _ in inbox.take(9)] == [b"y"]


async def test_the_driver_gives_way_however_much_comes(inbox):
    turns = []

    async def other() -> None:
        turns.append(len(turns))

    inbox.ring()
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(other())
        await inbox.wait(None)
        assert turns == [0]


async def test_datagrams_that_the_kernel_does_not_take_are_dropped_and_counted(monkeypatch):
    sockets = await open_sockets("127.0.0.1", 0, lambda *_: None)
    monkeypatch.setattr(
        sockets._datagrams, "get_write_buffer_size", lambda: UNSENT_SIZE_BYTES_MAX + 1
    )

    sockets.send(b"x", Address.of(*PEER))
    sockets.close()

    assert sockets.unsent_count == 1
