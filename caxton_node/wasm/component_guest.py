"""Components of the worlds `caxton:guest/agent`, `stateful-agent` and `mcp`.

To the sandbox they look like core modules: functions go by the names of ABI 1, and are called with
the same JSON.

Reference: proto/wit; docs/reference/wasm-abi.md.
"""

from typing import Any, Final

import msgspec
from wasmtime.component import Instance

from caxton_node.domain.wasm import GuestLimits
from caxton_node.wasm.component_program import ComponentProgram
from caxton_node.wasm.component_values import (
    Err,
    Ok,
    Slots,
    Some,
    put_value,
)
from caxton_node.wasm.errors import GuestRefused, OverLimit, Trapped
from caxton_node.wasm.fibers import Asked, Fiber
from caxton_node.wasm.operations import OPERATIONS, Kind, Operation
from caxton_node.wasm.surroundings import RESULT_BYTES_MAX, Surroundings
from caxton_node.wasm.wasi2 import WASI2_FUNCTIONS, Wasi2

__all__ = ["ComponentGuest"]

_EXPORTS: Final = {
    "handle_message": ("handle-message", 1),
    "snapshot": ("snapshot", 0),
    "restore": ("restore", 2),
    "list_tools": ("list-tools", 0),
    "handle_tool_call": ("call-tool", 2),
}
"""Function of ABI 1 → export and how many texts it takes."""


class ComponentGuest:
    """A running component.

    Args:
        fiber: It runs on.
        program: It is an instance of.
        surroundings: Who answers what it asks.
    """

    def __init__(self, fiber: Fiber, program: ComponentProgram, surroundings: Surroundings) -> None:
        self._fiber = fiber
        self._program = program
        self._surroundings = surroundings
        self._wasi = Wasi2(surroundings, fiber.context)
        self._instance: Any = None
        self._functions: dict[str, tuple[Any, Slots]] = {}

    async def start(self, limits: GuestLimits) -> None:
        """Instantiate the component.

        Raises:
            SandboxFailed: It broke, or took too long.
        """
        program = self._program
        instance = self._fiber.begin_component_instance(program.linker, program.component)
        await self._fiber.drive(self._serve, limits)
        self._instance = Instance._from_raw(instance)  # noqa: SLF001 - as the library makes one

    def has(self, name: str) -> bool:
        """Return whether the component exports a function of ABI 1."""
        return _EXPORTS[name][0] in self._program.exports

    async def call(self, name: str, data: bytes | None, limits: GuestLimits) -> bytes | None:
        """Call a function.

        Args:
            name: As ABI 1 has it.
            data: Its input, as ABI 1 has it; None for a function without any.
            limits: Of this call.

        Returns:
            JSON; None when it has nothing to say.

        Raises:
            SandboxFailed: It refused, broke, or was stopped.
        """
        function, slots = self._function(name)
        slots.fill(_texts(name, data))
        self._fiber.begin_component(
            function, slots.arguments, slots.count, slots.results, slots.given
        )
        await self._fiber.drive(self._serve, limits)
        result = slots.take()
        if isinstance(result, Err):
            error = result.value
            raise GuestRefused(str(error.get("code", "")), str(error.get("message", "")))
        if not isinstance(result, Ok):
            raise Trapped(f"{name} returned what is no result")
        value = result.value
        if isinstance(value, Some):
            value = value.value
        if value is None:
            return None
        encoded = str(value).encode()
        if len(encoded) > RESULT_BYTES_MAX:
            raise OverLimit(
                "output", f"{name} returned {len(encoded):,} bytes; {RESULT_BYTES_MAX:,} are taken"
            )
        return encoded

    def _function(self, name: str) -> tuple[Any, Slots]:
        known = self._functions.get(name)
        if known is not None:
            return known
        export, count = _EXPORTS[name]
        store = self._fiber.store
        index = self._instance.get_export_index(store, export)
        found = None if index is None else self._instance.get_func(store, index)
        if found is None:
            raise Trapped(f"the component exports no function {export}")
        made = (found._func, Slots(count, has_result=True))  # noqa: SLF001 - the C handle
        self._functions[name] = made
        return made

    async def _serve(self, asked: Asked) -> bool:
        """Answer what the guest asks of the host."""
        if isinstance(asked.arguments, BaseException):
            raise Trapped(f"{asked.name}: {asked.arguments}")
        operation = OPERATIONS.get(asked.name)
        if operation is not None:
            put = await self._operate(operation, asked)
            if put is not _NOTHING:
                put_value(asked.results[0], put)
            return True
        assert asked.name in WASI2_FUNCTIONS, "other imports trap where they are"
        result = await self._wasi.answer(asked.name, asked.arguments)
        if asked.given:
            put_value(asked.results[0], result)
        return True

    async def _operate(self, operation: Operation, asked: Asked) -> Any:
        arguments = _arguments(operation, asked.arguments)
        answer = msgspec.json.decode(
            await self._surroundings.answer(operation.name, arguments), type=_Answer
        )
        if answer.error is not None:
            if operation.is_fallible:
                return Err({"code": answer.error.code, "message": answer.error.message})
            return _NOTHING if operation.result is Kind.UNIT else _default(operation.result)
        if operation.result is Kind.UNIT:
            return Ok() if operation.is_fallible else _NOTHING
        value = _lowered(operation.result, answer.ok)
        if operation.is_fallible:
            return Ok(value)
        return value


_NOTHING: Final = object()
"""A function without a result."""


class _Problem(msgspec.Struct):
    code: str
    message: str


class _Answer(msgspec.Struct):
    ok: msgspec.Raw = msgspec.Raw(b"null")
    error: _Problem | None = None


def _arguments(operation: Operation, values: list[Any]) -> bytes:
    """Return an operation's arguments as a JSON object."""
    made: dict[str, Any] = {}
    for (key, kind), value in zip(operation.parameters, values, strict=True):
        if kind is not Kind.JSON:
            made[key] = value
            continue
        try:
            msgspec.json.decode(value)
        except (msgspec.DecodeError, RecursionError):
            # What is no JSON is no argument either: the host says so.
            return b"[]"
        made[key] = msgspec.Raw(value.encode())
    return msgspec.json.encode(made)


def _lowered(kind: Kind, answer: msgspec.Raw) -> Any:
    """Return an answer as the value that goes to the guest."""
    match kind:
        case Kind.UNIT:
            return None
        case Kind.JSON:
            return bytes(answer).decode()
        case Kind.OPTIONAL_JSON:
            text = bytes(answer).decode()
            return None if text == "null" else Some(text)
        case Kind.F64:
            return float(msgspec.json.decode(answer))
        case Kind.TEXT | Kind.BOOL | Kind.U32 | Kind.LEVEL:
            return msgspec.json.decode(answer)


def _default(kind: Kind) -> Any:
    """Return what a function gives that can give no error."""
    match kind:
        case Kind.F64:
            return 0.0
        case Kind.JSON:
            return "null"
        case _:
            return ""


class _Call(msgspec.Struct):
    name: str
    arguments: msgspec.Raw = msgspec.Raw(b"{}")


class _Restore(msgspec.Struct):
    state: msgspec.Raw
    from_version: str


def _texts(name: str, data: bytes | None) -> tuple[bytes, ...]:
    """Return the texts that a component's function takes for the input of ABI 1."""
    match name:
        case "handle_tool_call":
            call = msgspec.json.decode(data or b"{}", type=_Call)
            return (call.name.encode(), bytes(call.arguments))
        case "restore":
            restore = msgspec.json.decode(data or b"{}", type=_Restore)
            return (bytes(restore.state), restore.from_version.encode())
        case _:
            return () if data is None else (data,)
