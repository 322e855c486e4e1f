"""TCP: one request a connection, and at most one reply.

A plain stream has no length in front. A message ends where its last msgpack object, or the raw
tail that an object announced, ends; nobody closes its half to say so. The decoder therefore
takes bytes as they come and says when the message is whole.

From the outside in: label (from the dialling side only), encryption with a length, compression,
message. The label takes part in the authentication of both directions.

Reference: HashiCorp memberlist, net.go, readStream and encryptLocalState.
"""

import struct
from collections.abc import Generator
from functools import lru_cache
from typing import Final

from caxton_cluster.errors import MalformedPacket, NotForUs, PacketTooLarge
from caxton_cluster.swim.secrecy import KeyRing
from caxton_cluster.swim.wire.codec import decode_fields, encode, read_name, read_versions
from caxton_cluster.swim.wire.compression import read_squeezed, squeeze
from caxton_cluster.swim.wire.label import label_header, strip_label
from caxton_cluster.swim.wire.lzw import decompress
from caxton_cluster.swim.wire.messages import Kind, Message, PushPull, Record, User
from caxton_cluster.swim.wire.packing import (
    Fields,
    IncrementalReader,
    pack,
    read_address,
    read_bool,
    read_bytes,
    read_uint,
)
from caxton_cluster.types import INCARNATION_MAX, META_SIZE_BYTES_MAX, MemberState

__all__ = ["STREAM_SIZE_BYTES_MAX", "StreamCodec", "StreamDecoder"]

STREAM_SIZE_BYTES_MAX: Final = 20 * 1024 * 1024
"""Longest message on a stream, before and after unfolding; the reference's limit."""

SQUEEZED_SIZE_BYTES_MAX: Final = 65_536
"""Longer messages go as they are: squeezing this much holds everything up for some 7 ms."""

RECORDS_MAX: Final = 65_536
"""Most rows in a push/pull."""

TABLES_REMEMBERED_MAX: Final = 32
"""Messages, of at most `SQUEEZED_SIZE_BYTES_MAX` unfolded, that are not squeezed or unfolded again.
In a quiet ring everybody sends the same table every half minute, for ever."""

_ENCRYPTION_HEADER_SIZE_BYTES: Final = 5

_Parser = Generator[None, None, Message]
"""Yields while bytes are missing, returns the message."""


class StreamCodec:
    """The stream form of one cluster's messages.

    Args:
        label: The cluster's name, or empty.
        key_ring: Encrypts everything when given.
        compresses: Whether to squeeze what is sent; it is always read.
    """

    def __init__(
        self, *, label: str = "", key_ring: KeyRing | None = None, compresses: bool = False
    ) -> None:
        self._header = label_header(label)
        self._associated = label.encode()
        self._key_ring = key_ring
        self._compresses = compresses

    def encode_request(self, message: Message, *, squeezes: bool = False) -> bytes:
        """Return what the dialling side writes; `squeezes` tries to make it short, if it is."""
        return self._header + self.encode_reply(message, squeezes=squeezes)

    def encode_reply(self, message: Message, *, squeezes: bool = False) -> bytes:
        """Return what the serving side writes: the same without the label."""
        body = _encode_body(message)
        if (self._compresses or squeezes) and len(body) <= SQUEEZED_SIZE_BYTES_MAX:
            body = min(body, _squeeze(body), key=len)
        if self._key_ring is None:
            return body
        head = struct.pack(">BI", Kind.ENCRYPT, len(body) + 29)
        return head + self._key_ring.seal(body, head + self._associated)

    def request_decoder(self) -> "StreamDecoder":
        """Return a decoder for what a dialling peer sends."""
        return StreamDecoder(self._header, self._associated, self._key_ring)

    def reply_decoder(self) -> "StreamDecoder":
        """Return a decoder for the answer on a connection that we dialled."""
        return StreamDecoder(b"", self._associated, self._key_ring)


class StreamDecoder:
    """One message taken from one direction of one connection, as its bytes arrive."""

    def __init__(self, header: bytes, associated: bytes, key_ring: KeyRing | None) -> None:
        self._header = header
        self._associated = associated
        self._key_ring = key_ring
        self._buffered = bytearray()
        self._body: _Body | None = None

    def feed(self, data: bytes) -> Message | None:
        """Take more bytes; return the message once it is whole.

        Raises:
            MalformedPacket: No continuation can make a message of this.
        """
        if self._body is not None:
            return self._body.feed(data)
        self._buffered += data
        # A label and a length need to be whole; a plain body can start with its first byte.
        label_size_bytes = len(self._header)
        if len(self._buffered) <= label_size_bytes:
            if not self._header.startswith(bytes(self._buffered[:label_size_bytes])):
                raise NotForUs("the label is missing or another cluster's")
            return None
        start = bytes(self._buffered[: label_size_bytes + 1])
        kind = strip_label(start, self._header)[0]
        if self._key_ring is None:
            if kind == Kind.ENCRYPT:
                raise NotForUs("encrypted, and we have no keys")
            self._body = _Body()
            return self._body.feed(bytes(self._buffered[label_size_bytes:]))
        if kind != Kind.ENCRYPT:
            raise NotForUs("not encrypted, and we insist")
        return self._open(self._key_ring, label_size_bytes)

    def _open(self, key_ring: KeyRing, start: int) -> Message | None:
        end_of_head = start + _ENCRYPTION_HEADER_SIZE_BYTES
        if len(self._buffered) < end_of_head:
            return None
        head = bytes(self._buffered[start:end_of_head])
        (size_bytes,) = struct.unpack_from(">I", head, 1)
        if size_bytes > STREAM_SIZE_BYTES_MAX:
            raise PacketTooLarge(f"an encrypted message of {size_bytes} bytes")
        if len(self._buffered) < end_of_head + size_bytes:
            return None
        sealed = bytes(self._buffered[end_of_head : end_of_head + size_bytes])
        return _decode_whole(key_ring.open(sealed, head + self._associated))


class _Body:
    """The innermost part: a type byte and what follows it."""

    def __init__(self) -> None:
        self._kind = -1
        self._reader = IncrementalReader(STREAM_SIZE_BYTES_MAX)
        self._parser: _Parser | None = None

    def feed(self, data: bytes) -> Message | None:
        if self._parser is None:
            if not data:
                return None
            self._parser = _parser_of(data[0], self._reader)
            data = data[1:]
        self._reader.feed(data)
        try:
            next(self._parser)
        except StopIteration as stop:
            message: Message = stop.value
            return message
        return None


def _decode_whole(data: bytes) -> Message:
    message = _Body().feed(data)
    if message is None:
        raise MalformedPacket("the message ends too early")
    return message


def _parser_of(kind: int, reader: IncrementalReader) -> _Parser:
    match kind:
        case Kind.PUSH_PULL:
            return _parse_push_pull(reader)
        case Kind.USER:
            return _parse_user(reader)
        case Kind.COMPRESS:
            return _parse_compressed(reader)
        case Kind.PING | Kind.ACK | Kind.ERROR:
            return _parse_leaf(kind, reader)
        case _:
            raise MalformedPacket(f"message type {kind} does not travel by stream")


def _next_map(reader: IncrementalReader) -> Generator[None, None, Fields]:
    while (fields := reader.read_map()) is None:
        yield
    return fields


def _next_raw(reader: IncrementalReader, size_bytes: int) -> Generator[None, None, bytes]:
    while (raw := reader.read_raw(size_bytes)) is None:
        yield
    return raw


def _parse_leaf(kind: int, reader: IncrementalReader) -> _Parser:
    return decode_fields(kind, (yield from _next_map(reader)))


def _parse_compressed(reader: IncrementalReader) -> _Parser:
    fields = yield from _next_map(reader)
    squeezed = read_squeezed(fields, size_bytes_max=STREAM_SIZE_BYTES_MAX)
    try:
        return _decode_remembered(squeezed)
    except PacketTooLarge:
        # Too large to be kept, which a bomb is too; not too large to be read, perhaps.
        return _decode_squeezed(squeezed, STREAM_SIZE_BYTES_MAX)


def _decode_squeezed(squeezed: bytes, size_bytes_max: int) -> Message:
    inner = decompress(squeezed, size_bytes_max=size_bytes_max)
    if inner[:1] == bytes((Kind.COMPRESS,)):
        raise MalformedPacket("compressed twice")
    return _decode_whole(inner)


_squeeze = lru_cache(maxsize=TABLES_REMEMBERED_MAX)(squeeze)


@lru_cache(maxsize=TABLES_REMEMBERED_MAX)
def _decode_remembered(squeezed: bytes) -> Message:
    if len(squeezed) > SQUEEZED_SIZE_BYTES_MAX:
        raise PacketTooLarge(f"{len(squeezed)} squeezed bytes are not worth keeping")
    return _decode_squeezed(squeezed, SQUEEZED_SIZE_BYTES_MAX)


def _parse_user(reader: IncrementalReader) -> _Parser:
    header = yield from _next_map(reader)
    size_bytes = read_uint(header, b"UserMsgLen", maximum=STREAM_SIZE_BYTES_MAX)
    return User((yield from _next_raw(reader, size_bytes)))


def _parse_push_pull(reader: IncrementalReader) -> _Parser:
    header = yield from _next_map(reader)
    count = read_uint(header, b"Nodes", maximum=RECORDS_MAX)
    state_size_bytes = read_uint(header, b"UserStateLen", maximum=STREAM_SIZE_BYTES_MAX)
    is_join = read_bool(header, b"Join")
    records: list[Record] = []
    for _ in range(count):
        fields = yield from _next_map(reader)
        records.append(_read_record(fields))
    user_state = yield from _next_raw(reader, state_size_bytes)
    return PushPull(tuple(records), is_join, user_state)


def _read_record(fields: Fields) -> Record:
    address = read_address(fields, b"Addr", b"Port")
    if address is None:
        raise MalformedPacket("Addr is missing")
    return Record(
        node=read_name(fields, b"Name"),
        address=address,
        incarnation=read_uint(fields, b"Incarnation", maximum=INCARNATION_MAX),
        state=MemberState(read_uint(fields, b"State", maximum=MemberState.LEFT)),
        meta=read_bytes(fields, b"Meta", size_bytes_max=META_SIZE_BYTES_MAX),
        versions=read_versions(fields),
    )


def _encode_body(message: Message) -> bytes:
    match message:
        case PushPull(records, is_join, user_state):
            header = {b"Join": is_join, b"Nodes": len(records), b"UserStateLen": len(user_state)}
            rows = b"".join(_encode_record(record) for record in records)
            return bytes((Kind.PUSH_PULL,)) + pack(header) + rows + user_state
        case User(payload):
            return bytes((Kind.USER,)) + pack({b"UserMsgLen": len(payload)}) + payload
        case _:
            return encode(message)


def _encode_record(record: Record) -> bytes:
    return pack(
        {
            b"Addr": record.address.ip,
            b"Incarnation": record.incarnation,
            b"Meta": record.meta or None,
            b"Name": record.node.encode(),
            b"Port": record.address.port,
            b"State": int(record.state),
            b"Vsn": b"" if record.versions is None else bytes(record.versions),
        }
    )
