"""Messages over REST: sent once, awaited, batched, read, traced, revived."""

import asyncio
import threading

import pytest

from tests.handlers import Gate
from tests.opened_node import python_agent
from tests.rest_node import rest_node


@pytest.fixture
async def rest(tmp_path):
    async with rest_node(tmp_path, retry__attempts=1) as rest:
        await rest.deploy(python_agent("echo", "Echo"))
        yield rest


def request(**fields):
    return {"performative": "request", "receiver": "echo", "content": "hi"} | fields


async def test_an_accepted_message_is_told_where_it_went(rest):
    receipt = await rest.post("messages", request(), status=202)
    assert receipt["status"] == "accepted"
    assert receipt["routed_to"] == ["echo"]
    assert receipt["is_duplicate"] is False


async def test_a_request_that_waits_gets_the_answer(rest):
    receipt = await rest.post("messages", request(content={"n": [1, 2]}, wait_s=10))
    assert receipt["status"] == "delivered"
    assert receipt["reply"]["content"] == {"n": [1, 2]}
    assert receipt["reply"]["in_reply_to"] == receipt["message_id"]


async def test_waiting_in_vain_is_no_error(rest):
    await rest.post("agents/echo/suspend")
    receipt = await rest.post("messages", request(wait_s=0.01), status=202)
    assert (receipt["status"], receipt["reply"]) == ("accepted", None)


async def test_nobody_waits_for_an_answer_that_cannot_come(rest):
    answer = request(receiver="someone", in_reply_to="q-1", wait_s=600)
    receipt = await rest.post("messages", answer, status=202)
    assert receipt["routed_to"] == ["someone"]


async def test_the_same_id_again_sends_nothing_and_returns_the_answer(rest):
    first = await rest.post("messages", request(id="m-1", wait_s=10))
    again = await rest.post("messages", request(id="m-1", wait_s=10))
    assert again["is_duplicate"] is True
    assert again["reply"]["id"] == first["reply"]["id"]
    assert rest.node.roster.seat("echo").counts.finished == 1
    assert (await rest.get("status"))["messages"]["duplicate"] == 1


async def test_the_same_id_again_by_capability_is_the_same_message(rest):
    capability = str(rest.node.roster.seat("echo").spec.capabilities[0])
    said = {"receiver": None, "capability": capability, "id": "m-1", "wait_s": 10}
    await rest.post("messages", {k: v for k, v in request(**said).items() if v is not None})
    again = await rest.post("messages", {k: v for k, v in request(**said).items() if v is not None})
    assert again["is_duplicate"] is True


@pytest.mark.parametrize(
    "other", [{"content": "other"}, {"performative": "inform"}, {"sender": "somebody"}]
)
async def test_another_message_under_an_id_that_was_used_is_refused(rest, other):
    await rest.post("messages", request(id="m-1", wait_s=10))
    problem = await rest.post("messages", request(id="m-1") | other, status=409)
    assert (problem["code"], problem["detail"]) == (
        "already_exists", "another message has the id 'm-1'",
    )  # fmt: skip
    batch = {"messages": [request(id="m-2"), request(id="m-2") | other, request(id="m-1") | other]}
    items = (await rest.post("messages/batch", batch))["items"]
    assert [item["status"] for item in items] == ["accepted", "refused", "refused"]


async def test_one_id_in_two_requests_at_once_sends_one_message(rest):
    calls = [rest.call("POST", "messages", request(id="m-1")) for _ in range(8)]
    outcomes = await asyncio.gather(*calls)
    sent = [one for one in outcomes if one.get("is_duplicate") is False]
    others = [one for one in outcomes if one not in sent]
    assert len(sent) == 1
    assert all(one.get("is_duplicate") or one["code"] == "already_exists" for one in others)


async def test_a_capability_finds_its_provider(rest):
    body = {"performative": "query-ref", "capability": "test", "content": 1, "wait_s": 10}
    receipt = await rest.post("messages", body)
    assert receipt["routed_to"] == ["echo"]


async def test_a_broadcast_tells_whom_it_reached(rest):
    await rest.deploy(python_agent("echo2", "Echo"))
    receipt = await rest.post("messages", request(receiver="broadcast"), status=202)
    assert sorted(receipt["routed_to"]) == ["echo", "echo2"]


async def test_an_agent_speaks_for_itself(rest):
    problem = await rest.post("messages", request(sender="echo", receiver="echo"), status=422)
    assert problem["errors"][0]["rule"] == "sender_is_agent"


async def test_nobody_speaks_as_the_server(rest):
    problem = await rest.post("messages", request(sender="caxton"), status=422)
    assert problem["errors"][0]["rule"] == "reserved"


@pytest.mark.parametrize("field", ["id", "conversation_id", "reply_with", "in_reply_to"])
@pytest.mark.parametrize("value", ["m-1#1", "m-1~1", "", "m 1"])
async def test_a_client_neither_takes_nor_answers_under_an_id_of_the_server(rest, field, value):
    problem = await rest.post("messages", request(**{field: value}), status=422)
    assert problem["errors"][0]["field"] == field


async def test_only_who_was_asked_has_answered(rest):
    await rest.post("agents/echo/suspend")
    await rest.post("messages", request(id="m-1", conversation_id="c"), status=202)
    forged = request(sender="mallory", receiver="client", in_reply_to="m-1", conversation_id="c")
    await rest.post("messages", forged, status=202)
    again = await rest.post("messages", request(id="m-1"))
    assert (again["is_duplicate"], again["reply"]) == (True, None)
    trace = await rest.get("messages/m-1/trace")
    assert "replied" not in [hop["event"] for hop in trace["hops"]]


async def test_the_copies_of_a_broadcast_can_be_read(rest):
    await rest.deploy(python_agent("other", "Echo"))
    receipt = await rest.post("messages", request(receiver="broadcast"), status=202)
    copy = await rest.get(f"messages/{receipt['message_id']}~1")
    assert copy["message"]["receiver"] in receipt["routed_to"]


async def test_metadata_that_cannot_be_carried_is_refused(rest):
    huge = await rest.post("messages", request(metadata={"n": 2**70}), status=422)
    reserved = await rest.post("messages", request(metadata={"depth": 0}), status=422)
    assert huge["errors"][0]["rule"] == "too_large"
    assert reserved["errors"][0]["rule"] == "reserved"


async def test_a_message_that_is_too_late_says_so(rest):
    problem = await rest.post("messages", request(reply_by="2020-01-01T00:00:00Z"), status=504)
    assert problem["code"] == "expired"


async def test_content_comes_back_as_it_was(rest):
    content = {"big": 12345678901234567890123, "text": "é\u0000\U0001f600", "half": 0.1}
    receipt = await rest.post("messages", request(content=content, wait_s=10))
    stored = await rest.get(f"messages/{receipt['message_id']}")
    assert stored["message"]["content"] == content
    assert receipt["reply"]["content"] == content


async def test_a_batch_keeps_order_and_refuses_one_by_one(rest):
    batch = [
        request(content=1, conversation_id="c-1"),
        request(receiver="nobody"),
        request(content=2, conversation_id="c-1", id="m-2"),
        request(content=2, conversation_id="c-1", id="m-2"),
    ]
    items = (await rest.post("messages/batch", {"messages": batch}))["items"]
    assert [item["status"] for item in items] == ["accepted", "refused", "accepted", "duplicate"]
    assert items[1]["error"]["code"] == "agent_not_found"
    page = await rest.get("messages?conversation_id=c-1")
    asked = [
        one["message"]["content"] for one in page["items"] if one["message"]["sender"] == "client"
    ]
    assert asked == [1, 2]


async def test_a_batch_and_a_request_at_once_with_one_id_send_one_message(rest):
    batch = {"messages": [request(id="m-1"), request(id="m-2")]}
    calls = [rest.call("POST", "messages/batch", batch) for _ in range(4)]
    calls += [rest.call("POST", "messages", request(id="m-1")) for _ in range(4)]
    outcomes = await asyncio.gather(*calls)
    items = [item for outcome in outcomes for item in outcome.get("items", [])]
    sent = [item["message_id"] for item in items if item["status"] == "accepted"]
    sent += [one["message_id"] for one in outcomes if one.get("is_duplicate") is False]
    assert sorted(sent) == ["m-1", "m-2"]
    refused = [item for item in items if item["status"] == "refused"]
    assert all(item["error"]["code"] == "already_exists" for item in refused)


async def test_a_batch_refuses_an_id_that_another_request_is_sending(rest, monkeypatch):
    committer = rest.node.store._writer._committer
    commit, loop = committer.commit, asyncio.get_running_loop()
    is_writing, may_write = asyncio.Event(), threading.Event()

    def hold(batch):
        loop.call_soon_threadsafe(is_writing.set)
        assert may_write.wait(10)
        return commit(batch)

    monkeypatch.setattr(committer, "commit", hold)
    async with asyncio.TaskGroup() as tasks:
        first = tasks.create_task(rest.post("messages", request(id="m-1"), status=202))
        await is_writing.wait()
        outcome = await rest.post("messages/batch", {"messages": [request(id="m-1")]})
        may_write.set()
    assert outcome["items"][0]["error"]["code"] == "already_exists"
    assert first.result()["is_duplicate"] is False


async def test_a_batch_with_a_malformed_message_is_refused_whole(rest):
    batch = {"messages": [request(), request(performative="sing")]}
    problem = await rest.post("messages/batch", batch, status=422)
    assert problem["errors"][0]["field"] == "messages[1].performative"
    assert (await rest.get("messages"))["items"] == []


async def test_a_conversation_shows_its_messages_and_those_below_it(rest):
    await rest.deploy(python_agent("asker", "Asker", capability="asking"))
    asked = await rest.post("messages", request(receiver="asker", conversation_id="c-9", wait_s=10))
    conversation = await rest.get("conversations/c-9")
    assert conversation["participants"] == ["client", "asker"]
    assert conversation["messages"][0]["message"]["id"] == asked["message_id"]
    assert conversation["children"] == ["c-9.1"]
    assert "c-9" in [one["id"] for one in (await rest.get("conversations"))["items"]]
    await rest.get("conversations/none", status=404)


async def test_a_trace_shows_the_way_and_the_questions_asked(rest):
    await rest.deploy(python_agent("asker", "Asker", capability="asking"))
    asked = await rest.post("messages", request(receiver="asker", wait_s=10))
    trace = await rest.get(f"messages/{asked['message_id']}/trace")
    events = [hop["event"] for hop in trace["hops"]]
    assert events[:3] == ["accepted", "routed", "turn_started"]
    assert {"settled", "replied"} <= set(events)
    assert trace["children"] == [f"{asked['message_id']}#1"]
    child = await rest.get(f"messages/{asked['message_id']}%231")
    assert child["message"]["sender"] == "asker"


async def test_the_trace_of_the_caller_reaches_the_message(rest):
    trace_id = "4bf92f3577b34da6a3ce929d0e0e4736"
    headers = {"traceparent": f"00-{trace_id}-00f067aa0ba902b7-01"}
    receipt = await rest.post("messages", request(), status=202, headers=headers)
    stored = await rest.get(f"messages/{receipt['message_id']}")
    assert stored["message"]["traceparent"].split("-")[1] == trace_id
    problem = await rest.get("agents/none", status=404, headers=headers)
    assert problem["trace_id"] == trace_id


async def test_a_dead_letter_is_retried_or_dropped(rest):
    await rest.deploy(python_agent("flaky", "Flaky", capability="flake"))
    failed = await rest.post("messages", request(receiver="flaky", content=9, wait_s=10))
    assert failed["status"] == "dead"
    assert failed["reply"]["performative"] == "failure"
    dead = (await rest.get("dead-letters"))["items"]
    assert [one["message"]["id"] for one in dead] == [failed["message_id"]]
    key = failed["message_id"]
    with rest.node.answers.expect("client", key) as answer:
        await rest.post(f"dead-letters/{key}/retry", status=202)
        await asyncio.wait_for(answer, 10)
    await rest.call("DELETE", f"dead-letters/{key}", status=204)
    await rest.call("DELETE", f"dead-letters/{key}", status=404)


async def test_what_is_not_dead_is_neither_retried_nor_dropped(rest):
    receipt = await rest.post("messages", request(wait_s=10))
    problem = await rest.post(f"dead-letters/{receipt['message_id']}/retry", status=409)
    assert problem["status"] == 409
    assert problem["code"] == "state_conflict"
    await rest.call("DELETE", f"dead-letters/{receipt['message_id']}", status=409)


async def test_lists_filter_by_status_and_page(rest):
    for _ in range(3):
        await rest.post("messages", request(wait_s=10))
    first = await rest.get("messages?status=delivered&limit=4")
    assert len(first["items"]) == 4
    more = await rest.get(
        "messages", params={"status": "delivered", "limit": 4, "cursor": first["next_cursor"]}
    )
    assert len(more["items"]) == 2


async def test_a_full_mailbox_says_when_to_come_back(rest):
    Gate.close()
    await rest.deploy(python_agent("gate", "Gate", more="[limits]\nmailbox = 1\nconcurrency = 1\n"))
    await rest.post("messages", request(receiver="gate"), status=202)
    await Gate.entered.wait()
    await rest.post("messages", request(receiver="gate"), status=202)
    async with rest.session.post(
        rest.address("messages"), json=request(receiver="gate")
    ) as response:
        assert response.status == 429
        assert response.headers["Retry-After"] == "1"
        assert (await response.json())["code"] == "agent_busy"
    Gate.opened.set()


async def test_a_stopping_node_takes_nothing_new(rest):
    rest.node.pipeline.is_draining = True
    problem = await rest.post("messages", request(), status=503)
    assert problem["code"] == "node_draining"
    body = {"source": python_agent("b", "Echo"), "format": "toml"}
    assert (await rest.post("agents", body, status=503))["code"] == "node_draining"
    assert (await rest.get("/ready", status=503))["status"] == "not_ready"
    assert (await rest.get("/health"))["status"] == "ok"


async def test_the_status_counts_what_happened(rest):
    await rest.post("messages", request(wait_s=10))
    await rest.post("messages", request(receiver="nobody"), status=404)
    status = await rest.get("status")
    assert status["messages"]["accepted"] == 2
    assert status["messages"]["refused"] == 1
    assert status["agents"]["running"] == 1
    assert status["model"] == {"provider": "offline", "model": None}
    config = await rest.get("config")
    assert config["items"]["retry.attempts"] == {"value": 1, "source": "flag"}
