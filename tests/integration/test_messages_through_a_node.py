"""The one way through, on a whole node with Python agents and the real store."""

import asyncio
import gc

import pytest

from caxton_node.domain.agent import AgentState
from caxton_node.domain.delivery import DeliveryMode, DeliveryStatus, RoutingStrategy
from caxton_node.domain.errors import NotFound, TimedOut, Unavailable
from caxton_node.domain.performatives import Performative
from caxton_node.routing.waiting import answer_within
from caxton_node.runtime.supervisor import TURNS_IN_A_ROW_MAX
from tests.handlers import Gate
from tests.opened_node import ask, deploy, message, opened_node, python_agent


@pytest.fixture
async def node(tmp_path):
    async with opened_node(tmp_path) as node:
        yield node


async def settled(node, message_id):
    """Return a message once it has an end."""
    async with asyncio.timeout(10):
        while True:
            stored = await node.store.message(message_id)
            if stored is not None and stored.status is not DeliveryStatus.ACCEPTED:
                return stored
            await asyncio.sleep(0.005)


async def test_an_answer_belongs_to_its_question(node):
    await deploy(node, python_agent("echo", "Echo"))
    answer = await ask(node, receiver="echo", content={"n": 1}, protocol="fipa-request")
    assert answer.performative is Performative.INFORM
    assert answer.body() == {"n": 1}
    assert answer.sender == "echo"
    assert answer.protocol == "fipa-request"
    page = await node.store.messages(conversation_id=answer.conversation_id)
    question = page.items[0].message
    assert answer.in_reply_to == question.id


async def test_an_exchange_leaves_nothing_to_the_garbage_collector(node):
    """A cycle or two an answer made the collector stop the node for 40 ms twice a second."""
    await deploy(node, python_agent("echo", "Echo"))
    await ask(node, receiver="echo")
    gc.collect()
    gc.disable()
    try:
        for _ in range(20):
            await ask(node, receiver="echo")
        await node.store.flush()
        assert gc.collect() < 20
    finally:
        gc.enable()


async def test_a_worker_that_lets_others_run_hears_that_the_node_stops(tmp_path):
    async with opened_node(tmp_path) as node:
        await deploy(node, python_agent("counter", "Counter"))
        for _ in range(TURNS_IN_A_ROW_MAX):
            told = message(
                node,
                receiver="counter",
                performative=Performative.INFORM,
                delivery=DeliveryMode.AT_MOST_ONCE,
            )
            node.pipeline.submit(told)
        while node.counts.turns_finished < TURNS_IN_A_ROW_MAX:
            await asyncio.sleep(0)
    # Here the worker has gone home. A lost word would have kept the node from closing.
    assert not node.supervisor.turns_under_way


async def test_a_burst_starts_no_more_workers_than_one_at_a_time(node):
    await deploy(node, python_agent("counter", "Counter"))
    seat = node.roster.seat("counter")
    for _ in range(10):
        node.pipeline.submit(message(node, receiver="counter", performative=Performative.INFORM))
    await node.store.flush()
    while seat.counts.finished < 10:
        await asyncio.sleep(0)
    assert seat.workers <= 2


async def test_reply_with_is_what_the_answer_carries(node):
    await deploy(node, python_agent("echo", "Echo"))
    answer = await ask(node, receiver="echo", reply_with="req-1")
    assert answer.in_reply_to == "req-1"


async def test_both_messages_of_an_exchange_end_as_delivered(node):
    await deploy(node, python_agent("echo", "Echo"))
    answer = await ask(node, receiver="echo")
    for stored in (await node.store.messages(conversation_id=answer.conversation_id)).items:
        end = await settled(node, stored.message.id)
        assert end.status is DeliveryStatus.DELIVERED


async def test_at_most_once_leaves_nothing_in_the_store(node):
    await deploy(node, python_agent("echo", "Echo"))
    answer = await ask(node, receiver="echo", delivery=DeliveryMode.AT_MOST_ONCE)
    assert answer.body() == "hello"
    assert not (await node.store.messages()).items


async def test_an_agent_that_has_nothing_to_say_still_ends_the_wait(node):
    await deploy(node, python_agent("silent", "Silent"))
    answer = await ask(node, receiver="silent")
    assert answer.performative is Performative.INFORM
    assert answer.body() is None


@pytest.mark.parametrize("act", [Performative.INFORM, Performative.REFUSE])
async def test_whoever_only_tells_gets_no_answer(node, act):
    await deploy(node, python_agent("echo", "Echo"))
    told = message(node, receiver="echo", performative=act)
    await node.pipeline.send(told)
    await settled(node, told.id)
    page = await node.store.messages(conversation_id=told.conversation_id)
    assert len(page.items) == 1


async def test_an_unknown_receiver_is_refused_with_the_near_names(node):
    await deploy(node, python_agent("analyzer", "Echo"))
    with pytest.raises(NotFound) as caught:
        await node.pipeline.send(message(node, receiver="analyser"))
    assert caught.value.facts["suggestions"] == ["analyzer"]


async def test_a_message_finds_its_agent_by_capability(node):
    await deploy(node, python_agent("one", "Echo", capability="data.visual"))
    assert (await ask(node, capability="data")).sender == "one"


async def test_a_broadcast_reaches_everybody_and_is_one_accepted_message_each(node):
    for name in ("a", "b", "c"):
        await deploy(node, python_agent(name, "Echo"))
    sent = message(node, capability="test", routing_strategy=RoutingStrategy.BROADCAST, receiver="")
    await node.pipeline.send(sent)
    ends = [await settled(node, f"{sent.id}~{number}") for number in (1, 2, 3)]
    assert sorted(end.agent for end in ends) == ["a", "b", "c"]


async def test_messages_of_one_conversation_are_handled_in_order(node):
    Gate.close()
    Gate.opened.set()
    await deploy(node, python_agent("gate", "Gate"))
    for number in range(50):
        last = message(node, receiver="gate", conversation_id="c", content=number)
        await node.pipeline.send(last)
    await settled(node, last.id)
    assert Gate.seen == list(range(50))


async def test_a_full_mailbox_answers_busy(node):
    Gate.close()
    await deploy(node, python_agent("gate", "Gate", more="[limits]\nmailbox = 2\n"))
    await node.pipeline.send(message(node, receiver="gate", conversation_id="c"))
    await Gate.entered.wait()
    for _ in range(2):
        await node.pipeline.send(message(node, receiver="gate", conversation_id="c"))
    with pytest.raises(Unavailable) as caught:
        await node.pipeline.send(message(node, receiver="gate", conversation_id="c"))
    assert caught.value.code == "agent_busy"
    Gate.opened.set()


async def test_a_passing_failure_is_tried_again(node):
    await deploy(node, python_agent("flaky", "Flaky"))
    assert (await ask(node, receiver="flaky", content=2)).body() == 3


async def test_a_lasting_failure_becomes_a_dead_letter_and_the_sender_is_told(node):
    await deploy(node, python_agent("flaky", "Flaky"))
    answer = await ask(node, receiver="flaky", content=99)
    assert answer.performative is Performative.FAILURE
    assert answer.body()["code"] == "model_failed"
    dead = (await node.store.messages(status=DeliveryStatus.DEAD)).items
    assert [one.reason for one in dead] == ["retries_exhausted: model_failed: not yet"]
    assert dead[0].attempts == 5


async def test_a_refusal_is_not_tried_again(node):
    await deploy(node, python_agent("refuser", "Refuser"))
    answer = await ask(node, receiver="refuser")
    assert answer.body()["code"] == "denied"
    assert (await node.store.messages(status=DeliveryStatus.DEAD)).items[0].attempts == 1


async def test_a_crash_costs_the_agent_its_state_and_the_others_nothing(node):
    await deploy(node, python_agent("counter", "Counter"))
    assert (await ask(node, receiver="counter")).body() == 1
    assert (await ask(node, receiver="counter", content="crash")).body()["code"] == "agent_failed"
    assert (await ask(node, receiver="counter")).body() == 1


async def test_an_agent_that_keeps_crashing_is_given_up_and_its_messages_wait(node):
    more = "[supervision]\nintensity = 2\n"
    await deploy(node, python_agent("counter", "Counter", more=more))
    for _ in range(2):
        await ask(node, receiver="counter", content="crash")
    seat = node.roster.seat("counter")
    assert seat.state is AgentState.FAILED
    waiting = message(node, receiver="counter")
    await node.pipeline.send(waiting)
    await node.deployments.change_state("counter", AgentState.RUNNING)
    assert (await settled(node, waiting.id)).status is DeliveryStatus.DELIVERED


async def test_messages_for_a_suspended_agent_wait_until_it_resumes(node):
    await deploy(node, python_agent("echo", "Echo"))
    await node.deployments.change_state("echo", AgentState.SUSPENDED)
    waiting = message(node, receiver="echo")
    await node.pipeline.send(waiting)
    assert (await node.store.message(waiting.id)).status is DeliveryStatus.ACCEPTED
    await node.deployments.change_state("echo", AgentState.RUNNING)
    assert (await settled(node, waiting.id)).status is DeliveryStatus.DELIVERED


async def test_a_message_that_waited_too_long_expires_and_its_sender_is_told(node):
    await deploy(node, python_agent("echo", "Echo"))
    await node.deployments.change_state("echo", AgentState.SUSPENDED)
    answer = await ask(node, receiver="echo", reply_by=node.clock.now_ms() + 30)
    assert answer.performative is Performative.FAILURE
    assert answer.body()["code"] == "expired"


async def test_a_turn_that_outlasts_its_deadline_is_ended(node):
    Gate.close()
    await deploy(node, python_agent("gate", "Gate", more='[limits]\ntime = "50ms"\n'))
    answer = await ask(node, receiver="gate")
    assert answer.body()["code"] == "timed_out"


async def test_a_turn_is_called_off_by_whoever_began_it(node):
    Gate.close()
    await deploy(node, python_agent("gate", "Gate"))
    question = message(node, receiver="gate")
    with node.answers.expect("client", question.id) as answer:
        await node.pipeline.send(question)
        await Gate.entered.wait()
        stop = message(
            node,
            receiver="gate",
            performative=Performative.CANCEL,
            conversation_id=question.conversation_id,
        )
        await node.pipeline.send(stop)
        failure = await answer
    assert failure.body() == {
        "code": "cancelled",
        "detail": "called off before the turn was done",
        "partial": "half done",
    }
    assert (await settled(node, question.id)).status is DeliveryStatus.CANCELLED


async def test_a_stranger_cannot_call_a_turn_off(node):
    Gate.close()
    await deploy(node, python_agent("gate", "Gate"))
    question = message(node, receiver="gate")
    with node.answers.expect("client", question.id) as answer:
        await node.pipeline.send(question)
        await Gate.entered.wait()
        stop = message(
            node,
            receiver="gate",
            sender="mallory",
            performative=Performative.CANCEL,
            conversation_id=question.conversation_id,
        )
        await node.pipeline.send(stop)
        Gate.opened.set()
        assert (await answer).performative is Performative.INFORM


async def test_an_agent_asks_another_within_its_turn(node):
    await deploy(node, python_agent("echo", "Echo"))
    await deploy(node, python_agent("asker", "Asker", capability="asking"))
    answer = await ask(node, receiver="asker", content="ping")
    assert answer.body() == {"act": "inform", "said": "ping"}
    children = await node.store.subconversations(answer.conversation_id)
    assert children == (f"{answer.conversation_id}.1",)


async def test_agents_that_ask_each_other_for_ever_are_stopped(node):
    for name, other in (("a", "b"), ("b", "a")):
        more = f'[parameters]\nother = "{other}"\n'
        await deploy(node, python_agent(name, "Recursive", more=more))
    answer = await ask(node, receiver="a")
    assert answer.performative is Performative.FAILURE
    assert answer.body()["code"] == "loop_detected"


async def test_what_a_turn_tells_others_arrives(node):
    Gate.close()
    Gate.opened.set()
    await deploy(node, python_agent("listener", "Gate"))
    await deploy(node, python_agent("teller", "Teller"))
    answer = await ask(node, receiver="teller", content="one two three")
    for message_id in answer.body():
        await settled(node, message_id)
    assert sorted(Gate.seen) == ["one", "three", "two"]


@pytest.mark.parametrize("handler", ["TooLong", "NotJson"])
async def test_an_answer_that_cannot_be_sent_is_a_failure_of_the_agent(node, handler):
    await deploy(node, python_agent("bad", handler))
    assert (await ask(node, receiver="bad")).body()["code"] == "agent_failed"


async def test_a_new_version_takes_over_between_two_turns(node):
    Gate.close()
    await deploy(node, python_agent("agent", "Gate"))
    question = message(node, receiver="agent", content="old")
    with node.answers.expect("client", question.id) as answer:
        await node.pipeline.send(question)
        await Gate.entered.wait()
        await deploy(node, python_agent("agent", "Echo", more='[parameters]\nprefix = "new "\n'))
        assert (await ask(node, receiver="agent", content="x")).body() == "new x"
        Gate.opened.set()
        assert (await answer).body() == "old"


async def test_no_message_is_lost_while_an_agent_is_redeployed(node):
    await deploy(node, python_agent("agent", "Echo"))
    sent = []
    for number in range(300):
        sent.append(message(node, receiver="agent", content=number))
        await node.pipeline.send(sent[-1])
        if number % 50 == 0:
            prefix = f'[parameters]\nprefix = "v{number} "\n'
            await deploy(node, python_agent("agent", "Echo", more=prefix))
    for one in sent:
        assert (await settled(node, one.id)).status is DeliveryStatus.DELIVERED


async def test_a_stopping_node_refuses_what_is_new(node):
    await deploy(node, python_agent("echo", "Echo"))
    node.pipeline.is_draining = True
    with pytest.raises(Unavailable) as caught:
        await node.pipeline.send(message(node, receiver="echo"))
    assert caught.value.code == "node_draining"


async def test_nobody_waits_longer_than_he_said(node):
    with node.answers.expect("client", "never") as answer, pytest.raises(TimedOut):
        await answer_within(answer, 0.01)


async def test_accepted_messages_are_taken_up_again_after_a_restart(tmp_path):
    Gate.close()
    async with opened_node(tmp_path) as node:
        await deploy(node, python_agent("gate", "Gate"))
        for number in range(3):
            await node.pipeline.send(message(node, receiver="gate", content=number))
        await Gate.entered.wait()
    Gate.close()
    Gate.opened.set()
    async with opened_node(tmp_path) as node:
        for stored in (await node.store.messages()).items:
            assert (await settled(node, stored.message.id)).status is DeliveryStatus.DELIVERED
        assert sorted(Gate.seen) == [0, 1, 2]


async def test_agents_and_their_states_survive_a_restart(tmp_path):
    async with opened_node(tmp_path) as node:
        await deploy(node, python_agent("one", "Echo"))
        await deploy(node, python_agent("two", "Echo"))
        await node.deployments.change_state("two", AgentState.SUSPENDED)
    async with opened_node(tmp_path) as node:
        states = {seat.agent: seat.state for seat in node.roster}
        assert states == {"one": AgentState.RUNNING, "two": AgentState.SUSPENDED}


async def test_a_rollback_brings_the_version_before_into_force(node):
    await deploy(node, python_agent("agent", "Echo"))
    await deploy(node, python_agent("agent", "Echo", more='[parameters]\nprefix = "new "\n'))
    await node.deployments.rollback("agent")
    assert (await ask(node, receiver="agent", content="x")).body() == "x"
    assert len(await node.deployments.versions("agent")) == 2


async def test_what_waits_for_a_deleted_agent_becomes_dead_letters(node):
    await deploy(node, python_agent("echo", "Echo"))
    await node.deployments.change_state("echo", AgentState.SUSPENDED)
    waiting = message(node, receiver="echo")
    await node.pipeline.send(waiting)
    await node.deployments.delete("echo", is_forced=True)
    end = await settled(node, waiting.id)
    assert end.status is DeliveryStatus.DEAD
    assert end.reason == "agent_deleted: echo"
