"""`echo`: gives back what it was given. For trying out an agent and its tool calls."""

from collections.abc import Mapping
from typing import Any

from caxton_node.domain.tool import ToolResult, ToolSpec
from caxton_node.tools.tool import ToolContext

__all__ = ["Echo"]


class Echo:
    """Gives back its `text`."""

    spec = ToolSpec(
        name="echo",
        description="Give back the text unchanged. For testing.",
        parameters={
            "type": "object",
            "properties": {
                "text": {
                    "type": "string",
                    "maxLength": 10_000,
                    "description": "What to give back.",
                }
            },
            "required": ["text"],
            "additionalProperties": False,
        },
        is_read_only=True,
    )

    async def call(self, arguments: Mapping[str, Any], context: ToolContext) -> ToolResult:
        """Return `text`."""
        return ToolResult(content={"text": arguments["text"], "agent": context.agent})
