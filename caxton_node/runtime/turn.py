"""One turn of an LLM agent as a state machine. Pure: it decides, `llm_agent` acts.

    begin ─▶ CallModel ─▶ on_model ─┬▶ CallTools ─▶ on_tools ─▶ CallModel …
                                    ├▶ Say
                                    └▶ Fail

The budget is checked before every call of the model, the loop guard at every call of a tool, and
the number of rounds at each; a turn cannot run away between two checks.
"""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import msgspec

from caxton_node.domain.agent import EMPTY, AgentSpec
from caxton_node.domain.errors import CaxtonError, Failed
from caxton_node.domain.tool import ToolCall, ToolResult, ToolSpec
from caxton_node.llm.budget import (
    BudgetDecision,
    Exhausted,
    Proceed,
    ProceedWithWarning,
    Summarize,
)
from caxton_node.llm.model import ChatMessage, ModelReply, ModelRequest
from caxton_node.runtime.agent import Reply
from caxton_node.runtime.reply import read_reply

__all__ = ["Action", "CallModel", "CallTools", "Fail", "Say", "Turn"]

TOOL_RESULT_TEXT_MAX: Final = 16_000
"""Characters of one tool result that a model is shown."""

CALLS_IN_A_ROUND_MAX: Final = 16

SAME_CALL_MAX: Final = 3
"""The same tool with the same arguments so often in one turn is a loop."""

_LAST_ROUND: Final = "Answer now with what you have; no further tools can be called."


@dataclass(frozen=True, slots=True)
class CallModel:
    """Call the model, then `on_model`."""

    request: ModelRequest


@dataclass(frozen=True, slots=True)
class CallTools:
    """Call the tools in order, then `on_tools`."""

    calls: tuple[ToolCall, ...]
    malformed: Mapping[str, str] = EMPTY
    """Calls not to be made: id of the call → what to tell the model instead."""


@dataclass(frozen=True, slots=True)
class Say:
    """The turn is over: this is the answer."""

    reply: Reply


@dataclass(frozen=True, slots=True)
class Fail:
    """The turn is over without an answer."""

    error: CaxtonError


Action = CallModel | CallTools | Say | Fail

CheckBudget = Callable[[ModelRequest], BudgetDecision]
"""Takes the next call of the model."""


class Turn:
    """The state of one turn."""

    def __init__(
        self,
        *,
        spec: AgentSpec,
        prompt: tuple[ChatMessage, ...],
        tools: tuple[ToolSpec, ...],
        question: str,
        check_budget: CheckBudget,
        knowledge: tuple[str, ...] = (),
    ) -> None:
        self._spec = spec
        self._knowledge = knowledge
        self._messages = list(prompt)
        self._tools = tools
        self._question = question
        self._check_budget = check_budget
        self._rounds = 0
        self._made: Counter[tuple[str, bytes]] = Counter()
        self._tool_names: list[str] = []
        self._warnings: list[str] = []
        self._is_last = False
        self._input_tokens = 0
        self._output_tokens = 0
        self._model_calls = 0

    def begin(self) -> Action:
        """Return the first action."""
        return self._next_call()

    def _next_call(self) -> Action:
        request = self._request()
        match self._check_budget(request):
            case Proceed():
                return CallModel(request)
            case ProceedWithWarning(warnings):
                texts = [str(warning) for warning in warnings]
                self._warnings += [text for text in texts if text not in self._warnings]
                return CallModel(request)
            case Summarize(limit):
                self._warnings.append(f"The budget {limit} is reached; this is a summary.")
                self._make_last()
                return CallModel(self._request())
            case Exhausted(limit=limit, allowed=allowed, needed=needed):
                return Fail(
                    Failed(
                        "budget_exhausted",
                        f"{limit} allows {allowed:g}; this call would make it {needed:g}",
                        hint="`[budget]` in the agent's file sets what it may spend.",
                        facts={"limit": limit, "allowed": allowed, "needed": needed},
                    )
                )

    def _request(self) -> ModelRequest:
        llm = self._spec.llm
        return ModelRequest(
            messages=tuple(self._messages),
            tools=() if self._is_last else self._tools,
            model=llm.model,
            temperature=llm.temperature,
            max_tokens=llm.max_tokens,
            timeout_s=llm.timeout_s,
            question=self._question,
            knowledge=self._knowledge,
        )

    def _make_last(self) -> None:
        self._is_last = True
        self._messages.append(ChatMessage(role="user", content=_LAST_ROUND))

    def on_model(self, reply: ModelReply) -> Action:
        """Return what follows a reply of the model."""
        self._model_calls += 1
        self._input_tokens += reply.usage.input_tokens
        self._output_tokens += reply.usage.output_tokens
        if not reply.tool_calls:
            return Say(read_reply(reply.text, self._metadata(reply)))
        if self._is_last:
            if reply.text:
                return Say(read_reply(reply.text, self._metadata(reply)))
            return Fail(
                Failed(
                    "loop_detected",
                    f"the model kept calling tools after {self._rounds} rounds",
                    hint="`limits.tool_rounds` in the agent's file bounds the rounds.",
                )
            )
        self._rounds += 1
        self._messages.append(
            ChatMessage(role="assistant", content=reply.text, tool_calls=reply.tool_calls)
        )
        for call in reply.tool_calls:
            key = (call.name, msgspec.json.encode(dict(call.arguments), order="sorted"))
            self._made[key] += 1
            if self._made[key] >= SAME_CALL_MAX:
                return Fail(
                    Failed(
                        "loop_detected",
                        f"the model called {call.name!r} {SAME_CALL_MAX} times with the same "
                        "arguments",
                    )
                )
        return CallTools(reply.tool_calls[:CALLS_IN_A_ROUND_MAX], malformed=reply.malformed_calls)

    def on_tools(self, results: Sequence[tuple[ToolCall, ToolResult]]) -> Action:
        """Return what follows the results of the tools."""
        answered = {call.id for call, _ in results}
        for call, result in results:
            self._tool_names.append(call.name)
            self._messages.append(_as_message(call, result))
        for call in self._messages[-len(results) - 1].tool_calls:
            if call.id not in answered:
                self._messages.append(
                    _as_message(
                        call,
                        ToolResult(
                            content=f"not called: {CALLS_IN_A_ROUND_MAX} calls in one round",
                            is_error=True,
                        ),
                    )
                )
        if self._rounds >= self._spec.limits.tool_rounds:
            self._make_last()
        return self._next_call()

    def _metadata(self, reply: ModelReply) -> dict[str, Any]:
        metadata: dict[str, Any] = {
            "provider": reply.provider,
            "model": reply.model,
            "input_tokens": self._input_tokens,
            "output_tokens": self._output_tokens,
            "model_calls": self._model_calls,
        }
        if self._tool_names:
            metadata["tools"] = list(self._tool_names)
        if self._warnings:
            metadata["warnings"] = list(self._warnings)
        return metadata | dict(reply.metadata)


def _as_message(call: ToolCall, result: ToolResult) -> ChatMessage:
    content = result.content
    if result.is_error and not isinstance(content, dict):
        content = {"error": content}
    text = msgspec.json.encode(content).decode()
    if len(text) > TOOL_RESULT_TEXT_MAX:
        text = f"{text[:TOOL_RESULT_TEXT_MAX]} … (cut; {len(text):,} characters)"
    return ChatMessage(role="tool", content=text, tool_call_id=call.id, tool_name=call.name)
