"""WASI commands that speak MCP on their standard streams, one JSON-RPC object a line.

`_start` runs for as long as the sandbox lives. While the server waits for input its fiber lies
still; a call feeds it a line and runs it until it has answered.

Reference: Model Context Protocol 2025-06-18, "Transports: stdio"; JSON-RPC 2.0.
"""

from typing import Any, Final

import msgspec
from wasmtime import _ffi as ffi

from caxton_node.domain.wasm import GuestLimits
from caxton_node.wasm.core_guest import exported
from caxton_node.wasm.errors import GuestRefused, Trapped, code_of_number
from caxton_node.wasm.fibers import Asked, Fiber
from caxton_node.wasm.linear_memory import LinearMemory
from caxton_node.wasm.program import CoreProgram
from caxton_node.wasm.surroundings import Surroundings
from caxton_node.wasm.wasi import Wasi

__all__ = ["StdioGuest"]

PROTOCOL: Final = "2025-06-18"

PAGES_MAX: Final = 20
"""Of a list of tools."""
LINES_AT_ONCE_MAX: Final = 1_000
"""Lines that a server may write before it answers."""


class StdioGuest:
    """A server that runs.

    Args:
        fiber: It runs on.
        program: It is an instance of.
        surroundings: Where its log goes.
    """

    def __init__(self, fiber: Fiber, program: CoreProgram, surroundings: Surroundings) -> None:
        self._fiber = fiber
        self._program = program
        self._wasi = Wasi(surroundings, None)
        self._wasi.has_stdin = self._wasi.captures_stdout = True
        self._results: Any = (ffi.wasmtime_val_t * 1)()
        self._next_id = 0

    async def start(self, limits: GuestLimits) -> None:
        """Start the server and greet it.

        Raises:
            SandboxFailed: It broke, took too long, or does not speak MCP.
        """
        fiber = self._fiber
        instance = fiber.begin_core_instance(self._program.linker, self._program.module)
        await fiber.drive(self._wasi.serve, limits)
        memory = exported(fiber, instance, "memory", 3)
        start = exported(fiber, instance, "_start", 0)
        if memory is None or start is None:
            raise Trapped("the module exports no memory or no _start")
        self._wasi.memory = LinearMemory(fiber, memory)
        fiber.begin_core(start, None, 0, self._results, 0)
        greeting = {
            "protocolVersion": PROTOCOL,
            "capabilities": {},
            "clientInfo": {"name": "caxton", "version": "1"},
        }
        await self._request("initialize", greeting, limits)
        self._write({"jsonrpc": "2.0", "method": "notifications/initialized"})

    def has(self, name: str) -> bool:
        """Return whether it can be called so."""
        return name in ("list_tools", "handle_tool_call")

    async def call(self, name: str, data: bytes | None, limits: GuestLimits) -> bytes | None:
        """List its tools, or call one.

        Args:
            name: `list_tools` or `handle_tool_call`.
            data: Name and arguments as JSON.
            limits: Of this call.

        Raises:
            SandboxFailed: It refused, broke, or was stopped.
        """
        if name == "list_tools":
            return await self._list_tools(limits)
        result = await self._request("tools/call", msgspec.Raw(data or b"{}"), limits)
        return bytes(result)

    async def _list_tools(self, limits: GuestLimits) -> bytes:
        tools: list[Any] = []
        cursor: str | None = None
        for _ in range(PAGES_MAX):
            params: dict[str, Any] = {} if cursor is None else {"cursor": cursor}
            page = msgspec.json.decode(await self._request("tools/list", params, limits))
            if not isinstance(page, dict) or not isinstance(page.get("tools"), list):
                raise GuestRefused("failed", "tools/list returned no list")
            tools += page["tools"]
            cursor = page.get("nextCursor")
            if not cursor:
                break
        return msgspec.json.encode(tools)

    def _write(self, document: Any) -> None:
        self._wasi.feed(msgspec.json.encode(document) + b"\n")

    async def _request(self, method: str, params: Any, limits: GuestLimits) -> msgspec.Raw:
        self._next_id += 1
        own_id = self._next_id
        self._write({"jsonrpc": "2.0", "id": own_id, "method": method, "params": params})
        seen = 0
        while True:
            is_over = await self._fiber.drive(self._serve, limits)
            has_answered_others = False
            while self._wasi.lines:
                seen += 1
                if seen > LINES_AT_ONCE_MAX:
                    raise Trapped("the server writes and does not answer")
                answer = self._read_line(self._wasi.lines.popleft())
                if answer is None:
                    has_answered_others = True
                elif answer.id == own_id:
                    return _result_of(answer)
            if is_over:
                raise Trapped("the server has ended itself")
            if not has_answered_others:
                raise Trapped(f"the server waits for input and has not answered {method}")

    async def _serve(self, asked: Asked) -> bool:
        return await self._wasi.serve(asked)

    def _read_line(self, line: bytes) -> "_Answer | None":
        """Return an answer; None for anything else, which is answered if it wants to be."""
        if not line.strip():
            return _Answer(id=-1)
        try:
            document = msgspec.json.decode(line, type=_Line)
        except msgspec.DecodeError as error:
            raise Trapped(f"the server wrote a line that is no JSON-RPC: {error}") from None
        if document.method is None:
            return _Answer(id=document.id, result=document.result, error=document.error)
        if document.id is not None:
            refusal = {"code": -32601, "message": "this client offers nothing to servers"}
            self._write({"jsonrpc": "2.0", "id": document.id, "error": refusal})
            return None
        return _Answer(id=-1)


class _Line(msgspec.Struct):
    id: Any = None
    method: str | None = None
    result: msgspec.Raw = msgspec.Raw(b"null")
    error: Any = None


class _Answer(msgspec.Struct):
    id: Any
    result: msgspec.Raw = msgspec.Raw(b"null")
    error: Any = None


def _result_of(answer: _Answer) -> msgspec.Raw:
    if answer.error is None:
        return answer.result
    error = answer.error if isinstance(answer.error, dict) else {}
    number, message = error.get("code"), error.get("message")
    code = code_of_number(number) if isinstance(number, int) else "failed"
    raise GuestRefused(code, message if isinstance(message, str) else "the server failed")
