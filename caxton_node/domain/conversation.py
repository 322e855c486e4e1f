"""A conversation: the messages that share a `conversation_id`, seen as one thing."""

from dataclasses import dataclass
from enum import StrEnum

__all__ = ["Conversation", "ConversationStatus"]


class ConversationStatus(StrEnum):
    """Whether anything in the conversation is still to be done."""

    ACTIVE = "active"
    """At least one message waits for its turn."""
    COMPLETED = "completed"
    """Every message reached a final state."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Conversation:
    """What a list of conversations shows of one. Derived from its messages, never stored."""

    id: str
    participants: tuple[str, ...]
    """Senders and receivers, in order of first appearance."""
    message_count: int
    status: ConversationStatus
    created_at: int
    """Instant of the first message, in milliseconds since 1970, UTC."""
    last_activity_at: int
    """Instant of the last message, likewise."""
