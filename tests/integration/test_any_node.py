"""Every request works on any node: three nodes, an agent on one of them, asked on the others."""

import asyncio
from contextlib import AsyncExitStack, aclosing

import pytest
import pytest_asyncio

from caxton import Conflict, NotFound, Rejected
from caxton.models import Accepted, Delta, Reply
from caxton_node.domain import errors as domain_errors
from caxton_node.forwarding.tunnel import Tunnel
from caxton_node.runtime.door import Ask
from tests.clustered_nodes import is_whole, until
from tests.grpc_node import served_node
from tests.handlers import Gate
from tests.opened_node import opened_node, python_agent
from tests.rest_node import read_events

EVENTS = {"Accept": "text/event-stream"}

CLERK = """
name = "Clerk"
capabilities = ["clerking"]
system_prompt = "You are a clerk."
tools = ["echo"]
[llm]
provider = "offline"
"""


pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def nodes(tmp_path_factory):
    """Nodes a, b and c of one cluster, served by REST and gRPC."""
    folder = tmp_path_factory.mktemp("nodes")
    async with AsyncExitStack() as stack:
        served = {}
        for name in "abc":
            flags = {
                "node__name": name,
                "cluster__gossip": "127.0.0.1:0",
                "cluster__preset": "fast",
                "memory__enabled": "false",
            }
            if served:
                flags["cluster__peers"] = served["a"].node.ring.address
            (folder / name).mkdir()
            node = await stack.enter_async_context(opened_node(folder / name, **flags))
            served[name] = await stack.enter_async_context(served_node(node, heartbeat_s=0.1))
            stack.push_async_callback(node.cluster.depart)
        await until(lambda: all(is_whole(one.node, 3) for one in served.values()))
        yield served


@pytest_asyncio.fixture(loop_scope="module")
async def elsewhere(nodes):
    """Node b, which knows of agents of a: `Clerk` and `echo`, as good as new."""
    first = nodes["a"]
    for agent in await first.client.agents():
        await first.client.delete(agent.name, is_forced=True)
    for letter in await first.client.dead_letters():
        await first.client.drop_dead_letter(letter.message.id)
    await first.client.deploy(CLERK, node="a")
    await first.client.deploy(python_agent("echo", "Echo"), node="a")
    clusters = [nodes[name].node.cluster for name in "bc"]
    await until(lambda: all(one.holder("Clerk") == one.holder("echo") == "a" for one in clusters))
    assert len(nodes["b"].node.roster) == 0
    return nodes["b"]


async def test_an_agent_elsewhere_is_read_by_rest_and_grpc(elsewhere):
    detail = await elsewhere.rest.get("agents/Clerk")
    assert (detail["name"], detail["source"]) == ("Clerk", CLERK)
    assert (await elsewhere.client.agent("Clerk")).source == CLERK
    health = await elsewhere.rest.get("agents/Clerk/health")
    assert health["state"] == "running"


async def test_what_is_asked_there_is_refused_as_if_it_were_here(elsewhere):
    for path in ("agents/Clerk/versions/7", "agents/nobody"):
        problem = await elsewhere.rest.get(path, status=404)
        assert problem["code"] in ("version_not_found", "agent_not_found")
    problem = await elsewhere.rest.post("agents/Clerk/resume", status=409)
    assert (problem["code"], problem["state"]) == ("state_conflict", "running")
    with pytest.raises(Conflict) as caught:
        await elsewhere.client.resume("Clerk")
    assert caught.value.facts == {"state": "running"}


async def test_the_trace_of_a_request_goes_on_where_it_is_answered(elsewhere):
    trace_id = "4bf92f3577b34da6a3ce929d0e0e4736"
    headers = {"traceparent": f"00-{trace_id}-00f067aa0ba902b7-01"}
    problem = await elsewhere.rest.get("agents/Clerk/versions/7", status=404, headers=headers)
    assert problem["trace_id"] == trace_id


async def test_an_agent_elsewhere_is_suspended_and_resumed(elsewhere, nodes):
    assert (await elsewhere.client.suspend("echo")).state == "suspended"
    assert nodes["a"].node.roster.seat("echo").state == "suspended"
    fleet = elsewhere.node.cluster.fleet
    await until(lambda: [one.state for one in fleet.agents(["echo"])] == ["suspended"])
    with pytest.raises(Conflict, match="echo is suspended and answers nobody"):
        await elsewhere.client.chat("echo", "hi")
    assert (await elsewhere.rest.post("agents/echo/resume"))["state"] == "running"


async def test_a_new_version_of_an_agent_elsewhere_is_put_in_force_there(elsewhere, nodes):
    body = {"source": CLERK.replace("a clerk", "the clerk"), "format": "toml"}
    deployed = await elsewhere.rest.call("PUT", "agents/Clerk", body, status=200)
    assert deployed["number"] == 2
    assert "the clerk" in nodes["a"].node.roster.seat("Clerk").spec.system_prompt
    assert [one.number for one in await elsewhere.client.versions("Clerk")] == [2, 1]


async def test_an_agent_elsewhere_is_deleted(elsewhere, nodes):
    await elsewhere.client.delete("echo")
    assert nodes["a"].node.roster.find("echo") is None


async def test_the_log_of_an_agent_elsewhere_is_followed(elsewhere, nodes):
    await nodes["a"].client.chat("Clerk", "hello")
    lines = (await elsewhere.rest.get("agents/Clerk/logs"))["items"]
    assert lines
    address = elsewhere.rest.address("agents/Clerk/logs")
    async with elsewhere.rest.session.get(address, headers=EVENTS) as response:
        assert response.content_type == "text/event-stream"
        events = read_events(response)
        seen = [(await anext(events))[1] for _ in lines]
        assert seen == lines
        assert (await anext(events))[0] == "", "all of the past is told"
        await nodes["a"].client.chat("Clerk", "again")
        async with asyncio.timeout(10):
            name, line = await anext(events)
            while not name:
                name, line = await anext(events)
    assert line["at"] >= lines[-1]["at"]
    async with aclosing(elsewhere.client.logs("Clerk", is_following=True)) as following:
        assert (await anext(following)).text == lines[0]["text"]


async def test_a_follower_that_goes_away_is_forgotten_there_too(elsewhere, nodes):
    events = nodes["a"].node.events
    address = elsewhere.rest.address("agents/Clerk/logs")
    async with elsewhere.rest.session.get(address, headers=EVENTS) as response:
        await response.content.readline()
        await until(lambda: events.has_watchers)
    await until(lambda: not events.has_watchers)


async def test_a_chat_with_an_agent_elsewhere_shows_its_turn(elsewhere):
    events = [event async for event in elsewhere.client.chat_events("Clerk", "Echo tulip please.")]
    assert isinstance(events[0], Accepted)
    assert isinstance(events[-1], Reply)
    text = "".join(event.text for event in events if isinstance(event, Delta))
    assert text == events[-1].text


async def test_a_chat_by_rest_shows_the_turn_elsewhere_too(elsewhere):
    address = elsewhere.rest.address("agents/Clerk/chat")
    body = {"message": "Echo tulip please."}
    async with elsewhere.rest.session.post(address, json=body, headers=EVENTS) as response:
        told = [(name, data) async for name, data in read_events(response) if name]
    names = [name for name, _ in told]
    assert (names[0], names[-1]) == ("accepted", "reply")
    deltas = "".join(data["text"] for name, data in told if name == "delta")
    assert deltas == told[-1][1]["text"]


async def test_a_chat_elsewhere_leaves_nobody_watching(elsewhere, nodes):
    await elsewhere.client.chat("Clerk", "hello")
    for name in "ab":
        await until(lambda name=name: not nodes[name].node.events.has_watchers)


async def test_a_client_that_leaves_a_chat_elsewhere_stops_nothing(nodes):
    Gate.close()
    await nodes["a"].client.deploy(python_agent("gate", "Gate"), node="a")
    await until(lambda: nodes["b"].node.cluster.holder("gate") == "a")
    async with aclosing(nodes["b"].client.chat_events("gate", "wait")) as events:
        accepted = await anext(events)
    Gate.opened.set()

    async def is_done():
        return (await nodes["c"].client.message(accepted.message_id)).status == "delivered"

    async with asyncio.timeout(10):
        while not await is_done():
            await asyncio.sleep(0.02)


async def test_nobody_speaks_as_an_agent_of_another_node(elsewhere):
    with pytest.raises(Rejected) as caught:
        await elsewhere.client.send("Clerk", "I am echo", sender="echo")
    assert [place.rule for place in caught.value.places] == ["sender_is_agent"]
    problem = await elsewhere.rest.post(
        "messages", {"performative": "inform", "receiver": "Clerk", "sender": "echo"}, status=422
    )
    assert problem["code"] == "invalid_message"


async def test_a_query_travels_with_what_is_asked(elsewhere, nodes):
    await nodes["a"].client.suspend("echo")
    await nodes["a"].client.send("echo", "waits")
    problem = await elsewhere.rest.call("DELETE", "agents/echo", status=409)
    assert problem["code"] == "state_conflict"
    await elsewhere.rest.call("DELETE", "agents/echo", params={"force": "true"}, status=204)


async def test_a_message_and_its_conversation_are_read_on_a_node_that_has_neither(elsewhere, nodes):
    sent = await elsewhere.client.send("echo", "hi", performative="request", wait_s=10)
    third = nodes["c"]
    assert await third.node.store.message(sent.message_id) is None
    assert (await third.client.message(sent.message_id)).message.content == "hi"
    assert (await third.rest.get(f"messages/{sent.message_id}"))["message"]["content"] == "hi"
    assert await third.client.trace(sent.message_id)
    conversation = await third.client.conversation(sent.conversation_id)
    assert conversation.message_count == 2


async def test_the_trace_of_a_message_shows_its_turn_on_another_node(elsewhere):
    sent = await elsewhere.client.send("Clerk", "hi", performative="request", wait_s=10)
    # The answer is here before the end of the question is.
    await until(lambda: not elsewhere.node.cluster.outstanding())
    await elsewhere.node.store.flush()
    hops = (await elsewhere.rest.get(f"messages/{sent.message_id}/trace"))["hops"]
    assert {hop["event"]: hop["node"] for hop in hops} == {
        "accepted": None,
        "routed": None,
        "forwarded": None,
        "turn_started": "a",
        "model_call": "a",
        "replied": None,
        "settled": None,
    }


async def test_the_lists_of_any_node_are_read_on_any_node(elsewhere, nodes):
    first = nodes["a"]
    await first.client.suspend("echo")
    sent = await first.client.send("echo", 1)
    await first.client.delete("echo", is_forced=True)
    async with asyncio.timeout(10):
        while not await first.client.dead_letters():
            await asyncio.sleep(0.02)
    for path in ("dead-letters", "messages?status=dead"):
        beside = "&" if "?" in path else "?"
        items = (await elsewhere.rest.get(f"{path}{beside}node=a"))["items"]
        assert [item["message"]["id"] for item in items] == [sent.message_id]
        assert (await elsewhere.rest.get(path))["items"] == []
        problem = await elsewhere.rest.get(f"{path}{beside}node=nobody", status=404)
        assert problem["code"] == "node_not_found"


async def test_a_body_that_the_other_node_does_not_take_is_too_large_there(elsewhere):
    cluster = elsewhere.node.cluster
    ask = Ask(method="PUT", path="/api/v1/agents/Clerk", body=b" " * 5_000_000)
    async with asyncio.TaskGroup() as tasks:
        tunnel = Tunnel(
            channel_of=cluster.channel, peers=cluster.peers, holder=cluster.holder, tasks=tasks
        )
        with pytest.raises(domain_errors.Rejected, match="'a' has what this concerns") as refused:
            await tunnel.ask("a", ask)
    assert refused.value.code == "body_too_large"


async def test_what_no_node_knows_is_not_found(elsewhere):
    for path in ("messages/never", "messages/never/trace", "conversations/never"):
        assert (await elsewhere.rest.get(path, status=404))["code"].endswith("_not_found")
    with pytest.raises(NotFound):
        await elsewhere.client.message("never")


async def test_a_dead_letter_is_dropped_from_another_node(elsewhere, nodes):
    first = nodes["a"]
    await first.client.suspend("echo")
    sent = await first.client.send("echo", 1)
    await first.client.delete("echo", is_forced=True)
    async with asyncio.timeout(10):
        while not await first.client.dead_letters():
            await asyncio.sleep(0.02)
    await nodes["c"].client.drop_dead_letter(sent.message_id)
    assert await first.client.dead_letters() == []


async def test_what_came_from_a_node_is_never_handed_on(elsewhere, monkeypatch):
    # Node b believes that c has the agent. c knows that a has it.
    believe(monkeypatch, elsewhere, "c")
    problem = await elsewhere.rest.get("agents/Clerk", status=404)
    assert problem["code"] == "agent_not_found"


def believe(monkeypatch, served, node):
    """Let a node take another for the one that has all agents."""
    monkeypatch.setattr(served.edges.rest.others, "_holder", lambda _: node)


async def test_an_agent_of_a_node_that_is_gone_is_unreachable_at_once(elsewhere, monkeypatch):
    believe(monkeypatch, elsewhere, "nowhere")
    async with asyncio.timeout(5):
        problem = await elsewhere.rest.get("agents/Clerk", status=503)
    assert problem["code"] == "unreachable"
