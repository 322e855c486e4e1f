"""Calls between nodes beside their link: records that were missed, definitions, agents' pasts.

Each is one request and a stream of parts, on the channel that the link has, so that bulk never
delays a message. Whoever calls bounds the time and the size; whoever serves cuts the parts.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Collection
from hashlib import sha256
from typing import Any, Final

import grpc
import msgspec

from caxton.v1 import peer_pb2
from caxton.v1.agents_pb2 import DefinitionFormat
from caxton_cluster.errors import MalformedPacket
from caxton_cluster.registry import Delta, Owner, Registry, decode, encode
from caxton_node.domain.errors import CaxtonError, Unavailable
from caxton_node.forwarding.pasts import parts_of, past_of
from caxton_node.runtime.past import Past, Pasts, merged
from caxton_node.store.protocol import Definition, Store
from caxton_node.wasm.binary import SIZE_BYTES_MAX

__all__ = ["DEFINITION_BYTES_MAX", "PeerCalls", "serve_peer_calls"]

PULL_TIMEOUT_S: Final = 30.0
FETCH_TIMEOUT_S: Final = 5.0
KEEP_TIMEOUT_S: Final = 2.0
PAST_TIMEOUT_S: Final = 1.0
"""A turn waits for it."""

MODULE_TIMEOUT_S: Final = 30.0
"""For a WebAssembly file: up to 64 MiB."""

DEFINITION_BYTES_MAX: Final = 4_000_000
"""More than the largest body of a request that brings a definition."""

CHUNK_BYTES: Final = 256 * 1024

PAST_BYTES_MAX: Final = 1_000_000
"""Of messages that one node tells of a conversation."""

_PULL: Final = "PullRegistry"
_FETCH: Final = "FetchDefinition"
_KEEP: Final = "KeepDefinition"
_PAST: Final = "FetchPast"
_SERVICE: Final = "caxton.v1.Peer"

_FORMAT_OF: Final = {
    "toml": DefinitionFormat.DEFINITION_FORMAT_TOML,
    "markdown": DefinitionFormat.DEFINITION_FORMAT_MARKDOWN,
    "json": DefinitionFormat.DEFINITION_FORMAT_JSON,
}
_NAME_OF: Final = {number: name for name, number in _FORMAT_OF.items()}

ChannelOf = Callable[[str], grpc.aio.Channel | None]
"""Returns the channel to a node, or None when it is not held alive."""


class PeerCalls:
    """Asks other nodes.

    Args:
        channel_of: Where to reach them.
    """

    def __init__(self, channel_of: ChannelOf) -> None:
        self._channel_of = channel_of

    async def pull(self, node: str, owner: Owner, after_version: int) -> AsyncIterator[Delta]:
        """Yield what a node has of an owner's records, in order of version.

        Raises:
            Unavailable: `unreachable`, also when what it sends cannot be read.
        """
        request = peer_pb2.PeerPullRegistryRequest(
            owner=peer_pb2.RegistryOwner(node_id=owner.node, epoch=owner.epoch),
            after_version=after_version,
        )
        async for part in self._stream(
            node, _PULL, request, peer_pb2.PeerPullRegistryResponse.FromString, PULL_TIMEOUT_S
        ):
            try:
                frame = decode(part.delta)
            except MalformedPacket as error:
                raise _unreachable(node, str(error)) from None
            if not isinstance(frame, Delta):
                raise _unreachable(node, "it sent a digest for a delta")
            yield frame

    async def definition(self, node: str, digest: str) -> Definition | None:
        """Return a definition that a node has, or None when it has it not.

        Raises:
            Unavailable: `unreachable`, also when what it sends is not what was asked for.
        """
        request = peer_pb2.PeerFetchDefinitionRequest(digest=bytes.fromhex(digest))
        source, name = bytearray(), ""
        async for part in self._stream(
            node, _FETCH, request, peer_pb2.PeerFetchDefinitionResponse.FromString, FETCH_TIMEOUT_S
        ):
            name = name or _NAME_OF.get(part.format, "")
            source += part.chunk
            if len(source) > DEFINITION_BYTES_MAX:
                raise _unreachable(node, f"its definition has over {DEFINITION_BYTES_MAX} bytes")
        if not name:
            return None
        if sha256(source).hexdigest() != digest:
            raise _unreachable(node, "its definition is not what its digest says")
        try:
            # As the digest is taken: what a client sends may hold halves of surrogate pairs.
            text = source.decode(errors="surrogatepass")
        except UnicodeDecodeError:
            raise _unreachable(node, "its definition is no text") from None
        return Definition(digest=digest, format=name, source=text)

    async def module(self, node: str, digest: str) -> bytes | None:
        """Return a WebAssembly file that a node has, or None when it has it not.

        Raises:
            Unavailable: `unreachable`, also when what it sends is not what was asked for.
        """
        request = peer_pb2.PeerFetchDefinitionRequest(digest=bytes.fromhex(digest))
        read = peer_pb2.PeerFetchDefinitionResponse.FromString
        data = bytearray()
        async for part in self._stream(node, _FETCH, request, read, MODULE_TIMEOUT_S):
            data += part.chunk
            if len(data) > SIZE_BYTES_MAX:
                raise _unreachable(node, f"its file has over {SIZE_BYTES_MAX:,} bytes")
        if not data:
            return None
        if await asyncio.to_thread(lambda: sha256(data).hexdigest()) != digest:
            raise _unreachable(node, "its file is not what its digest says")
        return bytes(data)

    async def keep(self, node: str, digest: str, holder: str) -> None:
        """Have a node fetch a definition from `holder`; return when it has it on disk.

        Raises:
            Unavailable: `unreachable`, also when it could not fetch it.
        """
        request = peer_pb2.PeerKeepDefinitionRequest(digest=bytes.fromhex(digest), holder=holder)
        read = peer_pb2.PeerKeepDefinitionResponse.FromString
        async for _ in self._stream(node, _KEEP, request, read, KEEP_TIMEOUT_S):
            return
        raise _unreachable(node, "it did not say that it has the definition")

    async def past(self, node: str, agent: str, conversation_id: str, day: str) -> Past:
        """Return what a node has of an agent's past; see `caxton_node.runtime.past`.

        Raises:
            Unavailable: `unreachable`, also when what it sends cannot be read.
        """
        request = peer_pb2.PeerFetchPastRequest(
            agent=agent, conversation_id=conversation_id, day=day
        )
        read = peer_pb2.PeerFetchPastResponse.FromString
        parts, size_bytes = [], 0
        async for part in self._stream(node, _PAST, request, read, PAST_TIMEOUT_S):
            size_bytes += part.ByteSize()
            if size_bytes > 2 * PAST_BYTES_MAX:
                raise _unreachable(node, f"its past has over {2 * PAST_BYTES_MAX:,} bytes")
            try:
                parts.append(past_of(part))
            except msgspec.DecodeError as error:
                raise _unreachable(node, f"it sent what is no message: {error}") from None
        return merged(parts)

    async def _stream(
        self, node: str, method: str, request: Any, read: Callable[[bytes], Any], timeout_s: float
    ) -> AsyncIterator[Any]:
        channel = self._channel_of(node)
        if channel is None:
            raise _unreachable(node, "it is not held alive")
        ask = channel.unary_stream(
            f"/{_SERVICE}/{method}",
            request_serializer=type(request).SerializeToString,
            response_deserializer=read,
        )
        call = ask(request, timeout=timeout_s)
        try:
            async for part in call:
                yield part
        except grpc.aio.AioRpcError as error:
            raise _unreachable(node, error.details() or error.code().name) from None
        except asyncio.CancelledError:
            # gRPC raises it also when the channel was closed under the call.
            task = asyncio.current_task()
            if task is not None and task.cancelling():
                raise
            raise _unreachable(node, "the channel was closed") from None
        finally:
            call.cancel()


def _unreachable(node: str, why: str) -> Unavailable:
    return Unavailable("unreachable", f"the node {node!r} does not answer: {why}")


def serve_peer_calls(
    server: grpc.aio.Server,
    registry: Registry,
    store: Store,
    find: Callable[[str, Collection[str]], Awaitable[Definition]],
    read_module: Callable[[str], bytes | None],
    pasts: Pasts,
) -> None:
    """Answer the calls of other nodes, beside their links.

    Args:
        server: Not started yet.
        registry: Whose records are served.
        store: Whose definitions are served.
        find: Fetches a definition from one of several nodes and keeps it.
        read_module: Returns a WebAssembly file by its digest. Blocking.
        pasts: What agents have behind them on this node.
    """

    async def pull(request: Any, _: Any) -> AsyncIterator[Any]:
        owner = Owner(request.owner.node_id, request.owner.epoch)
        for delta in registry.serve_pull(owner, request.after_version):
            yield peer_pb2.PeerPullRegistryResponse(delta=encode(delta))

    async def fetch(request: Any, _: Any) -> AsyncIterator[Any]:
        digest = request.digest.hex()
        found = await store.definition(digest)
        if found is None:
            # A file goes by its digest like a definition; it has no format.
            data = await asyncio.to_thread(read_module, digest) or b""
            for start in range(0, len(data), CHUNK_BYTES):
                chunk = data[start : start + CHUNK_BYTES]
                yield peer_pb2.PeerFetchDefinitionResponse(chunk=chunk, size_bytes=len(data))
            return
        source = found.source.encode(errors="surrogatepass")
        for start in range(0, max(1, len(source)), CHUNK_BYTES):
            part = peer_pb2.PeerFetchDefinitionResponse(chunk=source[start : start + CHUNK_BYTES])
            if start == 0:
                part.format, part.size_bytes = _FORMAT_OF[found.format], len(source)
            yield part

    async def keep(request: Any, context: grpc.aio.ServicerContext[Any, Any]) -> AsyncIterator[Any]:
        try:
            await find(request.digest.hex(), (request.holder,))
        except CaxtonError as problem:
            await context.abort(grpc.StatusCode.UNAVAILABLE, problem.detail)
        yield peer_pb2.PeerKeepDefinitionResponse()

    async def tell_past(request: Any, _: Any) -> AsyncIterator[Any]:
        for part in parts_of(
            await pasts.here(request.agent, request.conversation_id, request.day),
            bytes_max=PAST_BYTES_MAX,
        ):
            yield part

    methods = {
        _KEEP: _by(keep, peer_pb2.PeerKeepDefinitionRequest),
        _PAST: _by(tell_past, peer_pb2.PeerFetchPastRequest),
        _PULL: _by(pull, peer_pb2.PeerPullRegistryRequest),
        _FETCH: _by(fetch, peer_pb2.PeerFetchDefinitionRequest),
    }
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(_SERVICE, methods),))


def _by(answer: Callable[..., AsyncIterator[Any]], request: Any) -> Any:
    """Return how gRPC is to have requests of one kind answered."""
    return grpc.unary_stream_rpc_method_handler(
        answer,
        request_deserializer=request.FromString,
        response_serializer=lambda part: part.SerializeToString(),
    )
