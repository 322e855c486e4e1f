"""The application: the shell around every handler, and the routes made from the table.

For each request: a trace, the guard against foreign pages, reading within bounds, the handler
within its deadline, and one shape for whatever goes wrong.
"""

import asyncio
import functools
import logging
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import aclosing
from typing import Any, Final

import msgspec
from aiohttp import HttpVersion11, web
from pydantic import BaseModel

from caxton_node.api.docs_page import render_docs
from caxton_node.api.edge import HEADERS, HEARTBEAT_S, Edge, Rendered
from caxton_node.api.guard import is_loopback, refuse_foreign
from caxton_node.api.openapi import build_openapi
from caxton_node.api.performing import perform
from caxton_node.api.problems import PROBLEM_MEDIA_TYPE, problem_of, retry_after
from caxton_node.api.reading import check_path, read_body, read_query
from caxton_node.api.routes import ENDPOINTS
from caxton_node.api.sse import send_events
from caxton_node.api.table import (
    Answer,
    Document,
    Endpoint,
    EventStream,
    Request,
    Result,
    StreamEvent,
)
from caxton_node.api.unrouted import nearest_address
from caxton_node.domain.errors import (
    Bug,
    CaxtonError,
    NotFound,
    Rejected,
)
from caxton_node.runtime.door import Ask, Going, Others, Told, Whole
from caxton_node.runtime.node import Node
from caxton_node.runtime.sending import Sending
from caxton_node.telemetry.metrics import HttpMetrics
from caxton_node.telemetry.spans import Tracing
from caxton_node.telemetry.trace import (
    CURRENT_TRACE,
    Trace,
)

__all__ = ["build_application", "build_edge"]

INSTANCE_LENGTH_MAX: Final = 500

_METHODS: Final = frozenset({"GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH"})
"""What the method label of a metric may be; anything else is `other`."""

_UNTRACED: Final = frozenset({"/health", "/ready", "/metrics"})
"""Asked by machines every few seconds: no trace begins here."""

_TRACE: Final = web.RequestKey("caxton_trace", Trace)

_log = logging.getLogger("caxton.api")

HttpHandler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def build_edge(
    node: Node, *, others: Others | None = None, heartbeat_s: float = HEARTBEAT_S
) -> Edge:
    """Build what the requests of all edges of a node share.

    Args:
        node: Whose parts the handlers use.
        others: The other nodes, where there may be some.
        heartbeat_s: How often a silent stream says that it lives.
    """
    return Edge(
        metrics=HttpMetrics(),
        sending=Sending(node),
        others=others,
        heartbeat_s=heartbeat_s,
        render=functools.cache(functools.partial(_render_reference, node.version)),
    )


def _render_reference(version: str) -> Rendered:
    document = build_openapi(ENDPOINTS, version=version)
    return Rendered(openapi=msgspec.json.encode(document), docs_page=render_docs(document))


def build_application(node: Node, edge: Edge, *, body_bytes_max: int) -> web.Application:
    """Build the REST edge of a node.

    Args:
        node: Whose parts the handlers use.
        edge: What requests share.
        body_bytes_max: Larger bodies are refused unread.
    """
    application = web.Application(
        middlewares=[_shell(edge, node.tracing)], client_max_size=body_bytes_max
    )
    for endpoint in ENDPOINTS:
        handler = _http_handler(endpoint, node, edge)
        how: dict[str, Any] = {"expect_handler": _meet_expectation}
        if endpoint.method == "GET":
            application.router.add_get(
                endpoint.route, handler, allow_head=endpoint.is_head_allowed, **how
            )
        else:
            application.router.add_route(endpoint.method, endpoint.route, handler, **how)

    async def end_streams(_: web.Application) -> None:
        for task in list(edge.streams):
            task.cancel()

    application.on_shutdown.append(end_streams)
    return application


def _http_handler(endpoint: Endpoint, node: Node, edge: Edge) -> HttpHandler:
    """Return the shell of one endpoint: read, call within the deadline, write."""
    no_query = endpoint.query()

    async def handle(http: web.Request) -> web.StreamResponse:
        trace = http[_TRACE]
        path = check_path(http.match_info, endpoint.parameters)
        query = read_query(http, endpoint.query) if http.query_string else no_query
        body, raw_body = await read_body(http, endpoint)
        request: Request[Any, Any] = Request(
            path=path,
            query=query,
            body=body,
            raw_body=raw_body,
            wants_events="text/event-stream" in http.headers.get("Accept", ""),
            wants_openmetrics="application/openmetrics-text" in http.headers.get("Accept", ""),
            trace=trace,
            instance=_instance(http),
            edge=edge,
        )
        result = await perform(endpoint, request, _ask(http, request), node)
        if isinstance(result, Going):
            result = EventStream(_retold(result.events))
        if isinstance(result, EventStream):
            return await send_events(
                http,
                result,
                edge,
                lambda error: problem_of(error, instance=request.instance, trace_id=trace.trace_id),
                trace.trace_id,
            )
        return _render(result)

    return handle


async def _meet_expectation(http: web.Request) -> None:
    """Let a client go on that waits for our word. Other expectations may be ignored, and are.

    Reference: RFC 9110, section 10.1.1.
    """
    if http.headers["Expect"].lower() == "100-continue" and http.version == HttpVersion11:
        await http.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        # The response itself has not begun.
        http.writer.output_size = 0


def _ask(http: web.Request, request: Request[Any, Any]) -> Ask:
    return Ask(
        method="GET" if http.method == "HEAD" else http.method,
        path=http.path,
        query=http.query,
        body=request.raw_body,
        wants_events=request.wants_events,
    )


async def _retold(events: AsyncGenerator[Told | None]) -> AsyncIterator[StreamEvent | None]:
    async with aclosing(events):
        async for told in events:
            yield None if told is None else StreamEvent(told.name, told.data, told.number)


def _render(result: Result | Whole) -> web.Response:
    if isinstance(result, Whole):
        head = {"Content-Type": result.media_type} if result.body else {}
        headers = {**head, **result.headers}
        return web.Response(body=result.body or None, status=result.status, headers=headers)
    if isinstance(result, BaseModel):
        return _json(result, 200)
    if isinstance(result, Answer):
        response = (
            web.Response(status=result.status)
            if result.value is None
            else _json(result.value, result.status)
        )
        response.headers.update(result.headers)
        return response
    assert isinstance(result, Document), "streams were sent already"
    return web.Response(
        body=result.body, headers={"Content-Type": result.media_type, **result.headers}
    )


def _json(value: BaseModel, status: int) -> web.Response:
    return web.Response(
        body=type(value).__pydantic_serializer__.to_json(value, exclude_none=False),
        status=status,
        content_type="application/json",
    )


def _instance(http: web.Request) -> str:
    path = http.path[:INSTANCE_LENGTH_MAX]
    return path if path.isascii() else path.encode("utf-8", "backslashreplace").decode()


def _shell(edge: Edge, tracing: Tracing) -> Callable[..., Awaitable[web.StreamResponse]]:
    """Return what surrounds every request, those to unknown addresses included."""

    @web.middleware
    async def shell(http: web.Request, handler: HttpHandler) -> web.StreamResponse:
        loop_time_s = asyncio.get_running_loop().time
        started_at_s = loop_time_s()
        method = http.method if http.method in _METHODS else "other"
        route = _route(http)
        trace, span = tracing.enter(
            http.headers.get("traceparent"),
            f"{method} {route}",
            {"http.request.method": method, "http.route": route},
            may_begin=route not in _UNTRACED,
        )
        http[_TRACE] = trace
        CURRENT_TRACE.set(trace)
        with span:
            response = await _respond(http, handler, trace)
            span.set("http.response.status_code", response.status)
            if response.status >= 500:
                span.fail(str(response.status))
        edge.metrics.observe(
            route,
            method,
            response.status,
            None if response.prepared else loop_time_s() - started_at_s,
            trace.trace_id if span else None,
        )
        return response

    return shell


async def _respond(http: web.Request, handler: HttpHandler, trace: Trace) -> web.StreamResponse:
    """Let the handler answer, or answer that it could not."""
    try:
        refuse_foreign(http.method, http.headers, is_local=_is_local(http))
        response = await handler(http)
    except CaxtonError as error:
        response = _problem(error, http, trace)
    except web.HTTPException as error:
        response = _problem_of_framework(error, http, trace)
    except Exception:
        _log.exception("%s %s failed", http.method, _route(http))
        bug = Bug(
            "internal",
            "the request met a bug in Caxton",
            hint="Please report it, with the lines of the log that carry this trace_id.",
        )
        response = _problem(bug, http, trace)
    if not response.prepared:
        for name, value in HEADERS.items():
            response.headers.setdefault(name, value)
        response.headers["X-Trace-Id"] = trace.trace_id
    return response


def _is_local(http: web.Request) -> bool:
    transport = http.transport
    if transport is None:
        return False
    address = transport.get_extra_info("sockname")
    return isinstance(address, tuple) and is_loopback(address[0])


def _route(http: web.Request) -> str:
    resource = http.match_info.route.resource
    return "unmatched" if resource is None else resource.canonical


def _problem(error: CaxtonError, http: web.Request, trace: Trace) -> web.Response:
    document = problem_of(error, instance=_instance(http), trace_id=trace.trace_id)
    response = web.Response(
        body=msgspec.json.encode(document),
        status=error.kind.http_status,
        content_type=PROBLEM_MEDIA_TYPE,
    )
    wait = retry_after(error)
    if wait is not None:
        response.headers["Retry-After"] = wait
    if error.kind.http_status in {400, 413}:
        # What is left of the body is of no use, and reading on would help a flood.
        response.force_close()
    return response


def _problem_of_framework(
    error: web.HTTPException, http: web.Request, trace: Trace
) -> web.Response:
    if isinstance(error, web.HTTPMethodNotAllowed):
        allowed = ", ".join(sorted(error.allowed_methods))
        refused = Rejected(
            "method_not_allowed",
            f"{http.method[:20]} is not possible here",
            hint=f"Possible: {allowed}.",
            facts={"allowed": sorted(error.allowed_methods)},
        )
        response = _problem(refused, http, trace)
        response.headers["Allow"] = allowed
        return response
    if isinstance(error, web.HTTPNotFound):
        near = nearest_address(http.path, (endpoint.path for endpoint in ENDPOINTS))
        missing = NotFound(
            "route_not_found",
            f"there is nothing at {_instance(http)[:100]}",
            hint=f"Did you mean {near}?" if near else "GET /docs lists all addresses.",
            facts={"suggestions": [near] if near else []},
        )
        return _problem(missing, http, trace)
    _log.warning("the server library answered %d: %s", error.status, error.reason)
    return _problem(Rejected("malformed_request", "the request cannot be read"), http, trace)
