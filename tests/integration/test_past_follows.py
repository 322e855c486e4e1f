"""An agent that moved, or was taken over, goes on with its conversations and its budgets."""

from contextlib import AsyncExitStack

import pytest

from tests.clustered_nodes import cluster_of, clustered_node, is_whole, until
from tests.integration.process_lab import cluster
from tests.integration.process_lab import until as until_so
from tests.model_server import model_server, says
from tests.opened_node import ask, deploy


@pytest.fixture(autouse=True)
def key(monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "sk-test")


def agent(url, more=""):
    return (
        'name = "agent"\ncapabilities = ["help"]\nsystem_prompt = "Answer."\n'
        f'[llm]\nprovider = "openai"\nmodel = "test"\nbase_url = "{url}"\n{more}'
    )


def told(request):
    """What a model was told of a conversation, its instructions apart."""
    return [one["content"] for one in request["messages"][1:]]


def homes(node):
    return sorted(node.cluster.fleet.holders("agent"))


async def move(nodes, target):
    nodes[0].cluster.fleet.move("agent", target)
    await until(lambda: all(homes(node) == [target] for node in nodes))


async def test_an_agent_that_moves_knows_what_was_said_where_it_came_from(tmp_path):
    async with (
        model_server(says("one"), says("two"), says("three")) as model,
        cluster_of(tmp_path, "a", "b") as nodes,
    ):
        a, b = nodes
        await deploy(a, agent(model.url))
        await ask(a, receiver="agent", content="first", conversation_id="c")
        await until(lambda: homes(b) == ["a"])
        await ask(b, receiver="agent", content="second", conversation_id="c")
        await move(nodes, "b")
        await ask(b, receiver="agent", content="third", conversation_id="c")
    assert told(model.requests[2]) == ["first", "one", "second", "two", "third"]


async def test_a_move_there_and_back_leaves_no_gap(tmp_path):
    async with (
        model_server(says("one"), says("two"), says("three")) as model,
        cluster_of(tmp_path, "a", "b") as nodes,
    ):
        a, b = nodes
        await deploy(a, agent(model.url))
        await ask(a, receiver="agent", content="first", conversation_id="c")
        await move(nodes, "b")
        await ask(b, receiver="agent", content="second", conversation_id="c")
        await move(nodes, "a")
        await ask(a, receiver="agent", content="third", conversation_id="c")
    assert told(model.requests[2]) == ["first", "one", "second", "two", "third"]


async def test_a_node_that_was_away_is_asked_when_it_is_back(tmp_path):
    async with (
        model_server(says("one"), says("two"), says("three")) as model,
        AsyncExitStack() as stack,
    ):
        c = await stack.enter_async_context(clustered_node(tmp_path / "c", "c"))
        joins = {"cluster__peers": c.ring.address}
        d = await stack.enter_async_context(clustered_node(tmp_path / "d", "d", **joins))
        async with clustered_node(tmp_path / "a", "a", **joins) as a:
            await until(lambda: all(is_whole(node, 3) for node in (a, c, d)))
            await deploy(a, agent(model.url))
            await ask(a, receiver="agent", content="first", conversation_id="x")
            await move([c, d, a], "c")
        await until(lambda: len(c.cluster.peers()) == 1)
        await ask(c, receiver="agent", content="second", conversation_id="x")
        async with clustered_node(tmp_path / "a", "a", **joins):
            await until(lambda: is_whole(c, 3))
            await ask(c, receiver="agent", content="third", conversation_id="x")
    assert told(model.requests[1]) == ["second"]
    assert told(model.requests[2]) == ["first", "one", "second", "two", "third"]


@pytest.mark.parametrize("limit", ["tokens_per_conversation", "tokens_per_day"])
async def test_what_was_spent_elsewhere_counts(tmp_path, limit):
    async with (
        model_server(says("one")) as model,
        cluster_of(tmp_path, "a", "b") as nodes,
    ):
        a, b = nodes
        await deploy(a, agent(model.url, f"[budget]\n{limit} = 20\n"))
        await ask(a, receiver="agent", content="first", conversation_id="c")
        await move(nodes, "b")
        refused = await ask(b, receiver="agent", content="second", conversation_id="c")
    assert refused.body()["code"] == "budget_exhausted"
    assert len(model.requests) == 1


async def test_a_survivor_goes_on_with_a_conversation_that_another_node_took_in(tmp_path):
    async with (
        model_server(says("one"), says("two")) as model,
        cluster(tmp_path, "a", "b", "c") as lab,
    ):
        await lab.deploy("c", agent(model.url))
        await lab.runs_at("agent", "c", seen_by="ab")
        chat = {"message": "first", "conversation_id": "x"}
        await lab.post("a", "agents/agent/chat", chat)

        async def all_ended():
            messages = (await lab.get("a", "messages?conversation_id=x"))["items"]
            return len(messages) == 2 and all(one["status"] == "delivered" for one in messages)

        await until_so(all_ended)
        await lab.nodes["c"].kill()

        async def survivor():
            home = await lab.only_home("a", "agent")
            return home if home in ("a", "b") else None

        home = await until_so(survivor)
        # Whichever of the two it is: what node a took in is there.
        await lab.post(home, "agents/agent/chat", chat | {"message": "second"})
    assert told(model.requests[1]) == ["first", "one", "second"]
