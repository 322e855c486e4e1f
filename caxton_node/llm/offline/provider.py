"""The provider for a node without a model: it reads the request by rules, and says so.

Deterministic: the same request gives the same reply, for there is no clock, no randomness and no
state in it. It never pretends: the model is `none`, the metadata say `offline`, the text says it
too, and what it tells comes from tools and memory only. It calls a tool when it is sure, at most
one a round, and never one that may destroy.
"""

import hashlib
from types import MappingProxyType
from typing import Any, Final

from caxton_node.domain.tool import ToolCall
from caxton_node.llm.estimate import estimate_usage
from caxton_node.llm.model import OFFLINE, ModelReply, ModelRequest, OnDelta
from caxton_node.llm.offline import answer
from caxton_node.llm.offline.gathered import Gathered, gather
from caxton_node.llm.offline.planning import next_step
from caxton_node.llm.offline.reading import Reading, read
from caxton_node.llm.offline.recall import matching_facts, recalled_facts
from caxton_node.llm.offline.selection import Candidate

__all__ = ["METADATA", "MODEL", "OfflineModel", "decide_reply"]

MODEL: Final = "none"

METADATA: Final = MappingProxyType({"provider": OFFLINE, "model": MODEL, "offline": True})

TOOL_COUNT_MAX: Final = 1_000
"""Tools of one request that are considered; the rest is beyond what rules can tell apart."""


class OfflineModel:
    """Implements `Model` with `decide_reply`."""

    @property
    def provider(self) -> str:
        """Always `offline`."""
        return OFFLINE

    async def complete(self, request: ModelRequest, on_delta: OnDelta | None = None) -> ModelReply:
        """Reply at once; the text comes as one delta. Raises nothing."""
        reply = decide_reply(request)
        if on_delta is not None and reply.text:
            on_delta(reply.text)
        return reply

    async def close(self) -> None:
        """Do nothing: there is no connection."""


def decide_reply(request: ModelRequest) -> ModelReply:
    """Return the reply to a request. Pure; never raises."""
    reading = read(_question(request))
    gathered = gather(request.messages)
    plan = next_step(reading, request.tools[:TOOL_COUNT_MAX], gathered)
    if plan.call is not None:
        return _calling(request, plan.call, gathered)
    text, extra = _text(request, reading, gathered, plan.near)
    return ModelReply(
        text=text,
        usage=estimate_usage(request, text, ()),
        provider=OFFLINE,
        model=MODEL,
        finish_reason="stop",
        metadata={**METADATA, **extra},
    )


def _text(
    request: ModelRequest, reading: Reading, gathered: Gathered, near: Candidate | None
) -> tuple[str, dict[str, Any]]:
    facts = recalled_facts(request)
    matching = matching_facts(reading.text, facts)
    if gathered.results:
        return answer.from_results(reading, gathered, matching), {}
    if reading.is_unreadable:
        return answer.unreadable(), {"performative": "not_understood"}
    if matching:
        return answer.from_memory(matching), {}
    return answer.nothing_fits(reading, request.tools, near, has_memory=bool(facts)), {}


def _calling(request: ModelRequest, call: Candidate, gathered: Gathered) -> ModelReply:
    # An id must differ from those of the rounds before, and must be the same for the same request.
    seed = f"{len(request.messages)}:{len(gathered.results)}:{call.tool.name}"
    call_id = f"call_{hashlib.sha256(seed.encode('utf-8', 'surrogatepass')).hexdigest()[:16]}"
    wish = ToolCall(id=call_id, name=call.tool.name, arguments=dict(call.filled.arguments))
    return ModelReply(
        tool_calls=(wish,),
        usage=estimate_usage(request, "", (wish,)),
        provider=OFFLINE,
        model=MODEL,
        finish_reason="tool_calls",
        metadata=dict(METADATA),
    )


def _question(request: ModelRequest) -> str:
    if request.question:
        return request.question
    for message in reversed(request.messages):
        if message.role == "user":
            return message.content
    return ""
