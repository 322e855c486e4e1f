"""Agents with a memory, on a whole node: across conversations, restarts and crashes."""

import asyncio

import pytest

from caxton_node.domain.errors import Unavailable
from caxton_node.memory.records import Access, NewFact, Scope
from caxton_node.runtime.consolidation import consolidate
from caxton_node.store.protocol import StepState
from tests.model_server import model_server, says
from tests.opened_node import ask, deploy, message, opened_node

SWITCHES = {"memory__model": "none"}


def agent(name="keeper", *, url="", scope="agent", more="") -> str:
    llm = f'[llm]\nprovider = "openai"\nmodel = "test"\nbase_url = "{url}"\n' if url else ""
    return (
        f'name = "{name}"\ncapabilities = ["help"]\nsystem_prompt = "Help."\n{llm}'
        f'[memory]\nenabled = true\nscope = "{scope}"\n{more}'
    )


@pytest.fixture
async def node(tmp_path, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "sk-test")
    async with opened_node(tmp_path, **SWITCHES) as node:
        yield node


async def test_what_was_said_in_one_conversation_is_known_in_another(node):
    await deploy(node, agent())
    await ask(node, receiver="keeper", content="My favourite colour is teal.")
    answer = await ask(node, receiver="keeper", content="What is my favourite colour?")
    assert "teal" in answer.body()


async def test_a_conversation_today_is_recalled_tomorrow_after_a_restart(tmp_path):
    async with opened_node(tmp_path, **SWITCHES) as node:
        await deploy(node, agent())
        await ask(node, receiver="keeper", content="The staging server is in Frankfurt.")
    async with opened_node(tmp_path, **SWITCHES) as node:
        answer = await ask(node, receiver="keeper", content="Where is the staging server?")
    assert "Frankfurt" in answer.body()


async def test_an_agent_without_memory_remembers_nothing(node):
    await deploy(node, agent().replace("enabled = true", "enabled = false"))
    await ask(node, receiver="keeper", content="My favourite colour is teal.")
    answer = await ask(node, receiver="keeper", content="What is my favourite colour?")
    assert "teal" not in answer.body()
    assert (await node.memory.backend.stats(None)).observations == 0


async def test_agents_share_what_they_are_told_to_share(node):
    for name, scope in (("Ada", "workspace"), ("Bob", "workspace"), ("Cyd", "agent")):
        await deploy(node, agent(name, scope=scope))
    await ask(node, receiver="Ada", content="The meeting room is on the third floor.")
    question = "Where is the meeting room?"
    assert "third floor" in (await ask(node, receiver="Bob", content=question)).body()
    assert "third floor" not in (await ask(node, receiver="Cyd", content=question)).body()


async def test_a_model_is_told_what_is_remembered(node):
    async with model_server(says("noted"), says("teal")) as model:
        await deploy(node, agent(url=model.url))
        await ask(node, receiver="keeper", content="My favourite colour is teal.")
        await ask(node, receiver="keeper", content="Which colour do I like?")
    prompt = model.requests[1]["messages"][-1]["content"]
    assert prompt.startswith("Which colour do I like?\n\nWhat you remember:\n- ")
    assert "client: My favourite colour is teal" in prompt


async def test_a_secret_is_not_remembered(node):
    await deploy(node, agent())
    await ask(node, receiver="keeper", content="My password is swordfish. I like tea.")
    kept = await node.memory.recall(Access.of_agent("keeper"), "password swordfish tea")
    assert [hit.observation.text for hit in kept.hits] == ["client: I like tea"]


async def test_a_turn_that_is_taken_again_knows_what_it_knew(tmp_path, monkeypatch):
    """The first attempt recalls, then the node dies in the model call; others teach meanwhile."""
    monkeypatch.setenv("OPENAI_API_KEY", "sk-test")
    scope, access = Scope("agent", "default", "keeper"), Access.of_agent("keeper")
    async with model_server(says("answer")) as model:
        model.hold = asyncio.Event()
        async with opened_node(tmp_path, **SWITCHES) as node:
            await deploy(node, agent(url=model.url))
            await tell(node, access, scope, "the colour of the sky is blue")
            question = message(node, receiver="keeper", content="Which colour is the sky?")
            await node.pipeline.send(question)
            async with asyncio.timeout(10):
                while not model.requests:
                    await asyncio.sleep(0)
            await tell(node, access, scope, "the colour of the evening sky is red")
        model.hold.set()
        async with opened_node(tmp_path, **SWITCHES) as node:
            async with asyncio.timeout(10):
                while not (ended := await ends_of(node, question)):
                    await asyncio.sleep(0.01)
            steps = await node.store.steps(question.id)
    assert ended == ["delivered"]
    assert model.requests[0]["messages"] == model.requests[-1]["messages"]
    assert len(model.requests) > 1
    assert [(one.kind, one.state) for one in steps] == [
        ("recall", StepState.DONE),
        ("model", StepState.DONE),
        ("learn", StepState.DONE),
    ]


async def tell(node, access, scope, text) -> None:
    await node.memory.remember(access, scope, [NewFact(entity="sky", text=text)])


async def ends_of(node, question) -> list[str]:
    stored = await node.store.message(question.id)
    return [stored.status.value] if stored.settled_at is not None else []


async def test_a_damaged_memory_does_not_keep_the_node_from_answering(tmp_path):
    tmp_path.joinpath("memory.db").write_bytes(b"no database at all " * 1_000)
    async with opened_node(tmp_path, **SWITCHES) as node:
        assert node.memory is None
        assert node.components()["memory"].startswith("degraded: The memory")
        await deploy(node, agent())
        answer = await ask(node, receiver="keeper", content="My favourite colour is teal.")
        assert answer.body()


async def test_a_memory_that_fails_in_a_turn_does_not_fail_the_turn(node):
    await deploy(node, agent())

    async def broken(*_, **__):
        raise Unavailable("storage_unavailable", "the disk is gone")

    node.memory.backend.find_words = broken
    node.memory.backend.remember = broken
    assert (await ask(node, receiver="keeper", content="My favourite colour is teal.")).body()


CONCLUSION = (
    '{"facts": [{"entity": "Ada", "type": "person", "text": "Ada breeds llamas", '
    '"kind": "fact"}], "relations": [{"from": "Ada", "to": "llamas", "type": "breeds"}]}'
)


async def consolidate_now(node) -> int:
    """Draw conclusions as the node's chore does, from conversations that go on too."""

    async def draw(conversation):
        return await consolidate(conversation, lambda name: node.roster.find(name).tenant.agent)

    return await node.memory.consolidate_idle(draw, said_before=2**60)


async def test_a_conversation_that_ended_is_consolidated_by_the_agents_model(node):
    async with model_server(says("how nice"), says(CONCLUSION)) as model:
        await deploy(node, agent(url=model.url))
        await ask(node, receiver="keeper", content="We spoke about the farm of Ada")
        before = await node.store.usage(agent="keeper")
        assert await consolidate_now(node) == 1
    shown = model.requests[-1]["messages"][-1]["content"]
    assert "client: We spoke about the farm of Ada\nkeeper: how nice" in shown
    found = await node.memory.recall(Access.of_agent("keeper"), "llamas", limit=1)
    assert found.hits[0].observation.text == "Ada breeds llamas"
    assert found.hits[0].observation.source.model == "test"
    after = await node.store.usage(agent="keeper")
    assert after.input_tokens > before.input_tokens
    assert after.output_tokens > before.output_tokens


async def test_conclusions_that_the_budget_has_no_room_for_are_drawn_by_rules(node):
    more = "[budget]\ntokens_per_conversation = 150\n"
    async with model_server(says("how nice")) as model:
        await deploy(node, agent(url=model.url, more=more))
        await ask(node, receiver="keeper", content="My favourite colour is teal.")
        assert await consolidate_now(node) == 1
    assert len(model.requests) == 1
    found = await node.memory.recall(Access.of_agent("keeper"), "favourite colour", limit=1)
    assert found.hits[0].observation.attribute == "favourite colour"


async def test_a_conversation_that_was_open_when_the_node_stopped_is_consolidated_after_it(
    tmp_path,
):
    async with opened_node(tmp_path, **SWITCHES) as node:
        await deploy(node, agent())
        await ask(node, receiver="keeper", content="Look, llamas everywhere, hundreds of them")
        (left,) = await node.memory.backend.unconsolidated(idle_before=2**60, limit=9)
    async with opened_node(tmp_path, **SWITCHES) as node:
        (found,) = await node.memory.backend.unconsolidated(idle_before=2**60, limit=9)
        assert found.conversation_id == left.conversation_id
        assert await consolidate_now(node) == 1
        assert await node.memory.backend.unconsolidated(idle_before=2**60, limit=9) == []
