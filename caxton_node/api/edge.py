"""What the requests of one application share."""

import asyncio
from dataclasses import dataclass, field
from typing import Any, Final

from caxton_node.telemetry.metrics import HttpMetrics

__all__ = ["HEARTBEAT_S", "STREAM_S_MAX", "Edge"]

HEARTBEAT_S: Final = 15.0
"""A stream says at least this often that it lives. A client that has gone is noticed by then."""

STREAM_S_MAX: Final = 3_600.0
"""A stream ends after this long; whoever is still interested connects again."""


@dataclass(slots=True, kw_only=True)
class Edge:
    """The state of the REST edge of one node."""

    metrics: HttpMetrics
    heartbeat_s: float = HEARTBEAT_S
    openapi: bytes = b""
    """The OpenAPI document, rendered once."""
    docs_page: bytes = b""
    ids_under_way: set[str] = field(default_factory=set)
    """Message ids that clients chose and that are being accepted right now, so that two requests
    at once with one id send one message."""
    streams: set["asyncio.Task[Any]"] = field(default_factory=set)
    """Requests that stream events. They are ended when the server stops."""
