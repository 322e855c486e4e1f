"""Asks other nodes on behalf of a client: what belongs to them is answered by them, from any node.

A call is one request and a stream of parts on the channel that the link to the node has. Messages
never take this way: they travel on the link, journaled at both ends.

A call is made once. Whether a change was carried out when the connection broke is not known, and
the client is told so by `unreachable`, as it would be by a node of its own that died.
"""

import asyncio
import logging
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import asdict
from typing import Any, Final

import grpc
import msgspec

from caxton.errors import error_from_rpc
from caxton.v1 import peer_pb2
from caxton_node.domain.errors import (
    CaxtonError,
    Place,
    Rejected,
    TimedOut,
    Unavailable,
    error_from_code,
)
from caxton_node.forwarding.peer_calls import ChannelOf
from caxton_node.runtime.door import Ask, Door, Going, Told, Whole
from caxton_node.telemetry.trace import CURRENT_TRACE

__all__ = ["Tunnel", "serve_calls"]

BODY_BYTES_MAX: Final = 64_000_000
"""The largest answer that is passed on in one piece."""

CHUNK_BYTES: Final = 256 * 1024

CALL_S_MAX: Final = 3_700.0
"""Longer than any stream of the API lasts."""

WATCH_OPEN_S: Final = 1.0
"""How long a question waits for its turn elsewhere to become visible. Then it goes unseen."""

_SERVICE: Final = "caxton.v1.Peer"
_CALL: Final = "Call"

_log = logging.getLogger("caxton.tunnel")


class Tunnel:
    """The `Others` of a node.

    Args:
        channel_of: Where to reach a node.
        peers: Returns the names of the nodes that can be asked.
        holder: Returns the name of a live node that has an agent and is not this one.
        tasks: Own what shows here what happens elsewhere.
    """

    def __init__(
        self,
        *,
        channel_of: ChannelOf,
        peers: Callable[[], Sequence[str]],
        holder: Callable[[str], str | None],
        tasks: asyncio.TaskGroup,
    ) -> None:
        self._tasks = tasks
        self._watches: set[asyncio.Task[None]] = set()
        self._channel_of = channel_of
        self._peers = peers
        self._holder = holder

    def close(self) -> None:
        """Show nothing of other nodes any more."""
        for watch in self._watches:
            watch.cancel()

    def holder(self, agent: str) -> str | None:
        """Return the name of a live node that has an agent; None when no other has."""
        return self._holder(agent)

    def peers(self) -> Sequence[str]:
        """Return the names of the nodes that can be asked, by name."""
        return self._peers()

    async def ask(self, node: str, ask: Ask) -> Whole | Going:
        """Ask a node.

        Raises:
            CaxtonError: What it said; `unreachable`, `timed_out`.
        """
        parts = self._call(node, ask)
        is_passed_on = False
        try:
            first = await anext(parts, None)
            if first is None or first.WhichOneof("part") != "head":
                raise _unreachable(node, "its answer has no beginning")
            head = first.head
            if head.has_events:
                is_passed_on = True
                return Going(_events(parts))
            body = bytearray()
            async for part in parts:
                body += part.body
                if len(body) > BODY_BYTES_MAX:
                    raise _unreachable(node, f"its answer has over {BODY_BYTES_MAX:,} bytes")
            return Whole(head.status, head.media_type, bytes(body), dict(head.headers))
        finally:
            if not is_passed_on:
                await parts.aclose()

    async def _call(self, node: str, ask: Ask) -> Any:
        channel = self._channel_of(node)
        if channel is None:
            raise _unreachable(node, "it is not held alive")
        method = channel.unary_stream(
            f"/{_SERVICE}/{_CALL}",
            request_serializer=peer_pb2.PeerCallRequest.SerializeToString,
            response_deserializer=peer_pb2.PeerCallResponse.FromString,
        )
        request = peer_pb2.PeerCallRequest(
            method=ask.method,
            path=ask.path,
            query=dict(ask.query),
            body=ask.body,
            wants_events=ask.wants_events,
        )
        trace = CURRENT_TRACE.get()
        metadata = () if trace is None else (("traceparent", trace.traceparent),)
        call = method(request, metadata=metadata, timeout=CALL_S_MAX)
        try:
            async for part in call:
                yield part
        except grpc.aio.AioRpcError as error:
            raise _error_in(node, error) from None
        except asyncio.CancelledError:
            # gRPC raises it also when the channel was closed under the call.
            task = asyncio.current_task()
            if task is not None and task.cancelling():
                raise
            raise _unreachable(node, "the channel was closed") from None
        finally:
            call.cancel()

    @asynccontextmanager
    async def watching(
        self, node: str, message_id: str, show: Callable[..., None]
    ) -> AsyncIterator[None]:
        """Show here what a turn on another node shows, as long as the block lasts.

        It may show nothing, where the other node does not answer soon: what a turn shows may be
        lost, and a question does not wait for it.

        Args:
            node: That takes the turn.
            message_id: Of the message whose turn it is.
            show: Takes the kind of an event and its data by name.
        """
        ask = Ask(
            method="GET",
            path="/api/v1/events",
            query={"message_id": message_id},
            wants_events=True,
        )
        is_open = asyncio.Event()

        async def relay() -> None:
            try:
                going = await self.ask(node, ask)
                assert isinstance(going, Going), "events were asked for"
                async for told in going.events:
                    is_open.set()
                    if told is not None:
                        _show(told, show)
            except CaxtonError as problem:
                _log.info("what %s shows of %s is not seen here: %s", node, message_id, problem)
            except Exception:
                # Nobody's question may fail because nobody can watch.
                _log.exception("what %s shows of %s cannot be read", node, message_id)
            finally:
                is_open.set()

        relaying = self._tasks.create_task(relay(), name=f"watch {message_id}")
        self._watches.add(relaying)
        relaying.add_done_callback(self._watches.discard)
        try:
            if not await _in_time(is_open):
                _log.info("%s is slow to show what it does; going on without", node)
            yield
        finally:
            relaying.cancel()


async def _in_time(is_open: asyncio.Event) -> bool:
    try:
        async with asyncio.timeout(WATCH_OPEN_S):
            await is_open.wait()
    except TimeoutError:
        return False
    return True


def _show(told: Told, show: Callable[..., None]) -> None:
    data = msgspec.json.decode(told.data)
    if isinstance(data, dict):
        for key in ("number", "at", "kind"):
            data.pop(key, None)
        show(told.name, **data)


async def _events(parts: Any) -> AsyncGenerator[Told | None]:
    try:
        async for part in parts:
            if part.WhichOneof("part") != "event":
                yield None
                continue
            event = part.event
            number = event.number if event.HasField("number") else None
            yield Told(event.name, event.data, number)
    finally:
        await parts.aclose()


def _error_in(node: str, failure: grpc.aio.AioRpcError) -> CaxtonError:
    """Return what another node said as an error of ours."""
    told = error_from_rpc(failure)
    if not told.trace_id:
        # Not the node's own words: the call did not get there, or not back.
        if failure.code() is grpc.StatusCode.DEADLINE_EXCEEDED:
            return TimedOut("timed_out", f"the node {node!r} took too long")
        if failure.code() is grpc.StatusCode.RESOURCE_EXHAUSTED:
            return Rejected(
                "body_too_large",
                f"the node {node!r} has what this concerns, and takes no body of this size from "
                f"another node: {told.detail}",
                hint="Ask that node itself, or raise `grpc.max_message` on all nodes.",
            )
        return _unreachable(node, told.detail)
    places = [Place(**asdict(place)) for place in told.places]
    return error_from_code(told.code, told.detail, hint=told.hint, places=places, facts=told.facts)


def _unreachable(node: str, why: str) -> Unavailable:
    return Unavailable("unreachable", f"the node {node!r} does not answer: {why}")


def serve_calls(server: grpc.aio.Server, door: Door) -> None:
    """Answer what other nodes ask on behalf of their clients.

    Args:
        server: Not started yet.
        door: Answers.
    """

    async def call(request: peer_pb2.PeerCallRequest, _: Any) -> AsyncIterator[Any]:
        answer = await door.ask(
            Ask(
                method=request.method,
                path=request.path,
                query=dict(request.query),
                body=request.body,
                wants_events=request.wants_events,
                is_from_node=True,
            )
        )
        async for part in _parts(answer):
            yield part

    server.add_generic_rpc_handlers(
        (
            grpc.method_handlers_generic_handler(
                _SERVICE,
                {
                    _CALL: grpc.unary_stream_rpc_method_handler(
                        call,
                        request_deserializer=peer_pb2.PeerCallRequest.FromString,
                        response_serializer=peer_pb2.PeerCallResponse.SerializeToString,
                    )
                },
            ),
        )
    )


async def _parts(answer: Whole | Going) -> AsyncIterator[peer_pb2.PeerCallResponse]:
    if isinstance(answer, Whole):
        head = peer_pb2.PeerCallHead(
            status=answer.status, media_type=answer.media_type, headers=answer.headers
        )
        yield peer_pb2.PeerCallResponse(head=head)
        for start in range(0, len(answer.body), CHUNK_BYTES):
            yield peer_pb2.PeerCallResponse(body=answer.body[start : start + CHUNK_BYTES])
        return
    events = answer.events
    try:
        # Before anything is said: what goes wrong at once is the status of the call.
        first = await anext(events, None)
        head = peer_pb2.PeerCallHead(status=200, has_events=True)
        yield peer_pb2.PeerCallResponse(head=head)
        yield _event(first)
        async for told in events:
            yield _event(told)
    finally:
        await events.aclose()


def _event(told: Told | None) -> peer_pb2.PeerCallResponse:
    if told is None:
        return peer_pb2.PeerCallResponse(is_alive=True)
    event = peer_pb2.PeerCallEvent(name=told.name, data=told.data, number=told.number)
    return peer_pb2.PeerCallResponse(event=event)
