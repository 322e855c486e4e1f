"""Agents and clients that do what they should not: the node, and everybody else, are unharmed."""

import asyncio
import logging

import pytest

from caxton_node.domain.agent import AgentState
from caxton_node.domain.delivery import DeliveryStatus
from caxton_node.domain.errors import Denied, NotFound, Unavailable
from caxton_node.domain.performatives import Performative
from tests.handlers import Gate, Stubborn
from tests.opened_node import ask, deploy, message, opened_node, python_agent


@pytest.fixture
async def node(tmp_path):
    async with opened_node(tmp_path) as node:
        yield node


@pytest.mark.parametrize(
    "way", ["cycle", "metadata", "surrogate", "exit", "cancelled within", "act"]
)
async def test_whatever_an_agent_does_its_sender_is_told_and_the_next_turn_is_fine(
    node, way, monkeypatch
):
    # A test runner that collects log lines cannot pass half a surrogate pair on.
    monkeypatch.setattr(logging.getLogger("caxton.runtime"), "propagate", False)
    await deploy(node, python_agent("agent", "Misbehaves", more="[supervision]\nintensity = 99\n"))
    failure = await ask(node, receiver="agent", content=way, conversation_id="c")
    assert failure.performative is Performative.FAILURE
    assert failure.body()["code"] == "agent_failed"
    assert (await ask(node, receiver="agent", conversation_id="c")).body() == "fine"


async def test_a_turn_that_does_not_listen_is_ended_for_its_sender_all_the_same(node):
    Stubborn.prepare()
    await deploy(node, python_agent("agent", "Stubborn", more='[limits]\ntime = "50ms"\n'))
    answer = await ask(node, receiver="agent")
    assert answer.body()["code"] == "timed_out"
    Stubborn.let_go.set()


async def test_the_conversation_of_a_stubborn_turn_stays_closed_until_it_returns(node):
    Stubborn.prepare()
    await deploy(node, python_agent("agent", "Stubborn", more='[limits]\ntime = "50ms"\n'))
    await ask(node, receiver="agent", conversation_id="c")
    assert list(node.roster.seat("agent").running) == ["c"]
    Stubborn.let_go.set()
    answer = await ask(node, receiver="agent", conversation_id="c")
    assert answer.body() == "late"


async def test_a_full_mailbox_does_not_keep_a_cancel_out(node):
    Gate.close()
    await deploy(node, python_agent("gate", "Gate", more="[limits]\nmailbox = 1\n"))
    await node.pipeline.send(message(node, receiver="gate", conversation_id="c"))
    await Gate.entered.wait()
    await node.pipeline.send(message(node, receiver="gate", conversation_id="c"))
    stop = await ask(node, receiver="gate", conversation_id="c", performative=Performative.CANCEL)
    assert stop.body() == {"cancelled": 2}


async def test_a_message_between_two_attempts_expires_on_time(node):
    await deploy(node, python_agent("flaky", "Flaky"))
    question = message(
        node, receiver="flaky", content=99, reply_by=node.clock.now_ms() + 60, conversation_id="c"
    )
    with node.answers.expect("client", question.id) as answer:
        await node.pipeline.send(question)
        async with asyncio.timeout(5):
            while not node.roster.seat("flaky").retrying:
                await asyncio.sleep(0.001)
        await node.deployments.change_state("flaky", AgentState.SUSPENDED)
        assert (await answer).body()["code"] == "expired"
    assert not node.roster.seat("flaky").load


async def test_a_message_that_expires_frees_its_slot(node):
    await deploy(node, python_agent("echo", "Echo", more="[limits]\nmailbox = 1\n"))
    await node.deployments.change_state("echo", AgentState.SUSPENDED)
    await ask(node, receiver="echo", reply_by=node.clock.now_ms() + 20)
    await node.pipeline.send(message(node, receiver="echo"))


async def test_messages_that_are_journaled_while_their_agent_is_deleted_have_an_end(node):
    await deploy(node, python_agent("echo", "Echo"))
    await node.deployments.change_state("echo", AgentState.SUSPENDED)
    sent = [message(node, receiver="echo") for _ in range(50)]
    sends = [node.pipeline.send(one) for one in sent]
    await asyncio.gather(*sends, node.deployments.delete("echo", is_forced=True))
    await node.store.flush()
    for one in sent:
        assert (await node.store.message(one.id)).status is DeliveryStatus.DEAD


async def test_nobody_sends_an_answer_where_he_may_not_send_himself(node):
    await deploy(node, python_agent("echo", "Echo"))
    await deploy(node, python_agent("vip", "Echo", more='[permissions]\nsenders = ["boss"]\n'))
    with pytest.raises(Denied):
        await node.pipeline.send(message(node, receiver="echo", reply_to="vip"))


async def test_answers_to_somebody_else_do_not_get_past_the_bound_of_a_mailbox(node):
    Gate.close()
    await deploy(node, python_agent("echo", "Echo"))
    await deploy(node, python_agent("gate", "Gate", more="[limits]\nmailbox = 2\n"))
    await node.deployments.change_state("gate", AgentState.SUSPENDED)
    for _ in range(10):
        await node.pipeline.send(message(node, receiver="echo", reply_to="gate"))
    async with asyncio.timeout(5):
        while len((await node.store.messages(status=DeliveryStatus.DEAD)).items) < 8:
            await asyncio.sleep(0.01)
    assert len(node.roster.seat("gate").mailbox) == 2
    Gate.opened.set()


async def test_a_broadcast_that_nobody_can_take_is_refused(node):
    with pytest.raises(NotFound):
        await node.pipeline.send(message(node, receiver="broadcast"))
    await deploy(node, python_agent("echo", "Echo", more="[limits]\nmailbox = 1\n"))
    await node.deployments.change_state("echo", AgentState.SUSPENDED)
    await node.pipeline.send(message(node, receiver="echo"))
    everybody = message(node, capability="test", routing_strategy="broadcast")
    with pytest.raises(Unavailable):
        await node.pipeline.send(everybody)


async def test_two_clients_of_one_name_get_each_their_own_answer(node):
    await deploy(node, python_agent("echo", "Echo"))
    one = message(node, receiver="echo", content=1, reply_with="req")
    two = message(node, receiver="echo", content=2, reply_with="req")
    with (
        node.answers.expect("client", "req", one.conversation_id) as first,
        node.answers.expect("client", "req", two.conversation_id) as second,
    ):
        await node.pipeline.send(one)
        await node.pipeline.send(two)
        assert [(await first).body(), (await second).body()] == [1, 2]


async def test_nobody_answers_in_an_agents_name(node):
    Gate.close()
    await deploy(node, python_agent("gate", "Gate"))
    question = message(node, receiver="gate")
    with node.answers.expect("client", question.id) as answer:
        await node.pipeline.send(question)
        await Gate.entered.wait()
        forged = message(
            node,
            sender="mallory",
            receiver="client",
            in_reply_to=question.id,
            performative=Performative.INFORM,
        )
        await node.pipeline.send(forged)
        assert not answer.done()
        Gate.opened.set()
        assert (await answer).sender == "gate"


async def test_an_answer_that_the_disk_refused_is_written_again(node, monkeypatch):
    Gate.close()
    await deploy(node, python_agent("gate", "Gate"))
    question = message(node, receiver="gate")
    with node.answers.expect("client", question.id) as answer:
        await node.pipeline.send(question)
        await Gate.entered.wait()
        connection = node.store._writer._committer._connection
        (used,) = connection.execute("PRAGMA page_count").fetchone()
        connection.execute(f"PRAGMA max_page_count = {used}").fetchall()
        big = message(node, receiver="gate", content="x" * 900_000)
        with pytest.raises(Unavailable):
            await node.pipeline.send(big)
        Gate.opened.set()
        async with asyncio.timeout(5):
            while node.roster.seat("gate").running:
                await asyncio.sleep(0.01)
        connection.execute("PRAGMA max_page_count = 1000000").fetchall()
        async with asyncio.timeout(10):
            assert (await answer).body() == "hello"
    await node.store.flush()
    assert (await node.store.message(question.id)).status is DeliveryStatus.DELIVERED
