"""Chat and event streams over REST."""

import asyncio

import aiohttp
import pytest

from tests.handlers import Gate
from tests.opened_node import opened_node, python_agent
from tests.rest_node import read_events, rest_node, served

EVENTS = {"Accept": "text/event-stream"}

OFFLINE = """
name = "Clerk"
capabilities = ["clerking"]
system_prompt = "You are a clerk."
tools = ["echo"]
[llm]
provider = "offline"
"""


@pytest.fixture
async def rest(tmp_path):
    async with rest_node(tmp_path, heartbeat_s=0.02) as rest:
        yield rest


async def nobody_watches(rest):
    async with asyncio.timeout(10):
        while rest.node.events.has_watchers:
            await asyncio.sleep(0.005)


async def test_a_chat_returns_the_answer_as_text_and_as_content(rest):
    await rest.deploy(python_agent("echo", "Echo"))
    answer = await rest.post("agents/echo/chat", {"message": {"a": 1}})
    assert answer["reply"]["content"] == {"a": 1}
    assert answer["text"] == '{"a":1}'
    assert answer["performative"] == "inform"


async def test_a_chat_goes_on_in_its_conversation(rest):
    await rest.deploy(python_agent("counter", "Counter"))
    first = await rest.post("agents/counter/chat", {"message": "one"})
    second = await rest.post(
        "agents/counter/chat",
        {"message": "two", "conversation_id": first["conversation_id"]},
    )
    assert second["conversation_id"] == first["conversation_id"]
    conversation = await rest.get(f"conversations/{first['conversation_id']}")
    assert conversation["message_count"] == 4


async def test_a_negative_answer_is_an_answer(rest):
    await rest.deploy(python_agent("no", "Refuser"))
    answer = await rest.post("agents/no/chat", {"message": "please"})
    assert answer["performative"] == "failure"
    assert answer["reply"]["content"]["code"] == "denied"


async def test_a_chat_that_takes_too_long_says_where_its_answer_will_be(rest):
    Gate.close()
    await rest.deploy(python_agent("gate", "Gate"))
    problem = await rest.post("agents/gate/chat", {"message": "x", "timeout_s": 0.01}, status=504)
    assert problem["code"] == "timed_out"
    stored = await rest.get(f"messages/{problem['message_id']}")
    assert stored["message"]["conversation_id"] == problem["conversation_id"]
    Gate.opened.set()


@pytest.mark.parametrize(
    ("act", "state", "wakes"),
    [("suspend", "suspended", "resume"), ("stop", "stopped", "restart")],
)
@pytest.mark.parametrize("accepts", ["application/json", "text/event-stream"])
async def test_an_agent_that_answers_nobody_is_not_waited_for(rest, act, state, wakes, accepts):
    await rest.deploy(python_agent("echo", "Echo"))
    await rest.post(f"agents/echo/{act}")
    problem = await rest.post(
        "agents/echo/chat", {"message": "hi"}, status=409, headers={"Accept": accepts}
    )
    assert problem["code"] == "state_conflict"
    assert problem["detail"] == f"echo is {state} and answers nobody"
    assert f"caxton agent {wakes} echo" in problem["hint"]
    await rest.post(f"agents/echo/{wakes}")
    assert (await rest.post("agents/echo/chat", {"message": "hi"}))["text"]


async def test_only_acts_that_ask_are_chats(rest):
    await rest.deploy(python_agent("echo", "Echo"))
    problem = await rest.post(
        "agents/echo/chat", {"message": "x", "performative": "inform"}, status=422
    )
    assert problem["errors"][0]["field"] == "performative"


async def test_a_streamed_chat_is_accepted_and_then_answered(rest):
    await rest.deploy(OFFLINE)
    async with rest.session.post(
        rest.address("agents/Clerk/chat"), json={"message": "Hello, clerk"}, headers=EVENTS
    ) as response:
        assert response.content_type == "text/event-stream"
        events = [event async for event in read_events(response) if event[0]]
    names = [name for name, _ in events]
    assert names[0] == "accepted"
    assert names[-1] == "reply"
    assert events[-1][1]["message_id"] == events[0][1]["message_id"]
    said = "".join(data["text"] for name, data in events if name == "delta")
    assert said in ("", events[-1][1]["text"])


async def test_a_stream_lives_while_the_turn_is_silent(rest):
    Gate.close()
    await rest.deploy(python_agent("gate", "Gate"))
    async with rest.session.post(
        rest.address("agents/gate/chat"), json={"message": "x"}, headers=EVENTS
    ) as response:
        events = read_events(response)
        assert (await anext(events))[0] == "accepted"
        assert await anext(events) == ("", "alive")
        Gate.opened.set()
        async for name, data in events:
            if name == "reply":
                assert data["text"] == "x"
    await nobody_watches(rest)


async def test_an_error_before_the_first_event_is_an_ordinary_problem(rest):
    problem = await rest.post("agents/none/chat", {"message": "x"}, status=404, headers=EVENTS)
    assert problem["code"] == "agent_not_found"


async def test_an_error_within_a_stream_is_an_event(rest):
    Gate.close()
    await rest.deploy(python_agent("gate", "Gate"))
    async with rest.session.post(
        rest.address("agents/gate/chat"),
        json={"message": "x", "timeout_s": 0.05},
        headers=EVENTS,
    ) as response:
        events = [event async for event in read_events(response) if event[0]]
    assert [name for name, _ in events] == ["accepted", "error"]
    assert events[1][1]["code"] == "timed_out"
    Gate.opened.set()


async def test_a_client_that_goes_away_stops_no_turn_and_leaves_no_watcher(rest):
    Gate.close()
    await rest.deploy(python_agent("gate", "Gate"))
    async with rest.session.post(
        rest.address("agents/gate/chat"), json={"message": "x"}, headers=EVENTS
    ) as response:
        name, accepted = await anext(read_events(response))
        assert name == "accepted"
    await nobody_watches(rest)
    assert len(rest.node.answers) == 0
    with rest.node.events.watch(lambda event: event.kind == "message.delivered") as watcher:
        Gate.opened.set()
        assert await watcher.next(timeout_s=10) is not None
    stored = await rest.node.store.message(accepted["message_id"])
    assert stored.message.sender == "client"


async def test_events_are_filtered_by_kind_and_agent(rest):
    await rest.deploy(python_agent("echo", "Echo"))
    await rest.deploy(python_agent("other", "Echo"))
    address = rest.address("events?kind=message.&agent=echo")
    async with rest.session.get(address) as response:
        events = read_events(response)
        await anext(events)
        await rest.post("agents/other/chat", {"message": "x"})
        await rest.post("agents/echo/chat", {"message": "x"})
        seen = [event async for event in events_until(events, "message.delivered")]
    assert {data["agent"] for _, data in seen} == {"echo"}
    assert [name for name, _ in seen] == ["message.accepted", "message.delivered"]
    assert all(data["kind"] == name for name, data in seen)


async def events_until(events, last):
    async for name, data in events:
        if name:
            yield name, data
        if name == last:
            return


async def test_an_event_stream_ends_when_it_was_told_to(rest):
    async with rest.session.get(rest.address("events?for_s=0.05")) as response:
        assert [event async for event in read_events(response) if event[0]] == []
    await nobody_watches(rest)


async def test_a_watcher_that_is_too_slow_is_told_what_it_missed(rest):
    async with rest.session.get(rest.address("events?kind=test.")) as response:
        events = read_events(response)
        await anext(events)
        for number in range(1_500):
            rest.node.events.publish("test.event", number=number)
        lost = [data async for name, data in events_until(events, "lost") if name == "lost"]
    assert lost[0]["count"] == 500


async def test_a_log_is_read_and_followed(rest):
    await rest.deploy(OFFLINE)
    await rest.post("agents/Clerk/chat", {"message": "Hello"})
    lines = (await rest.get("agents/Clerk/logs"))["items"]
    assert lines[-1]["level"] == "info"
    assert (await rest.get("agents/Clerk/logs?level=error"))["items"] == []
    async with rest.session.get(rest.address("agents/Clerk/logs"), headers=EVENTS) as response:
        events = read_events(response)
        assert await anext(events) == ("line", lines[0])
        asked = await rest.post("agents/Clerk/chat", {"message": "Hello again"})
        async for name, data in events:
            if name == "line" and data["conversation_id"] == asked["conversation_id"]:
                break
    assert data["level"] == "info"


async def test_streams_end_when_the_server_stops(tmp_path):
    async with opened_node(tmp_path) as node, aiohttp.ClientSession() as session:
        async with served(node) as rest:
            response = await session.get(rest.address("events"))
            await anext(read_events(response))
        response.close()
        assert not node.events.has_watchers
