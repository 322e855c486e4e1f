"""Datagrams: putting messages into one, and taking them out of whatever arrives.

From the outside in: label, encryption, checksum, compression, compound, messages. Reading
accepts any of these layers being absent, since peers differ; only the label and, with a key
ring, the encryption are insisted on.

Reference: HashiCorp memberlist, net.go.
"""

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final
from zlib import crc32

from caxton_cluster.errors import MalformedPacket
from caxton_cluster.swim.secrecy import OVERHEAD_SIZE_BYTES, KeyRing
from caxton_cluster.swim.wire import compound
from caxton_cluster.swim.wire.codec import decode
from caxton_cluster.swim.wire.compression import inflate, squeeze
from caxton_cluster.swim.wire.label import label_header, strip_label
from caxton_cluster.swim.wire.messages import Kind, Message

__all__ = ["Decoded", "PacketCodec"]

INFLATED_SIZE_BYTES_MAX: Final = 65_536
"""All the compressed parts of a datagram together never unfold to more."""

NESTING_MAX: Final = 4
"""Envelopes within envelopes; honest peers use three."""

MESSAGES_MAX: Final = 1024
"""Most messages taken from one datagram; honest ones hold fewer than 255."""

_CRC_SIZE_BYTES: Final = 5

# Plain numbers: a set of enumeration members would be made anew for each datagram.
_ENVELOPES: Final = frozenset((int(Kind.COMPOUND), int(Kind.COMPRESS)))
_HAS_CRC: Final = int(Kind.HAS_CRC)


@dataclass(frozen=True, slots=True)
class Decoded:
    """What a datagram held."""

    messages: list[Message]
    malformed_count: int = 0
    """Parts that made no sense beside those that did."""


class PacketCodec:
    """The datagram form of one cluster's messages.

    Args:
        label: The cluster's name, or empty.
        key_ring: Encrypts everything when given.
        compresses: Whether to try LZW on what is sent; it is always read.
    """

    def __init__(
        self, *, label: str = "", key_ring: KeyRing | None = None, compresses: bool = False
    ) -> None:
        self._header = label_header(label)
        self._associated = label.encode()
        self._key_ring = key_ring
        self._compresses = compresses

    def room_bytes(self, datagram_size_bytes: int) -> int:
        """Return how many bytes of message fit a datagram, in the least favourable layering."""
        sealing = OVERHEAD_SIZE_BYTES if self._key_ring else 0
        return datagram_size_bytes - len(self._header) - sealing - _CRC_SIZE_BYTES

    def encode(self, parts: Sequence[bytes], *, with_crc: bool = False) -> bytes:
        """Return the datagram that carries `parts`, each an encoded message."""
        body = parts[0] if len(parts) == 1 else compound.join(parts)
        if self._compresses:
            squeezed = squeeze(body)
            if len(squeezed) < len(body):
                body = squeezed
        if with_crc:
            body = struct.pack(">BI", Kind.HAS_CRC, crc32(body)) + body
        if self._key_ring is not None:
            body = self._key_ring.seal(body, self._associated)
        return self._header + body

    def decode(self, datagram: bytes) -> Decoded:
        """Return the messages in `datagram`.

        Raises:
            MalformedPacket: Nothing in it could be read; its subclasses say why.
        """
        body = strip_label(datagram, self._header)
        if self._key_ring is not None:
            body = self._key_ring.open(body, self._associated)
            if not body:
                raise MalformedPacket("nothing but encryption")
        body = _checked(body)
        if body[0] not in _ENVELOPES:
            return Decoded([decode(body)])
        return _unfold(body)


def _checked(body: bytes) -> bytes:
    if body[0] != _HAS_CRC:
        return body
    if len(body) <= _CRC_SIZE_BYTES:
        raise MalformedPacket("a checksum over nothing")
    (expected,) = struct.unpack_from(">I", body, 1)
    content = body[_CRC_SIZE_BYTES:]
    if crc32(content) != expected:
        raise MalformedPacket("the checksum is wrong")
    return content


def _unfold(body: bytes) -> Decoded:
    """Take nested envelopes apart, iteratively and within bounds."""
    messages: list[Message] = []
    malformed_count = 0
    failure: MalformedPacket | None = None
    inflatable_bytes = INFLATED_SIZE_BYTES_MAX
    pending = [(body, 0)]
    while pending:
        part, depth = pending.pop()
        try:
            inner, is_cut = _open_envelope(part, depth, inflatable_bytes)
            if inner is None:
                messages.append(decode(part))
                continue
            if part[0] == Kind.COMPRESS:
                inflatable_bytes -= len(inner[0])
        except MalformedPacket as error:
            malformed_count += 1
            failure = error
            continue
        malformed_count += is_cut
        # Reversed, so that the parts come off the stack in the order of the datagram.
        pending.extend((piece, depth + 1) for piece in reversed(inner))
        if len(messages) + len(pending) > MESSAGES_MAX:
            raise MalformedPacket(f"more than {MESSAGES_MAX} messages in a datagram")
    if not messages and failure is not None:
        raise failure
    return Decoded(messages, malformed_count)


def _open_envelope(
    part: bytes, depth: int, inflatable_bytes: int
) -> tuple[list[bytes] | None, bool]:
    """Return the pieces inside an envelope (None for a leaf), and whether some are missing."""
    kind = part[0] if part else -1
    if kind not in _ENVELOPES:
        return None, False
    if depth >= NESTING_MAX:
        raise MalformedPacket(f"more than {NESTING_MAX} envelopes within each other")
    if kind == Kind.COMPOUND:
        return compound.split(part[1:])
    return [inflate(part[1:], size_bytes_max=inflatable_bytes)], False
