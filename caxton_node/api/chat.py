"""Chat: say something to an agent and get its answer, at once or as it is made.

A chat is a message like any other. A client that goes away stops nothing: the turn goes on, and
the answer can be read in the conversation.
"""

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from typing import Annotated, Any, Final

import msgspec
from pydantic import Field, WithJsonSchema

from caxton_node.api.agents import AGENT_NAME
from caxton_node.api.message_views import MessageView, show_message
from caxton_node.api.messages import SEND_ERRORS
from caxton_node.api.table import (
    API_PREFIX,
    DEADLINE_S,
    Endpoint,
    EventStream,
    NoQuery,
    Request,
    Shape,
    StreamEvent,
)
from caxton_node.api.types import Body, ClientId, Party, PerformativeField, View
from caxton_node.domain.message import Message, encode_content
from caxton_node.domain.performatives import ANSWERABLE, Performative
from caxton_node.runtime.asking import (
    ASK_S_MAX,
    Accepted,
    Answered,
    Glimpse,
    agent_to_ask,
    ask,
    check_question,
    follow,
)
from caxton_node.runtime.node import Node
from caxton_node.telemetry.events import Event

__all__ = ["ENDPOINTS"]

ChatPerformative = Annotated[
    PerformativeField,
    WithJsonSchema(
        {
            "type": "string",
            "enum": [*sorted(ANSWERABLE), "query"],
            "description": "An act that asks for an answer. Any case and hyphenation.",
        }
    ),
]


class Chat(Body):
    """What to say to an agent."""

    message: Any = Field(description="Usually text; any JSON value.")
    conversation_id: ClientId | None = Field(
        default=None, description="Go on with this conversation; a new one when absent."
    )
    sender: Party = "client"
    timeout_s: float = Field(default=60.0, gt=0.0, le=ASK_S_MAX)
    performative: ChatPerformative = Performative.REQUEST


class ChatAnswer(View):
    """What the agent answered. A negative act is an answer too."""

    conversation_id: str
    message_id: str
    reply: MessageView
    text: str = Field(description="The reply's content as text.")
    performative: Performative
    metadata: dict[str, Any] | None


def _text_of(content: Any) -> str:
    return content if isinstance(content, str) else msgspec.json.encode(content).decode()


def _answer(question: Message, reply: Message) -> ChatAnswer:
    view = show_message(reply)
    return ChatAnswer.model_construct(
        conversation_id=question.conversation_id,
        message_id=question.id,
        reply=view,
        text=_text_of(view.content),
        performative=reply.performative,
        metadata=reply.metadata,
    )


async def chat(request: Request[NoQuery, Chat], node: Node) -> ChatAnswer | EventStream:
    """Say something to an agent and return its answer."""
    body, edge = request.body, request.edge
    question = Message(
        id=node.new_id("msg"),
        performative=body.performative,
        sender=body.sender,
        receiver=agent_to_ask(node, request.path["name"], edge.others),
        content=encode_content(body.message),
        conversation_id=body.conversation_id or node.new_id("conv"),
        created_at=node.clock.now_ms(),
        traceparent=request.trace.traceparent,
    )
    if request.wants_events:
        check_question(node, question)
        glimpses = follow(
            node,
            question,
            timeout_s=body.timeout_s,
            heartbeat_s=edge.heartbeat_s,
            others=edge.others,
        )
        return EventStream(_shown_all(glimpses))
    return _answer(question, await ask(node, question, timeout_s=body.timeout_s))


async def _shown_all(glimpses: AsyncGenerator[Glimpse | None]) -> AsyncIterator[StreamEvent | None]:
    async with aclosing(glimpses):
        async for glimpse in glimpses:
            match glimpse:
                case None:
                    yield None
                case Accepted(question):
                    ids = {"message_id": question.id, "conversation_id": question.conversation_id}
                    yield StreamEvent("accepted", ids)
                case Answered(question, reply):
                    yield StreamEvent("reply", _answer(question, reply))
                case Event():
                    shown = _shown(glimpse)
                    if shown is not None:
                        yield shown


def _shown(event: Event) -> StreamEvent | None:
    """Return an event of a turn as a chat's stream tells it."""
    data = event.data
    match event.kind:
        case "turn.delta":
            return StreamEvent("delta", {"text": data["text"]})
        case "turn.tool_call":
            return StreamEvent(
                "tool_call", {"name": data["name"], "arguments": data.get("arguments", {})}
            )
        case "turn.tool_result":
            return StreamEvent(
                "tool_result",
                {
                    "name": data["name"],
                    "is_error": data.get("is_error", False),
                    "summary": data.get("summary", ""),
                },
            )
        case _:
            return None


_CHAT_ERRORS: Final = (
    *(code for code in SEND_ERRORS if code not in {"already_exists", "no_provider", "expired"}),
    "state_conflict",
)

ENDPOINTS: Final = (
    Endpoint(
        method="POST",
        path=f"{API_PREFIX}/agents/{{name}}/chat",
        summary="Talk to an agent",
        tag="agents",
        handle=chat,
        description="With `Accept: text/event-stream` the answer is streamed as the events "
        "`accepted`, `delta`, `tool_call`, `tool_result`, `reply` or `error`. A client that goes "
        "away stops nothing. An agent that is suspended, stopped or failed is not asked: 409.",
        parameters=(AGENT_NAME,),
        body=Chat,
        responses={200: Shape("The answer, also a negative one.", ChatAnswer, has_events=True)},
        errors=_CHAT_ERRORS,
        deadline_s=ASK_S_MAX + DEADLINE_S,
    ),
)
