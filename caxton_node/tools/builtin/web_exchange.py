"""What `http_client` and `http_sender` share: settings, headers, and the shape of the result."""

from collections.abc import Mapping
from pathlib import PurePosixPath
from typing import Any, Final

from caxton_node.domain.errors import Place, Rejected
from caxton_node.domain.quantities import parse_duration_s, parse_size_bytes
from caxton_node.domain.tool import Artifact, ToolResult
from caxton_node.domain.trace_headers import with_trace
from caxton_node.tools.fetch import Fetched, Fetcher, FetchFailed, FetchRequest
from caxton_node.tools.media import (
    INLINE_BYTES_MAX,
    find_media_type,
    inline_text,
    name_with_suffix,
)
from caxton_node.tools.network_rule import HostPattern, UrlRefused, parse_host_pattern
from caxton_node.tools.outcome import Mistake, kept
from caxton_node.tools.tool import ToolContext

__all__ = ["CONFIG_SCHEMA", "HEADERS_SCHEMA", "URL_SCHEMA", "exchange"]

PREVIEW_LENGTH: Final = 500
EXCERPT_LENGTH: Final = 300
TIMEOUT: Final = "30s"
CONNECT_TIMEOUT: Final = "10s"
RESPONSE_SIZE_MAX: Final = "10MB"
REDIRECT_COUNT_MAX: Final = 5

_FORBIDDEN_HEADERS: Final = frozenset(
    {
        "connection",
        "content-length",
        "cookie",
        "expect",
        "host",
        "keep-alive",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    }
)
"""They belong to the connection (RFC 9110, section 7.6.1), or smuggle one request in another."""

URL_SCHEMA: Final = {
    "type": "string",
    "format": "uri",
    "minLength": 1,
    "maxLength": 4_096,
    "description": "Address of the page, beginning with http:// or https://.",
}
HEADERS_SCHEMA: Final = {
    "type": "object",
    "additionalProperties": True,
    "description": "Further request headers, such as Accept. Values are texts.",
}
CONFIG_SCHEMA: Final[dict[str, Any]] = {
    "type": "object",
    "properties": {
        "timeout": {"type": ["string", "number"], "format": "x-seconds", "minimum": 0.001},
        "connect_timeout": {"type": ["string", "number"], "format": "x-seconds", "minimum": 0.001},
        "max_response_size": {"type": ["string", "integer"], "format": "x-bytes", "minimum": 1},
        "max_redirects": {"type": "integer", "minimum": 0, "maximum": 10},
        "allowed_domains": {"type": "array", "items": {"type": "string"}, "maxItems": 1_000},
        "verify_ssl": {"type": "boolean"},
    },
    "additionalProperties": False,
}


async def exchange(
    fetcher: Fetcher,
    context: ToolContext,
    *,
    url: str,
    method: str,
    headers: Mapping[str, Any],
    body: bytes | None = None,
) -> ToolResult:
    """Make the request and keep what came back.

    Raises:
        Mistake: The address is refused, or nothing came.
        Rejected: `invalid_agent`, when the agent's settings name no hosts where hosts belong.
    """
    request = _request(context, url, method, headers, body)
    try:
        fetched = await fetcher.fetch(request)
    except UrlRefused as error:
        raise Mistake(str(error), refused=True) from error
    except FetchFailed as error:
        raise Mistake(str(error)) from error
    name = PurePosixPath(fetched.url.path).name or (fetched.url.host or "page")
    media_type = find_media_type(fetched.media_type, name, fetched.body)
    content: dict[str, Any] = {
        "status": fetched.status,
        "url": str(fetched.url),
        "media_type": media_type,
        "size_bytes": len(fetched.body),
    }
    if fetched.status >= 400:
        return _refusal(fetched, content)
    artifacts: tuple[Artifact, ...] = ()
    if fetched.body:
        artifact = await context.artifacts.put(
            name=name_with_suffix(name, media_type), media_type=media_type, data=fetched.body
        )
        artifacts = (artifact,)
        content |= kept(artifact)
        text = inline_text(media_type, fetched.body)
        if text is not None:
            content["preview"] = text[:PREVIEW_LENGTH]
            if len(fetched.body) <= INLINE_BYTES_MAX:
                content["text"] = text
    return ToolResult(content=content, artifacts=artifacts)


def _refusal(fetched: Fetched, content: dict[str, Any]) -> ToolResult:
    excerpt = inline_text(content["media_type"], fetched.body, EXCERPT_LENGTH)
    return ToolResult(
        content={"error": f"{fetched.url} answered with status {fetched.status}."}
        | content
        | ({"excerpt": excerpt} if excerpt else {}),
        is_error=True,
    )


def _request(
    context: ToolContext, url: str, method: str, headers: Mapping[str, Any], body: bytes | None
) -> FetchRequest:
    config = context.config
    timeout_s = parse_duration_s(str(config.get("timeout", TIMEOUT))) or 30.0
    connect_timeout_s = parse_duration_s(str(config.get("connect_timeout", CONNECT_TIMEOUT)))
    size_max = parse_size_bytes(str(config.get("max_response_size", RESPONSE_SIZE_MAX)))
    return FetchRequest(
        url=url,
        method=method,
        headers=with_trace(_headers(headers), context.traceparent),
        body=body,
        narrowed_to=(
            _patterns("permissions.network_hosts", context.permissions.network_hosts),
            _patterns("tool_config.allowed_domains", config.get("allowed_domains", ())),
        ),
        timeout_s=max(0.001, min(timeout_s, context.timeout_s)),
        connect_timeout_s=connect_timeout_s or 10.0,
        body_bytes_max=size_max or 10_000_000,
        redirect_count_max=int(config.get("max_redirects", REDIRECT_COUNT_MAX)),
        verifies_tls=config.get("verify_ssl", True) is not False,
    )


def _patterns(field: str, texts: Any) -> tuple[HostPattern, ...]:
    try:
        return tuple(parse_host_pattern(text) for text in texts)
    except ValueError as error:
        # A list that cannot be read must not come to mean "everything".
        place = Place(str(error), field=field, rule="host_pattern")
        raise Rejected(
            "invalid_agent", "The agent's list of hosts cannot be read.", places=[place]
        ) from error


def _headers(headers: Mapping[str, Any]) -> dict[str, str]:
    checked: dict[str, str] = {}
    if len(headers) > 20:
        raise Mistake("At most 20 headers may be sent.")
    for name, value in headers.items():
        plain = name.lower()
        if plain in _FORBIDDEN_HEADERS or plain.startswith("proxy-"):
            raise Mistake(f"The header {name[:60]!r} is not yours to set.")
        if not plain.replace("-", "").isalnum() or not plain.isascii() or len(plain) > 100:
            raise Mistake(f"{name[:60]!r} is no name of a header.")
        if (
            not isinstance(value, str)
            or not (value.isascii() and value.isprintable())
            or len(value) > 4_096
        ):
            raise Mistake(f"The value of the header {name[:60]!r} must be plain printable text.")
        checked[name] = value
    return checked
