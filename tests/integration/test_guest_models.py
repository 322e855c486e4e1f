"""Guests that call models and tools: on their agent's budget, counted, and in the turn's trace."""

from contextlib import asynccontextmanager

import pytest

from caxton_node.runtime.spending import day_of
from tests import wasm_guests
from tests.model_server import model_server, says
from tests.opened_node import ask, deploy, opened_node

TRACE_ID = "4bf92f3577b34da6a3ce929d0e0e4736"
TRACEPARENT = f"00-{TRACE_ID}-00f067aa0ba902b7-01"

COMPLETES = wasm_guests.asking("model.complete", '{"request":{"prompt":"How are you?"}}')
CALLS_A_TOOL = wasm_guests.asking("tools.call", '{"name":"echo","arguments":{"text":"hi"}}')


@pytest.fixture(autouse=True)
def key(monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "sk-test")


@asynccontextmanager
async def guest(folder, module, *, budget="", grants='model = ["*"]'):
    """Open a node with a guest that asks the host one thing, and a model that answers."""
    async with model_server(says("well")) as model, opened_node(folder) as node:
        digest = await node.guests.put_module(module)
        await deploy(
            node,
            'name = "Asker"\nkind = "wasm"\nversion = "1.2.0"\ncapabilities = ["test"]\n'
            f'[llm]\nprovider = "openai"\nmodel = "test-model"\nbase_url = "{model.url}"\n'
            f'[wasm]\nsha256 = "{digest}"\n[grants]\n{grants}\n'
            f'[limits]\ntime = "20s"\n{budget}',
        )
        yield node, model


async def answered(node, **more):
    return (await ask(node, receiver="Asker", **more)).body()


async def test_a_guest_calls_the_model_of_its_agent_and_it_is_accounted(tmp_path):
    async with guest(tmp_path, COMPLETES) as (node, _):
        answer = await answered(node, conversation_id="conv")
        assert answer["ok"]["text"] == "well"
        today = day_of(node.clock.now_ms())
        spent = (await node.pasts.of("Asker", "conv", today)).today
        assert (spent.input_tokens, spent.output_tokens) == (10, 5)


@pytest.mark.parametrize("span", ["conversation", "day"])
async def test_a_budget_that_is_spent_refuses_the_call_and_the_model_is_not_asked(tmp_path, span):
    budget = f"[budget]\ntokens_per_{span} = 16\n"
    async with guest(tmp_path, COMPLETES, budget=budget) as (node, model):
        assert "ok" in await answered(node, conversation_id="conv")
        refused = await answered(node, conversation_id="conv")
        assert refused["error"]["code"] == "budget_exhausted"
        assert f"tokens_per_{span} is 16" in refused["error"]["message"]
        assert len(model.requests) == 1


async def test_another_conversation_has_a_budget_of_its_own(tmp_path):
    async with guest(tmp_path, COMPLETES, budget="[budget]\ntokens_per_conversation = 16\n") as (
        node,
        _,
    ):
        assert "ok" in await answered(node, conversation_id="one")
        assert "ok" in await answered(node, conversation_id="two")


async def test_a_budget_that_only_warns_says_so_beside_the_answer(tmp_path):
    budget = '[budget]\ntokens_per_day = 1\noverflow = "warn"\n'
    async with guest(tmp_path, COMPLETES, budget=budget) as (node, _):
        answer = await answered(node)
    assert answer["ok"]["warnings"] == ["The budget tokens_per_day is exceeded."]


async def test_what_a_guest_asks_for_is_in_the_trace_of_its_turn(tmp_path):
    async with guest(tmp_path, COMPLETES) as (node, model):
        node.tracing.is_recording = True
        await answered(node, traceparent=TRACEPARENT)
        spans = {one.name: one for one in node.tracing.finished if one.trace.trace_id == TRACE_ID}
        turn, chat = spans["invoke_agent Asker"], spans["chat openai"]
        assert turn.parent_id == spans["process Asker"].trace.span_id
        assert turn.attributes["caxton.guest.isolation"] == "worker"
        assert chat.parent_id == turn.trace.span_id
        assert chat.attributes["gen_ai.usage.input_tokens"] == 10
        assert model.headers[0]["traceparent"].split("-")[2] == chat.trace.span_id


async def test_a_tool_that_a_guest_calls_is_traced_and_counted_like_others(tmp_path):
    async with guest(tmp_path, CALLS_A_TOOL, grants='tools = ["echo"]') as (node, _):
        node.tracing.is_recording = True
        assert "ok" in await answered(node, traceparent=TRACEPARENT)
        spans = {one.name: one for one in node.tracing.finished if one.trace.trace_id == TRACE_ID}
        tool = spans["execute_tool echo"]
        assert tool.parent_id == spans["invoke_agent Asker"].trace.span_id
        assert (node.counts.tool_calls, node.counts.tool_errors) == (1, 0)


async def test_calls_of_guests_are_counted_by_what_they_came_to(tmp_path):
    spin = wasm_guests.guest(
        '(func (export "handle_message") (param i32 i32) (result i32) (loop br 0) i32.const 0)'
    )
    async with opened_node(tmp_path, retry__attempts=1) as node:
        for name, module, time in (
            ("Good", wasm_guests.answering('{"content":1}'), "20s"),
            ("Denied", COMPLETES, "20s"),
            ("Spins", spin, "100ms"),
        ):
            digest = await node.guests.put_module(module)
            await deploy(
                node,
                f'name = "{name}"\nkind = "wasm"\ncapabilities = ["test"]\n'
                f'[wasm]\nsha256 = "{digest}"\n[limits]\ntime = "{time}"\n',
            )
            await ask(node, receiver=name)
        counts = node.counts
        assert (counts.guest_calls, counts.guest_operations, counts.guest_denied) == (3, 1, 1)
        assert counts.guest_s.sum > 0
