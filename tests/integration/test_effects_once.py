"""Messages that must have their effect once, with an agent whose turns nobody records."""

import asyncio

import pytest

from caxton_node.domain.delivery import DeliveryMode, DeliveryStatus
from caxton_node.domain.errors import Unavailable
from tests.handlers import Gate
from tests.linked_nodes import linked, linked_node, linked_nodes, place
from tests.opened_node import deploy, message, opened_node, python_agent

DEADLINE_S = 15.0
ONCE = DeliveryMode.EXACTLY_ONCE


@pytest.fixture(autouse=True)
def _closed_gate():
    Gate.close()


async def ended(node, message_id):
    """Return a message once it has its end."""
    async with asyncio.timeout(DEADLINE_S):
        while True:
            stored = await node.store.message(message_id)
            if stored is not None and stored.status is not DeliveryStatus.ACCEPTED:
                return stored
            await asyncio.sleep(0.005)


async def begun():
    await asyncio.wait_for(Gate.entered.wait(), DEADLINE_S)


async def leave_in_a_turn(folder, **fields):
    """Stop a node in the middle of a turn; return the message of it."""
    async with opened_node(folder) as node:
        await deploy(node, python_agent("Gate", "Gate"))
        question = message(node, receiver="Gate", **fields)
        await node.pipeline.send(question)
        await begun()
    Gate.opened.set()
    return question


async def test_a_turn_is_on_disk_before_its_agent_sees_the_message(tmp_path):
    async with opened_node(tmp_path) as node:
        await deploy(node, python_agent("Gate", "Gate"))
        question = message(node, receiver="Gate", delivery=ONCE)
        await node.pipeline.send(question)
        await begun()
        stored = await node.store.message(question.id)
        assert (stored.status, stored.agent, stored.attempts) == (
            DeliveryStatus.ACCEPTED,
            "Gate",
            1,
        )
        assert stored.started_at is not None
        Gate.opened.set()
        assert (await ended(node, question.id)).status is DeliveryStatus.DELIVERED


async def test_a_turn_that_cannot_be_written_down_does_not_begin(tmp_path, monkeypatch):
    async with opened_node(tmp_path) as node:
        await deploy(node, python_agent("Gate", "Gate"))
        failures = [Unavailable("storage_unavailable", "no disk")] * 2
        marked = node.pipeline.journal.marked

        async def fails_twice(mark):
            if failures:
                raise failures.pop()
            await marked(mark)

        monkeypatch.setattr(node.pipeline.journal, "marked", fails_twice)
        Gate.opened.set()
        question = message(node, receiver="Gate", delivery=ONCE)
        await node.pipeline.send(question)
        stored = await ended(node, question.id)
        assert (stored.status, stored.attempts) == (DeliveryStatus.DELIVERED, 3)
        assert Gate.seen == ["hello"]


async def test_a_turn_that_had_begun_is_not_taken_again(tmp_path):
    question = await leave_in_a_turn(tmp_path, delivery=ONCE)
    async with opened_node(tmp_path) as node:
        stored = await ended(node, question.id)
    assert stored.status is DeliveryStatus.DEAD
    assert stored.reason.startswith("outcome_unknown: ")
    assert Gate.seen == ["hello"]


async def test_one_that_only_waited_is_taken(tmp_path):
    async with opened_node(tmp_path) as node:
        await deploy(node, python_agent("Gate", "Gate"))
        first, second = (
            message(node, receiver="Gate", delivery=ONCE, conversation_id="c", content=n)
            for n in (1, 2)
        )
        await node.pipeline.send(first)
        await node.pipeline.send(second)
        await begun()
    Gate.opened.set()
    async with opened_node(tmp_path) as node:
        assert (await ended(node, second.id)).status is DeliveryStatus.DELIVERED
        assert (await ended(node, first.id)).status is DeliveryStatus.DEAD
    assert Gate.seen == [1, 2]


async def test_what_may_repeat_is_taken_again(tmp_path):
    question = await leave_in_a_turn(tmp_path)
    async with opened_node(tmp_path) as node:
        assert (await ended(node, question.id)).status is DeliveryStatus.DELIVERED
    assert Gate.seen == ["hello", "hello"]


async def test_whoever_looked_at_the_world_may_have_it_tried_again(tmp_path):
    question = await leave_in_a_turn(tmp_path, delivery=ONCE)
    async with opened_node(tmp_path) as node:
        assert (await ended(node, question.id)).status is DeliveryStatus.DEAD
        await node.pipeline.revive(question.id)
        assert (await ended(node, question.id)).status is DeliveryStatus.DELIVERED
    assert Gate.seen == ["hello", "hello"]


async def test_what_had_begun_is_dead_where_its_agent_is_gone(tmp_path):
    question = await leave_in_a_turn(tmp_path, delivery=ONCE)
    async with opened_node(tmp_path, python__allow="nobody.*") as node:
        stored = await ended(node, question.id)
        assert stored.reason.startswith("outcome_unknown: ")
    assert Gate.seen == ["hello"]


async def test_the_journal_says_to_which_node_a_message_goes_before_it_goes(tmp_path):
    async with linked_nodes(tmp_path, "a", "b") as (atlas, (a, b)):
        await place(atlas, b, "Gate", "Gate")
        question = message(a.node, receiver="Gate", delivery=ONCE)
        await a.node.pipeline.send(question)
        stored = await a.node.store.message(question.id)
        assert (stored.node, stored.agent) == ("b", "Gate")
        Gate.opened.set()
        assert (await ended(a.node, question.id)).status is DeliveryStatus.DELIVERED


async def test_the_journal_says_so_too_of_one_that_waited_first(tmp_path):
    async with linked_nodes(tmp_path, "a", "b") as (atlas, (a, b)):
        question = message(a.node, receiver="Gate", delivery=ONCE)
        await a.node.pipeline.send(question)
        assert (await a.node.store.message(question.id)).node is None
        await place(atlas, b, "Gate", "Gate")
        await begun()
        assert (await a.node.store.message(question.id)).node == "b"
        Gate.opened.set()
        assert (await ended(a.node, question.id)).status is DeliveryStatus.DELIVERED


async def test_a_holder_that_never_had_it_lets_it_go_elsewhere(tmp_path):
    Gate.opened.set()
    async with linked_nodes(tmp_path, "a", "c") as (atlas, (a, c)):
        async with linked_node(tmp_path, "b", atlas) as b:
            await linked(a, b, c)
            await place(atlas, b, "Gate", "Gate")
            await b.links.close()
            await b.server.stop(0)
            question = message(a.node, receiver="Gate", delivery=ONCE)
            await a.node.pipeline.send(question)
            # Else it would be there, and take the message as soon as it comes back.
            await b.node.deployments.delete("Gate", is_forced=True)
        a.peers.lose("b")
        await place(atlas, c, "Gate", "Gate")
        async with linked_node(tmp_path, "b", atlas) as b:
            await linked(a, b, c)
            atlas.tell()
            stored = await ended(a.node, question.id)
            assert (stored.status, stored.node) == (DeliveryStatus.DELIVERED, "c")
    assert Gate.seen == ["hello"]
