"""LLM agents on a whole node, with a model endpoint on loopback or none at all."""

import asyncio

import pytest

from caxton_node.domain.delivery import DeliveryMode
from caxton_node.domain.performatives import Performative
from caxton_node.runtime.prompt import HISTORY_MESSAGES_MAX
from caxton_node.store.protocol import Step, StepState
from caxton_node.store.sqlite import SqliteStore
from tests.model_server import calls, model_server, says
from tests.opened_node import ask, deploy, message, opened_node


def agent(url: str = "", *, more: str = "", tools: str = "[]") -> str:
    """Return the definition of an agent, at an endpoint or offline."""
    llm = f'[llm]\nprovider = "openai"\nmodel = "test"\nbase_url = "{url}"\n' if url else ""
    return (
        f'name = "agent"\ncapabilities = ["help"]\ntools = {tools}\n'
        f'system_prompt = "You are {{{{name}}}}."\n{llm}{more}'
    )


@pytest.fixture
async def node(tmp_path, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "sk-test")
    async with opened_node(tmp_path) as node:
        yield node


async def test_a_model_answers_for_an_agent(node):
    async with model_server(says("forty two")) as model:
        await deploy(node, agent(model.url))
        answer = await ask(node, receiver="agent", content="What is it?")
    assert answer.body() == "forty two"
    assert answer.metadata["provider"] == "openai"
    assert answer.metadata["output_tokens"] == 5
    assert model.requests[0]["messages"] == [
        {"role": "system", "content": "You are agent."},
        {"role": "user", "content": "What is it?"},
    ]


async def test_the_model_sees_the_conversation_so_far(node):
    async with model_server(says("one"), says("two")) as model:
        await deploy(node, agent(model.url))
        await ask(node, receiver="agent", content="first", conversation_id="c")
        await ask(node, receiver="agent", content="second", conversation_id="c")
    assert [m["content"] for m in model.requests[1]["messages"][1:]] == ["first", "one", "second"]


async def test_a_turn_sees_the_answers_to_what_came_before_and_not_what_still_waits(node):
    async with model_server(says("one"), says("two")) as model:
        await deploy(node, agent(model.url))
        first = ask(node, receiver="agent", content="first", conversation_id="c")
        second = ask(node, receiver="agent", content="second", conversation_id="c")
        # Handed in at once, both are journaled before the first turn begins.
        await asyncio.gather(first, second)
    told = [[m["content"] for m in one["messages"][1:]] for one in model.requests]
    assert told == [["first"], ["first", "one", "second"]]


async def test_a_model_is_told_no_more_of_a_conversation_than_the_last_of_it(node):
    async with model_server(says("well")) as model:
        await deploy(node, agent(model.url))
        for number in range(HISTORY_MESSAGES_MAX):
            await ask(node, receiver="agent", content=f"q{number}", conversation_id="c")
    told = [m["content"] for m in model.requests[-1]["messages"][1:]]
    assert told[-3:] == [f"q{HISTORY_MESSAGES_MAX - 2}", "well", f"q{HISTORY_MESSAGES_MAX - 1}"]
    assert len(told) == HISTORY_MESSAGES_MAX + 1


async def test_tools_are_called_and_their_results_go_back_to_the_model(node):
    async with model_server(calls("echo", text="ping"), says("done")) as model:
        await deploy(node, agent(model.url, tools='["echo"]'))
        answer = await ask(node, receiver="agent")
    assert answer.body() == "done"
    assert answer.metadata["tools"] == ["echo"]
    assert "ping" in model.requests[1]["messages"][-1]["content"]


async def test_a_tool_that_is_not_listed_is_not_called(node):
    async with model_server(calls("file_storage", operation="list"), says("well")) as model:
        await deploy(node, agent(model.url, tools='["echo"]'))
        await ask(node, receiver="agent")
    assert "there is no tool 'file_storage'" in model.requests[1]["messages"][-1]["content"]


async def test_wrong_arguments_are_explained_to_the_model(node):
    async with model_server(calls("echo", txt="ping"), says("well")) as model:
        await deploy(node, agent(model.url, tools='["echo"]'))
        await ask(node, receiver="agent")
    assert "text" in model.requests[1]["messages"][-1]["content"]


async def test_a_model_may_refuse(node):
    async with model_server(says('{"performative": "refuse", "content": "no"}')) as model:
        await deploy(node, agent(model.url))
        answer = await ask(node, receiver="agent")
    assert answer.performative is Performative.REFUSE


async def test_a_budget_of_tokens_ends_a_turn(node):
    async with model_server(says("x")) as model:
        await deploy(node, agent(model.url, more="[budget]\ntokens_per_conversation = 20\n"))
        await ask(node, receiver="agent", conversation_id="c")
        failure = await ask(node, receiver="agent", conversation_id="c")
    assert failure.body()["code"] == "budget_exhausted"
    assert failure.body()["limit"] == "tokens_per_conversation"
    assert len(model.requests) == 1


async def test_a_budget_survives_a_restart(tmp_path, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "sk-test")
    async with model_server(says("x")) as model:
        async with opened_node(tmp_path) as node:
            await deploy(node, agent(model.url, more="[budget]\ntokens_per_day = 20\n"))
            await ask(node, receiver="agent")
        async with opened_node(tmp_path) as node:
            failure = await ask(node, receiver="agent")
    assert failure.body()["code"] == "budget_exhausted"


async def test_a_cancel_keeps_what_the_model_has_said_so_far(node):
    async with model_server(says("once upon a time")) as model:
        model.hold = asyncio.Event()
        await deploy(node, agent(model.url))
        question = message(node, receiver="agent")
        with (
            node.answers.expect("client", question.id) as answer,
            node.events.watch(lambda event: event.kind == "turn.delta") as deltas,
        ):
            await node.pipeline.send(question)
            assert (await deltas.next(timeout_s=5)).data["text"] == "once"
            await node.pipeline.send(
                message(
                    node,
                    receiver="agent",
                    performative=Performative.CANCEL,
                    conversation_id=question.conversation_id,
                )
            )
            failure = await answer
        model.hold.set()
    assert failure.body()["partial"] == "once"


async def test_a_cancel_keeps_only_what_the_last_model_call_said(node):
    look = says("let me look") | calls("echo", text="ping")

    def hesitate(_):
        model.hold = asyncio.Event()
        return says("once upon a time")

    async with model_server(look, hesitate) as model:
        await deploy(node, agent(model.url, tools='["echo"]'))
        question = message(node, receiver="agent")
        with (
            node.answers.expect("client", question.id) as answer,
            node.events.watch(lambda event: event.data.get("text") == "once") as deltas,
        ):
            await node.pipeline.send(question)
            await deltas.next(timeout_s=5)
            await node.pipeline.send(
                message(
                    node,
                    receiver="agent",
                    performative=Performative.CANCEL,
                    conversation_id=question.conversation_id,
                )
            )
            failure = await answer
        model.hold.set()
    assert failure.body()["partial"] == "once"


async def test_a_turn_taken_again_repeats_no_model_call_and_no_effect(tmp_path, monkeypatch):
    """The record of an attempt that was cut off is all that the next one needs."""
    monkeypatch.setenv("OPENAI_API_KEY", "sk-test")
    async with model_server(says("never asked for the first step")) as model:
        source = agent(model.url, tools='["file_storage"]')
        steps = [done_model_call, done_tool_call]
        question = await leave_behind(tmp_path, source, steps, DeliveryMode.AT_LEAST_ONCE)
        async with opened_node(tmp_path) as node:
            answer = await answer_in_store(node, question)
            assert answer.body() == "never asked for the first step"
            files = node.roster.seat("agent").tenant.agent.folder / "files"
    # The first model call and the tool call came from the record; only the second call was made.
    assert len(model.requests) == 1
    assert "written before the crash" in model.requests[0]["messages"][-1]["content"]
    assert not files.exists()


async def test_an_effect_with_an_unknown_outcome_is_not_repeated_exactly_once(
    tmp_path, monkeypatch
):
    monkeypatch.setenv("OPENAI_API_KEY", "sk-test")
    async with model_server(says("not reached")) as model:
        source = agent(model.url, tools='["file_storage"]')
        steps = [done_model_call, begun_tool_call]
        question = await leave_behind(tmp_path, source, steps, DeliveryMode.EXACTLY_ONCE)
        async with opened_node(tmp_path) as node:
            answer = await answer_in_store(node, question)
            assert answer.body()["code"] == "outcome_unknown"
    assert not model.requests


async def leave_behind(folder, source, steps, delivery):
    """Leave a data directory as a process does that dies in the middle of a turn."""
    async with opened_node(folder) as node:
        await deploy(node, source)
        question = message(node, receiver="agent", delivery=delivery)
    store = SqliteStore(folder / "caxton.db")
    await store.open()
    store.append(((store.last_seq + 1, question),), ())
    for step in steps:
        await store.put_step(step(question.id))
    await store.close()
    return question


async def answer_in_store(node, question):
    """Return the answer to a question, once it is in its conversation."""
    async with asyncio.timeout(10):
        while True:
            page = await node.store.messages(conversation_id=question.conversation_id)
            for stored in page.items:
                if stored.message.in_reply_to == question.id:
                    return stored.message
            await asyncio.sleep(0.005)


def begun_tool_call(message_id: str) -> Step:
    return Step(
        message_id=message_id,
        number=1,
        kind="tool",
        name="file_storage",
        state=StepState.STARTED,
        started_at=3,
    )


def done_model_call(message_id: str) -> Step:
    return Step(
        message_id=message_id,
        number=0,
        kind="model",
        name="test",
        state=StepState.DONE,
        started_at=1,
        finished_at=2,
        data=b'{"text":"","tool_calls":[["c","file_storage",{"operation":"write","path":"a.txt",'
        b'"content":"x"}]],"usage":[10,5],"provider":"openai","model":"test",'
        b'"finish_reason":"tool_calls","metadata":{}}',
    )


def done_tool_call(message_id: str) -> Step:
    return Step(
        message_id=message_id,
        number=1,
        kind="tool",
        name="file_storage",
        state=StepState.DONE,
        started_at=3,
        finished_at=4,
        data=b'{"arguments":{},"content":"written before the crash","is_error":false,'
        b'"artifacts":[]}',
    )


async def test_without_a_model_no_budget_is_spent(node):
    await deploy(node, agent(more="[budget]\ntokens_per_day = 10\n", tools='["echo"]'))
    for _ in range(3):
        answer = await ask(node, receiver="agent", content='Echo "a rather long sentence"')
        assert answer.performative is Performative.INFORM
    usage = await node.store.usage(agent="agent")
    assert usage.input_tokens == 0


async def test_without_a_model_the_offline_provider_answers_and_says_so(node):
    await deploy(node, agent(tools='["text_processor"]'))
    answer = await ask(node, receiver="agent", content='Count the words in "one two three"')
    assert answer.metadata["offline"] is True
    assert answer.metadata["provider"] == "offline"
    assert "3" in answer.body()
