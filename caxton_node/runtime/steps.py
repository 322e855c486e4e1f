"""The steps of a turn, recorded so that a turn taken again makes none of them twice.

A model call is recorded when it is done. A tool call that may change the world is recorded
before it begins as well: when the record shows a beginning without an end, the process died in
between, and nobody knows whether the effect happened. What memory recalled is recorded like a
model's reply: a turn taken again knows what it knew, whatever was learnt since.

The numbers of the steps are the keys: the same turn, taken again with the same recorded replies,
walks through the same steps. A model's own call ids differ from attempt to attempt and are not
used.
"""

from typing import Any, Final

import msgspec

from caxton_node.domain.tool import Artifact, ToolCall, ToolResult
from caxton_node.llm.model import ModelReply, Usage
from caxton_node.routing.clock import Clock
from caxton_node.store.protocol import Step, StepState, Store

__all__ = ["Recorder", "decode_reply", "decode_result", "encode_reply", "encode_result"]

_KINDS: Final = ("model", "tool", "recall", "learn")


def encode_reply(reply: ModelReply) -> bytes:
    """Return a model's reply as the JSON of a step."""
    return msgspec.json.encode(
        {
            "text": reply.text,
            "tool_calls": [[c.id, c.name, dict(c.arguments)] for c in reply.tool_calls],
            "usage": [reply.usage.input_tokens, reply.usage.output_tokens],
            "provider": reply.provider,
            "model": reply.model,
            "finish_reason": reply.finish_reason,
            "malformed_calls": dict(reply.malformed_calls),
            "metadata": dict(reply.metadata),
        }
    )


def decode_reply(data: bytes) -> ModelReply:
    """Return the reply that `encode_reply` wrote."""
    value = msgspec.json.decode(data)
    return ModelReply(
        text=value["text"],
        tool_calls=tuple(
            ToolCall(id=call_id, name=name, arguments=arguments)
            for call_id, name, arguments in value["tool_calls"]
        ),
        usage=Usage(input_tokens=value["usage"][0], output_tokens=value["usage"][1]),
        provider=value["provider"],
        model=value["model"],
        finish_reason=value["finish_reason"],
        malformed_calls=value.get("malformed_calls", {}),  # older records have none
        metadata=value["metadata"],
    )


def encode_result(result: ToolResult, arguments: dict[str, Any]) -> bytes:
    """Return a tool's result as the JSON of a step, with what it was called with."""
    return msgspec.json.encode(
        {
            "arguments": arguments,
            "content": result.content,
            "is_error": result.is_error,
            "artifacts": [[a.handle, a.name, a.media_type, a.size_bytes] for a in result.artifacts],
        }
    )


def decode_result(data: bytes) -> ToolResult:
    """Return the result that `encode_result` wrote."""
    value = msgspec.json.decode(data)
    return ToolResult(
        content=value["content"],
        is_error=value["is_error"],
        artifacts=tuple(
            Artifact(handle=handle, name=name, media_type=media_type, size_bytes=size_bytes)
            for handle, name, media_type, size_bytes in value["artifacts"]
        ),
    )


class Recorder:
    """The record of one turn: what was done before, and what is done now."""

    def __init__(self, store: Store, clock: Clock, message_id: str, *, is_kept: bool) -> None:
        self._store = store
        self._clock = clock
        self._message_id = message_id
        self._is_kept = is_kept
        """False for a message that is not journaled: its turn is never taken again."""
        self._before: dict[int, Step] = {}
        self._started_at: dict[int, int] = {}
        self.next_number = 0

    async def load(self) -> None:
        """Read what an earlier attempt did."""
        self._before = {step.number: step for step in await self._store.steps(self._message_id)}

    def take_number(self) -> int:
        """Return the number of the next step."""
        number = self.next_number
        self.next_number += 1
        return number

    def before(self, number: int) -> Step | None:
        """Return what an earlier attempt recorded of a step, or None."""
        return self._before.get(number)

    async def start(self, number: int, kind: str, name: str, *, is_effect: bool) -> None:
        """Note that a step begins; on disk first when it may change the world."""
        assert kind in _KINDS, f"{kind!r} is no kind of step"
        self._started_at[number] = self._clock.now_ms()
        if is_effect and self._is_kept:
            await self._store.put_step(
                Step(
                    message_id=self._message_id,
                    number=number,
                    kind=kind,
                    name=name,
                    state=StepState.STARTED,
                    started_at=self._started_at[number],
                )
            )

    async def finish(self, number: int, kind: str, name: str, data: bytes) -> None:
        """Record the result of a step. One that was answered without a start took no time."""
        now_ms = self._clock.now_ms()
        if self._is_kept:
            await self._store.put_step(
                Step(
                    message_id=self._message_id,
                    number=number,
                    kind=kind,
                    name=name,
                    state=StepState.DONE,
                    started_at=self._started_at.get(number, now_ms),
                    finished_at=now_ms,
                    data=data,
                )
            )
