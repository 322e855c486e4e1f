"""Whether a message is well formed. The first step, and the only one that looks at its fields.

Content is not parsed here: an edge made it from JSON, or refused it.
"""

from collections.abc import Callable
from typing import Final

from caxton_node.domain.capability import parse_capability
from caxton_node.domain.errors import Place, Rejected, TimedOut
from caxton_node.domain.message import CONTENT_BYTES_MAX, Message
from caxton_node.domain.performatives import Performative

__all__ = ["FIELD_LENGTH_MAX", "TOPIC_PREFIX", "validate"]

FIELD_LENGTH_MAX: Final = 256
"""Characters of an id or a name. Edges allow clients' ids half of it: agents that ask within a
turn append to them."""

METADATA_ENTRIES_MAX: Final = 64
TOPIC_PREFIX: Final = "topic://"

_Broken = Callable[[str, str, str, str], None]


def validate(message: Message, now_ms: int) -> None:
    """Let a well-formed message pass.

    Args:
        message: As an edge or an agent made it.
        now_ms: Milliseconds since 1970, UTC.

    Raises:
        Rejected: `invalid_message`, with every broken rule.
        TimedOut: `expired`, when `reply_by` has passed already.
    """
    # The common case is a handful of comparisons; the sentences are built only when needed.
    if not (
        message.sender
        and message.receiver
        and len(message.sender) <= FIELD_LENGTH_MAX
        and len(message.receiver) <= FIELD_LENGTH_MAX
        and len(message.content) <= CONTENT_BYTES_MAX
        and message.id
        and message.conversation_id
        and message.capability is None
        and ":" not in message.receiver  # a topic, perhaps: the rules below look closer
        and len(message.id) <= FIELD_LENGTH_MAX
        and len(message.conversation_id) <= FIELD_LENGTH_MAX
        and (message.in_reply_to is None or len(message.in_reply_to) <= FIELD_LENGTH_MAX)
        and (message.metadata is None or len(message.metadata) <= METADATA_ENTRIES_MAX)
        and (message.protocol is None or len(message.protocol) <= FIELD_LENGTH_MAX)
        and message.reply_with is None
        and message.reply_to is None
        and message.language is None
        and message.ontology is None
        and message.encoding is None
        # Every message of a client has one.
        and (message.traceparent is None or len(message.traceparent) <= FIELD_LENGTH_MAX)
        and type(message.performative) is Performative
    ):
        places = _broken_rules(message)
        if places:
            raise Rejected("invalid_message", "the message breaks the rules below", places=places)
    if message.reply_by is not None and message.reply_by <= now_ms:
        raise TimedOut(
            "expired",
            "the message's reply_by has passed",
            hint="Set reply_by to an instant in the future, or leave it out.",
        )


def _broken_rules(message: Message) -> list[Place]:
    places = []
    act: object = message.performative
    if not isinstance(act, Performative):
        places.append(
            Place(
                f"{act!r} is not a performative",
                field="performative",
                rule="performative",
                fix="use one of the 22 acts of FIPA",
            )
        )

    def broken(field: str, rule: str, text: str, fix: str) -> None:
        places.append(Place(text, field=field, rule=rule, fix=fix))

    for field in ("id", "conversation_id", "sender"):
        if not getattr(message, field):
            broken(field, "required", f"`{field}` is empty", f"give `{field}` a value")
    _check_destination(message, broken)
    for field in (
        "id",
        "conversation_id",
        "sender",
        "receiver",
        "reply_with",
        "in_reply_to",
        "protocol",
        "language",
        "ontology",
        "reply_to",
        "encoding",
        "traceparent",
    ):
        length = len(getattr(message, field) or "")
        if length > FIELD_LENGTH_MAX:
            broken(
                field,
                "too_long",
                f"`{field}` has {length} characters",
                f"use at most {FIELD_LENGTH_MAX}",
            )
    if len(message.content) > CONTENT_BYTES_MAX:
        broken(
            "content",
            "too_large",
            f"`content` has {len(message.content):,} bytes",
            f"keep it within {CONTENT_BYTES_MAX:,}; send larger data by reference",
        )
    if message.metadata is not None and len(message.metadata) > METADATA_ENTRIES_MAX:
        broken(
            "metadata",
            "too_large",
            f"`metadata` has {len(message.metadata)} entries",
            f"use at most {METADATA_ENTRIES_MAX}",
        )
    return places


def _check_destination(message: Message, broken: _Broken) -> None:
    if message.receiver and message.capability:
        broken(
            "receiver",
            "one_destination",
            "both `receiver` and `capability` are given",
            "name the receiver, or the capability it must have, not both",
        )
    elif not message.receiver and not message.capability:
        broken(
            "receiver",
            "one_destination",
            "neither `receiver` nor `capability` is given",
            "name an agent in `receiver`, or what it must be able to do in `capability`",
        )
    elif message.capability is not None and parse_capability(message.capability) is None:
        broken(
            "capability",
            "capability_name",
            f"{message.capability[:100]!r} is not a capability",
            "write lower-case words joined by - and ., such as data-analysis.visual",
        )
    elif message.receiver.startswith(TOPIC_PREFIX):
        broken(
            "receiver",
            "unsupported",
            "topics are not available in this version",
            "send to an agent, to `broadcast`, or by `capability`",
        )
