"""An agent goes from one node to another, and its conversations stay in order."""

import asyncio

import pytest

from caxton_node.domain.delivery import DeliveryStatus
from caxton_node.forwarding.handover import Handover
from tests.clustered_nodes import until
from tests.handlers import Gate
from tests.linked_nodes import linked_nodes, place
from tests.opened_node import deploy, message, python_agent

MANY_TURNS = "[limits]\nconcurrency = 8\n"


@pytest.fixture(autouse=True)
def _closed_gate():
    Gate.close()


def leave(there):
    """Give an agent up as placement does it; return what advances it."""
    return Handover(
        reroute=there.node.pipeline.place_again,
        dismiss=there.node.supervisor.dismiss,
        left=there.links.order.left,
    )


async def move(atlas, source, target):
    """Start the gate's agent on another node, tell everybody, and leave it on the first."""
    await deploy(target.node, python_agent("Gate", "Gate", more=MANY_TURNS))
    seat = await source.node.deployments.release("Gate")
    handover = leave(source)
    handover.begin(seat)
    atlas.put("Gate", target.node.name, "test")
    atlas.tell()
    return handover


def said(there, *contents, conversation="one"):
    """Submit messages of a conversation at once; return them."""
    sent = [
        message(there.node, receiver="Gate", content=one, conversation_id=conversation)
        for one in contents
    ]
    for one in sent:
        there.node.pipeline.submit(one)
    return sent


async def all_delivered(there, sent):
    for one in sent:

        async def is_over(message_id=one.id):
            stored = await there.node.store.message(message_id)
            return stored is not None and stored.status is DeliveryStatus.DELIVERED

        async with asyncio.timeout(20):
            while not await is_over():
                await asyncio.sleep(0.005)


async def seen(*contents):
    await until(lambda: set(contents) <= set(Gate.seen))


def numbers():
    return [one for one in Gate.seen if isinstance(one, int)]


async def test_nothing_of_a_conversation_overtakes_what_the_old_holder_still_has(tmp_path):
    async with linked_nodes(tmp_path, "a", "b", "c") as (atlas, (a, b, c)):
        await place(atlas, b, "Gate", "Gate", more=MANY_TURNS)
        sent = said(a, 0, 1, 2)
        await seen(0)
        await move(atlas, b, c)
        sent += said(a, 3, 4)
        said(a, "other", conversation="two")
        await seen("other")
        assert numbers() == [0], "the turn on b is not over"
        Gate.opened.set()
        await all_delivered(a, sent)
        assert numbers() == [0, 1, 2, 3, 4]


async def test_nothing_overtakes_what_the_accepting_node_itself_still_has(tmp_path):
    async with linked_nodes(tmp_path, "a", "c") as (atlas, (a, c)):
        await place(atlas, a, "Gate", "Gate", more=MANY_TURNS)
        sent = said(a, 0, 1)
        await seen(0)
        handover = await move(atlas, a, c)
        sent += said(a, 2, 3)
        said(a, "other", conversation="two")
        await seen("other")
        assert numbers() == [0], "the turn on a is not over"
        assert len(handover) == 1
        Gate.opened.set()
        await all_delivered(a, sent)
        assert numbers() == [0, 1, 2, 3]
        handover.advance()
        assert len(handover) == 0


async def test_an_agent_that_comes_here_waits_for_what_is_out(tmp_path):
    async with linked_nodes(tmp_path, "a", "b") as (atlas, (a, b)):
        await place(atlas, b, "Gate", "Gate", more=MANY_TURNS)
        sent = said(a, 0, 1, 2)
        await seen(0)
        await move(atlas, b, a)
        sent += said(a, 3)
        said(a, "other", conversation="two")
        await seen("other")
        assert numbers() == [0]
        Gate.opened.set()
        await all_delivered(a, sent)
        assert numbers() == [0, 1, 2, 3]


async def test_what_is_being_written_while_its_agent_comes_keeps_its_place(tmp_path):
    Gate.opened.set()
    async with linked_nodes(tmp_path, "a", "c") as (atlas, (a, c)):
        await deploy(c.node, python_agent("Gate", "Gate", more=MANY_TURNS))
        # Nothing awaits between these: the journal has confirmed nothing yet.
        sent = said(a, 0, 1)
        atlas.put("Gate", "c", "test")
        atlas.tell()
        sent += said(a, 2)
        await all_delivered(a, sent)
        assert numbers() == [0, 1, 2]


async def test_what_is_being_written_for_a_node_that_dies_meanwhile_keeps_its_place(tmp_path):
    Gate.opened.set()
    async with linked_nodes(tmp_path, "a", "b", "c") as (atlas, (a, b, c)):
        await place(atlas, b, "Gate", "Gate", more=MANY_TURNS)
        await deploy(c.node, python_agent("Gate", "Gate", more=MANY_TURNS))
        b.node.roster.seat("Gate").state = "suspended"
        sent = said(a, 0, 1)
        a.peers.lose("b")
        atlas.put("Gate", "c", "test")
        atlas.tell()
        sent += said(a, 2)
        await all_delivered(a, sent)
        assert numbers() == [0, 1, 2]


async def test_what_comes_to_an_agent_that_was_left_goes_on_in_order(tmp_path):
    Gate.opened.set()
    async with linked_nodes(tmp_path, "a", "c") as (atlas, (a, c)):
        await place(atlas, a, "Gate", "Gate", more=MANY_TURNS)
        await deploy(c.node, python_agent("Gate", "Gate", more=MANY_TURNS))
        seat = await a.node.deployments.release("Gate")
        a.node.directory.put(seat, seat.spec.capabilities)
        sent = said(a, 0, 1)
        a.node.directory.remove("Gate")
        leave(a).begin(seat)
        atlas.put("Gate", "c", "test")
        atlas.tell()
        sent += said(a, 2)
        await all_delivered(a, sent)
        assert numbers() == [0, 1, 2]


async def test_a_flood_behind_a_turn_that_runs_elsewhere_is_bounded(tmp_path):
    more = "[limits]\nconcurrency = 8\nmailbox = 50\n"
    async with linked_nodes(tmp_path, "a", "c") as (atlas, (a, c)):
        await place(atlas, a, "Gate", "Gate", more=more)
        said(a, 0)
        await seen(0)
        await move(atlas, a, c)
        said(a, *range(1, 51))
        with pytest.raises(Exception, match="full") as refusal:
            said(a, 51)
        assert refusal.value.code == "agent_busy"
        Gate.opened.set()
