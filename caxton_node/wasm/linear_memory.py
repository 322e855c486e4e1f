"""A core guest's memory as the host reads and writes it: every access within bounds, or none.

Addresses and lengths come from the guest. They are added as numbers of any size, so that nothing
wraps around.
"""

import ctypes
from typing import Any

from wasmtime import _ffi as ffi

from caxton_node.wasm.errors import Trapped
from caxton_node.wasm.fibers import Fiber

__all__ = ["LinearMemory"]


class LinearMemory:
    """The memory that a guest exports.

    Args:
        fiber: That the guest runs on.
        memory: Its C handle.
    """

    def __init__(self, fiber: Fiber, memory: Any) -> None:
        self._context = fiber.context
        self._memory = memory

    @property
    def size_bytes(self) -> int:
        """How large it is now."""
        return int(ffi.wasmtime_memory_data_size(self._context, ctypes.byref(self._memory)))

    def _address(self, pointer: int, size_bytes: int) -> int:
        pointer &= 0xFFFF_FFFF
        if pointer + size_bytes > self.size_bytes:
            raise Trapped(f"the guest names {size_bytes} bytes at {pointer}, beyond its memory")
        data: Any = ffi.wasmtime_memory_data(self._context, ctypes.byref(self._memory))
        return ctypes.addressof(data.contents) + pointer if data else 0

    def read(self, pointer: int, size_bytes: int) -> bytes:
        """Return bytes.

        Raises:
            Trapped: They are not there.
        """
        size_bytes &= 0xFFFF_FFFF
        address = self._address(pointer, size_bytes)
        return ctypes.string_at(address, size_bytes) if size_bytes else b""

    def write(self, pointer: int, data: bytes) -> None:
        """Write bytes.

        Raises:
            Trapped: There is no such place.
        """
        address = self._address(pointer, len(data))
        if data:
            ctypes.memmove(address, data, len(data))

    def read_u32(self, pointer: int) -> int:
        """Return a little-endian number of four bytes.

        Raises:
            Trapped: It is not there.
        """
        return int.from_bytes(self.read(pointer, 4), "little")

    def write_u32(self, pointer: int, value: int) -> None:
        """Write a little-endian number of four bytes.

        Raises:
            Trapped: There is no such place.
        """
        self.write(pointer, (value & 0xFFFF_FFFF).to_bytes(4, "little"))

    def write_u64(self, pointer: int, value: int) -> None:
        """Write a little-endian number of eight bytes.

        Raises:
            Trapped: There is no such place.
        """
        self.write(pointer, (value & 0xFFFF_FFFF_FFFF_FFFF).to_bytes(8, "little"))
