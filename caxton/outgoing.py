"""A message that a client sends, from the arguments that describe it."""

import uuid
from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final, TypedDict

from caxton import wire
from caxton.v1 import messages_pb2

__all__ = ["MessageOptions", "outgoing"]

ID_PREFIX: Final = "sdk-"


class MessageOptions(TypedDict, total=False):
    """What may be said of a message besides its receiver and content."""

    sender: str | None
    """Who speaks; `client` when left out."""
    conversation_id: str | None
    """Made by the server when left out."""
    reply_with: str | None
    """What the answer carries as `in_reply_to`, instead of the id."""
    in_reply_to: str | None
    """What this answers."""
    reply_to: str | None
    """Who gets the answer instead."""
    protocol: str | None
    language: str | None
    ontology: str | None
    encoding: str | None
    reply_by: datetime | None
    """Instant after which an answer is of no use."""
    delivery: str | None
    """`at_most_once`, `at_least_once` or `exactly_once`."""
    routing_strategy: str | None
    """`best_match`, `load_balanced` or `broadcast`."""
    metadata: Mapping[str, Any] | None


_TEXTS: Final = frozenset(
    {
        "receiver",
        "capability",
        "sender",
        "conversation_id",
        "reply_with",
        "in_reply_to",
        "reply_to",
        "protocol",
        "language",
        "ontology",
        "encoding",
    }
)
_OTHERS: Final = frozenset(
    {
        "content",
        "performative",
        "message_id",
        "reply_by",
        "delivery",
        "routing_strategy",
        "metadata",
    }
)


def outgoing(given: Mapping[str, Any]) -> messages_pb2.Message:
    """Return a message for the wire, under an id of its own where none is given.

    Args:
        given: The arguments of `CaxtonClient.send`, by name.

    Raises:
        ValueError: A word or an instant is wrong.
        TypeError: The content has no JSON form, or there is no such argument.
    """
    unknown = given.keys() - _TEXTS - _OTHERS
    if unknown:
        raise TypeError(f"a message has no {', '.join(sorted(unknown))}")
    message = messages_pb2.Message(
        id=given.get("message_id") or f"{ID_PREFIX}{uuid.uuid4().hex}",
        performative=wire.ACTS.number(given.get("performative") or "inform"),
        content=wire.json_bytes(given.get("content")),
        delivery=wire.DELIVERIES.number(given.get("delivery")),
        routing_strategy=wire.STRATEGIES.number(given.get("routing_strategy")),
    )
    for name in _TEXTS & given.keys():
        if given[name] is not None:
            setattr(message, name, given[name])
    if given.get("metadata"):
        message.metadata = wire.json_bytes(given["metadata"])
    if given.get("reply_by") is not None:
        message.reply_by.CopyFrom(wire.timestamp(given["reply_by"]))
    return message
