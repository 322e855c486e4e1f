"""Messages as clients see them: content decoded, instants in RFC 3339."""

from typing import Any

from pydantic import Field

from caxton_node.api.types import Instant, View, instant
from caxton_node.domain.delivery import DeliveryMode, DeliveryStatus, RoutingStrategy
from caxton_node.domain.message import Message
from caxton_node.domain.performatives import Performative
from caxton_node.store.protocol import Page, StoredMessage

__all__ = [
    "MessageView",
    "StoredMessageList",
    "StoredMessageView",
    "show_message",
    "show_page",
    "show_stored",
]


class MessageView(View):
    """One act of communication."""

    id: str
    performative: Performative
    sender: str
    receiver: str | None = Field(description="Null when a capability chose the receiver.")
    content: Any
    conversation_id: str
    reply_with: str | None
    in_reply_to: str | None
    protocol: str | None
    reply_by: Instant | None
    language: str | None
    ontology: str | None
    capability: str | None
    routing_strategy: RoutingStrategy
    delivery: DeliveryMode
    created_at: Instant
    traceparent: str | None
    metadata: dict[str, Any] | None
    reply_to: str | None
    encoding: str | None


class StoredMessageView(View):
    """A message and what became of it."""

    message: MessageView
    status: DeliveryStatus
    accepted_at: Instant
    started_at: Instant | None = Field(description="When the last attempt began.")
    settled_at: Instant | None
    agent: str | None = Field(description="Who took the turn, or where a client reads it.")
    attempts: int
    reason: str | None = Field(description="Why it is dead: a code, then a detail.")


class StoredMessageList(View):
    """Part of a list of messages."""

    items: list[StoredMessageView]
    total: int | None = None
    next_cursor: str | None


def show_message(message: Message) -> MessageView:
    """Return a message for a client."""
    return MessageView.model_construct(
        id=message.id,
        performative=message.performative,
        sender=message.sender,
        receiver=message.receiver or None,
        content=message.body(),
        conversation_id=message.conversation_id,
        reply_with=message.reply_with,
        in_reply_to=message.in_reply_to,
        protocol=message.protocol,
        reply_by=_instant_or_none(message.reply_by),
        language=message.language,
        ontology=message.ontology,
        capability=message.capability,
        routing_strategy=message.routing_strategy,
        delivery=message.delivery,
        created_at=instant(message.created_at),
        traceparent=message.traceparent,
        metadata=message.metadata,
        reply_to=message.reply_to,
        encoding=message.encoding,
    )


def show_stored(stored: StoredMessage) -> StoredMessageView:
    """Return a stored message for a client."""
    return StoredMessageView.model_construct(
        message=show_message(stored.message),
        status=stored.status,
        accepted_at=instant(stored.accepted_at),
        started_at=_instant_or_none(stored.started_at),
        settled_at=_instant_or_none(stored.settled_at),
        agent=stored.agent,
        attempts=stored.attempts,
        reason=stored.reason,
    )


def show_page(page: Page[StoredMessage]) -> StoredMessageList:
    """Return a page of the store for a client."""
    return StoredMessageList(
        items=[show_stored(stored) for stored in page.items], next_cursor=page.next_cursor
    )


def _instant_or_none(at_ms: int | None) -> str | None:
    return None if at_ms is None else instant(at_ms)
