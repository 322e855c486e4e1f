"""From a message to what a model reads. Pure.

The system prompt, the conversation so far, and the request as the agent's template words it.
"""

from collections.abc import Sequence
from typing import Any, Final

import msgspec

from caxton_node.agentfile.template import render
from caxton_node.domain.agent import AgentSpec
from caxton_node.domain.message import Message
from caxton_node.domain.performatives import NEGATIVE, Performative
from caxton_node.llm.model import ChatMessage

__all__ = ["HISTORY_MESSAGES_MAX", "build_prompt", "text_of"]

HISTORY_MESSAGES_MAX: Final = 20
"""Earlier messages of the conversation that a model is shown."""

HISTORY_TEXT_MAX: Final = 4_000
"""Characters of one earlier message that a model is shown."""

_TEXT_KEYS: Final = ("text", "message", "question", "query", "prompt", "input")


def text_of(content: Any) -> str:
    """Return what a content says, as text.

    A string is itself; an object whose only key is one of the usual ones for text is that text;
    anything else is compact JSON.
    """
    if isinstance(content, str):
        return content
    if isinstance(content, dict) and len(content) == 1:
        (key, value) = next(iter(content.items()))
        if key in _TEXT_KEYS and isinstance(value, str):
            return value
    return msgspec.json.encode(content).decode()


def build_prompt(
    spec: AgentSpec,
    message: Message,
    *,
    history: Sequence[Message],
    knowledge: str = "",
) -> tuple[ChatMessage, ...]:
    """Return the context of a turn's first model call.

    Args:
        spec: The agent.
        message: What it is asked.
        history: Earlier messages of the conversation, oldest first.
        knowledge: What the agent's memory holds about it.
    """
    recent = list(history)[-HISTORY_MESSAGES_MAX:]
    values: dict[str, Any] = dict(spec.parameters) | {
        "message": text_of(message.body()),
        "conversation_history": "\n".join(
            f"{earlier.sender}: {_shortened(earlier)}" for earlier in recent
        ),
        "relevant_knowledge": knowledge,
        "name": spec.name,
    }
    system = render(spec.system_prompt, values)
    request = render(spec.user_prompt_template, values)
    if message.performative not in (Performative.REQUEST, Performative.QUERY_REF):
        request = f"[{message.performative.value} from {message.sender}]\n{request}"
    if knowledge and "relevant_knowledge" not in spec.user_prompt_template + spec.system_prompt:
        request = f"{request}\n\nWhat you remember:\n{knowledge}"
    shows_history = "conversation_history" in spec.user_prompt_template + spec.system_prompt
    earlier_turns = () if shows_history else tuple(_as_turn(spec, one) for one in recent)
    return (
        ChatMessage(role="system", content=system),
        *earlier_turns,
        ChatMessage(role="user", content=request),
    )


def _as_turn(spec: AgentSpec, message: Message) -> ChatMessage:
    if message.sender == spec.name:
        return ChatMessage(role="assistant", content=_shortened(message))
    return ChatMessage(role="user", content=_shortened(message))


def _shortened(message: Message) -> str:
    text = text_of(message.body())
    if message.performative in NEGATIVE:
        text = f"[{message.performative.value}] {text}"
    return text if len(text) <= HISTORY_TEXT_MAX else f"{text[:HISTORY_TEXT_MAX]} …"
