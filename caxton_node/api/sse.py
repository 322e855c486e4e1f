"""Server-sent events: the shell that writes what a handler yields until either side ends it.

An error before the first event is an ordinary problem response. Later ones arrive as an event
called `error`, since the status line is gone by then.

Reference: WHATWG HTML, 9.2 Server-sent events.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from typing import Any, Final

from aiohttp import web

from caxton_node.api.edge import STREAM_S_MAX, Edge
from caxton_node.api.table import EventStream, StreamEvent
from caxton_node.domain.errors import Bug, CaxtonError

__all__ = ["encode_event", "send_events"]

WRITE_TIMEOUT_S: Final = 30.0
"""A client that reads nothing for so long is gone."""

_HEARTBEAT: Final = b": alive\n\n"

_log = logging.getLogger("caxton.api")

ToProblem = Callable[[CaxtonError], dict[str, Any]]


def encode_event(event: StreamEvent | None) -> bytes:
    """Return the bytes of an event; None is a comment, which clients pass over."""
    if event is None:
        return _HEARTBEAT
    data = event.json()
    # JSON holds no raw line breaks, so one data line carries it all.
    head = f"id: {event.number}\n" if event.number is not None else ""
    return f"{head}event: {event.name}\ndata: ".encode() + data + b"\n\n"


async def send_events(
    http: web.Request, stream: EventStream, edge: Edge, to_problem: ToProblem, trace_id: str
) -> web.StreamResponse:
    """Write a stream to a client until it ends, the client goes, or the server stops.

    Raises:
        CaxtonError: Before anything was written.
    """
    response = web.StreamResponse(
        headers={
            "Content-Type": "text/event-stream",
            "Cache-Control": "no-store",
            "X-Accel-Buffering": "no",
            "X-Content-Type-Options": "nosniff",
            "X-Trace-Id": trace_id,
            "Server": "caxton",
        }
    )
    task = asyncio.current_task()
    assert task is not None, "handlers run in tasks"
    edge.streams.add(task)
    try:
        if http.method == "HEAD":
            await response.prepare(http)
            return response
        first = await anext(stream.events, None)
        await response.prepare(http)
        with suppress(ConnectionResetError, TimeoutError):
            async with asyncio.timeout(STREAM_S_MAX):
                await _pump(response, first, stream.events, to_problem)
                await response.write_eof()
        return response
    finally:
        edge.streams.discard(task)
        await _close(stream.events)


async def _pump(
    response: web.StreamResponse,
    first: StreamEvent | None,
    rest: AsyncIterator[StreamEvent | None],
    to_problem: ToProblem,
) -> None:
    await _write(response, encode_event(first))
    try:
        async for event in rest:
            await _write(response, encode_event(event))
    except CaxtonError as error:
        await _write(response, encode_event(StreamEvent("error", to_problem(error))))
    except (ConnectionResetError, TimeoutError):
        raise
    except Exception:
        _log.exception("a stream broke")
        bug = Bug("internal", "the stream broke; this is a bug")
        await _write(response, encode_event(StreamEvent("error", to_problem(bug))))


async def _write(response: web.StreamResponse, data: bytes) -> None:
    async with asyncio.timeout(WRITE_TIMEOUT_S):
        await response.write(data)


async def _close(events: AsyncIterator[StreamEvent | None]) -> None:
    close = getattr(events, "aclose", None)
    if close is not None:
        await close()
