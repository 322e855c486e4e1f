"""Several messages in one datagram: a count, their lengths, the parts.

The count is one byte. Older releases overflowed it with more than 255 parts and corrupted the
packet, so longer lists are split.

Reference: HashiCorp memberlist, util.go, makeCompoundMessages.
"""

import struct
from collections.abc import Sequence
from typing import Final

from caxton_cluster.errors import MalformedPacket
from caxton_cluster.swim.wire.messages import Kind

__all__ = ["HEADER_SIZE_BYTES", "PARTS_MAX", "PART_OVERHEAD_SIZE_BYTES", "join", "split"]

PARTS_MAX: Final = 255
HEADER_SIZE_BYTES: Final = 2
"""The type byte and the count."""
PART_OVERHEAD_SIZE_BYTES: Final = 2
"""The length of each part."""

_PART_SIZE_BYTES_MAX: Final = 65_535


def join(parts: Sequence[bytes]) -> bytes:
    """Return up to 255 `parts` as one message."""
    assert 1 <= len(parts) <= PARTS_MAX, "the caller splits longer lists"
    lengths = [len(part) for part in parts]
    assert max(lengths) <= _PART_SIZE_BYTES_MAX, "no part is longer than a datagram"
    head = struct.pack(f">BB{len(parts)}H", Kind.COMPOUND, len(parts), *lengths)
    return head + b"".join(parts)


def split(data: bytes) -> tuple[list[bytes], bool]:
    """Return the whole parts of a compound (its type byte removed), and whether some are missing.

    A datagram cut short still delivers the parts that came.

    Raises:
        MalformedPacket: Not even the lengths are there.
    """
    if not data:
        raise MalformedPacket("a compound without a count")
    count = data[0]
    start = 1 + 2 * count
    if len(data) < start:
        raise MalformedPacket(f"a compound of {count} parts without their lengths")
    parts: list[bytes] = []
    for length in struct.unpack_from(f">{count}H", data, 1):
        if start + length > len(data):
            return parts, True
        parts.append(data[start : start + length])
        start += length
    return parts, False
