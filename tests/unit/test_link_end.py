"""A link that is told to end ends, whatever its stream does meanwhile."""

import asyncio
from types import SimpleNamespace

import pytest

from caxton.v1.peer_pb2 import LinkFrame
from caxton_node.forwarding.errors import LinkBroken
from caxton_node.forwarding.link import REGISTRY_FRAME_BYTES_MAX, Link
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


async def test_much_that_is_to_be_said_of_the_registry_goes_in_several_frames():
    me = Self(node="a", epoch=1, cluster="c", version="1")
    link = Link(me, "b", events=SimpleNamespace(up_count=1), arrivals=None)
    link.is_up = True
    payloads = [bytes([number]) * 300_000 for number in range(10)]
    for payload in payloads:
        assert link.say_registry(payload)
    frames = []

    class Notes:
        async def write(self, fill):
            frame = LinkFrame()
            fill(frame)
            frames.append(frame)

    async with asyncio.TaskGroup() as tasks:
        writing = tasks.create_task(link._write(Notes()))
        async with asyncio.timeout(5):
            while sum(len(frame.registry) for frame in frames) < len(payloads):
                await asyncio.sleep(0)
        writing.cancel()
    assert [one for frame in frames for one in frame.registry] == payloads
    assert max(frame.ByteSize() for frame in frames) <= REGISTRY_FRAME_BYTES_MAX + 1_000
