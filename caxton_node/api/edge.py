"""What the requests of one application share."""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from caxton_node.runtime.door import Others
from caxton_node.runtime.sending import Sending
from caxton_node.telemetry.metrics import HttpMetrics

__all__ = ["HEADERS", "HEARTBEAT_S", "STREAM_S_MAX", "Edge", "Rendered"]

HEADERS: Final[Mapping[str, str]] = {
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-store",
    "Referrer-Policy": "no-referrer",
    "Server": "caxton",
}
"""Of every response."""

HEARTBEAT_S: Final = 15.0
"""A stream says at least this often that it lives. A client that has gone is noticed by then."""

STREAM_S_MAX: Final = 3_600.0
"""A stream ends after this long; whoever is still interested connects again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rendered:
    """What the API says of itself."""

    openapi: bytes
    """The OpenAPI document, JSON."""
    docs_page: bytes
    """HTML."""


@dataclass(slots=True, kw_only=True)
class Edge:
    """The state of the REST edge of one node."""

    metrics: HttpMetrics
    sending: Sending
    others: Others | None = None
    """The other nodes, where there may be some."""
    heartbeat_s: float = HEARTBEAT_S
    render: Callable[[], Rendered]
    """Returns what the API says of itself, rendered when somebody asks for the first time."""
    streams: set["asyncio.Task[Any]"] = field(default_factory=set)
    """Requests that stream events. They are ended when the server stops."""
