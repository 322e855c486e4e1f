"""`http_sender`: send data to an address, by the methods that `[tool_config.http_sender]` allows.

Nothing is allowed unless `methods` lists it. The step's id travels as `Idempotency-Key`, so that
a server which knows that header does not act twice when a turn is resumed.

Reference: RFC 9110, section 9.2; draft-ietf-httpapi-idempotency-key-header.
"""

from collections.abc import Mapping
from typing import Any

import msgspec

from caxton_node.domain.tool import ToolResult, ToolSpec
from caxton_node.tools.builtin.table_input import artifact_parameter
from caxton_node.tools.builtin.web_exchange import (
    CONFIG_SCHEMA,
    HEADERS_SCHEMA,
    URL_SCHEMA,
    exchange,
)
from caxton_node.tools.fetch import Fetcher
from caxton_node.tools.outcome import Mistake, reports_mistakes
from caxton_node.tools.tool import ToolContext

__all__ = ["HttpSender"]

_METHODS = ["POST", "PUT", "PATCH", "DELETE"]


class HttpSender:
    """Sends through the node's `Fetcher`."""

    spec = ToolSpec(
        name="http_sender",
        description=(
            "Send data to an http(s) address with POST, PUT, PATCH or DELETE. Give the body as "
            "`data` (JSON), `text`, or the handle of an artifact. Changes the world: use it only "
            "when asked to."
        ),
        parameters={
            "type": "object",
            "properties": {
                "url": URL_SCHEMA,
                "method": {"type": "string", "enum": _METHODS, "description": "What to do."},
                "headers": HEADERS_SCHEMA,
                "data": {"description": "The body as JSON."},
                "text": {"type": "string", "maxLength": 1_000_000, "description": "Or as text."},
                "artifact": artifact_parameter("Or the handle of the data to send.", ("*/*",)),
            },
            "required": ["url", "method"],
            "additionalProperties": False,
        },
        is_destructive=True,
        produces=("application/json", "text/html", "text/plain"),
        config_schema={
            **CONFIG_SCHEMA,
            "properties": {
                **CONFIG_SCHEMA["properties"],
                "methods": {"type": "array", "items": {"type": "string", "enum": _METHODS}},
            },
        },
    )

    def __init__(self, fetcher: Fetcher) -> None:
        self._fetcher = fetcher

    @reports_mistakes
    async def call(self, arguments: Mapping[str, Any], context: ToolContext) -> ToolResult:
        """Send to `url`."""
        method = arguments["method"]
        allowed = context.config.get("methods", ())
        if method not in allowed:
            raise Mistake(
                f"This agent may not send {method}.",
                hint="Its author allows methods in tool_config.http_sender.methods.",
                allowed=list(allowed),
            )
        body, media_type = await _body(arguments, context)
        headers = dict(arguments.get("headers", {}))
        named = {name.lower() for name in headers}
        if media_type and "content-type" not in named:
            headers["Content-Type"] = media_type
        if "idempotency-key" not in named:
            headers["Idempotency-Key"] = context.effect_id
        return await exchange(
            self._fetcher,
            context,
            url=arguments["url"],
            method=method,
            headers=headers,
            body=body,
        )


async def _body(
    arguments: Mapping[str, Any], context: ToolContext
) -> tuple[bytes | None, str | None]:
    given = [name for name in ("data", "text", "artifact") if name in arguments]
    if len(given) > 1:
        raise Mistake(f"Give only one body; found {' and '.join(given)}.")
    match given:
        case ["data"]:
            return msgspec.json.encode(arguments["data"]), "application/json"
        case ["text"]:
            return arguments["text"].encode("utf-8", "replace"), "text/plain; charset=utf-8"
        case ["artifact"]:
            artifact, data = await context.artifacts.get(arguments["artifact"])
            return data, artifact.media_type
        case _:
            return None, None
