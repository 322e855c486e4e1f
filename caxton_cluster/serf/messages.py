"""Serf's own messages, which travel as opaque user messages of memberlist.

The first byte says which; the rest is a msgpack map. Only what a thin overlay needs is read;
coordinates, relays and conflict votes are ignored.

Reference: HashiCorp serf, serf/messages.go.
"""

from base64 import b64decode
from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Final

from caxton_cluster.errors import MalformedPacket
from caxton_cluster.serf.lamport import TIME_MAX
from caxton_cluster.swim.wire.codec import read_name
from caxton_cluster.swim.wire.packing import (
    Fields,
    pack,
    read_address,
    read_bool,
    read_bytes,
    read_text,
    read_uint,
    unpack,
)
from caxton_cluster.types import NAME_SIZE_BYTES_MAX as MEMBER_NAME_SIZE_BYTES_MAX
from caxton_cluster.types import Address

__all__ = [
    "QUERY_IS_NOT_SPREAD",
    "QUERY_WANTS_ACK",
    "JoinIntent",
    "KeyAnswer",
    "LeaveIntent",
    "Query",
    "QueryResponse",
    "SerfKind",
    "SerfMessage",
    "State",
    "UserEvent",
    "decode_key_answer",
    "decode_key_request",
    "decode_serf",
    "encode_key_request",
    "encode_serf",
    "pack_names",
]

EVENTS_MAX: Final = 512
NAME_SIZE_BYTES_MAX: Final = 128
PAYLOAD_SIZE_BYTES_MAX: Final = 9 * 1024
MEMBERS_MAX: Final = 65_536
FILTERS_MAX: Final = 32
KEYS_MAX: Final = 64
KEY_TEXT_SIZE_BYTES_MAX: Final = 44

ANSWER_TIME_NS: Final = 5_000_000_000
"""How long a question of ours may be answered."""

QUERY_WANTS_ACK: Final = 1
QUERY_IS_NOT_SPREAD: Final = 2
"""Flags of a query."""


class SerfKind(IntEnum):
    """The first byte."""

    LEAVE = 0
    JOIN = 1
    PUSH_PULL = 2
    USER_EVENT = 3
    QUERY = 4
    QUERY_RESPONSE = 5
    KEY_REQUEST = 7
    KEY_RESPONSE = 8


@dataclass(frozen=True, slots=True)
class LeaveIntent:
    """`node` is about to leave; without this a goodbye is taken for a failure."""

    time: int
    node: str


@dataclass(frozen=True, slots=True)
class JoinIntent:
    """`node` means to be a member."""

    time: int
    node: str


@dataclass(frozen=True, slots=True)
class UserEvent:
    """A named event of an application."""

    time: int
    name: str
    payload: bytes
    coalesces: bool = False


@dataclass(frozen=True, slots=True)
class Query:
    """A question to everyone, or to those that the filters name."""

    time: int
    id: int
    asker: Address
    flags: int
    name: str
    payload: bytes
    filters: tuple[bytes, ...]
    asker_name: str = ""


@dataclass(frozen=True, slots=True)
class QueryResponse:
    """An answer to a query, or only the word that it was heard."""

    time: int
    id: int
    responder: str
    payload: bytes
    is_ack: bool = False


@dataclass(frozen=True, slots=True)
class KeyAnswer:
    """What became of a request to the key ring."""

    is_done: bool
    text: str = ""
    keys: tuple[bytes, ...] = ()
    primary: bytes = b""


@dataclass(frozen=True, slots=True)
class State:
    """What rides on a push/pull."""

    time: int
    status_times: tuple[tuple[str, int], ...]
    left: tuple[str, ...]
    event_time: int
    query_time: int
    events: tuple[UserEvent, ...] = ()


SerfMessage = LeaveIntent | JoinIntent | UserEvent | Query | QueryResponse | State | KeyAnswer


def encode_serf(message: SerfMessage) -> bytes:
    """Return `message` with its type byte."""
    match message:
        case LeaveIntent(time, node):
            return _packed(
                SerfKind.LEAVE, {b"LTime": time, b"Node": node.encode(), b"Prune": False}
            )
        case JoinIntent(time, node):
            return _packed(SerfKind.JOIN, {b"LTime": time, b"Node": node.encode()})
        case UserEvent(time, name, payload, coalesces):
            fields = {b"LTime": time, b"Name": name.encode(), b"Payload": payload, b"CC": coalesces}
            return _packed(SerfKind.USER_EVENT, fields)
        case QueryResponse(time, id_, responder, payload, is_ack):
            fields = {
                b"LTime": time,
                b"ID": id_,
                b"From": responder.encode(),
                b"Flags": int(is_ack),
                b"Payload": payload or None,
            }
            return _packed(SerfKind.QUERY_RESPONSE, fields)
        case KeyAnswer(is_done, text, keys, primary):
            # Serf's key lists are base64 text, as operators type them.
            fields = {
                b"Result": is_done,
                b"Message": text.encode(),
                b"Keys": list(keys),
                b"PrimaryKey": primary,
            }
            return _packed(SerfKind.KEY_RESPONSE, fields)
        case State():
            return _packed(SerfKind.PUSH_PULL, _state_fields(message))
        case Query():
            return _packed(SerfKind.QUERY, _query_fields(message))


def _query_fields(query: Query) -> dict[bytes, object]:
    return {
        b"LTime": query.time,
        b"ID": query.id,
        b"Addr": query.asker.ip,
        b"Port": query.asker.port,
        b"SourceNode": query.asker_name.encode(),
        b"Filters": list(query.filters) or None,
        b"Flags": query.flags,
        b"RelayFactor": 0,
        b"Timeout": ANSWER_TIME_NS,
        b"Name": query.name.encode(),
        b"Payload": query.payload or None,
    }


def pack_names(names: Sequence[str]) -> bytes:
    """Return the filter of a query that is for `names` only."""
    # A list at the top of a packed map of one: msgpack writes it as it would alone.
    return b"\x00" + pack({b"": [name.encode() for name in names]})[2:]


def encode_key_request(key: bytes) -> bytes:
    """Return the payload of a query about `key`."""
    return _packed(SerfKind.KEY_REQUEST, {b"Key": key})


def _packed(kind: SerfKind, fields: dict[bytes, object]) -> bytes:
    return bytes((kind,)) + pack(fields)


def _state_fields(state: State) -> dict[bytes, object]:
    by_time: dict[int, list[dict[bytes, object]]] = {}
    for event in state.events:
        row: dict[bytes, object] = {b"Name": event.name.encode(), b"Payload": event.payload}
        by_time.setdefault(event.time, []).append(row)
    return {
        b"LTime": state.time,
        b"StatusLTimes": {name.encode(): time for name, time in state.status_times},
        b"LeftMembers": [name.encode() for name in state.left],
        b"EventLTime": state.event_time,
        b"Events": [{b"LTime": time, b"Events": rows} for time, rows in by_time.items()],
        b"QueryLTime": state.query_time,
    }


def decode_serf(data: bytes) -> SerfMessage | None:
    """Return the message in `data`, or None for a kind that this overlay ignores.

    Raises:
        MalformedPacket: It is of a kind we know, and not what that needs.
    """
    if not data:
        raise MalformedPacket("an empty serf message")
    match data[0]:
        case SerfKind.LEAVE:
            fields = unpack(data[1:])
            return LeaveIntent(_time(fields), read_name(fields))
        case SerfKind.JOIN:
            fields = unpack(data[1:])
            return JoinIntent(_time(fields), read_name(fields))
        case SerfKind.USER_EVENT:
            return _decode_event(unpack(data[1:]))
        case SerfKind.QUERY:
            return _decode_query(unpack(data[1:]))
        case SerfKind.QUERY_RESPONSE:
            return _decode_response(unpack(data[1:]))
        case SerfKind.PUSH_PULL:
            return _decode_state(unpack(data[1:]))
        case _:
            return None


def decode_key_request(payload: bytes) -> bytes:
    """Return the key that a key query is about; listing keys is about none.

    Raises:
        MalformedPacket: It is no key request.
    """
    if not payload:
        return b""
    if payload[0] != SerfKind.KEY_REQUEST:
        raise MalformedPacket("not a key request")
    return read_bytes(unpack(payload[1:]), b"Key", size_bytes_max=32)


def decode_key_answer(payload: bytes) -> KeyAnswer:
    """Return what a member says that became of a request.

    Raises:
        MalformedPacket: It is no such answer.
    """
    if payload[:1] != bytes((SerfKind.KEY_RESPONSE,)):
        raise MalformedPacket("not an answer about keys")
    fields = unpack(payload[1:])
    keys = fields.get(b"Keys") or []
    if not isinstance(keys, list) or len(keys) > KEYS_MAX:
        raise MalformedPacket("Keys is not a short list")
    try:
        sizes = {len(b64decode(key, validate=True)) for key in keys}
    except (TypeError, ValueError) as error:
        raise MalformedPacket("a key is no base64") from error
    if not sizes <= {16, 24, 32}:
        raise MalformedPacket("a key has another length than keys have")
    return KeyAnswer(
        is_done=read_bool(fields, b"Result"),
        text=read_text(fields, b"Message", size_bytes_max=PAYLOAD_SIZE_BYTES_MAX),
        keys=tuple(keys),
        primary=read_bytes(fields, b"PrimaryKey", size_bytes_max=KEY_TEXT_SIZE_BYTES_MAX),
    )


def _decode_response(fields: Fields) -> QueryResponse:
    return QueryResponse(
        time=_time(fields),
        id=read_uint(fields, b"ID"),
        responder=read_name(fields, b"From"),
        payload=read_bytes(fields, b"Payload", size_bytes_max=PAYLOAD_SIZE_BYTES_MAX),
        is_ack=bool(read_uint(fields, b"Flags") & QUERY_WANTS_ACK),
    )


def _time(fields: Fields, key: bytes = b"LTime") -> int:
    return read_uint(fields, key, maximum=TIME_MAX)


def _decode_event(fields: Fields, time: int | None = None) -> UserEvent:
    return UserEvent(
        _time(fields) if time is None else time,
        read_text(fields, b"Name", size_bytes_max=PAYLOAD_SIZE_BYTES_MAX),
        read_bytes(fields, b"Payload", size_bytes_max=PAYLOAD_SIZE_BYTES_MAX),
        read_bool(fields, b"CC"),
    )


def _decode_query(fields: Fields) -> Query:
    asker = read_address(fields, b"Addr", b"Port")
    if asker is None:
        raise MalformedPacket("a query without an address to answer to")
    filters = fields.get(b"Filters") or ()
    if not isinstance(filters, list | tuple) or len(filters) > FILTERS_MAX:
        raise MalformedPacket("Filters is not a short list")
    if not all(isinstance(one, bytes) for one in filters):
        raise MalformedPacket("a filter is raw bytes")
    return Query(
        time=_time(fields),
        id=read_uint(fields, b"ID"),
        asker=asker,
        flags=read_uint(fields, b"Flags"),
        name=read_text(fields, b"Name", size_bytes_max=NAME_SIZE_BYTES_MAX),
        payload=read_bytes(fields, b"Payload", size_bytes_max=PAYLOAD_SIZE_BYTES_MAX),
        filters=tuple(filters),
    )


def _decode_state(fields: Fields) -> State:
    return State(
        time=_time(fields),
        status_times=tuple(_status_times(fields.get(b"StatusLTimes") or {})),
        left=tuple(_names(fields.get(b"LeftMembers") or [])),
        event_time=_time(fields, b"EventLTime"),
        query_time=_time(fields, b"QueryLTime"),
        events=tuple(_events(fields.get(b"Events") or [])),
    )


def _status_times(value: object) -> list[tuple[str, int]]:
    if not isinstance(value, dict) or len(value) > MEMBERS_MAX:
        raise MalformedPacket("StatusLTimes is not a map of members")
    return [(_name(key), read_uint(value, key, maximum=TIME_MAX)) for key in value]


def _names(value: object) -> list[str]:
    if not isinstance(value, list) or len(value) > MEMBERS_MAX:
        raise MalformedPacket("LeftMembers is not a list of members")
    return [_name(one) for one in value]


def _name(value: object) -> str:
    if not isinstance(value, bytes) or len(value) > MEMBER_NAME_SIZE_BYTES_MAX:
        raise MalformedPacket("not a member's name")
    try:
        return value.decode()
    except UnicodeDecodeError as error:
        # Mended, it could be longer than a name may be, and make others refuse what we tell them.
        raise MalformedPacket("a member's name is not UTF-8") from error


def _events(value: object) -> list[UserEvent]:
    # The whole ring of slots, most of them nil.
    if not isinstance(value, list) or len(value) > EVENTS_MAX:
        raise MalformedPacket("Events is not a list of slots")
    found: list[UserEvent] = []
    for slot in value:
        if slot is None:
            continue
        if not isinstance(slot, dict) or not isinstance(slot.get(b"Events"), list):
            raise MalformedPacket("not a slot of events")
        time = _time(slot)
        for row in slot[b"Events"][:EVENTS_MAX]:
            if not isinstance(row, dict):
                raise MalformedPacket("not an event")
            found.append(_decode_event(row, time))
    return found
