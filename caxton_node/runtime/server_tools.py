"""The tools of an MCP server: what it lists, checked, and what its results become.

A server is a stranger: its names and descriptions reach models, so that what could mislead one (a
control character, a name of another tool) is refused when it is deployed.

Reference: Model Context Protocol 2025-06-18, "Tools".
"""

import re
import unicodedata
from collections.abc import Mapping
from typing import Any, Final

import msgspec

from caxton_node.domain.errors import Rejected
from caxton_node.domain.tool import ToolResult, ToolSpec

__all__ = ["read_result", "read_tools"]

TOOLS_MAX: Final = 100
DESCRIPTION_LENGTH_MAX: Final = 4_000
SCHEMA_BYTES_MAX: Final = 64_000
NAME: Final = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,63}", re.ASCII)


def read_tools(server: str, listed: bytes | None) -> tuple[ToolSpec, ...]:
    """Return the tools that a server lists.

    Args:
        server: Its name: it stands before the names of its tools.
        listed: JSON, as the server gave it.

    Raises:
        Rejected: `invalid_module`: the list is none, or holds what no tool may have.
    """
    if listed is None:
        raise _refused(server, "it lists no tools")
    rows = msgspec.json.decode(listed)
    if isinstance(rows, dict) and isinstance(rows.get("tools"), list):
        rows = rows["tools"]
    if not isinstance(rows, list) or not rows:
        raise _refused(server, "it lists no tools")
    if len(rows) > TOOLS_MAX:
        raise _refused(server, f"it lists {len(rows)} tools; {TOOLS_MAX} are taken")
    specs = [_read_tool(server, row) for row in rows]
    names = [spec.name for spec in specs]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise _refused(server, f"it lists {twice[0]} twice")
    return tuple(specs)


def _read_tool(server: str, row: Any) -> ToolSpec:
    if not isinstance(row, dict):
        raise _refused(server, "it lists what is no tool")
    name, description = row.get("name"), row.get("description", "")
    schema = row.get("inputSchema", {"type": "object"})
    if not isinstance(name, str) or not NAME.fullmatch(name):
        raise _refused(server, f"{str(name)[:80]!r} is no name of a tool")
    if not isinstance(description, str) or len(description) > DESCRIPTION_LENGTH_MAX:
        raise _refused(server, f"the description of {name} is no text, or too long")
    if any(_is_hidden(char) for char in description):
        raise _refused(server, f"the description of {name} holds characters that nobody sees")
    if not isinstance(schema, dict) or schema.get("type", "object") != "object":
        raise _refused(server, f"the inputSchema of {name} is no schema of an object")
    if len(msgspec.json.encode(schema)) > SCHEMA_BYTES_MAX:
        raise _refused(server, f"the inputSchema of {name} has over {SCHEMA_BYTES_MAX:,} bytes")
    hints = row.get("annotations")
    hints = hints if isinstance(hints, dict) else {}
    is_read_only = hints.get("readOnlyHint") is True
    return ToolSpec(
        name=f"{server}.{name}",
        description=description or name,
        parameters={"type": "object"} | schema,
        is_read_only=is_read_only,
        # As MCP has it: what is not said to be harmless may destroy.
        is_destructive=not is_read_only and hints.get("destructiveHint") is not False,
    )


def _is_hidden(char: str) -> bool:
    return char not in "\n\t" and unicodedata.category(char) in ("Cc", "Cf", "Co", "Cs")


def read_result(result: bytes | None) -> ToolResult:
    """Return what a server's answer to a call is to a turn.

    Args:
        result: JSON: MCP's `CallToolResult`, or any other value.
    """
    value = None if result is None else msgspec.json.decode(result)
    if not isinstance(value, dict) or not isinstance(value.get("content"), list):
        return ToolResult(content=value)
    is_error = value.get("isError") is True
    if value.get("structuredContent") is not None:
        return ToolResult(content=value["structuredContent"], is_error=is_error)
    parts = [_part(part) for part in value["content"] if isinstance(part, dict)]
    if len(parts) == 1:
        return ToolResult(content=parts[0], is_error=is_error)
    return ToolResult(content={"content": parts}, is_error=is_error)


def _part(part: Mapping[str, Any]) -> Any:
    if part.get("type") == "text" and isinstance(part.get("text"), str):
        return {"text": part["text"]}
    return dict(part)


def _refused(server: str, detail: str) -> Rejected:
    return Rejected("invalid_module", f"the server {server!r} is refused: {detail}")
