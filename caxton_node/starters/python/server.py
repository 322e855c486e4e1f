"""An MCP server with one tool."""

import json

import wit_world
from componentize_py_types import Err
from wit_world.imports import types

__all__ = ["WitWorld"]

TOOLS = [
    {
        "name": "shout",
        "description": "Turns a text into capital letters.",
        "inputSchema": {
            "type": "object",
            "properties": {"text": {"type": "string"}},
            "required": ["text"],
        },
        "annotations": {"readOnlyHint": True},
    }
]


class WitWorld(wit_world.WitWorld):
    """Exports of the world `mcp`."""

    def list_tools(self) -> str:
        """Return what there is."""
        return json.dumps(TOOLS)

    def call_tool(self, name: str, arguments: str) -> str:
        """Do one of it."""
        if name != "shout":
            raise Err(types.Error("not_found", "there is no such tool"))
        text = json.loads(arguments).get("text")
        if not isinstance(text, str):
            raise Err(types.Error("invalid_arguments", "`text` must be a text"))
        return json.dumps(text.upper())
