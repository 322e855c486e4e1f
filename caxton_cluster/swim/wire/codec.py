"""One leaf message ⇄ bytes: the type byte and the map after it.

`encode` never fails on a message that could be constructed; `decode` raises `MalformedPacket`
and nothing else, whatever the bytes. `PushPull` and the stream form of `User` are not here:
they are several objects in a row and live in `stream`.
"""

from collections.abc import Callable
from functools import lru_cache
from typing import Any, Final

from caxton_cluster.errors import MalformedPacket
from caxton_cluster.swim.wire.messages import (
    Ack,
    Alive,
    Dead,
    ErrorReply,
    IndirectPing,
    Kind,
    Message,
    Nack,
    Ping,
    Suspect,
    User,
)
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
from caxton_cluster.types import (
    INCARNATION_MAX,
    META_SIZE_BYTES_MAX,
    NAME_SIZE_BYTES_MAX,
    Address,
    Versions,
)

__all__ = ["decode", "decode_fields", "encode", "read_name", "read_versions"]

ACK_PAYLOAD_SIZE_BYTES_MAX: Final = 1024
"""Longest payload of an ack that is read; serf's network coordinate takes about 90 bytes."""

ERROR_SIZE_BYTES_MAX: Final = 4096
"""Longest text of an error reply that is read."""

RUMOURS_REMEMBERED_MAX: Final = 512
"""Rumours whose meaning is known without reading them again: those of a large ring's join."""

RUMOUR_SIZE_BYTES_MAX: Final = 1024
"""Longest rumour that is remembered. Honest ones are shorter."""

_PING: Final = bytes((Kind.PING,))
_INDIRECT_PING: Final = bytes((Kind.INDIRECT_PING,))
_ACK: Final = bytes((Kind.ACK,))
_SUSPECT: Final = bytes((Kind.SUSPECT,))
_ALIVE: Final = bytes((Kind.ALIVE,))
_DEAD: Final = bytes((Kind.DEAD,))
_USER: Final = bytes((Kind.USER,))
_NACK: Final = bytes((Kind.NACK,))
_ERROR: Final = bytes((Kind.ERROR,))


def _source(message: Ping | IndirectPing) -> dict[bytes, Any]:
    fields: dict[bytes, Any] = {}
    if message.source is not None:
        fields[b"SourceAddr"] = message.source.ip
        fields[b"SourcePort"] = message.source.port
    if message.source_node:
        fields[b"SourceNode"] = message.source_node.encode()
    return fields


def encode(message: Message) -> bytes:
    """Return `message` as one part of a datagram, its type byte first.

    A `PushPull` has no such form; asking for it is a bug of the caller.
    """
    match message:
        case Ping(sequence, node):
            fields = {b"Node": node.encode(), b"SeqNo": sequence, **_source(message)}
            return _PING + pack(fields)
        case Ack(sequence, payload):
            # A missing field is its zero: what is not said costs nothing, once a second for ever.
            fields = {b"Payload": payload} if payload else {}
            return _ACK + pack({**fields, b"SeqNo": sequence})
        case Nack(sequence):
            return _NACK + pack({b"SeqNo": sequence})
        case IndirectPing(sequence, target, node, wants_nack):
            fields = {
                b"Nack": wants_nack,
                b"Node": node.encode(),
                b"Port": target.port,
                b"SeqNo": sequence,
                b"Target": target.ip,
                **_source(message),
            }
            return _INDIRECT_PING + pack(fields)
        case Suspect(incarnation, node, accuser):
            return _SUSPECT + _pack_accusation(incarnation, node, accuser)
        case Dead(incarnation, node, accuser):
            return _DEAD + _pack_accusation(incarnation, node, accuser)
        case Alive(incarnation, node, address, meta, versions):
            fields = {
                b"Addr": address.ip,
                b"Incarnation": incarnation,
                b"Meta": meta or None,
                b"Node": node.encode(),
                b"Port": address.port,
                b"Vsn": b"" if versions is None else bytes(versions),
            }
            return _ALIVE + pack(fields)
        case User(payload):
            return _USER + payload
        case ErrorReply(text):
            return _ERROR + pack({b"Error": text.encode()[:ERROR_SIZE_BYTES_MAX]})
        case _:
            raise AssertionError(f"{type(message).__name__} travels by stream only")


def _pack_accusation(incarnation: int, node: str, accuser: str) -> bytes:
    return pack({b"From": accuser.encode(), b"Incarnation": incarnation, b"Node": node.encode()})


def read_name(fields: Fields, key: bytes = b"Node") -> str:
    """Return a member's name.

    Raises:
        MalformedPacket: It is empty, too long or not text.
    """
    name = read_text(fields, key, size_bytes_max=NAME_SIZE_BYTES_MAX)
    if not name:
        raise MalformedPacket(f"{key.decode()} is empty")
    return name


def read_versions(fields: Fields) -> Versions | None:
    """Return the six version bytes, or None when the sender gave another number of them."""
    raw = read_bytes(fields, b"Vsn", size_bytes_max=16)
    return Versions(*raw) if len(raw) == 6 else None


def _required_address(fields: Fields, ip_key: bytes) -> Address:
    address = read_address(fields, ip_key, b"Port")
    if address is None:
        raise MalformedPacket(f"{ip_key.decode()} is missing")
    return address


def _read_source_name(fields: Fields) -> str:
    return read_text(fields, b"SourceNode", size_bytes_max=NAME_SIZE_BYTES_MAX)


def _decode_ping(fields: Fields) -> Ping:
    return Ping(
        sequence=read_uint(fields, b"SeqNo"),
        node=read_text(fields, b"Node", size_bytes_max=NAME_SIZE_BYTES_MAX),
        source=read_address(fields, b"SourceAddr", b"SourcePort"),
        source_node=_read_source_name(fields),
    )


def _decode_indirect_ping(fields: Fields) -> IndirectPing:
    return IndirectPing(
        sequence=read_uint(fields, b"SeqNo"),
        target=_required_address(fields, b"Target"),
        node=read_text(fields, b"Node", size_bytes_max=NAME_SIZE_BYTES_MAX),
        wants_nack=read_bool(fields, b"Nack"),
        source=read_address(fields, b"SourceAddr", b"SourcePort"),
        source_node=_read_source_name(fields),
    )


def _decode_ack(fields: Fields) -> Ack:
    return Ack(
        sequence=read_uint(fields, b"SeqNo"),
        payload=read_bytes(fields, b"Payload", size_bytes_max=ACK_PAYLOAD_SIZE_BYTES_MAX),
    )


def _decode_nack(fields: Fields) -> Nack:
    return Nack(read_uint(fields, b"SeqNo"))


def _decode_suspect(fields: Fields) -> Suspect:
    return Suspect(
        incarnation=read_uint(fields, b"Incarnation", maximum=INCARNATION_MAX),
        node=read_name(fields),
        accuser=read_name(fields, b"From"),
    )


def _decode_dead(fields: Fields) -> Dead:
    return Dead(
        incarnation=read_uint(fields, b"Incarnation", maximum=INCARNATION_MAX),
        node=read_name(fields),
        # Releases before 2016 sent no accuser; nobody is then known to have left by itself.
        accuser=read_text(fields, b"From", size_bytes_max=NAME_SIZE_BYTES_MAX),
    )


def _decode_alive(fields: Fields) -> Alive:
    return Alive(
        incarnation=read_uint(fields, b"Incarnation", maximum=INCARNATION_MAX),
        node=read_name(fields),
        address=_required_address(fields, b"Addr"),
        meta=read_bytes(fields, b"Meta", size_bytes_max=META_SIZE_BYTES_MAX),
        versions=read_versions(fields),
    )


def _decode_error(fields: Fields) -> ErrorReply:
    raw = read_bytes(fields, b"Error", size_bytes_max=ERROR_SIZE_BYTES_MAX)
    return ErrorReply(raw.decode(errors="replace"))


_DECODERS: Final[dict[int, Callable[[Fields], Message]]] = {
    Kind.PING: _decode_ping,
    Kind.INDIRECT_PING: _decode_indirect_ping,
    Kind.ACK: _decode_ack,
    Kind.SUSPECT: _decode_suspect,
    Kind.ALIVE: _decode_alive,
    Kind.DEAD: _decode_dead,
    Kind.NACK: _decode_nack,
    Kind.ERROR: _decode_error,
}


def decode(data: bytes) -> Message:
    """Return the leaf message in `data`.

    Raises:
        MalformedPacket: The type is unknown, or the fields are not what it needs.
    """
    if not data:
        raise MalformedPacket("an empty message")
    match data[0]:
        case Kind.USER:
            return User(data[1:])
        case Kind.ALIVE | Kind.SUSPECT | Kind.DEAD if len(data) <= RUMOUR_SIZE_BYTES_MAX:
            return _decode_rumour(data)
        case kind:
            return decode_fields(kind, unpack(data[1:]))


@lru_cache(maxsize=RUMOURS_REMEMBERED_MAX)
def _decode_rumour(data: bytes) -> Message:
    # Everyone tells it to everyone: the same bytes come a dozen times.
    return decode_fields(data[0], unpack(data[1:]))


def decode_fields(kind: int, fields: Fields) -> Message:
    """Return the message of type `kind` whose map is read already. Raises like `decode`."""
    decoder = _DECODERS.get(kind)
    if decoder is None:
        raise MalformedPacket(f"message type {kind} has no place here")
    return decoder(fields)
