"""MCP over lines of JSON: what a server of tools answers to one message. Pure but for the tools.

The handshake of the versions up to 2025-11-25; a client that begins with a newer one is told that
the method is unknown, on which it falls back to the handshake. Tools only: no resources, prompts
or sampling. What a tool's schema refuses is the model's mistake and is told as the tool's result,
so that the model can mend it; what no client should send is an error of the protocol.

References: Model Context Protocol 2025-11-25, sections Lifecycle, Tools, Transports; JSON-RPC 2.0.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from caxton_node.domain.errors import CaxtonError

__all__ = ["LINE_BYTES_MAX", "VERSIONS", "McpTool", "ToolServer"]

VERSIONS: Final = ("2025-11-25", "2025-06-18", "2025-03-26", "2024-11-05")
"""That are spoken, the newest first."""

LINE_BYTES_MAX: Final = 4_000_000
"""One message. A longer one is refused and skipped."""

_PARSE_ERROR: Final = -32700
_INVALID_REQUEST: Final = -32600
_UNKNOWN_METHOD: Final = -32601
_INVALID_PARAMS: Final = -32602

_TYPES: Final[Mapping[str, tuple[type, ...]]] = {
    "string": (str,),
    "integer": (int,),
    "number": (int, float),
    "boolean": (bool,),
    "array": (list,),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class McpTool:
    """A tool that is offered."""

    name: str
    description: str
    properties: Mapping[str, Mapping[str, Any]]
    """JSON schemas of its arguments."""
    required: Sequence[str]
    call: Callable[[Mapping[str, Any]], dict[str, Any]]
    """Does it; raises `CaxtonError`."""
    is_read_only: bool = False
    is_destructive: bool = False

    def shown(self) -> dict[str, Any]:
        """Return it as clients list it."""
        return {
            "name": self.name,
            "description": self.description,
            "inputSchema": {
                "type": "object",
                "properties": dict(self.properties),
                "required": list(self.required),
                "additionalProperties": False,
            },
            "annotations": {
                "readOnlyHint": self.is_read_only,
                "destructiveHint": self.is_destructive,
                "openWorldHint": False,
            },
        }

    def flaw(self, arguments: Mapping[str, Any]) -> str | None:
        """Return what is wrong with arguments; None when nothing is."""
        missing = [name for name in self.required if name not in arguments]
        if missing:
            return f"{missing[0]} is missing"
        for name, value in arguments.items():
            schema = self.properties.get(name)
            if schema is None:
                return f"{name} is no argument; there are {', '.join(self.properties)}"
            is_flag = isinstance(value, bool) and schema["type"] != "boolean"
            if is_flag or not isinstance(value, _TYPES[schema["type"]]):
                return f"{name} must be of the type {schema['type']}"
            if "enum" in schema and value not in schema["enum"]:
                return f"{name} must be one of {', '.join(schema['enum'])}"
        return None


class ToolServer:
    """Answers a client's messages one after another.

    Args:
        name: Of the server.
        version: Of the server.
        tools: That are offered.
        instructions: For the client's model.
    """

    def __init__(
        self, name: str, version: str, tools: Sequence[McpTool], *, instructions: str
    ) -> None:
        self._info = {"name": name, "version": version}
        self._tools = {one.name: one for one in tools}
        self._instructions = instructions

    def answer(self, line: bytes) -> bytes | None:
        """Return the answer to a line as a line, or None where nothing is to be said."""
        if len(line) > LINE_BYTES_MAX:
            said = _error(None, _INVALID_REQUEST, f"longer than {LINE_BYTES_MAX:,} bytes")
            return _line(said)
        try:
            message = json.loads(line)
        except (ValueError, RecursionError):
            return _line(_error(None, _PARSE_ERROR, "this is no JSON"))
        if not isinstance(message, dict) or message.get("jsonrpc") != "2.0":
            return _line(_error(None, _INVALID_REQUEST, "this is no message of JSON-RPC 2.0"))
        if "method" not in message or "id" not in message:
            return None  # a notification, or an answer to a question that was never asked
        answered = self._answer(message["id"], message["method"], message.get("params") or {})
        return _line(answered)

    def _answer(self, number: Any, method: Any, params: Any) -> dict[str, Any]:
        if not isinstance(params, dict):
            return _error(number, _INVALID_PARAMS, "params must be an object")
        match method:
            case "initialize":
                return _result(number, self._hello(params))
            case "ping":
                return _result(number, {})
            case "tools/list":
                return _result(number, {"tools": [one.shown() for one in self._tools.values()]})
            case "tools/call":
                return self._call(number, params)
            case _:
                return _error(number, _UNKNOWN_METHOD, f"there is no method {method!r}")

    def _hello(self, params: Mapping[str, Any]) -> dict[str, Any]:
        asked = params.get("protocolVersion")
        return {
            "protocolVersion": asked if asked in VERSIONS else VERSIONS[0],
            "capabilities": {"tools": {"listChanged": False}},
            "serverInfo": self._info,
            "instructions": self._instructions,
        }

    def _call(self, number: Any, params: Mapping[str, Any]) -> dict[str, Any]:
        name, arguments = params.get("name"), params.get("arguments") or {}
        tool = self._tools.get(name) if isinstance(name, str) else None
        if tool is None:
            return _error(number, _INVALID_PARAMS, f"there is no tool {name!r}")
        if not isinstance(arguments, dict):
            return _error(number, _INVALID_PARAMS, "arguments must be an object")
        flaw = tool.flaw(arguments)
        if flaw is not None:
            return _result(number, _failed(flaw))
        try:
            found = tool.call(arguments)
        except CaxtonError as problem:
            return _result(number, _failed(f"{problem.detail} {problem.hint or ''}".strip()))
        text = found["text"] if set(found) == {"text"} else json.dumps(found, ensure_ascii=False)
        content = [{"type": "text", "text": text}]
        return _result(number, {"content": content, "structuredContent": found, "isError": False})


def _failed(why: str) -> dict[str, Any]:
    return {"content": [{"type": "text", "text": why}], "isError": True}


def _result(number: Any, result: Mapping[str, Any]) -> dict[str, Any]:
    return {"jsonrpc": "2.0", "id": number, "result": result}


def _error(number: Any, code: int, text: str) -> dict[str, Any]:
    return {"jsonrpc": "2.0", "id": number, "error": {"code": code, "message": text}}


def _line(message: Mapping[str, Any]) -> bytes:
    return json.dumps(message, ensure_ascii=False, separators=(",", ":")).encode() + b"\n"
