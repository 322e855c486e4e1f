"""A link that is told to end ends, whatever its stream does meanwhile."""

import asyncio

import pytest

from caxton_node.forwarding.errors import LinkBroken
from caxton_node.forwarding.link import Link
from caxton_node.forwarding.machine import Self


class BreaksWhenCancelled:
    """A stream as gRPC's are when a call ends while somebody reads it."""

    def __init__(self):
        self.is_read = asyncio.Event()

    async def read(self):
        self.is_read.set()
        try:
            await asyncio.get_running_loop().create_future()
        except asyncio.CancelledError:
            raise asyncio.InvalidStateError("RPC already finished.") from None


async def test_a_stream_that_breaks_under_its_cancellation_does_not_swallow_it():
    me = Self(node="a", epoch=1, cluster="c", version="1")
    link, stream = Link(me, "b", events=None, arrivals=None), BreaksWhenCancelled()
    async with asyncio.TaskGroup() as tasks:
        running = tasks.create_task(link._run(stream))
        await stream.is_read.wait()
        running.cancel()
    assert running.cancelled()


async def test_a_stream_that_breaks_by_itself_is_told_as_such():
    class Broken:
        async def read(self):
            raise asyncio.InvalidStateError("RPC already finished.")

    me = Self(node="a", epoch=1, cluster="c", version="1")
    with pytest.raises(LinkBroken, match="RPC already finished"):
        await Link(me, "b", events=None, arrivals=None)._run(Broken())
