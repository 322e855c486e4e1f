"""What anybody may send to a member's port, and what must not stop it."""

import asyncio
import random
import socket
import threading
from contextlib import AsyncExitStack

import pytest
import uvloop

from caxton_cluster.serf.messages import UserEvent, encode_serf
from caxton_cluster.serf.overlay import SerfOverlay, SerfUserEvent
from caxton_cluster.swim.events import UserMessage
from caxton_cluster.swim.wire import lzw, stream
from caxton_cluster.swim.wire.codec import encode
from caxton_cluster.swim.wire.compression import squeeze
from caxton_cluster.swim.wire.messages import Alive, Message, Ping, User
from caxton_cluster.swim.wire.wire import Wire
from caxton_cluster.types import Address, Versions
from tests.integration.cluster_ring import DEADLINE_S, start, states, until


def send(target: Address, message: Message) -> None:
    family = socket.AF_INET if len(target.ip) == 4 else socket.AF_INET6
    with socket.socket(family, socket.SOCK_DGRAM) as sender:
        sender.sendto(encode(message), (target.host, target.port))


async def send_by_stream(target: Address, request: bytes) -> None:
    _, writer = await asyncio.open_connection(target.host, target.port)
    writer.write(request)
    await writer.drain()
    writer.close()
    await writer.wait_closed()


@pytest.mark.parametrize("by_stream", [False, True], ids=["datagram", "stream"])
async def test_a_message_too_long_to_be_passed_on_is_heard_and_stops_nobody(by_stream):
    """Serf lets its operators allow events of nine kilobytes."""
    message = User(encode_serf(UserEvent(3, "news", b"x" * 4000)))
    async with AsyncExitStack() as stack:
        node = await start(stack, "n0", overlay=SerfOverlay)
        with node.subscribe() as events:
            if by_stream:
                await send_by_stream(node.address, Wire().streams.encode_request(message))
            else:
                send(node.address, message)
            heard = await asyncio.wait_for(anext(events), DEADLINE_S)

        assert heard == SerfUserEvent("news", b"x" * 4000, 3)
        assert "not passed on" in node.problems[0]


async def test_a_long_squeezed_message_is_unfolded_beside_the_event_loop(monkeypatch):
    """It takes a second for each megabyte, in which nobody would be answered."""
    unfolded_in: list[int] = []

    def unfold(data: bytes, *, size_bytes_max: int) -> bytes:
        unfolded_in.append(threading.get_ident())
        return lzw.decompress(data, size_bytes_max=size_bytes_max)

    monkeypatch.setattr(stream, "decompress", unfold)
    payload = random.Random(1).randbytes(100_000)
    user = Wire().streams.encode_request(User(payload))
    async with AsyncExitStack() as stack:
        node = await start(stack, "n0")
        with node.subscribe() as events:
            await send_by_stream(node.address, squeeze(user))
            assert await asyncio.wait_for(anext(events), DEADLINE_S) == UserMessage(payload)

    assert set(unfolded_in).isdisjoint({threading.get_ident()})
    assert unfolded_in


@pytest.mark.parametrize("loop_factory", [asyncio.new_event_loop, uvloop.new_event_loop])
@pytest.mark.parametrize(("host", "elsewhere"), [("127.0.0.1", "::1"), ("::1", "127.0.0.1")])
def test_an_address_of_the_other_family_stops_nobody(loop_factory, host, elsewhere):
    """It can be neither answered nor probed, and whoever names it is soon held dead."""

    async def run() -> None:
        async with AsyncExitStack() as stack:
            node = await start(stack, "n0", bind_host=host)
            there = Address.of(elsewhere, 9)
            send(node.address, Ping(1, "n0", there, "stranger"))
            send(node.address, Alive(5, "stranger", there, versions=Versions()))
            await until(node, lambda: states(node).get("stranger") == "dead")

    with asyncio.Runner(loop_factory=loop_factory) as runner:
        runner.run(run())
