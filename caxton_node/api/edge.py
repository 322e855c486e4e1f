"""What the requests of one application share."""

import asyncio
from dataclasses import dataclass, field
from typing import Any, Final

from caxton_node.runtime.door import Others
from caxton_node.runtime.sending import Sending
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
    sending: Sending
    others: Others | None = None
    """The other nodes, where there may be some."""
    heartbeat_s: float = HEARTBEAT_S
    openapi: bytes = b""
    """The OpenAPI document, rendered once."""
    docs_page: bytes = b""
    streams: set["asyncio.Task[Any]"] = field(default_factory=set)
    """Requests that stream events. They are ended when the server stops."""
