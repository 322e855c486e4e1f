"""LZW as Go's `compress/lzw` writes it: least significant bit first, literals of 8 bits.

Every memberlist peer compresses its TCP messages by default, so reading this is not optional.
It resembles GIF's variant: codes of 9 to 12 bits, 256 clears the table, 257 ends the data. The
table fills one code later than in textbook LZW, and when it is full the reader keeps using it
until a clear arrives.

Compression is a fixed cost per byte in Python (about 10 MB/s); callers bound their sizes.
"""

from typing import Final

from caxton_cluster.errors import MalformedPacket, PacketTooLarge

__all__ = ["compress", "decompress"]

_CLEAR: Final = 256
_END: Final = 257
_WIDTH_MIN: Final = 9
_WIDTH_MAX: Final = 12
_CODE_MAX: Final = 2**_WIDTH_MAX - 1
_LITERALS: Final = tuple(bytes((code,)) for code in range(256))


class _BitWriter:
    """Codes of growing width, packed from the least significant bit."""

    def __init__(self) -> None:
        self.out = bytearray()
        self._pending = 0
        self._pending_bits = 0

    def write(self, code: int, width: int) -> None:
        self._pending |= code << self._pending_bits
        self._pending_bits += width
        while self._pending_bits >= 8:
            self.out.append(self._pending & 0xFF)
            self._pending >>= 8
            self._pending_bits -= 8

    def finish(self) -> bytes:
        if self._pending_bits:
            self.out.append(self._pending & 0xFF)
        return bytes(self.out)


def compress(data: bytes) -> bytes:
    """Return `data` as Go's writer would compress it, bit for bit."""
    writer = _BitWriter()
    width, newest = _WIDTH_MIN, _END
    writer.write(_CLEAR, width)
    if not data:
        writer.write(_END, width)
        return writer.finish()
    table: dict[int, int] = {}
    code = data[0]
    for literal in data[1:]:
        key = code << 8 | literal
        longer = table.get(key)
        if longer is not None:
            code = longer
            continue
        writer.write(code, width)
        code = literal
        newest += 1
        if newest == 1 << width:
            width += 1
        if newest == _CODE_MAX:
            writer.write(_CLEAR, width)
            width, newest = _WIDTH_MIN, _END
            table.clear()
        else:
            table[key] = newest
    writer.write(code, width)
    newest += 1
    if newest == 1 << width:
        width += 1
    if newest == _CODE_MAX:
        writer.write(_CLEAR, width)
        width = _WIDTH_MIN
    writer.write(_END, width)
    return writer.finish()


def decompress(data: bytes, *, size_bytes_max: int) -> bytes:
    """Return what `data` unfolds to.

    Args:
        data: The compressed bytes; anything after the end code is ignored.
        size_bytes_max: Most bytes to unfold to; a bomb stops there.

    Raises:
        MalformedPacket: A code that was never defined, or no end code.
        PacketTooLarge: The limit was reached.
    """
    table: list[bytes] = [*_LITERALS, b"", b""]
    out: list[bytes] = []
    out_bytes = 0
    width, previous = _WIDTH_MIN, b""
    pending = pending_bits = 0
    for byte in data:
        pending |= byte << pending_bits
        pending_bits += 8
        if pending_bits < width:
            continue
        code = pending & ((1 << width) - 1)
        pending >>= width
        pending_bits -= width
        if code == _CLEAR:
            del table[_END + 1 :]
            width, previous = _WIDTH_MIN, b""
            continue
        if code == _END:
            return b"".join(out)
        if code < len(table):
            entry = table[code]
        elif code == len(table) and previous:
            entry = previous + previous[:1]
        else:
            raise MalformedPacket(f"LZW code {code} is not defined yet")
        out.append(entry)
        out_bytes += len(entry)
        if out_bytes > size_bytes_max:
            raise PacketTooLarge(f"LZW data unfolds to more than {size_bytes_max} bytes")
        if previous and len(table) <= _CODE_MAX:
            table.append(previous + entry[:1])
        previous = entry
        # The writer is one entry ahead of us: it widens when *its* newest code needs the bit.
        if len(table) == 1 << width and width < _WIDTH_MAX:
            width += 1
    raise MalformedPacket("LZW data without an end code")
