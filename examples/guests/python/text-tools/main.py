"""An MCP server with what the standard library knows of texts."""

import difflib
import json
import textwrap
import unicodedata

import wit_world
from componentize_py_types import Err
from wit_world.imports import types

TEXT = {"type": "string"}
WIDTH_MAX = 500


def tool(name: str, description: str, **properties: object) -> dict[str, object]:
    """Return what a client is told of a tool whose arguments are all required."""
    return {
        "name": name,
        "description": description,
        "inputSchema": {
            "type": "object",
            "properties": properties,
            "required": list(properties),
            "additionalProperties": False,
        },
        "annotations": {"readOnlyHint": True},
    }


TOOLS = [
    tool(
        "wrap",
        "Breaks a text into lines of at most so many characters.",
        text=TEXT,
        width={"type": "integer", "minimum": 1, "maximum": WIDTH_MAX},
    ),
    tool("difference", "Shows what changed from one text to another.", before=TEXT, after=TEXT),
    tool("without_accents", "Removes accents from letters.", text=TEXT),
]


class WitWorld(wit_world.WitWorld):
    """Exports of the world `mcp`."""

    def list_tools(self) -> str:
        """Return what there is."""
        return json.dumps(TOOLS)

    def call_tool(self, name: str, arguments: str) -> str:
        """Do one of it."""
        given = json.loads(arguments)
        try:
            match name:
                case "wrap":
                    width = min(max(int(given["width"]), 1), WIDTH_MAX)
                    return json.dumps(textwrap.fill(given["text"], width))
                case "difference":
                    lines = difflib.unified_diff(
                        given["before"].splitlines(), given["after"].splitlines(), lineterm=""
                    )
                    return json.dumps("\n".join(lines))
                case "without_accents":
                    parts = unicodedata.normalize("NFKD", given["text"])
                    return json.dumps("".join(c for c in parts if not unicodedata.combining(c)))
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise Err(types.Error("invalid_arguments", str(error))) from None
        raise Err(types.Error("not_found", f"there is no tool {name}"))
