"""The Python client against a real node over a real socket."""

import asyncio
import uuid
from contextlib import aclosing
from datetime import UTC, datetime, timedelta

import pytest

from caxton import (
    CaxtonClient,
    CaxtonError,
    Conflict,
    NotFound,
    Rejected,
    SyncCaxtonClient,
    TimedOut,
    Unavailable,
)
from caxton.models import Accepted, Delta, Record, Reply, ToolCall, ToolResult
from tests.grpc_node import grpc_node
from tests.handlers import Gate
from tests.opened_node import python_agent

OFFLINE = """
name = "Clerk"
capabilities = ["clerking"]
system_prompt = "You are a clerk."
tools = ["echo"]
[llm]
provider = "offline"
"""


@pytest.fixture
async def served(tmp_path):
    async with grpc_node(tmp_path) as served:
        yield served


@pytest.fixture
def client(served):
    return served.client


async def test_a_definition_is_deployed_listed_read_and_deleted(client, tmp_path):
    deployed = await client.deploy(python_agent("echo", "Echo"))
    assert (deployed.agent.name, deployed.is_new) == ("echo", True)
    file = tmp_path / "clerk.toml"
    file.write_text(OFFLINE)
    await client.deploy(file)
    assert [one.name for one in await client.agents()] == ["Clerk", "echo"]
    assert [one.name for one in await client.agents(capability="clerking")] == ["Clerk"]
    clerk = await client.agent("Clerk")
    assert (clerk.kind, clerk.state, clerk.capabilities) == ("llm", "running", ("clerking",))
    assert clerk.system_prompt == "You are a clerk."
    assert (clerk.source, clerk.source_format) == (OFFLINE, "toml")
    await client.delete("echo")
    with pytest.raises(NotFound) as caught:
        await client.agent("echo")
    assert caught.value.code == "agent_not_found"
    assert caught.value.trace_id


async def test_a_dry_run_changes_nothing(client):
    tried = await client.deploy(python_agent("echo", "Echo"), is_dry_run=True)
    assert tried.is_new
    assert await client.agents() == []


async def test_a_wrong_definition_is_refused_with_its_places(client):
    with pytest.raises(Rejected) as caught:
        await client.deploy('name = "x"\ncapabilities = []\n', format="toml")
    assert caught.value.code == "invalid_agent"
    assert {place.field for place in caught.value.places} >= {"capabilities"}
    assert all(place.line for place in caught.value.places if place.field == "capabilities")
    checked = await client.validate('name = "x"\ncapabilities = []\n', format="toml")
    assert not checked.is_valid
    assert checked.errors == caught.value.places
    assert (await client.validate(OFFLINE)).is_valid


async def test_versions_are_counted_and_an_earlier_one_comes_back(client):
    await client.deploy(OFFLINE)
    await client.deploy(OFFLINE.replace("a clerk", "another clerk"))
    versions = await client.versions("Clerk")
    assert [(one.number, one.is_current) for one in versions] == [(2, True), (1, False)]
    await client.rollback("Clerk")
    assert "another" not in (await client.agent("Clerk")).system_prompt


async def test_an_agent_is_suspended_resumed_stopped_and_restarted(client):
    await client.deploy(python_agent("echo", "Echo"))
    assert (await client.suspend("echo")).state == "suspended"
    assert (await client.resume("echo")).state == "running"
    assert (await client.stop("echo", grace_s=0)).state == "stopped"
    with pytest.raises(Conflict) as caught:
        await client.resume("echo")
    assert caught.value.code == "state_conflict"
    assert (await client.restart("echo")).state == "running"


async def test_a_chat_is_answered_and_goes_on_in_its_conversation(client):
    await client.deploy(python_agent("counter", "Counter"))
    first = await client.chat("counter", "one")
    second = await client.chat("counter", {"two": 2}, conversation_id=first.conversation_id)
    assert second.conversation_id == first.conversation_id
    conversation = await client.conversation(first.conversation_id)
    assert conversation.message_count == 4
    assert [one.message.content for one in conversation.records][::2] == ["one", {"two": 2}]
    assert [one.id for one in await client.conversations()] == [first.conversation_id]


async def test_a_negative_answer_is_an_answer(client):
    await client.deploy(python_agent("no", "Refuser"))
    reply = await client.chat("no", "please")
    assert reply.message.is_negative
    assert reply.message.content["code"] == "denied"


async def test_a_chat_shows_its_turn_and_ends_with_the_reply(client):
    await client.deploy(OFFLINE)
    events = [event async for event in client.chat_events("Clerk", "Echo the word tulip.")]
    assert isinstance(events[0], Accepted)
    assert isinstance(events[-1], Reply)
    assert any(isinstance(event, Delta) for event in events)
    text = "".join(event.text for event in events if isinstance(event, Delta))
    assert text == events[-1].text
    calls = [event for event in events if isinstance(event, ToolCall)]
    results = [event for event in events if isinstance(event, ToolResult)]
    assert [one.call_id for one in calls] == [one.call_id for one in results]


async def test_a_chat_with_nobody_is_refused(client):
    with pytest.raises(NotFound):
        await client.chat("nobody", "hello")


async def test_a_chat_that_takes_too_long_is_timed_out_and_its_answer_stays(client):
    Gate.close()
    await client.deploy(python_agent("gate", "Gate"))
    with pytest.raises(TimedOut) as caught:
        await client.chat("gate", "wait", timeout_s=0.05)
    assert caught.value.code == "timed_out"
    conversation_id = caught.value.facts["conversation_id"]
    Gate.opened.set()
    async with asyncio.timeout(10):
        while (await client.conversation(conversation_id)).message_count < 2:
            await asyncio.sleep(0.01)


async def test_a_client_that_goes_away_in_a_chat_stops_nothing(client):
    Gate.close()
    await client.deploy(python_agent("gate", "Gate"))
    async with aclosing(client.chat_events("gate", "wait")) as events:
        accepted = await anext(events)
    Gate.opened.set()
    async with asyncio.timeout(10):
        while (await client.message(accepted.message_id)).status != "delivered":
            await asyncio.sleep(0.01)


async def test_a_message_is_sent_answered_and_traced(client):
    await client.deploy(python_agent("echo", "Echo"))
    sent = await client.send("echo", {"n": 2**60}, performative="request", wait_s=10)
    assert sent.reply.content == {"n": 2**60}
    assert sent.status == "delivered"
    record = await client.message(sent.message_id)
    assert (record.agent, record.attempts) == ("echo", 1)
    kinds = [step.kind for step in await client.trace(sent.message_id)]
    assert kinds[0] == "accepted"
    assert "settled" in kinds


async def test_a_message_under_an_id_is_sent_once(client):
    await client.deploy(python_agent("counter", "Counter"))
    message_id = f"mine-{uuid.uuid4().hex}"
    first = await client.send("counter", 1, message_id=message_id, performative="request", wait_s=5)
    again = await client.send("counter", 1, message_id=message_id, performative="request", wait_s=5)
    assert (first.is_duplicate, again.is_duplicate) == (False, True)
    assert again.reply == first.reply


async def test_every_field_of_a_message_travels(client):
    await client.deploy(python_agent("echo", "Echo"))
    reply_by = datetime.now(UTC).replace(microsecond=0) + timedelta(hours=1)
    sent = await client.send(
        "echo",
        ["ä", None],
        performative="QUERY-REF",
        sender="alice",
        conversation_id="conv-a",
        reply_with="rw-1",
        protocol="fipa-query",
        language="json",
        ontology="flowers",
        encoding="utf-8",
        reply_to="bob",
        reply_by=reply_by,
        delivery="exactly_once",
        metadata={"a": [1]},
    )
    message = (await client.message(sent.message_id)).message
    assert message.performative == "query_ref"
    assert (message.sender, message.receiver, message.reply_to) == ("alice", "echo", "bob")
    assert (message.conversation_id, message.reply_with) == ("conv-a", "rw-1")
    assert (message.protocol, message.language) == ("fipa-query", "json")
    assert (message.ontology, message.encoding) == ("flowers", "utf-8")
    assert (message.reply_by, message.delivery) == (reply_by, "exactly_once")
    assert (message.metadata, message.content) == ({"a": [1]}, ["ä", None])


async def test_a_request_by_capability_is_answered(client):
    await client.deploy(python_agent("echo", "Echo", capability="mirror"))
    assert (await client.request(capability="mirror", content="hi")).content == "hi"
    with pytest.raises(NotFound) as caught:
        await client.request(capability="mirrors", content="hi")
    assert caught.value.code == "no_provider"


async def test_a_batch_is_accepted_or_refused_message_by_message(client):
    await client.deploy(python_agent("echo", "Echo"))
    outcomes = await client.send_all(
        [
            {"receiver": "echo", "content": 1},
            {"receiver": "nobody", "content": 2},
            {"receiver": "echo", "content": 3, "message_id": "same"},
            {"receiver": "echo", "content": 3, "message_id": "same"},
        ]
    )
    assert [isinstance(one, CaxtonError) for one in outcomes] == [False, True, False, False]
    assert outcomes[1].code == "agent_not_found"
    assert isinstance(outcomes[1], NotFound)
    assert [outcomes[index].is_duplicate for index in (0, 2, 3)] == [False, False, True]


async def test_a_talk_sends_and_is_answered_in_order(client):
    await client.deploy(python_agent("echo", "Echo"))
    async with client.talk("alice") as talk:
        assert talk.name == "alice"
        sends = [await talk.send("echo", number, conversation_id="one") for number in range(50)]
        answers = []
        async for message in talk:
            answers.append(message)
            if len(answers) == len(sends):
                break
    assert [one.content for one in answers] == list(range(50))
    assert [one.in_reply_to for one in answers] == [one.message_id for one in sends]


async def test_a_talk_takes_many_at_once(client):
    await client.deploy(python_agent("echo", "Echo"))
    async with client.talk() as talk, asyncio.TaskGroup() as tasks:
        sends = [tasks.create_task(talk.send("echo", n)) for n in range(100)]
    assert len({one.result().message_id for one in sends}) == 100


async def test_a_talk_goes_on_after_a_refusal(client):
    await client.deploy(python_agent("echo", "Echo"))
    async with client.talk() as talk:
        with pytest.raises(NotFound):
            await talk.send("nobody", 1)
        with pytest.raises(Rejected):
            await talk.send("echo", 1, conversation_id="not an id")
        await talk.send("echo", "still here")
        assert (await anext(aiter(talk))).content == "still here"


async def test_a_talk_under_an_agents_name_is_refused(client):
    await client.deploy(python_agent("echo", "Echo"))
    with pytest.raises(Rejected):
        async with client.talk("echo"):
            pass


async def test_a_full_window_leaves_answers_in_their_conversation(client):
    await client.deploy(python_agent("echo", "Echo"))
    async with client.talk(window=2) as talk:
        sent = [await talk.send("echo", number, conversation_id="c") for number in range(6)]
        async with asyncio.timeout(10):
            while (await client.conversation("c")).message_count < 2 * len(sent):
                await asyncio.sleep(0.01)
        answers = aiter(talk)
        assert [(await anext(answers)).content for _ in range(2)] == [0, 1]


async def test_who_subscribes_sees_messages_enter_their_status(client):
    await client.deploy(python_agent("echo", "Echo"))
    wanted = {"agents": ["echo"], "statuses": ["delivered"], "performatives": ["inform"]}
    async with aclosing(client.subscribe(**wanted)) as records:
        record = await first_while(records, lambda: client.send("echo", "hello"))
    assert isinstance(record, Record)
    assert (record.status, record.message.receiver) == ("delivered", "echo")


async def first_while(items, work):
    """Return the first item of a stream; works until it is there."""
    async with asyncio.timeout(10), asyncio.TaskGroup() as tasks:
        first = tasks.create_task(anext(items))
        while not first.done():
            await work()
            await asyncio.sleep(0.01)
    return first.result()


async def test_dead_letters_are_listed_retried_and_dropped(client):
    await client.deploy(python_agent("echo", "Echo"))
    await client.suspend("echo")
    waiting = await client.send("echo", 1)
    await client.delete("echo", is_forced=True)
    async with asyncio.timeout(10):
        while not (dead := await client.dead_letters()):
            await asyncio.sleep(0.01)
    assert [one.message.id for one in dead] == [waiting.message_id]
    assert dead[0].reason.startswith("agent_deleted")
    await client.drop_dead_letter(waiting.message_id)
    assert await client.dead_letters() == []
    with pytest.raises(NotFound):
        await client.retry_dead_letter(waiting.message_id)


async def test_the_log_of_an_agent_is_read_and_followed(client):
    await client.deploy(OFFLINE)
    await client.chat("Clerk", "hello")
    lines = [line async for line in client.logs("Clerk")]
    assert lines
    async with aclosing(client.logs("Clerk", is_following=True)) as following:
        assert [await anext(following) for _ in lines] == lines
        coming = await first_while(following, lambda: client.chat("Clerk", "again"))
    assert coming.at >= lines[-1].at


async def test_a_node_alone_is_a_cluster_of_one(client):
    (member,) = await client.members()
    assert member.is_self
    assert (await client.cluster()).members == {"alive": 1}


async def test_where_nobody_listens_the_error_says_so():
    async with CaxtonClient("127.0.0.1:1", timeout_s=2) as client:
        with pytest.raises(Unavailable) as caught:
            await client.agents()
        assert caught.value.code == "unreachable"
        with pytest.raises(Unavailable):
            await client.deploy(OFFLINE)


async def test_another_endpoint_is_asked_where_one_is_away(served):
    async with CaxtonClient(["127.0.0.1:1", served.address]) as client:
        await client.deploy(python_agent("echo", "Echo"))
        assert (await client.chat("echo", "hi")).text == "hi"


async def test_the_twin_without_asyncio_does_the_same(served):
    def work() -> list[str]:
        with SyncCaxtonClient(served.address) as client:
            client.deploy(python_agent("echo", "Echo"))
            said = [client.chat("echo", "hi").text]
            said += [type(one).__name__ for one in client.chat_events("echo", "hi")]
            said.append(client.request("echo", "again").text)
            with pytest.raises(NotFound):
                client.agent("nobody")
            return said

    assert await asyncio.to_thread(work) == ["hi", "Accepted", "Reply", "again"]
