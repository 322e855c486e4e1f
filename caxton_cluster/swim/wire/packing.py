"""The old msgpack of HashiCorp's codec, and typed reading of its maps.

Two quirks matter. Text and bytes share one *raw* type and the newer `bin` and `str8` types are
never sent, since old peers do not know them; so everything is read as bytes and the reader says
what is text. And structs are maps keyed by Go field names: order is free, unknown keys are
ignored, a missing key is the zero value.

This is the only module that imports msgpack.
"""

from collections.abc import Mapping
from typing import Any, Final

import msgpack  # type: ignore[import-untyped]  # it ships without types

from caxton_cluster.errors import MalformedPacket, PacketTooLarge
from caxton_cluster.types import Address

__all__ = [
    "UINT32_MAX",
    "Fields",
    "IncrementalReader",
    "pack",
    "read_address",
    "read_bool",
    "read_bytes",
    "read_text",
    "read_uint",
    "unpack",
]

UINT32_MAX: Final = 2**32 - 1

Fields = Mapping[object, object]
"""A decoded struct: keys are bytes if the sender is honest, anything otherwise."""

_DECODING_ERRORS: Final = (ValueError, TypeError, OverflowError, msgpack.UnpackException)
_packb = msgpack.packb
_unpackb = msgpack.unpackb


def _refuse_extension(code: int, data: bytes) -> object:
    raise MalformedPacket(f"msgpack extension {code} of {len(data)} bytes is not on this wire")


def pack(fields: Mapping[bytes, Any]) -> bytes:
    """Return `fields` as an old-style msgpack map."""
    packed: bytes = _packb(fields, use_bin_type=False)
    return packed


def unpack(data: bytes) -> Fields:
    """Return the map at the start of `data`; what follows it is ignored, as the reference does.

    Raises:
        MalformedPacket: There is no whole map at the start.
    """
    try:
        value = _unpackb(data, raw=True, strict_map_key=False, ext_hook=_refuse_extension)
    except msgpack.ExtraData as extra:
        value = extra.unpacked
    except _DECODING_ERRORS as error:
        raise MalformedPacket(f"not msgpack: {error}") from error
    return _as_fields(value)


def _as_fields(value: object) -> Fields:
    if not isinstance(value, dict):
        raise MalformedPacket(f"expected a map, got {type(value).__name__}")
    return value


def read_uint(fields: Fields, key: bytes, *, maximum: int = UINT32_MAX) -> int:
    """Return a non-negative integer; a missing one is 0.

    Raises:
        MalformedPacket: It is not an integer in 0..`maximum`.
    """
    value = fields.get(key, 0)
    if type(value) is not int or not 0 <= value <= maximum:
        # The key may be a peer's own, such as a member's name.
        raise MalformedPacket(f"{key.decode(errors='replace')} is not an integer in 0..{maximum}")
    return value


def read_bool(fields: Fields, key: bytes) -> bool:
    """Return a boolean; a missing one is false.

    Raises:
        MalformedPacket: It is something else.
    """
    value = fields.get(key, False)
    if type(value) is not bool:
        raise MalformedPacket(f"{key.decode()} is not a boolean")
    return value


def read_bytes(fields: Fields, key: bytes, *, size_bytes_max: int) -> bytes:
    """Return raw bytes; missing and nil are both empty.

    Raises:
        MalformedPacket: It is something else, or longer than `size_bytes_max`.
    """
    value = fields.get(key)
    if value is None:
        return b""
    if not isinstance(value, bytes):
        raise MalformedPacket(f"{key.decode()} is not raw bytes")
    if len(value) > size_bytes_max:
        raise PacketTooLarge(f"{key.decode()} has {len(value)} bytes, more than {size_bytes_max}")
    return value


def read_text(fields: Fields, key: bytes, *, size_bytes_max: int) -> str:
    """Return UTF-8 text; missing is empty.

    Raises:
        MalformedPacket: It is not UTF-8, or longer than `size_bytes_max`.
    """
    try:
        return read_bytes(fields, key, size_bytes_max=size_bytes_max).decode()
    except UnicodeDecodeError as error:
        raise MalformedPacket(f"{key.decode()} is not UTF-8") from error


def read_address(fields: Fields, ip_key: bytes, port_key: bytes) -> Address | None:
    """Return the address in two fields, or None when there is none.

    Raises:
        MalformedPacket: The bytes are not an IPv4 or IPv6 address, or the port is out of range.
    """
    ip = read_bytes(fields, ip_key, size_bytes_max=16)
    if not ip:
        return None
    try:
        return Address(ip, read_uint(fields, port_key, maximum=65_535))
    except ValueError as error:
        raise MalformedPacket(str(error)) from error


class IncrementalReader:
    """Maps and raw tails read from a stream that may stop in the middle of either.

    Args:
        size_bytes_max: Most bytes the stream may have in all.
    """

    def __init__(self, size_bytes_max: int) -> None:
        self._size_bytes_max = size_bytes_max
        self._fed_bytes = 0
        self._unpacker = msgpack.Unpacker(
            raw=True,
            strict_map_key=False,
            ext_hook=_refuse_extension,
            max_buffer_size=size_bytes_max,
        )

    def feed(self, data: bytes) -> None:
        """Add bytes as they arrive.

        Raises:
            PacketTooLarge: The stream grew beyond its limit.
        """
        self._fed_bytes += len(data)
        if self._fed_bytes > self._size_bytes_max:
            raise PacketTooLarge(f"the stream exceeds {self._size_bytes_max} bytes")
        self._unpacker.feed(data)

    def read_map(self) -> Fields | None:
        """Return the next map, or None while it is incomplete.

        Raises:
            MalformedPacket: The bytes are not a map.
        """
        try:
            value = self._unpacker.unpack()
        except msgpack.OutOfData:
            return None
        except _DECODING_ERRORS as error:
            raise MalformedPacket(f"not msgpack: {error}") from error
        return _as_fields(value)

    def read_raw(self, size_bytes: int) -> bytes | None:
        """Return exactly `size_bytes` raw bytes, or None while they are incomplete."""
        if self._fed_bytes - self._unpacker.tell() < size_bytes:
            return None
        raw: bytes = self._unpacker.read_bytes(size_bytes)
        return raw
