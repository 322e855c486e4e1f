"""Messages of the domain and of the wire, one into the other. Nothing else knows both.

What a client writes is checked as REST checks it: the same patterns, the same bounds, the same
codes; a broken field is named by its name on the wire.
"""

import re
from collections.abc import Callable, Mapping
from datetime import datetime
from enum import StrEnum
from typing import Any, Final, TypeVar

import msgspec
from google.protobuf.descriptor import EnumDescriptor
from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp

from caxton.v1 import messages_pb2
from caxton_node.documents.strict_json import decode_json
from caxton_node.domain.capability import CAPABILITY_LENGTH_MAX, parse_capability
from caxton_node.domain.client_input import (
    CLIENT_ID,
    LABEL_LENGTH_MAX,
    METADATA_ENTRIES_MAX,
    NO_CONTROL,
    PARTY_LENGTH_MAX,
)
from caxton_node.domain.delivery import DeliveryMode, RoutingStrategy
from caxton_node.domain.errors import Place, Rejected
from caxton_node.domain.ids import IdFactory
from caxton_node.domain.message import Message
from caxton_node.domain.performatives import Performative
from caxton_node.runtime.sending import Draft, Sent
from caxton_node.telemetry.trace import parse_traceparent

__all__ = [
    "Spellings",
    "draft_of",
    "duration_s",
    "show_acceptance",
    "show_duration",
    "show_instant",
    "show_message",
    "show_record",
    "wire_timestamp",
]

_MS: Final = 1_000
_NS_PER_MS: Final = 1_000_000

_FIRST_S: Final = -62_135_596_800
_LAST_S: Final = 253_402_300_799
"""What Timestamp allows: the years 1 to 9999."""

_CLIENT_ID: Final = re.compile(CLIENT_ID)
_PLAIN: Final = re.compile(NO_CONTROL)

WordT = TypeVar("WordT", bound=StrEnum)


class Spellings:
    """The words of an enumeration of the wire: `PERFORMATIVE_CFP` is `cfp`.

    Args:
        wire: Of the wire.
        prefix: What its names begin with.
    """

    def __init__(self, wire: EnumDescriptor, prefix: str) -> None:
        self._words = {
            value.number: value.name.removeprefix(prefix).lower()
            for value in wire.values
            if value.number
        }
        self._numbers = {word: number for number, word in self._words.items()}

    def word(self, number: int) -> str | None:
        """Return the word of a number; None of one that is unspecified or unknown."""
        return self._words.get(number)

    def number(self, word: str | None) -> Any:
        """Return the number of a word; 0, unspecified, where there is none."""
        return self._numbers.get(word or "", 0)


ACTS: Final = Spellings(messages_pb2.Performative.DESCRIPTOR, "PERFORMATIVE_")
MODES: Final = Spellings(messages_pb2.DeliveryMode.DESCRIPTOR, "DELIVERY_MODE_")
STRATEGIES: Final = Spellings(messages_pb2.RoutingStrategy.DESCRIPTOR, "ROUTING_STRATEGY_")
STATUSES: Final = Spellings(messages_pb2.DeliveryStatus.DESCRIPTOR, "DELIVERY_STATUS_")


def wire_timestamp(at_ms: int) -> Timestamp:
    """Return an instant for the wire."""
    return Timestamp(seconds=at_ms // _MS, nanos=at_ms % _MS * _NS_PER_MS)


def show_instant(text: str | None) -> Timestamp | None:
    """Return an instant that REST wrote, for the wire."""
    if text is None:
        return None
    return wire_timestamp(round(datetime.fromisoformat(text).timestamp() * _MS))


def show_duration(duration_ms: float | None) -> Duration | None:
    """Return a length of time for the wire."""
    if duration_ms is None:
        return None
    nanos = round(duration_ms * _NS_PER_MS)
    return Duration(seconds=nanos // 10**9, nanos=nanos % 10**9)


def duration_s(duration: Duration, *, field: str, maximum_s: float) -> float:
    """Return the seconds of a duration.

    Raises:
        Rejected: `invalid_request`: it is negative or too long.
    """
    seconds = duration.seconds + duration.nanos / 10**9
    if not 0 <= seconds <= maximum_s:
        raise Rejected(
            "invalid_request",
            "the request breaks a rule",
            places=[Place(f"`{field}` is 0 to {maximum_s:g} s", field=field, rule="range")],
        )
    return seconds


class _Reading:
    """One message while it is read: what is wrong with it is gathered."""

    def __init__(self, wire: messages_pb2.Message, within: str) -> None:
        self._wire = wire
        self._within = within
        self.places: list[Place] = []

    def broken(self, field: str, text: str, rule: str) -> None:
        """Note a broken rule."""
        name = f"{self._within}{field}"
        self.places.append(Place(f"`{name}` {text}", field=name, rule=rule))

    def optional(self, field: str, check: Callable[[str], str | None]) -> str | None:
        """Return a text that may be absent; an empty one counts as absent."""
        text: str = getattr(self._wire, field)
        if not text:
            return None
        wrong = check(text)
        if wrong is not None:
            self.broken(field, wrong, "form")
        return text

    def word(
        self, field: str, kind: type[WordT], spellings: Spellings, default: WordT | None
    ) -> WordT | None:
        """Return what an enumeration says."""
        number: int = getattr(self._wire, field)
        if number == 0:
            if default is None:
                self.broken(field, "is missing", "required")
            return default
        word = spellings.word(number)
        if word is None:
            self.broken(field, f"has no value {number}", "enum")
            return default
        return kind(word)

    def instant_ms(self, field: str) -> int | None:
        """Return an instant in milliseconds since 1970."""
        if not self._wire.HasField(field):  # type: ignore[arg-type]  # a name of the message's own
            return None
        at: Timestamp = getattr(self._wire, field)
        if not (_FIRST_S <= at.seconds <= _LAST_S and 0 <= at.nanos < 10**9):
            self.broken(field, "is no instant of the years 1 to 9999", "range")
            return None
        return at.seconds * _MS + at.nanos // _NS_PER_MS

    def metadata(self) -> dict[str, Any] | None:
        """Return the metadata."""
        if not self._wire.metadata:
            return None
        value = decode_json(self._wire.metadata, what=f"`{self._within}metadata`")
        if not isinstance(value, dict):
            self.broken("metadata", "is no JSON object", "dict_type")
            return None
        if len(value) > METADATA_ENTRIES_MAX:
            self.broken("metadata", f"has over {METADATA_ENTRIES_MAX} entries", "too_long")
        return value


def _client_id(text: str) -> str | None:
    if _CLIENT_ID.fullmatch(text):
        return None
    return "has 1 to 128 letters, digits and . _ : -"


def _bounded(length_max: int) -> Callable[[str], str | None]:
    def check(text: str) -> str | None:
        if len(text) <= length_max and _PLAIN.fullmatch(text):
            return None
        return f"has at most {length_max} characters and no control characters"

    return check


_party, _label = _bounded(PARTY_LENGTH_MAX), _bounded(LABEL_LENGTH_MAX)


def _capability(text: str) -> str | None:
    if len(text) <= CAPABILITY_LENGTH_MAX and parse_capability(text) is not None:
        return None
    return "is lower-case words joined by - and ., such as data-analysis.visual"


def draft_of(
    wire: messages_pb2.Message,
    *,
    new_id: IdFactory,
    now_ms: int,
    traceparent: str,
    sender: str = "client",
    within: str = "",
) -> Draft:
    """Return a message of the wire as one of the domain.

    Args:
        wire: As the client wrote it.
        new_id: Makes the ids that the client left out.
        now_ms: Instant of acceptance.
        traceparent: Of the call, for a message that names none of its own.
        sender: Who speaks where the message does not say.
        within: Where the message is in the request, such as `messages[3].`.

    Raises:
        Rejected: `invalid_request`, with every broken field; `malformed_body`.
    """
    reading = _Reading(wire, within)
    performative = reading.word("performative", Performative, ACTS, None)
    content = wire.content or b"null"
    decode_json(content, what=f"`{within}content`")
    own_trace = parse_traceparent(wire.traceparent or None)
    message_id = reading.optional("id", _client_id)
    message = Message(
        id=message_id or new_id("msg"),
        performative=performative or Performative.INFORM,
        sender=reading.optional("sender", _party) or sender,
        receiver=reading.optional("receiver", _party) or "",
        content=content,
        conversation_id=reading.optional("conversation_id", _client_id) or new_id("conv"),
        reply_with=reading.optional("reply_with", _client_id),
        in_reply_to=reading.optional("in_reply_to", _client_id),
        protocol=reading.optional("protocol", _label),
        reply_by=reading.instant_ms("reply_by"),
        language=reading.optional("language", _label),
        ontology=reading.optional("ontology", _label),
        capability=reading.optional("capability", _capability),
        routing_strategy=reading.word(
            "routing_strategy", RoutingStrategy, STRATEGIES, RoutingStrategy.BEST_MATCH
        )
        or RoutingStrategy.BEST_MATCH,
        delivery=reading.word("delivery", DeliveryMode, MODES, DeliveryMode.AT_LEAST_ONCE)
        or DeliveryMode.AT_LEAST_ONCE,
        created_at=now_ms,
        traceparent=traceparent if own_trace is None else own_trace.traceparent,
        metadata=reading.metadata(),
        reply_to=reading.optional("reply_to", _party),
        encoding=reading.optional("encoding", _label),
    )
    if reading.places:
        count = len(reading.places)
        raise Rejected(
            "invalid_request",
            f"the message breaks {'a rule' if count == 1 else f'{count} rules'}",
            places=reading.places,
        )
    return Draft(message, is_id_chosen=message_id is not None)


def show_message(message: Message) -> messages_pb2.Message:
    """Return a message of the domain for the wire."""
    wire = messages_pb2.Message(
        id=message.id,
        performative=ACTS.number(message.performative),
        sender=message.sender,
        receiver=message.receiver,
        content=message.content,
        conversation_id=message.conversation_id,
        reply_with=message.reply_with,
        in_reply_to=message.in_reply_to,
        protocol=message.protocol,
        language=message.language,
        ontology=message.ontology,
        capability=message.capability,
        routing_strategy=STRATEGIES.number(message.routing_strategy),
        delivery=MODES.number(message.delivery),
        created_at=wire_timestamp(message.created_at),
        traceparent=message.traceparent,
        reply_to=message.reply_to,
        encoding=message.encoding,
    )
    if message.reply_by is not None:
        wire.reply_by.CopyFrom(wire_timestamp(message.reply_by))
    if message.metadata:
        wire.metadata = msgspec.json.encode(message.metadata)
    return wire


def show_acceptance(sent: Sent) -> messages_pb2.Acceptance:
    """Return what became of a message that was sent, for the wire."""
    return messages_pb2.Acceptance(
        message_id=sent.message.id,
        conversation_id=sent.message.conversation_id,
        routed_to=sent.receivers,
        status=STATUSES.number(sent.status),
        accepted_at=wire_timestamp(sent.message.created_at),
        is_duplicate=sent.is_duplicate,
    )


def show_record(view: Mapping[str, Any]) -> messages_pb2.MessageRecord:
    """Return a stored message for the wire.

    Args:
        view: As REST shows it.
    """
    return messages_pb2.MessageRecord(
        message=show_message(_message_in(view["message"])),
        status=STATUSES.number(view["status"]),
        accepted_at=show_instant(view["accepted_at"]),
        settled_at=show_instant(view["settled_at"]),
        agent=view["agent"],
        started_at=show_instant(view["started_at"]),
        attempts=view["attempts"],
        reason=view["reason"],
    )


def _message_in(view: Mapping[str, Any]) -> Message:
    def instant(name: str) -> int | None:
        text = view[name]
        return None if text is None else round(datetime.fromisoformat(text).timestamp() * _MS)

    told = {name: view[name] for name in Message.__struct_fields__ if name in view}
    return Message(
        **told
        | {
            "receiver": view["receiver"] or "",
            "content": msgspec.json.encode(view["content"]),
            "reply_by": instant("reply_by"),
            "created_at": instant("created_at") or 0,
        }
    )
