"""A question to an agent, from the wire; and what its turn shows, for the wire."""

import re
from collections.abc import AsyncIterator
from typing import Final

import msgspec

from caxton.v1 import agents_pb2
from caxton_node.domain.client_input import CLIENT_ID, NO_CONTROL, PARTY_LENGTH_MAX
from caxton_node.domain.delivery import DeliveryStatus
from caxton_node.domain.errors import Place, Rejected
from caxton_node.domain.message import Message
from caxton_node.domain.performatives import Performative
from caxton_node.grpc_api.wire import show_acceptance, show_duration, show_message
from caxton_node.runtime.asking import Accepted, Answered, Glimpse
from caxton_node.runtime.node import Node
from caxton_node.runtime.sending import Sent
from caxton_node.telemetry.events import Event

__all__ = ["question_of", "show_turn"]

_CLIENT_ID: Final = re.compile(CLIENT_ID)
_PLAIN: Final = re.compile(NO_CONTROL)


def question_of(
    request: agents_pb2.AgentsChatRequest,
    node: Node,
    *,
    receiver: str,
    content: bytes,
    traceparent: str,
) -> Message:
    """Return the message that a chat sends.

    Raises:
        Rejected: `invalid_request`.
    """
    places = []
    if request.conversation_id and not _CLIENT_ID.fullmatch(request.conversation_id):
        places.append(_place("conversation_id", "has 1 to 128 letters, digits and . _ : -"))
    if len(request.sender) > PARTY_LENGTH_MAX or not _PLAIN.fullmatch(request.sender):
        places.append(_place("sender", f"has at most {PARTY_LENGTH_MAX} plain characters"))
    if places:
        raise Rejected("invalid_request", "the request breaks a rule", places=places)
    return Message(
        id=node.new_id("msg"),
        performative=Performative.REQUEST,
        sender=request.sender or "client",
        receiver=receiver,
        content=content,
        conversation_id=request.conversation_id or node.new_id("conv"),
        created_at=node.clock.now_ms(),
        traceparent=traceparent,
    )


def _place(field: str, what: str) -> Place:
    return Place(f"`{field}` {what}", field=field, rule="form")


async def show_turn(turn: AsyncIterator[Glimpse | None]) -> AsyncIterator[agents_pb2.ChatEvent]:
    """Yield what a turn shows, for the wire. gRPC says by itself that a stream lives."""
    async for glimpse in turn:
        match glimpse:
            case None:
                continue
            case Accepted(question):
                sent = Sent(question, DeliveryStatus.ACCEPTED, (question.receiver,))
                yield agents_pb2.ChatEvent(accepted=show_acceptance(sent))
            case Answered(_, reply):
                yield agents_pb2.ChatEvent(reply=show_message(reply))
            case Event():
                shown = _shown(glimpse)
                if shown is not None:
                    yield shown


def _shown(event: Event) -> agents_pb2.ChatEvent | None:
    data = event.data
    match event.kind:
        case "turn.delta":
            return agents_pb2.ChatEvent(delta=agents_pb2.ChatDelta(text=data["text"]))
        case "turn.tool_call":
            call = agents_pb2.ChatToolCall(
                call_id=str(data.get("step", "")),
                tool=data["name"],
                arguments=msgspec.json.encode(data.get("arguments", {})),
            )
            return agents_pb2.ChatEvent(tool_call=call)
        case "turn.tool_result":
            result = agents_pb2.ChatToolResult(
                call_id=str(data.get("step", "")),
                is_error=data.get("is_error", False),
                duration=show_duration(data.get("duration_ms")),
            )
            return agents_pb2.ChatEvent(tool_result=result)
        case _:
            return None
