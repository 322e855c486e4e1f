"""What a recorded step holds, and what it gives back."""

import msgspec

from caxton_node.domain.tool import ToolCall
from caxton_node.llm.model import ModelReply, Usage
from caxton_node.runtime.steps import decode_reply, encode_reply

REPLY = ModelReply(
    text="let me look",
    tool_calls=(ToolCall(id="call_1", name="echo", arguments={}),),
    usage=Usage(input_tokens=7, output_tokens=3),
    provider="openai",
    model="test",
    finish_reason="tool_calls",
    malformed_calls={"call_1": "the arguments are not JSON"},
    metadata={"fallback": True},
)


def test_a_recorded_reply_gives_back_all_that_the_model_said():
    assert decode_reply(encode_reply(REPLY)) == REPLY


def test_a_reply_recorded_before_malformed_calls_were_kept_has_none():
    record = msgspec.json.decode(encode_reply(REPLY))
    del record["malformed_calls"]
    assert decode_reply(msgspec.json.encode(record)).malformed_calls == {}
