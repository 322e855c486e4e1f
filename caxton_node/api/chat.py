"""Chat: say something to an agent and get its answer, at once or as it is made.

A chat is a message like any other. A client that goes away stops nothing: the turn goes on, and
the answer can be read in the conversation.
"""

import asyncio
from collections.abc import AsyncIterator
from typing import Annotated, Any, Final

import msgspec
from pydantic import Field, WithJsonSchema

from caxton_node.api.agents import AGENT_NAME
from caxton_node.api.message_views import MessageView, show_message
from caxton_node.api.messages import SEND_ERRORS
from caxton_node.api.sending import check_sender
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
from caxton_node.domain.errors import Place, Rejected, TimedOut
from caxton_node.domain.message import Message, encode_content
from caxton_node.domain.performatives import ANSWERABLE, Performative
from caxton_node.routing.waiting import answer_within
from caxton_node.runtime.node import Node
from caxton_node.telemetry.events import Event

__all__ = ["ENDPOINTS"]

TIMEOUT_S_MAX: Final = 600.0

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
    timeout_s: float = Field(default=60.0, gt=0.0, le=TIMEOUT_S_MAX)
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
    body = request.body
    agent = node.roster.seat(request.path["name"]).agent
    check_sender(node, body.sender)
    if body.performative not in ANSWERABLE:
        raise Rejected(
            "invalid_request",
            f"{body.performative.value} asks for no answer",
            hint="POST /api/v1/messages sends acts that are only told.",
            places=[
                Place("`performative` asks for no answer", field="performative", rule="answerable")
            ],
        )
    question = Message(
        id=node.new_id("msg"),
        performative=body.performative,
        sender=body.sender,
        receiver=agent,
        content=encode_content(body.message),
        conversation_id=body.conversation_id or node.new_id("conv"),
        created_at=node.clock.now_ms(),
        traceparent=request.trace.traceparent,
    )
    if request.wants_events:
        events = _follow(node, question, body.timeout_s, request.edge.heartbeat_s)
        return EventStream(events)
    with node.answers.expect(question.sender, question.id) as answer:
        await node.pipeline.send(question)
        try:
            reply = await answer_within(answer, body.timeout_s)
        except TimedOut as late:
            late.facts |= {
                "message_id": question.id,
                "conversation_id": question.conversation_id,
            }
            raise
    return _answer(question, reply)


async def _follow(
    node: Node, question: Message, timeout_s: float, heartbeat_s: float
) -> AsyncIterator[StreamEvent | None]:
    """Yield what a turn shows, then its answer."""

    def concerns(event: Event) -> bool:
        # The delivery of the answer wakes us; it comes after the future has it.
        return event.data.get("message_id") == question.id or (
            event.kind == "message.delivered"
            and event.data.get("conversation_id") == question.conversation_id
        )

    ids = {"message_id": question.id, "conversation_id": question.conversation_id}
    loop = asyncio.get_running_loop()
    with (
        node.answers.expect(question.sender, question.id) as answer,
        node.events.watch(concerns) as watcher,
    ):
        await node.pipeline.send(question)
        yield StreamEvent("accepted", ids)
        ends_at_s = loop.time() + timeout_s
        while not answer.done():
            left_s = ends_at_s - loop.time()
            if left_s <= 0:
                raise TimedOut("timed_out", f"no answer within {timeout_s:g} s", facts=dict(ids))
            event = await watcher.next(timeout_s=min(left_s, heartbeat_s))
            if event is not None:
                shown = _shown(event)
                if shown is not None:
                    yield shown
            elif not answer.done():
                yield None
        for event in watcher.drain():
            shown = _shown(event)
            if shown is not None:
                yield shown
        yield StreamEvent("reply", _answer(question, answer.result()))


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


_CHAT_ERRORS: Final = tuple(
    code for code in SEND_ERRORS if code not in {"already_exists", "no_provider", "expired"}
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
        "away stops nothing.",
        parameters=(AGENT_NAME,),
        body=Chat,
        responses={200: Shape("The answer, also a negative one.", ChatAnswer, has_events=True)},
        errors=_CHAT_ERRORS,
        deadline_s=TIMEOUT_S_MAX + DEADLINE_S,
    ),
)
