"""What every provider of a language model looks like to a turn.

One call, one reply. The turn decides what to do with it; a provider neither loops nor calls
tools. Text deltas go to an observer beside the reply and carry no state.

Some facts about a reply travel in `ModelReply.metadata`, under these keys and no others:

- `provider`, `model`, `offline` (true): only from the offline provider, so that an answer
  without a model can be told from one with a model wherever it is shown.
- `performative`: the act that the reply should become, in lower_snake, when it is not the usual
  one. The offline provider says `not_understood` for a request that it cannot read at all (no
  words in it). The turn then answers with that performative and the reply's text as its reason.
  A request that was read but that no tool or memory serves is an ordinary answer that says so.
- `fallback_from`: a list of `{"provider", "model", "error", "detail"}`, one for each model that
  failed for good before the one that answered.
- `usage_estimated` (true): the endpoint did not say what the call cost.
- `refusal` (true): the text is the model's refusal.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal, Protocol

from caxton_node.domain.agent import EMPTY
from caxton_node.domain.tool import ToolCall, ToolSpec

__all__ = [
    "OFFLINE",
    "ChatMessage",
    "Model",
    "ModelReply",
    "ModelRequest",
    "OnDelta",
    "Usage",
]

OFFLINE: Final = "offline"
"""Name of the provider that answers where no model is configured."""

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
    knowledge: tuple[str, ...] = ()
    """What memory recalled for this question, one fact each, best first. It stands in the prompt
    too; this is for a provider that does not understand prompts."""
    traceparent: str | None = None
    """What the call belongs to, for the endpoint."""


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
    """`stop`, `tool_calls`, `length`, `content_filter`, or the endpoint's own word."""
    malformed_calls: Mapping[str, str] = field(default=EMPTY)
    """Calls whose arguments could not be read: id of the call → what is wrong, as a sentence for
    the model. Such a call stands in `tool_calls` with no arguments. It must not be carried out;
    answer it with the sentence as an error, so that the model can mend it."""
    metadata: Mapping[str, Any] = field(default=EMPTY)
    """Further facts for the reply's metadata; see the module's docstring."""


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
