"""What every provider of a language model looks like to a turn.

One call, one reply. The turn decides what to do with it; a provider neither loops nor calls
tools. Text deltas go to an observer beside the reply and carry no state.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

from caxton_node.domain.agent import EMPTY
from caxton_node.domain.tool import ToolCall, ToolSpec

__all__ = ["ChatMessage", "Model", "ModelReply", "ModelRequest", "OnDelta", "Usage"]

OnDelta = Callable[[str], None]
"""Takes a piece of the reply's text as it arrives. Must not block or raise."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ChatMessage:
    """One entry of the context that a model reads."""

    role: Literal["system", "user", "assistant", "tool"]
    content: str = ""
    tool_calls: tuple[ToolCall, ...] = ()
    """Of an assistant."""
    tool_call_id: str | None = None
    """Of a tool: which call this answers."""
    tool_name: str | None = None
    """Of a tool."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelRequest:
    """One call of a model."""

    messages: tuple[ChatMessage, ...]
    tools: tuple[ToolSpec, ...] = ()
    model: str | None = None
    temperature: float | None = None
    max_tokens: int | None = None
    timeout_s: float = 60.0
    question: str = ""
    """The bare text of what was asked, without the prompt around it. For a provider that
    reads the request itself instead of understanding a prompt."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """What a call cost, in tokens. Estimated by the provider where the endpoint is silent."""

    input_tokens: int = 0
    output_tokens: int = 0

    @property
    def total_tokens(self) -> int:
        """Input and output together."""
        return self.input_tokens + self.output_tokens


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelReply:
    """What a model said: text, or tools it wants called, or both."""

    text: str = ""
    tool_calls: tuple[ToolCall, ...] = ()
    usage: Usage = Usage()
    provider: str = ""
    model: str = ""
    finish_reason: str = "stop"
    metadata: Mapping[str, Any] = field(default=EMPTY)
    """Further facts for the reply's metadata; the offline provider says here that it is one."""


class Model(Protocol):
    """A provider bound to its endpoint and credentials."""

    @property
    def provider(self) -> str:
        """Name of the provider, as replies and metrics show it."""
        ...

    async def complete(self, request: ModelRequest, on_delta: OnDelta | None = None) -> ModelReply:
        """Call the model once.

        Raises:
            Failed: `model_failed`, after the provider's own retries.
            TimedOut: `timed_out`, when `request.timeout_s` passed.
        """
        ...

    async def close(self) -> None:
        """Release connections."""
        ...
