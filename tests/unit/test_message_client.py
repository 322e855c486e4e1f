"""An agent speaks to others through its outbox; a *no* is a result that its model reads."""

import pytest

from caxton_node.domain.errors import Denied, NotFound, TimedOut, Unavailable
from caxton_node.domain.performatives import Performative
from caxton_node.tools.builtin.message_client import MessageClient
from tests.tool_bench import AnsweringOutbox, call, tool_context


async def speak(tmp_path, outbox, *, turn_s=10.0, **arguments):
    context = await tool_context(tmp_path, outbox=outbox, timeout_s=turn_s)
    return await call(MessageClient(), context, **arguments)


async def test_a_request_returns_the_answer(tmp_path):
    outbox = AnsweringOutbox(content={"sum": 3})
    result = await speak(tmp_path, outbox, receiver="Adder", content={"add": [1, 2]})
    assert not result.is_error
    assert (result.content["performative"], result.content["content"]) == ("inform", {"sum": 3})
    assert outbox.sent[0]["performative"] is Performative.REQUEST
    assert (outbox.sent[0]["receiver"], outbox.sent[0]["capability"]) == ("Adder", None)


async def test_an_inform_is_sent_and_not_waited_for(tmp_path):
    outbox = AnsweringOutbox()
    result = await speak(
        tmp_path, outbox, capability="logging", performative="inform", content="done"
    )
    assert result.content == {"sent": True, "message_id": "msg-1"}
    assert (outbox.sent[0]["receiver"], outbox.sent[0]["capability"]) == ("", "logging")


@pytest.mark.parametrize("act", ["failure", "refuse", "not_understood"])
async def test_a_negative_act_is_an_error_result_with_its_content(tmp_path, act):
    outbox = AnsweringOutbox(performative=Performative(act), content={"reason": "busy"})
    result = await speak(tmp_path, outbox, receiver="A", content="x")
    assert result.is_error
    assert (result.content["performative"], result.content["content"]) == (act, {"reason": "busy"})


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (TimedOut("timed_out", "late"), "timed_out"),
        (NotFound("agent_not_found", "nobody"), "agent_not_found"),
        (Unavailable("agent_busy", "full"), "agent_busy"),
    ],
)
async def test_what_went_wrong_is_told_to_the_model(tmp_path, error, code):
    result = await speak(tmp_path, AnsweringOutbox(error=error), receiver="A", content="x")
    assert result.is_error
    assert result.content["code"] == code


@pytest.mark.parametrize("act", ["request", "inform"])
async def test_a_denial_ends_the_turn(tmp_path, act):
    outbox = AnsweringOutbox(error=Denied("denied", "no"))
    with pytest.raises(Denied):
        await speak(tmp_path, outbox, receiver="A", content="x", performative=act)


@pytest.mark.parametrize(
    ("turn_s", "wanted", "waited_s"),
    [(10.0, {}, 9.0), (1_000.0, {}, 60.0), (1_000.0, {"timeout_s": 5}, 5)],
)
async def test_the_wait_leaves_something_of_the_turn(tmp_path, turn_s, wanted, waited_s):
    outbox = AnsweringOutbox()
    await speak(tmp_path, outbox, turn_s=turn_s, receiver="A", content="x", **wanted)
    assert outbox.sent[0]["timeout_s"] == pytest.approx(waited_s)


async def test_a_long_answer_is_kept(tmp_path):
    result = await speak(tmp_path, AnsweringOutbox(content="x" * 9_000), receiver="A", content="")
    assert (result.content["artifact"], result.content["media_type"]) == (
        "artifact:1",
        "application/json",
    )
    assert len(result.content["preview"]) == 2_000
