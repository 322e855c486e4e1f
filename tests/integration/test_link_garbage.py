"""Whoever talks nonsense on a link loses the link; the node goes on."""

import asyncio

import grpc
import pytest

from caxton.v1.peer_pb2 import LinkFrame, PeerLinkRequest, PeerLinkResponse
from caxton_node.domain.message import encode_message
from caxton_node.domain.performatives import Performative
from caxton_node.forwarding.streams import LINK_METHOD
from tests.linked_nodes import linked_nodes, place
from tests.opened_node import ask, message

DEADLINE_S = 10.0


class Stranger:
    """A call to a node's `Link` that says what it likes."""

    def __init__(self, channel):
        self.call = channel.stream_stream(
            LINK_METHOD,
            request_serializer=PeerLinkRequest.SerializeToString,
            response_deserializer=PeerLinkResponse.FromString,
        )()

    async def say(self, frame):
        await self.call.write(PeerLinkRequest(frame=frame))

    async def greet(self, **more):
        frame = LinkFrame()
        facts = {"node_id": "a", "epoch": 7, "cluster": "test", "link_version": 1} | more
        for name, value in facts.items():
            setattr(frame.hello, name, value)
        await self.say(frame)

    async def hear(self):
        return await asyncio.wait_for(self.call.read(), DEADLINE_S)

    async def ending(self):
        """Return how the node ended the call."""
        async with asyncio.timeout(DEADLINE_S):
            while True:
                try:
                    if await self.call.read() is grpc.aio.EOF:
                        return await self.call.code()
                except grpc.aio.AioRpcError as error:
                    return error.code()


def frame(**more):
    made = LinkFrame(**more)
    made.number = more.get("number", 1)
    return made


def messages(*bodies, first_sequence=1):
    made = frame()
    made.messages.first_sequence = first_sequence
    made.messages.bodies.extend(bodies)
    return made


def outcomes(status):
    made = frame()
    made.outcomes.ended.add(sequence=1, status=status, reason="")
    return made


NONSENSE = {
    "a frame is missing": frame(number=5),
    "a message is missing": messages(b"x", first_sequence=9),
    "an ack of what was never sent": frame(ack=3),
    "more than was welcome": messages(*[b""] * 9_000),
    "a part without end": None,
}


@pytest.fixture
async def pair(tmp_path):
    async with linked_nodes(tmp_path, "b") as (atlas, (b,)):
        await place(atlas, b, "Echo", "Echo")
        async with grpc.aio.insecure_channel(b.address) as channel:
            yield b, Stranger(channel)
            assert (await ask(b.node, receiver="Echo", content="well")).body() == "well"


@pytest.mark.parametrize("what", NONSENSE)
async def test_nonsense_breaks_the_link_and_nothing_else(pair, what):
    _, stranger = pair
    await stranger.greet()
    await stranger.hear()
    if NONSENSE[what] is not None:
        await stranger.say(NONSENSE[what])
    else:
        for number in range(1, 20):
            part = frame(number=number)
            part.chunk.part = bytes(1_000_000)
            await stranger.say(part)
    assert await stranger.ending() is grpc.StatusCode.ABORTED


async def test_who_does_not_say_who_it_is_is_sent_away(pair):
    _, stranger = pair
    await stranger.say(frame())
    assert await stranger.ending() is grpc.StatusCode.INVALID_ARGUMENT


@pytest.mark.parametrize("hello", [{"cluster": "other"}, {"link_version": 9}, {"node_id": "z"}])
async def test_who_does_not_belong_here_is_sent_away(pair, hello):
    _, stranger = pair
    await stranger.greet(**hello)
    assert await stranger.ending() is grpc.StatusCode.FAILED_PRECONDITION


@pytest.mark.parametrize("body", [b"", b"junk", b"\x93\xa1m\xa6inform"])
async def test_what_cannot_be_read_is_refused_and_the_link_goes_on(pair, body):
    b, stranger = pair
    await stranger.greet()
    await stranger.hear()
    good = encode_message(message(b.node, receiver="Echo", performative=Performative.INFORM))
    await stranger.say(messages(body, good))
    refused, delivered = [], []
    while not (refused and delivered):
        said = (await stranger.hear()).frame.outcomes
        refused += [(one.sequence, one.code) for one in said.refused]
        delivered += said.delivered
    assert (refused, delivered) == ([(1, "invalid_message")], [2])
    stranger.call.cancel()


async def test_an_outcome_that_does_not_exist_is_of_nothing(pair):
    b, stranger = pair
    await stranger.greet()
    await stranger.hear()
    await stranger.say(outcomes("vanished"))
    while (await stranger.hear()).frame.ack < 1:
        pass
    assert b.links.is_up("a")
    stranger.call.cancel()
