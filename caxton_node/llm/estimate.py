"""How many tokens a text is, roughly, without the tokeniser of any model.

Four bytes of UTF-8 are taken for one token. That is about right for English and for code, too
much for most other alphabets by up to two times, and it costs nothing. It serves budgets, which
look ahead, and usage where an endpoint does not report it; it is never a bill.
"""

from collections.abc import Iterable
from typing import Final

import msgspec

from caxton_node.domain.tool import ToolCall
from caxton_node.llm.model import ChatMessage, ModelRequest, Usage

__all__ = ["BYTES_PER_TOKEN", "estimate_request_tokens", "estimate_tokens", "estimate_usage"]

BYTES_PER_TOKEN: Final = 4

MESSAGE_OVERHEAD_TOKENS: Final = 4
"""For the role and the separators of one message."""


def estimate_tokens(text: str) -> int:
    """Return the rough number of tokens in `text`, rounded up."""
    return -(-len(text.encode("utf-8", "surrogatepass")) // BYTES_PER_TOKEN)


def estimate_request_tokens(request: ModelRequest) -> int:
    """Return the rough number of tokens that a request sends: messages and tools.

    The answer is not in it; nobody knows its length beforehand.
    """
    messages = sum(_message_tokens(message) for message in request.messages)
    tools = sum(
        estimate_tokens(tool.name + tool.description) + _json_tokens(dict(tool.parameters))
        for tool in request.tools
    )
    return messages + tools


def estimate_usage(request: ModelRequest, text: str, calls: Iterable[ToolCall]) -> Usage:
    """Return the rough usage of a call that answered `request` with `text` and `calls`."""
    return Usage(
        input_tokens=estimate_request_tokens(request),
        output_tokens=estimate_tokens(text) + sum(_call_tokens(call) for call in calls),
    )


def _message_tokens(message: ChatMessage) -> int:
    calls = sum(_call_tokens(call) for call in message.tool_calls)
    return MESSAGE_OVERHEAD_TOKENS + estimate_tokens(message.content) + calls


def _call_tokens(call: ToolCall) -> int:
    return estimate_tokens(call.name) + _json_tokens(dict(call.arguments))


def _json_tokens(value: object) -> int:
    # `enc_hook` and `str` keep an estimate from failing on what a schema should not hold.
    return -(-len(msgspec.json.encode(value, enc_hook=str)) // BYTES_PER_TOKEN)
