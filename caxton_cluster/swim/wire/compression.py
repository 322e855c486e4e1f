"""The compress envelope: an algorithm number (0, LZW, is the only one) and the squeezed bytes."""

from typing import Final

from caxton_cluster.errors import MalformedPacket
from caxton_cluster.swim.wire import lzw
from caxton_cluster.swim.wire.messages import Kind
from caxton_cluster.swim.wire.packing import Fields, pack, read_bytes, read_uint, unpack

__all__ = ["inflate", "read_squeezed", "squeeze"]

_LZW: Final = 0
_ENVELOPE: Final = bytes((Kind.COMPRESS,))


def squeeze(data: bytes) -> bytes:
    """Return `data` in a compress envelope, type byte first."""
    return _ENVELOPE + pack({b"Algo": _LZW, b"Buf": lzw.compress(data)})


def inflate(data: bytes, *, size_bytes_max: int) -> bytes:
    """Return the content of an envelope whose type byte was removed.

    Raises:
        MalformedPacket: It is no such envelope, or the algorithm is unknown.
        PacketTooLarge: It unfolds to more than `size_bytes_max`.
    """
    squeezed = read_squeezed(unpack(data), size_bytes_max=size_bytes_max)
    return lzw.decompress(squeezed, size_bytes_max=size_bytes_max)


def read_squeezed(fields: Fields, *, size_bytes_max: int) -> bytes:
    """Return the squeezed bytes of an envelope that is already a map.

    Raises:
        MalformedPacket: There are none or too many, or the algorithm is unknown.
    """
    algorithm = read_uint(fields, b"Algo")
    if algorithm != _LZW:
        raise MalformedPacket(f"compression algorithm {algorithm} is unknown")
    return read_bytes(fields, b"Buf", size_bytes_max=size_bytes_max)
