"""`knowledge_base`, called by a model on a whole node."""

import pytest

from tests.model_server import calls, model_server, says
from tests.opened_node import ask, deploy, opened_node


@pytest.fixture
async def node(tmp_path, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "sk-test")
    async with opened_node(tmp_path, memory__model="none") as node:
        yield node


async def results_of(node, *wanted, agent="agent"):
    """Let a model make these calls in turn and return what it is told."""
    replies = [calls("knowledge_base", **arguments) for arguments in wanted]
    async with model_server(*replies, says("done")) as model:
        await deploy(
            node,
            f'name = "{agent}"\ncapabilities = ["help"]\ntools = ["knowledge_base"]\n'
            f'system_prompt = "p"\n[llm]\nprovider = "openai"\nmodel = "m"\n'
            f'base_url = "{model.url}"\n',
        )
        answer = await ask(node, receiver=agent)
        assert answer.body() == "done"
    return [m["content"] for m in model.requests[-1]["messages"] if m["role"] == "tool"]


async def test_what_is_noted_is_found(node):
    found = await results_of(
        node,
        {"operation": "add", "entity": "Ada", "text": "Ada breeds llamas"},
        {"operation": "search", "query": "who breeds llamas"},
        {"operation": "about", "entity": "ada"},
    )
    assert found[0] == '{"entity":"Ada","is_new":true}'
    assert '"text":"Ada breeds llamas"' in found[1]
    assert found[2] == '{"entity":"ada","known":["Ada breeds llamas"]}'


async def test_what_is_related_is_walked(node):
    found = await results_of(
        node,
        {"operation": "relate", "entity": "Ada", "relation": "owns", "target": "farm"},
        {"operation": "neighbours", "entity": "farm"},
    )
    assert found[1] == '{"relations":[["Ada","owns","farm"]]}'


async def test_another_agents_notes_are_not_there(node):
    note = {"operation": "add", "entity": "plan", "text": "attack at dawn"}
    await results_of(node, note, agent="Ada")
    found = await results_of(node, {"operation": "search", "query": "dawn"}, agent="Bob")
    assert '"found":[]' in found[0]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"operation": "search"}, "`query` is needed"),
        ({"operation": "add", "entity": "e", "text": "my password is x"}, "looks like a secret"),
        ({"operation": "neighbours", "entity": "nobody"}, "nothing is known"),
    ],
)
async def test_a_model_is_told_what_it_did_wrong(node, arguments, said):
    assert said in (await results_of(node, arguments))[0]
