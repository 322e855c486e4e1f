"""The members of an etcd cluster: one connection each, made when it is needed, one in use.

Whoever is in use stays so until a call to it fails; then it is the next one's turn. Connections
are watched by HTTP/2 pings while something is under way on them, so that a member that went away
without a word is noticed in `KEEPALIVE_TIME_S` and some.
"""

import asyncio
from collections.abc import Sequence
from typing import Any, Final, TypeVar
from urllib.parse import urlsplit

import grpc
import grpc.aio
from google.protobuf.message import Message

from caxton_cluster.metadata.methods import Method

__all__ = ["RECEIVED_BYTES_MAX", "Member", "Members"]

KEEPALIVE_TIME_S: Final = 6.0
"""Etcd ends a connection that is pinged more often than every 5 s."""
KEEPALIVE_TIMEOUT_S: Final = 2.0
RECONNECT_FIRST_S: Final = 0.1
RECONNECT_MAX_S: Final = 1.0
RECEIVED_BYTES_MAX: Final = 64 * 1024 * 1024
"""Largest answer. Listings come in pages that are well below."""

_OPTIONS: Final = (
    ("grpc.keepalive_time_ms", int(KEEPALIVE_TIME_S * 1000)),
    ("grpc.keepalive_timeout_ms", int(KEEPALIVE_TIMEOUT_S * 1000)),
    ("grpc.http2.max_pings_without_data", 0),
    ("grpc.initial_reconnect_backoff_ms", int(RECONNECT_FIRST_S * 1000)),
    ("grpc.min_reconnect_backoff_ms", int(RECONNECT_MAX_S * 1000)),
    ("grpc.max_reconnect_backoff_ms", int(RECONNECT_MAX_S * 1000)),
    ("grpc.max_receive_message_length", RECEIVED_BYTES_MAX),
    # Etcd is inside of the network, whatever proxy the environment names for the outside.
    ("grpc.enable_http_proxy", 0),
    # Whether something is sent again is decided here, by what it does.
    ("grpc.enable_retries", 0),
    ("grpc.use_local_subchannel_pool", 1),
)

RequestT = TypeVar("RequestT", bound=Message)
ResponseT = TypeVar("ResponseT", bound=Message)


class Member:
    """One member, by its URL."""

    def __init__(self, url: str, credentials: grpc.ChannelCredentials | None) -> None:
        self.url = url
        target = urlsplit(url).netloc
        self._channel = (
            grpc.aio.insecure_channel(target, options=_OPTIONS)
            if credentials is None
            else grpc.aio.secure_channel(target, credentials, options=_OPTIONS)
        )
        self._unary: dict[str, grpc.aio.UnaryUnaryMultiCallable[Any, Any]] = {}
        self._streams: dict[str, grpc.aio.StreamStreamMultiCallable[Any, Any]] = {}

    def unary(
        self, method: Method[RequestT, ResponseT]
    ) -> "grpc.aio.UnaryUnaryMultiCallable[RequestT, ResponseT]":
        """Return what makes a call with one answer."""
        stub = self._unary.get(method.path)
        if stub is None:
            stub = self._channel.unary_unary(
                method.path,
                request_serializer=method.request.SerializeToString,
                response_deserializer=method.response.FromString,
            )
            self._unary[method.path] = stub
        return stub

    def stream(
        self, method: Method[RequestT, ResponseT]
    ) -> "grpc.aio.StreamStreamMultiCallable[RequestT, ResponseT]":
        """Return what opens a stream in both directions."""
        stub = self._streams.get(method.path)
        if stub is None:
            stub = self._channel.stream_stream(
                method.path,
                request_serializer=method.request.SerializeToString,
                response_deserializer=method.response.FromString,
            )
            self._streams[method.path] = stub
        return stub

    @property
    def is_connected(self) -> bool:
        """Whether the connection is made. Begins to make it where it is not."""
        state = self._channel.get_state(try_to_connect=True)
        return state is grpc.ChannelConnectivity.READY

    async def settled(self) -> None:
        """Wait until the connection is made, or has failed.

        What is sent after a failure fails at once and says why, and surely was not sent.
        """
        state = self._channel.get_state(try_to_connect=True)
        while state in {grpc.ChannelConnectivity.IDLE, grpc.ChannelConnectivity.CONNECTING}:
            await self._channel.wait_for_state_change(state)
            state = self._channel.get_state(try_to_connect=True)

    async def close(self) -> None:
        """Cancel what is under way, and hang up."""
        await self._channel.close()


class Members:
    """All of them, and whose turn it is.

    Args:
        urls: Their addresses; the first one is tried first.
        credentials: For TLS; None speaks plain text.
    """

    def __init__(self, urls: Sequence[str], credentials: grpc.ChannelCredentials | None) -> None:
        assert urls, "the settings have checked it"
        self._members = [Member(url, credentials) for url in urls]
        self._turn = 0
        self.changes_count = 0
        """How often the turn passed on."""

    def __len__(self) -> int:
        return len(self._members)

    @property
    def current(self) -> Member:
        """Whose turn it is."""
        return self._members[self._turn]

    def pass_on(self, failed: Member) -> None:
        """Let the next one have its turn, unless that has happened since `failed` was asked."""
        if self.current is failed and len(self._members) > 1:
            self._turn = (self._turn + 1) % len(self._members)
            self.changes_count += 1

    async def close(self) -> None:
        """Hang up on all."""
        await asyncio.gather(*(member.close() for member in self._members))
