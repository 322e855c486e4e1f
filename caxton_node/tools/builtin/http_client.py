"""`http_client`: fetch a page. Only GET and HEAD, the safe methods (RFC 9110, section 9.2.1).

Because it cannot send, it is read-only as a whole: a turn may repeat it, and a provider that
guesses may call it. What sends is `http_sender`, a tool that an agent's author must list.
"""

from collections.abc import Mapping
from typing import Any

from caxton_node.domain.tool import ToolResult, ToolSpec
from caxton_node.tools.builtin.web_exchange import (
    CONFIG_SCHEMA,
    HEADERS_SCHEMA,
    URL_SCHEMA,
    exchange,
)
from caxton_node.tools.fetch import Fetcher
from caxton_node.tools.outcome import reports_mistakes
from caxton_node.tools.tool import ToolContext

__all__ = ["HttpClient"]


class HttpClient:
    """Fetches pages through the node's `Fetcher`."""

    spec = ToolSpec(
        name="http_client",
        description=(
            "Fetch a web page or file from an http(s) address. The body is kept as an artifact "
            "(short text is also returned); pass its handle to csv_parser, json_processor or "
            "text_processor."
        ),
        parameters={
            "type": "object",
            "properties": {
                "url": URL_SCHEMA,
                "method": {
                    "type": "string",
                    "enum": ["GET", "HEAD"],
                    "default": "GET",
                    "description": "HEAD returns status and type without the body.",
                },
                "headers": HEADERS_SCHEMA,
            },
            "required": ["url"],
            "additionalProperties": False,
        },
        is_read_only=True,
        produces=("text/csv", "application/json", "text/html", "text/plain"),
        config_schema=CONFIG_SCHEMA,
    )

    def __init__(self, fetcher: Fetcher) -> None:
        self._fetcher = fetcher

    @reports_mistakes
    async def call(self, arguments: Mapping[str, Any], context: ToolContext) -> ToolResult:
        """Fetch `url`."""
        return await exchange(
            self._fetcher,
            context,
            url=arguments["url"],
            method=arguments.get("method", "GET"),
            headers=arguments.get("headers", {}),
        )
