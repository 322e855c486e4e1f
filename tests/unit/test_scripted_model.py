import pytest

from caxton_node.domain.errors import Failed, TimedOut
from caxton_node.domain.tool import ToolCall
from caxton_node.llm.model import ChatMessage, ModelReply, ModelRequest, Usage
from caxton_node.llm.scripted import ScriptedModel

REQUEST = ModelRequest(messages=(ChatMessage(role="user", content="hi"),))


async def test_replies_come_in_order():
    call = ToolCall(id="1", name="echo", arguments={"text": "x"})
    model = ScriptedModel([call, "done"])
    first, second = await model.complete(REQUEST), await model.complete(REQUEST)
    assert (first.tool_calls, first.finish_reason) == ((call,), "tool_calls")
    assert (second.text, second.provider, second.model) == ("done", "scripted", "scripted")


async def test_a_function_replies_to_what_it_is_asked():
    model = ScriptedModel(lambda request: request.messages[-1].content.upper())
    assert (await model.complete(REQUEST)).text == "HI"


async def test_an_error_in_the_script_is_raised():
    model = ScriptedModel([TimedOut("timed_out", "slow"), "then"])
    with pytest.raises(TimedOut):
        await model.complete(REQUEST)
    assert (await model.complete(REQUEST)).text == "then"


async def test_a_script_that_is_used_up_fails_and_does_not_repeat_itself():
    model = ScriptedModel(["only"])
    await model.complete(REQUEST)
    with pytest.raises(Failed, match="this is request 2"):
        await model.complete(REQUEST)


async def test_deltas_together_are_the_text():
    deltas = []
    reply = await ScriptedModel(["one  two three "]).complete(REQUEST, deltas.append)
    assert "".join(deltas) == reply.text
    assert len(deltas) > 1


async def test_it_keeps_what_it_was_asked():
    model = ScriptedModel(["a"])
    await model.complete(REQUEST)
    assert model.requests == (REQUEST,)


async def test_usage_is_estimated_unless_the_script_says():
    said = Usage(input_tokens=1, output_tokens=2)
    model = ScriptedModel(["four more words", ModelReply(text="x", usage=said)])
    assert (await model.complete(REQUEST)).usage.output_tokens > 0
    assert (await model.complete(REQUEST)).usage == said
