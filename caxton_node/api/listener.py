"""The port of REST: who may hold a connection, for how long, and what unreadable requests are told.

A connection costs a file descriptor, and those that say nothing cost nobody but us. So there is a
most, and whoever comes beyond it takes the place of the one that has been idle longest; only where
all are at work is the newcomer told to come later. A request that arrives byte by byte is idle, and
a client that does not read what it asked for is dropped.

Reference: RFC 9112, sections 9.3 (persistence) and 9.5 (failures and timeouts).
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any, Final

import msgspec
from aiohttp import http_exceptions, web

from caxton_node.api.edge import HEADERS, Edge
from caxton_node.api.problems import PROBLEM_MEDIA_TYPE, problem_of
from caxton_node.domain.errors import Bug, CaxtonError, Rejected, Unavailable
from caxton_node.telemetry.trace import new_trace

__all__ = ["CONNECTION_COUNT_MAX", "LINE_BYTES_MAX", "open_http", "unreadable"]

CONNECTION_COUNT_MAX: Final = 10_000

LINE_BYTES_MAX: Final = 65_536
"""The longest line of a request's head: a query with its every letter percent-encoded fits."""

HEAD_LINES_MAX: Final = 128
"""Header fields of a request."""

IDLE_S_MAX: Final = 75.0
"""Until a request's head has arrived, from the connection's beginning or the last response."""

STALL_S_MAX: Final = 60.0
"""A client must have read something of its response by then."""

SHUTDOWN_TIMEOUT_S: Final = 5.0
"""For requests that are being answered when the node stops."""

BACKLOG: Final = 1_024
"""Connections that the system holds until they are taken."""

LOOKED_AT_MAX: Final = 64
"""Connections that are asked whether they are idle when room is needed."""

_MANNER: Final[Mapping[str, Any]] = {
    "access_log": None,
    "keepalive_timeout": IDLE_S_MAX,
    "max_line_size": LINE_BYTES_MAX,
    "max_field_size": LINE_BYTES_MAX,
    "max_headers": HEAD_LINES_MAX,
}

_log = logging.getLogger("caxton.api")


@asynccontextmanager
async def open_http(
    application: web.Application,
    edge: Edge,
    address: tuple[str, int],
    *,
    connection_count_max: int = CONNECTION_COUNT_MAX,
) -> AsyncIterator[tuple[str, int]]:
    """Serve until the block ends.

    Args:
        application: What is served.
        edge: Whose metrics count requests that cannot be read.
        address: Host and port; port 0 takes a free one.
        connection_count_max: Connections at once.

    Yields:
        Host and port, as they turned out.

    Raises:
        OSError: Nothing can listen there.
    """
    runner = web.AppRunner(application, access_log=None, shutdown_timeout=SHUTDOWN_TIMEOUT_S)
    await runner.setup()
    try:
        server = runner.server
        assert server is not None, "it was set up"
        loop = asyncio.get_running_loop()
        connections = _Connections(server, edge, connection_count_max, loop)
        listener = await loop.create_server(connections.take, *address, backlog=BACKLOG)
        try:
            host, port = listener.sockets[0].getsockname()[:2]
            yield host, port
        finally:
            listener.close()
    finally:
        await runner.cleanup()


class _Connections:
    """Those that are open, the oldest first; one found at work is put behind all others."""

    def __init__(
        self, server: web.Server, edge: Edge, count_max: int, loop: asyncio.AbstractEventLoop
    ) -> None:
        self.edge = edge
        self._server = server
        self._count_max = count_max
        self._loop = loop
        self._open: dict[_Connection, None] = {}
        self._is_short = False
        """Connections were turned away, and none was taken since without need."""

    def take(self) -> asyncio.BaseProtocol:
        """Return who deals with a new connection."""
        if len(self._open) < self._count_max:
            self._is_short = False
        elif not self._make_room():
            if not self._is_short:
                self._is_short = True
                _log.warning("all %d connections are in use: more are refused", self._count_max)
            self.edge.metrics.observe("unmatched", "other", 503, None)
            return _Refusal()
        connection = _Connection(self._server, loop=self._loop, connections=self)
        self._open[connection] = None
        return connection

    def gone(self, connection: "_Connection") -> None:
        """Take note of a connection's end."""
        self._open.pop(connection, None)

    def _make_room(self) -> bool:
        """End the connection that is idle longest; False when none of those looked at is."""
        for _ in range(min(LOOKED_AT_MAX, len(self._open))):
            connection = next(iter(self._open))
            del self._open[connection]
            if connection.end_if_idle():
                return True
            # Behind the others: the next to come need not ask this one again.
            self._open[connection] = None
        return False


class _Connection(web.RequestHandler):
    """One connection, as aiohttp serves it."""

    __slots__ = ("_connections", "_stall")

    def __init__(
        self, server: web.Server, *, loop: asyncio.AbstractEventLoop, connections: _Connections
    ) -> None:
        super().__init__(server, loop=loop, **_MANNER)
        self._connections = connections
        self._stall: asyncio.TimerHandle | None = None

    def end_if_idle(self) -> bool:
        """End the connection unless a request is being answered; tell whether it ended."""
        if self._request_in_progress or self._messages or self.transport is None:
            return False
        # Not closed: that would wait until the client has read what was sent before.
        self.transport.abort()
        return True

    def connection_lost(self, exc: BaseException | None) -> None:
        """Take note of the end."""
        self._connections.gone(self)
        self._forget_stall()
        super().connection_lost(exc)

    def pause_writing(self) -> None:
        """Give a client that does not read a while to begin."""
        super().pause_writing()
        if self._stall is None and self.transport is not None:
            self._stall = self._loop.call_later(STALL_S_MAX, self.transport.abort)

    def resume_writing(self) -> None:
        """Go on writing: the client reads."""
        self._forget_stall()
        super().resume_writing()

    def _forget_stall(self) -> None:
        if self._stall is not None:
            self._stall.cancel()
            self._stall = None

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,  # noqa: ARG002 -- the library's own words
    ) -> web.StreamResponse:
        """Answer what could not be read as a request, in the shape of all errors."""
        if request.writer.output_size > 0:
            raise ConnectionError("the response has begun already")
        error: CaxtonError
        if status < 500:
            error = unreadable(exc)
            # Nothing of the request itself: it may hold a secret.
            _log.warning("from %s: %s", request.remote, error.detail)
        else:
            _log.error("a request broke the server library", exc_info=exc)
            error = Bug("internal", "the request met a bug in Caxton", hint="Please report it.")
        self._connections.edge.metrics.observe("unmatched", "other", error.kind.http_status, None)
        trace_id = new_trace().trace_id
        response = web.Response(
            body=_document(error, trace_id),
            status=error.kind.http_status,
            content_type=PROBLEM_MEDIA_TYPE,
            headers={**HEADERS, "X-Trace-Id": trace_id},
        )
        response.force_close()
        return response


class _Refusal(asyncio.Protocol):
    """Tells a newcomer that there is no room."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Say so, and close."""
        assert isinstance(transport, asyncio.Transport)
        transport.write(_no_room())
        transport.close()


def unreadable(exc: BaseException | None) -> Rejected:
    """Return what is wrong with bytes that are no request."""
    detail, hint = "it is not as HTTP/1.1 prescribes", None
    match exc:
        case http_exceptions.LineTooLong():
            detail = f"a line of its head is longer than {LINE_BYTES_MAX:,} bytes"
            hint = "Send large data in the body."
        case http_exceptions.BadHttpMethod() if "HTTPS" in str(exc):
            detail, hint = (
                "it is encrypted, and this port is not",
                "Use http:// instead of https://.",
            )
        case http_exceptions.BadHttpMethod():
            detail = "its first line does not begin with a method of HTTP"
        case http_exceptions.BadStatusLine():
            detail = "its first line is not that of HTTP/1.1"
        case http_exceptions.InvalidURLError():
            detail = "its address holds a character that addresses must not have"
            hint = "Percent-encode it."
        case http_exceptions.BadHttpMessage() if "Too many headers" in str(exc):
            detail = f"its head has more than {HEAD_LINES_MAX} fields"
        case http_exceptions.BadHttpMessage() if "Host" in str(exc):
            detail = "its head does not say for which host it is"
        case http_exceptions.InvalidHeader():
            detail = "a field of its head cannot be read"
        case http_exceptions.TransferEncodingError():
            detail = "its body is badly framed"
        case _:
            pass
    return Rejected("malformed_request", f"the request cannot be read: {detail}", hint=hint)


def _document(error: CaxtonError, trace_id: str) -> bytes:
    return msgspec.json.encode(problem_of(error, instance="", trace_id=trace_id))


def _no_room() -> bytes:
    trace_id = new_trace().trace_id
    body = _document(Unavailable("node_busy", "all connections of this node are in use"), trace_id)
    head = {
        **HEADERS,
        "Content-Type": PROBLEM_MEDIA_TYPE,
        "Content-Length": str(len(body)),
        "Retry-After": "1",
        "X-Trace-Id": trace_id,
        "Connection": "close",
    }
    lines = ["HTTP/1.1 503 Service Unavailable", *(f"{name}: {head[name]}" for name in head)]
    return "\r\n".join([*lines, "", ""]).encode() + body
