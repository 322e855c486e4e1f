"""Core modules with ABI 1: a memory, a buffer for input, results with their length before them.

Reference: docs/reference/wasm-abi.md, "Core modules".
"""

import ctypes
from typing import Any, Final

from wasmtime import _ffi as ffi

from caxton_node.domain.wasm import GuestLimits
from caxton_node.wasm.errors import GuestRefused, OverLimit, Trapped, code_of_number
from caxton_node.wasm.fibers import Asked, Fiber
from caxton_node.wasm.linear_memory import LinearMemory
from caxton_node.wasm.program import CoreProgram
from caxton_node.wasm.surroundings import RESULT_BYTES_MAX, Surroundings
from caxton_node.wasm.wasi import Wasi

__all__ = ["CoreGuest"]

INPUT_BYTES_MIN: Final = 4_096
"""The smallest buffer that is asked for, so that it is seldom asked for again."""

ABI_VERSION: Final = 1

_I32: Final[Any] = 0

_EXTERN_FUNCTION: Final = 0
_EXTERN_MEMORY: Final = 3


def exported(fiber: Fiber, instance: Any, name: str, kind: int) -> Any:
    """Return the C handle of an export of a kind; None when there is none."""
    encoded = name.encode()
    found: Any = ffi.wasmtime_extern_t()
    buffer = ctypes.create_string_buffer(encoded)
    is_there = ffi.wasmtime_instance_export_get(
        fiber.context, ctypes.byref(instance), buffer, len(encoded), ctypes.byref(found)
    )
    if not is_there or found.kind != kind:
        return None
    return found.of.func if kind == _EXTERN_FUNCTION else found.of.memory


class CoreGuest:
    """A running core module.

    Args:
        fiber: It runs on.
        program: It is an instance of.
        surroundings: Who answers what it asks.
    """

    def __init__(self, fiber: Fiber, program: CoreProgram, surroundings: Surroundings) -> None:
        self._fiber = fiber
        self._program = program
        self._surroundings = surroundings
        self._functions: dict[str, Any] = {}
        self._instance: Any = None
        self._memory: LinearMemory
        self._wasi: Wasi
        self._answer = b""
        self._input = (0, 0)
        """Address and size of the buffer for input."""
        self._arguments: Any = (ffi.wasmtime_val_t * 2)()
        self._results: Any = (ffi.wasmtime_val_t * 1)()
        for place in range(2):
            self._arguments[place].kind = _I32

    async def start(self, limits: GuestLimits) -> None:
        """Instantiate the module and run what it does first.

        Raises:
            SandboxFailed: It broke, or took too long.
        """
        fiber = self._fiber
        instance = fiber.begin_core_instance(self._program.linker, self._program.module)
        # The start function may call WASI, before there is a memory to read arguments from.
        self._wasi = Wasi(self._surroundings, None)
        await fiber.drive(self._serve, limits)
        self._instance = instance
        memory = exported(fiber, instance, "memory", _EXTERN_MEMORY)
        if memory is None:
            raise Trapped("the module exports no memory")
        self._memory = LinearMemory(fiber, memory)
        self._wasi.memory = self._memory
        if exported(fiber, instance, "_initialize", _EXTERN_FUNCTION) is not None:
            await self._run("_initialize", (), 0, limits)
        if exported(fiber, instance, "caxton_abi_version", _EXTERN_FUNCTION) is not None:
            version = await self._run("caxton_abi_version", (), 1, limits)
            if version != ABI_VERSION:
                raise Trapped(f"the module speaks version {version} of the ABI, not {ABI_VERSION}")

    def has(self, name: str) -> bool:
        """Return whether the module exports a function."""
        return name in self._program.exports

    async def call(self, name: str, data: bytes | None, limits: GuestLimits) -> bytes | None:
        """Call a function of ABI 1.

        Args:
            name: Of the export.
            data: Its input; None for a function without any.
            limits: Of this call.

        Returns:
            JSON; None when it has nothing to say.

        Raises:
            SandboxFailed: It refused, broke, or was stopped.
        """
        arguments: tuple[int, ...] = ()
        if data is not None:
            pointer = await self._put(data, limits)
            arguments = (pointer, len(data))
        result = await self._run(name, arguments, 1, limits)
        if result == 0:
            return None
        if result < 0:
            code = code_of_number(result)
            raise GuestRefused(code, f"{name} returned {result}")
        size_bytes = self._memory.read_u32(result)
        if size_bytes > RESULT_BYTES_MAX:
            raise OverLimit(
                "output", f"{name} returned {size_bytes:,} bytes; {RESULT_BYTES_MAX:,} are taken"
            )
        return self._memory.read(result + 4, size_bytes)

    async def _put(self, data: bytes, limits: GuestLimits) -> int:
        """Write input into the guest's buffer; return where it is."""
        pointer, room = self._input
        if len(data) > room:
            room = max(INPUT_BYTES_MIN, 1 << (len(data) - 1).bit_length())
            pointer = await self._run("alloc", (room,), 1, limits) & 0xFFFF_FFFF
            if pointer == 0:
                raise Trapped(f"the guest has no room for {len(data):,} bytes of input")
            if pointer + room > self._memory.size_bytes:
                raise Trapped("alloc returned a buffer beyond the memory")
            self._input = (pointer, room)
        self._memory.write(pointer, data)
        return pointer

    async def _run(
        self, name: str, values: tuple[int, ...], given: int, limits: GuestLimits
    ) -> int:
        function = self._functions.get(name)
        if function is None:
            function = exported(self._fiber, self._instance, name, _EXTERN_FUNCTION)
            if function is None:
                raise Trapped(f"the module exports no function {name}")
            self._functions[name] = function
        arguments = self._arguments
        for place, value in enumerate(values):
            arguments[place].of.i32 = value - (1 << 32) if value >= 1 << 31 else value
        self._fiber.begin_core(function, arguments, len(values), self._results, given)
        await self._fiber.drive(self._serve, limits)
        return int(self._results[0].of.i32) if given else 0

    async def _serve(self, asked: Asked) -> bool:
        """Answer what the guest asks of the host."""
        match asked.name:
            case "caxton.call":
                name_pointer, name_size, pointer, size = asked.arguments
                if (name_size & 0xFFFF_FFFF) > 64 or (size & 0xFFFF_FFFF) > RESULT_BYTES_MAX:
                    raise OverLimit("output", "a host call with more than it may carry")
                name = self._memory.read(name_pointer, name_size).decode("utf-8", "replace")
                arguments = self._memory.read(pointer, size)
                self._answer = await self._surroundings.answer(name, arguments)
                asked.results[0].of.i32 = len(self._answer)
            case "caxton.take":
                pointer, room = asked.arguments
                part = self._answer[: room & 0xFFFF_FFFF]
                self._memory.write(pointer, part)
                self._answer = b""
                asked.results[0].of.i32 = len(part)
            case _:
                return await self._wasi.serve(asked)
        return True
