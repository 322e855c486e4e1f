"""Calls of models that guests make: within the tokens of their grant, and their agent's budget.

A guest is told what its budget refuses, and decides what becomes of its turn. `summarize` is for
agents whose turns the node itself drives; a guest is refused like with `abort`.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, Final

from caxton_node.domain.errors import CaxtonError
from caxton_node.domain.wasm import GrantSettings
from caxton_node.llm.budget import Exhausted, ProceedWithWarning, Summarize
from caxton_node.llm.model import ChatMessage, Model, ModelReply, ModelRequest
from caxton_node.runtime.guest_caller import Caller, HostParts, Refusal
from caxton_node.telemetry.spans import Kind
from caxton_node.wasm.rates import Allowance

__all__ = ["GuestModel"]

MESSAGES_MAX: Final = 200
"""Of one call of a model."""

TIMEOUT_S_MAX: Final = 60.0


class GuestModel:
    """The models that one guest may call.

    Args:
        grants: Of its manifest: how many tokens a minute.
        parts: Of the node.
        choose: Which model answers to a name.
    """

    def __init__(
        self, grants: GrantSettings, parts: HostParts, choose: Callable[[str], Model]
    ) -> None:
        self._parts = parts
        self._choose = choose
        self._tokens = Allowance(float(grants.model_tokens))

    async def complete(
        self, caller: Caller, request: Mapping[str, Any], name: str
    ) -> dict[str, Any]:
        """Call a model whose name is granted.

        Args:
            caller: On whose behalf.
            request: As the guest wrote it.
            name: Of the model; empty for the one that the node or the manifest has.

        Raises:
            Refusal: The minute's tokens or the budget are spent, or the request is none.
            CaxtonError: The model failed.
        """
        prompt = request.get("prompt")
        asked = ModelRequest(
            messages=_chat(request),
            model=name or None,
            temperature=request.get("temperature"),
            max_tokens=request.get("max_tokens"),
            timeout_s=caller.time_s(TIMEOUT_S_MAX),
            question=prompt if isinstance(prompt, str) else "",
        )
        if not self._tokens.take(1, self._parts.clock.now_ms() / 60_000):
            raise Refusal("rate_limited", "its tokens of this minute are spent")
        warnings = await _checked(caller, asked)
        reply = await self._called(caller, asked)
        self._tokens.charge(reply.usage.total_tokens)
        if caller.purse is not None:
            await caller.purse.account(reply)
        answer = {
            "text": reply.text,
            "input_tokens": reply.usage.input_tokens,
            "output_tokens": reply.usage.output_tokens,
            "model": reply.model,
        }
        return answer | ({"warnings": warnings} if warnings else {})

    async def _called(self, caller: Caller, request: ModelRequest) -> ModelReply:
        """Call the model, counted, timed and recorded."""
        model, counts, clock = (
            self._choose(request.model or ""),
            self._parts.counts,
            self._parts.clock,
        )
        facts = {
            "gen_ai.operation.name": "chat",
            "gen_ai.provider.name": model.provider,
            "gen_ai.request.model": request.model,
            "gen_ai.agent.name": caller.agent,
            "gen_ai.conversation.id": caller.conversation_id,
        }
        with caller.span(f"chat {request.model or model.provider}", Kind.CLIENT, facts) as span:
            began_at = clock.now_ms()
            try:
                traceparent = span.traceparent or caller.traceparent
                reply = await model.complete(replace(request, traceparent=traceparent))
            except CaxtonError:
                counts.model_errors += 1
                raise
            finally:
                counts.model_s.observe((clock.now_ms() - began_at) / 1000)
            span.set("gen_ai.response.model", reply.model)
            span.set("gen_ai.usage.input_tokens", reply.usage.input_tokens)
            span.set("gen_ai.usage.output_tokens", reply.usage.output_tokens)
        counts.model_calls += 1
        counts.model_input_tokens += reply.usage.input_tokens
        counts.model_output_tokens += reply.usage.output_tokens
        return reply


async def _checked(caller: Caller, request: ModelRequest) -> list[str]:
    """Return what is to be said of the budget besides the answer.

    Raises:
        Refusal: It has no room for the call.
    """
    if caller.purse is None:
        return []
    match await caller.purse.check(request):
        case Exhausted() as spent:
            raise Refusal(
                "budget_exhausted",
                f"the budget {spent.limit} is {spent.allowed:g}; the call needs {spent.needed:g}",
            )
        case Summarize() as spent:
            raise Refusal("budget_exhausted", f"the budget {spent.limit} is spent")
        case ProceedWithWarning() as doubtful:
            return [str(warning) for warning in doubtful.warnings]
        case _:
            return []


def _chat(request: Mapping[str, Any]) -> tuple[ChatMessage, ...]:
    made = []
    if isinstance(request.get("system"), str):
        made.append(ChatMessage(role="system", content=request["system"]))
    messages = request.get("messages")
    if isinstance(messages, list):
        for one in messages[:MESSAGES_MAX]:
            role, content = one.get("role"), one.get("content")
            if role not in ("system", "user", "assistant") or not isinstance(content, str):
                raise Refusal("invalid_arguments", "a message has a role and a content")
            made.append(ChatMessage(role=role, content=content))
    elif isinstance(request.get("prompt"), str):
        made.append(ChatMessage(role="user", content=request["prompt"]))
    else:
        raise Refusal("invalid_arguments", "a prompt or messages are needed")
    return tuple(made)
