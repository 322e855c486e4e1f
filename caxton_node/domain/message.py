"""The message: the one thing that everything in the server is made to carry.

A message is an immutable record with the parameters of FIPA ACL and a few of the server's own.
It sits on the hot path, so it is a msgspec struct that packs as a msgpack array: fields are
found by position, new ones go to the end, and an old reader skips what it does not know.
The content stays encoded (JSON text as bytes) until somebody reads it; a router never does.

Reference: FIPA SC00061G, ACL Message Structure.
"""

from typing import Any, Final

import msgspec

from caxton_node.domain.delivery import DeliveryMode, RoutingStrategy
from caxton_node.domain.performatives import NEGATIVE, Performative

__all__ = [
    "BROADCAST",
    "CONTENT_BYTES_MAX",
    "Message",
    "decode_message",
    "encode_away",
    "encode_content",
    "encode_message",
    "reply_to_message",
]

CONTENT_BYTES_MAX: Final = 1_000_000
"""Larger payloads travel by reference: store the data, send its address."""

BROADCAST: Final = "broadcast"
"""The receiver that means every running agent but the sender."""


class Message(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """One act of communication. Build it by keyword; order is the wire's."""

    id: str
    performative: Performative
    sender: str
    receiver: str = ""
    """An agent, a client, or `broadcast`; empty when `capability` chooses."""
    content: bytes = b"null"
    """JSON text, UTF-8. `body()` reads it."""
    conversation_id: str = ""
    reply_with: str | None = None
    """What an answer must put in its `in_reply_to`; the message's id when absent."""
    in_reply_to: str | None = None
    protocol: str | None = None
    """Interaction protocol, such as `fipa-request`."""
    reply_by: int | None = None
    """Instant after which an answer is of no use, in milliseconds since 1970, UTC."""
    language: str | None = None
    """Of the content, such as `json` or `en`."""
    ontology: str | None = None
    capability: str | None = None
    routing_strategy: RoutingStrategy = RoutingStrategy.BEST_MATCH
    delivery: DeliveryMode = DeliveryMode.AT_LEAST_ONCE
    created_at: int = 0
    """Instant of acceptance, in milliseconds since 1970, UTC."""
    traceparent: str | None = None
    """W3C trace context of whoever sent it."""
    metadata: dict[str, Any] | None = None
    """Facts about the message that are not its content: the model used, tokens spent."""
    reply_to: str | None = None
    """Who gets the answer, when not the sender."""
    encoding: str | None = None
    """Of the content, where the language has several."""
    home: str | None = None
    """The node whose client or agent spoke, once the message has left that node. Answers go there
    when no agent is called like their receiver. Stays last: see `encode_away`."""

    def body(self) -> Any:
        """Return the content as Python values.

        Raises:
            msgspec.DecodeError: The content is not JSON. Cannot happen to a message that
                passed `validate`.
        """
        return msgspec.json.decode(self.content)

    @property
    def answers_go_under(self) -> str:
        """What the `in_reply_to` of an answer to this message is."""
        return self.reply_with or self.id


def _refuse_extension(code: int, _data: memoryview) -> Any:
    # Metadata holds JSON values only; an extension type would surface where it is next shown.
    raise msgspec.DecodeError(f"a message carries no msgpack extension of type {code}")


_ENCODER: Final = msgspec.msgpack.Encoder()
_DECODER: Final = msgspec.msgpack.Decoder(Message, ext_hook=_refuse_extension)


def encode_message(message: Message) -> bytes:
    """Pack a message for the journal or a peer."""
    return _ENCODER.encode(message)


def encode_away(message: Message, home: bytes, packed: bytes | None = None) -> bytes:
    """Pack a message that leaves the node, with its home filled in where it has none.

    Args:
        message: As it is journaled here.
        home: The packed name of this node.
        packed: The message as `encode_message` packed it, where that is at hand.
    """
    if packed is None:
        packed = _ENCODER.encode(message)
    # The last field is packed last; building another message would take three times as long.
    return packed if message.home is not None else packed[:-1] + home


def decode_message(data: bytes) -> Message:
    """Unpack what `encode_message` packed, in this or an earlier version.

    Raises:
        msgspec.DecodeError: The bytes are no message.
    """
    try:
        return _DECODER.decode(data)
    except (UnicodeDecodeError, RecursionError) as error:
        # msgspec lets these two through: text that is not UTF-8, metadata nested without end.
        raise msgspec.DecodeError(str(error)) from error


def encode_content(value: Any) -> bytes:
    """Return the JSON text of a content value.

    Raises:
        TypeError: The value has no JSON form.
    """
    return msgspec.json.encode(value)


def reply_to_message(
    request: Message,
    *,
    message_id: str,
    sender: str,
    performative: Performative,
    content: bytes,
    now_ms: int,
    metadata: dict[str, Any] | None = None,
) -> Message:
    """Build the answer to `request`: same conversation, protocol, language and ontology.

    The answer is delivered as hard as its request was.
    """
    assert request.performative not in NEGATIVE, "a negative act is never answered"
    return Message(
        id=message_id,
        performative=performative,
        sender=sender,
        receiver=request.reply_to or request.sender,
        content=content,
        conversation_id=request.conversation_id,
        in_reply_to=request.reply_with or request.id,
        protocol=request.protocol,
        language=request.language,
        ontology=request.ontology,
        delivery=request.delivery,
        created_at=now_ms,
        traceparent=request.traceparent,
        metadata=metadata,
        encoding=request.encoding,
        home=request.home,
    )
