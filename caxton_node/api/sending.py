"""How the REST edge hands a message in, once, and waits for its answer.

A client that repeats a request under the same id (after a lost connection, say) gets the outcome
of the first one; nothing is sent again.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

import msgspec

from caxton_node.api.edge import Edge
from caxton_node.domain.delivery import RoutingStrategy
from caxton_node.domain.errors import Conflict, Place, Rejected
from caxton_node.domain.message import BROADCAST, Message
from caxton_node.domain.performatives import NEGATIVE
from caxton_node.routing.envelope import Envelope
from caxton_node.runtime.node import Node
from caxton_node.store.protocol import StoredMessage

__all__ = [
    "check_metadata",
    "check_sender",
    "expects_answer",
    "find_answer",
    "find_earlier",
    "has_agent",
    "keep_id",
    "receivers_of",
]

ANSWERS_SEARCHED_MAX: Final = 1_000
"""Messages of a conversation in which the answer to a repeated request is looked for."""

SERVER_NAME: Final = "caxton"
"""Who answers where there was no agent to. Nobody else speaks under this name."""

RESERVED_METADATA: Final = frozenset({"depth"})
"""Keys by which the server counts how deep agents ask each other."""


def check_sender(node: Node, sender: str, *, field: str = "sender") -> None:
    """Let a client speak for itself only.

    Raises:
        Rejected: `invalid_message`, when the name is that of an agent here or of the server.
    """
    if sender == SERVER_NAME:
        raise Rejected(
            "invalid_message",
            f"{sender!r} is the name of the server",
            places=[
                Place(
                    f"`{field}` is the name of the server",
                    field=field,
                    rule="reserved",
                    fix="send under a name of your own, such as `client`",
                )
            ],
        )
    if node.roster.find(sender) is not None:
        raise Rejected(
            "invalid_message",
            f"{sender!r} is an agent of this node; agents speak for themselves",
            places=[
                Place(
                    f"`{field}` is the name of an agent",
                    field=field,
                    rule="sender_is_agent",
                    fix="send under a name of your own, such as `client`",
                )
            ],
        )


def check_metadata(metadata: dict[str, Any] | None, *, field: str = "metadata") -> None:
    """Let metadata pass that a message can carry.

    Raises:
        Rejected: `invalid_message`.
    """
    if not metadata:
        return
    try:
        msgspec.msgpack.encode(metadata)
    except (OverflowError, ValueError, TypeError):
        raise Rejected(
            "invalid_message",
            "the metadata cannot be carried",
            places=[
                Place(
                    f"`{field}` holds a number beyond 64 bits",
                    field=field,
                    rule="too_large",
                    fix="write it as text",
                )
            ],
        ) from None
    reserved = sorted(RESERVED_METADATA & metadata.keys())
    if reserved:
        raise Rejected(
            "invalid_message",
            f"{reserved[0]!r} is a key that only the server sets",
            places=[
                Place(
                    f"`{field}.{reserved[0]}` is set by the server",
                    field=f"{field}.{reserved[0]}",
                    rule="reserved",
                    fix="choose another key",
                )
            ],
        )


@contextmanager
def keep_id(edge: Edge, message_id: str | None) -> Iterator[None]:
    """Keep an id that a client chose for one request while it is being accepted.

    Raises:
        Conflict: `already_exists`: another request is sending under this id right now.
    """
    if message_id is None:
        yield
        return
    if message_id in edge.ids_under_way:
        raise Conflict(
            "already_exists",
            f"a message with the id {message_id!r} is being accepted right now",
            hint="Send it once. Asking for the message by its id tells how it went.",
        )
    edge.ids_under_way.add(message_id)
    try:
        yield
    finally:
        edge.ids_under_way.discard(message_id)


async def find_earlier(node: Node, message_id: str) -> StoredMessage | None:
    """Return the message that an earlier request sent under this id, counting the repetition."""
    earlier = await node.store.message(message_id)
    if earlier is not None:
        node.counts.messages_duplicate += 1
    return earlier


async def receivers_of(node: Node, envelope: Envelope) -> list[str]:
    """Return who got a message: its agent, the client it answers, or all that a fan-out chose."""
    message = envelope.message
    if envelope.inbox is not None:
        return [envelope.inbox.agent]
    if not _is_fan_out(message):
        return [message.receiver]
    stored = await node.store.message(message.id)
    return stored.agent.split(",") if stored is not None and stored.agent else []


def has_agent(envelope: Envelope) -> bool:
    """Return whether an agent may answer: a client that was handed a reply will not."""
    return envelope.inbox is not None or _is_fan_out(envelope.message)


def _is_fan_out(message: Message) -> bool:
    return message.receiver == BROADCAST or (
        message.capability is not None and message.routing_strategy is RoutingStrategy.BROADCAST
    )


def expects_answer(message: Message) -> bool:
    """Return whether waiting makes sense: a negative act is never answered."""
    return message.performative not in NEGATIVE


async def find_answer(node: Node, question: Message) -> Message | None:
    """Return the answer that a question got already, if any.

    Only who was asked may answer, and the server in its place. Whom a capability or `broadcast`
    chose is not in the question, so that anybody may.
    """
    page = await node.store.messages(
        conversation_id=question.conversation_id, limit=ANSWERS_SEARCHED_MAX
    )
    for stored in page.items:
        if _is_answer(stored.message, question):
            return stored.message
    return None


def _is_answer(answer: Message, question: Message) -> bool:
    is_chosen_later = question.receiver in ("", BROADCAST)
    return (
        answer.in_reply_to == question.answers_go_under
        and answer.receiver == (question.reply_to or question.sender)
        and (is_chosen_later or answer.sender in (question.receiver, SERVER_NAME))
    )
