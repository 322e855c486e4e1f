"""What surrounds every gRPC call: who may call, a trace, and one shape for whatever goes wrong."""

import asyncio
import inspect
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import aclosing, contextmanager
from typing import Any, Final, TypeAlias

import grpc
from google.protobuf.message import DecodeError

from caxton_node.domain.errors import Bug, CaxtonError, Denied, Rejected, Unavailable
from caxton_node.grpc_api.failures import details_metadata, status_code
from caxton_node.security.identity import identity_of
from caxton_node.telemetry.spans import NoSpan, Span, Tracing
from caxton_node.telemetry.trace import (
    CURRENT_TRACE,
    Trace,
    new_trace,
)

__all__ = ["Shell", "trace_in_force"]

_log = logging.getLogger("caxton.grpc")

_Context = grpc.aio.ServicerContext[Any, Any]
# Quoted: the stubs know it as generic, the library does not.
_Handler: TypeAlias = "grpc.RpcMethodHandler[Any, Any] | None"
_Behaviour = Callable[[Any, _Context], Any]

TRACEPARENT: Final = "traceparent"
TRACE_ID: Final = "x-trace-id"


def trace_in_force() -> Trace:
    """Return the trace of the call that is being served."""
    return CURRENT_TRACE.get() or new_trace()


class Shell(grpc.aio.ServerInterceptor):
    """Wraps the methods of all services.

    Args:
        for_nodes: Names of services that only other nodes may call.
        for_all: Names of services that nodes and clients may call. All others are for clients.
        tracing: Records calls.
    """

    def __init__(
        self, *, for_nodes: frozenset[str], for_all: frozenset[str], tracing: Tracing
    ) -> None:
        self._tracing = tracing
        self._for_nodes = for_nodes
        self._for_all = for_all
        # By method. Only methods that exist get here, so that it cannot grow.
        self._wrapped: dict[str, _Handler] = {}
        self._streams: set[asyncio.Task[Any]] = set()
        self._is_ending = False

    def end_streams(self) -> None:
        """End the streams of clients: the node is stopping. Nodes end theirs by themselves."""
        self._is_ending = True
        for task in self._streams:
            task.cancel()

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[_Handler]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> _Handler:
        """Return the handler of a call with everything around it."""
        method = handler_call_details.method
        wrapped = self._wrapped.get(method)
        if wrapped is not None:
            return wrapped
        handler = await continuation(handler_call_details)
        if handler is None:
            return None
        wrapped = self._wrapped[method] = self._wrap(method, handler)
        return wrapped

    def _wrap(self, method: str, handler: Any) -> _Handler:
        # The stubs know the kinds of methods of the blocking server only.
        make: Callable[..., Any]
        inner: Any
        match handler.request_streaming, handler.response_streaming:
            case True, True:
                make, inner = grpc.stream_stream_rpc_method_handler, handler.stream_stream
            case False, True:
                make, inner = grpc.unary_stream_rpc_method_handler, handler.unary_stream
            case True, False:
                make, inner = grpc.stream_unary_rpc_method_handler, handler.stream_unary
            case _:
                make, inner = grpc.unary_unary_rpc_method_handler, handler.unary_unary
        # A method that streams by `context.write` is a coroutine as the others are.
        wrap = self._plain if inspect.iscoroutinefunction(inner) else self._streaming
        is_ended = handler.response_streaming and _service(method) not in self._for_nodes
        outer = wrap(method, inner, is_ended=is_ended)
        read = handler.request_deserializer
        if not handler.request_streaming:
            # Left to gRPC, bytes that are no message would end as an unknown error in our log.
            read = _reader(read)
        return make(outer, read, handler.response_serializer)

    def _plain(self, method: str, behaviour: _Behaviour, *, is_ended: bool) -> _Behaviour:
        async def call(request: Any, context: _Context) -> Any:
            trace, span = self._begin(method, context)
            try:
                with span:
                    self._check(method, context)
                    with self._kept(is_ended=is_ended):
                        return await behaviour(_readable(request), context)
            except CaxtonError as error:
                await _fail(context, error, trace)
            except (grpc.aio.AbortError, grpc.aio.BaseError):
                raise
            except Exception:
                await _fail(context, _bug(method), trace)

        return call

    def _streaming(self, method: str, behaviour: _Behaviour, *, is_ended: bool) -> _Behaviour:
        async def call(request: Any, context: _Context) -> AsyncIterator[Any]:
            trace, span = self._begin(method, context)
            try:
                with span:
                    self._check(method, context)
                    with self._kept(is_ended=is_ended):
                        async with aclosing(behaviour(_readable(request), context)) as responses:
                            async for response in responses:
                                yield response
            except CaxtonError as error:
                await _fail(context, error, trace)
            except (grpc.aio.AbortError, grpc.aio.BaseError):
                raise
            except Exception:
                await _fail(context, _bug(method), trace)

        return call

    def _begin(self, method: str, context: _Context) -> tuple[Trace, Span | NoSpan]:
        metadata = dict(context.invocation_metadata() or ())
        said = metadata.get(TRACEPARENT)
        name = method.removeprefix("/")
        service = _service(method)
        trace, span = self._tracing.enter(
            said if isinstance(said, str) else None,
            name,
            {"rpc.system.name": "grpc", "rpc.method": name},
            # Links of nodes last for days, and probes come every few seconds.
            may_begin=service not in self._for_nodes and service not in self._for_all,
        )
        CURRENT_TRACE.set(trace)
        return trace, span

    @contextmanager
    def _kept(self, *, is_ended: bool) -> Iterator[None]:
        """Know the task of a stream as long as it runs, to end it when the node stops.

        Raises:
            Unavailable: `node_draining`: it was ended so.
        """
        task = asyncio.current_task()
        if not is_ended or task is None:
            yield
            return
        self._streams.add(task)
        try:
            yield
        except asyncio.CancelledError:
            if not self._is_ending:
                raise
            raise Unavailable(
                "node_draining", "this node is stopping", hint="Ask another node."
            ) from None
        finally:
            self._streams.discard(task)

    def _check(self, method: str, context: _Context) -> None:
        """Let a call pass that its caller may make.

        Raises:
            Denied: `denied`.
        """
        service = _service(method)
        if service in self._for_all:
            return
        caller = identity_of(context.auth_context())
        if service in self._for_nodes:
            if not caller.is_peer:
                raise Denied("denied", f"only nodes may call {service}, with their certificates")
        elif not caller.is_client:
            raise Denied(
                "denied",
                f"a certificate of a node does not open {service}"
                if caller.kind == "node"
                else "the certificate names no client",
                hint="make one for a client with: caxton security gen-cert --client NAME",
            )


def _service(method: str) -> str:
    return method.split("/")[1]


class _Unreadable:
    """Stands for a request whose bytes are no message of its method."""


def _reader(read: Callable[[bytes], Any] | None) -> Callable[[bytes], Any] | None:
    if read is None:
        return None

    def reader(data: bytes) -> Any:
        try:
            return read(data)
        except DecodeError:
            return _Unreadable()

    return reader


def _readable(request: Any) -> Any:
    if isinstance(request, _Unreadable):
        raise Rejected("malformed_body", "the request is no message of this method")
    return request


async def _fail(context: _Context, error: CaxtonError, trace: Trace) -> None:
    trailing: tuple[tuple[str, str | bytes], ...] = (
        (TRACE_ID, trace.trace_id),
        *details_metadata(error, trace_id=trace.trace_id),
    )
    await context.abort(status_code(error), error.detail[:1_000], trailing)


def _bug(method: str) -> Bug:
    _log.exception("%s failed", method)
    return Bug(
        "internal",
        "the request met a bug in Caxton",
        hint="Please report it, with the lines of the log that carry this trace_id.",
    )
