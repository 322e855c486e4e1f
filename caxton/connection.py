"""The channels of a client: which node to call, what to present, when to try again.

A call that changes nothing, or that the server knows as a repeat, is tried again on another
endpoint when the connection breaks. Any other is made once, on an endpoint that is connected by
then: whether it was carried out when the connection broke is not known, and is not guessed.
"""

import asyncio
from collections.abc import AsyncGenerator, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import grpc

from caxton.endpoints import Endpoints, is_local
from caxton.errors import CaxtonError, Unavailable, error_from_rpc

__all__ = ["CONNECT_S", "GRACE_S", "ITEMS_MAX", "PAGE", "Connection", "Tls"]

CONNECT_S: Final = 5.0
"""How long one endpoint may take to be connected, where there are others to try."""

ROUNDS_MAX: Final = 5
"""How often each endpoint is tried for one call."""

PAUSE_S: Final = 0.1
"""Between two rounds; it doubles."""

PAGE: Final = 200
"""Items that a list is fetched by."""

ITEMS_MAX: Final = 100_000
"""What a list may hold that is fetched page by page."""

GRACE_S: Final = 5.0
"""How much longer than the server a call waits for its answer."""

MESSAGE_BYTES_MAX: Final = 64_000_000

_OPTIONS: Final = (
    ("grpc.max_receive_message_length", MESSAGE_BYTES_MAX),
    ("grpc.max_send_message_length", MESSAGE_BYTES_MAX),
    ("grpc.keepalive_time_ms", 30_000),
    ("grpc.keepalive_timeout_ms", 10_000),
    # A node that is back is found at once; whom to try is decided here, not by gRPC.
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 2_000),
    # gRPC's own retries would hide from us which endpoint failed.
    ("grpc.enable_retries", 0),
)

_MOVED_ON: Final = frozenset({"unreachable", "node_draining"})
"""What another endpoint may answer better."""

Stub = Callable[[grpc.aio.Channel], Any]
"""Returns the method to call on a channel."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tls:
    """How to know the server, and to be known by it. Paths of files in PEM, read once."""

    ca: Path | str | None = None
    """Whom to trust; the system's authorities when None."""
    certificate: Path | str | None = None
    """Who the client is, where the server asks for it."""
    key: Path | str | None = None
    """Of the certificate."""
    server_name: str | None = None
    """The name that the server must prove, where it is not the host of the endpoint: for a node
    whose certificate names no host, `NAME.node.caxton.internal`."""

    def credentials(self) -> grpc.ChannelCredentials:
        """Read the files.

        Raises:
            OSError: One cannot be read.
            ValueError: A certificate without its key, or the other way round.
        """
        if (self.certificate is None) != (self.key is None):
            raise ValueError("a certificate and its key go together")
        return grpc.ssl_channel_credentials(
            *(
                None if path is None else Path(path).read_bytes()
                for path in (self.ca, self.key, self.certificate)
            )
        )


class Connection:
    """The channels of one client.

    Args:
        endpoints: `host:port` each.
        tls: None for plain channels.
        token: Sent with every call, as `authorization: Bearer …`.
        timeout_s: For a call that names none of its own, all tries together.

    Raises:
        ValueError: An endpoint is wrong; a token would travel unencrypted.
        OSError: A file of `tls` cannot be read.
    """

    def __init__(
        self, endpoints: Sequence[str], *, tls: Tls | None, token: str | None, timeout_s: float
    ) -> None:
        self._endpoints = Endpoints(endpoints)
        if token is not None and tls is None and not all(map(is_local, self._endpoints.all)):
            raise ValueError("a token is sent by TLS only, but for this machine: give `tls`")
        self._tls = tls
        self._credentials = None if tls is None else tls.credentials()
        self._metadata = () if token is None else (("authorization", f"Bearer {token}"),)
        self._timeout_s = timeout_s
        self._channels: dict[str, grpc.aio.Channel] = {}

    async def close(self) -> None:
        """Close all channels. Calls under way end with `unreachable`."""
        channels, self._channels = self._channels, {}
        for channel in channels.values():
            await channel.close()

    def _channel(self, endpoint: str) -> grpc.aio.Channel:
        channel = self._channels.get(endpoint)
        if channel is None:
            channel = self._channels[endpoint] = self._open(endpoint)
        return channel

    def _open(self, endpoint: str) -> grpc.aio.Channel:
        if self._credentials is None:
            return grpc.aio.insecure_channel(endpoint, options=_OPTIONS)
        options: tuple[tuple[str, Any], ...] = _OPTIONS
        if self._tls is not None and self._tls.server_name is not None:
            options = (*options, ("grpc.ssl_target_name_override", self._tls.server_name))
        return grpc.aio.secure_channel(endpoint, self._credentials, options=options)

    async def call(
        self,
        stub: Stub,
        request: Any,
        *,
        is_repeatable: bool = False,
        timeout_s: float | None = None,
    ) -> Any:
        """Make a call with one answer.

        Args:
            stub: The method.
            request: What to send.
            is_repeatable: Making it twice does no more than making it once.
            timeout_s: All tries together; the client's own when None.

        Raises:
            CaxtonError: What the server said; `unreachable`; `timed_out`.
        """
        timeout_s = self._timeout_s if timeout_s is None else timeout_s
        ends_at_s = _now_s() + timeout_s
        last: CaxtonError = self._unreachable()
        async for endpoint in self._tries(ends_at_s):
            left_s = ends_at_s - _now_s()
            if left_s <= 0:
                break
            method = stub(self._channel(endpoint))
            try:
                answer = await method(request, timeout=left_s, metadata=self._metadata)
            except grpc.aio.AioRpcError as failure:
                last = error_from_rpc(failure)
                if last.code not in _MOVED_ON:
                    raise last from None
                self._endpoints.failed(endpoint, _now_s())
                if not is_repeatable and last.code != "node_draining":
                    raise last from None
            except asyncio.CancelledError:
                _raise_if_ours()
                raise _closed() from None
            else:
                self._endpoints.answered(endpoint)
                return answer
        raise last

    async def read(self, stub: Stub, request: Any) -> Any:
        """Make a call that changes nothing."""
        return await self.call(stub, request, is_repeatable=True)

    async def stream(
        self, stub: Stub, request: Any, *, timeout_s: float | None = None
    ) -> AsyncGenerator[Any]:
        """Yield the answers of a call that has many. It is made once.

        Args:
            stub: The method.
            request: What to send, or an iterator of it.
            timeout_s: For all of it; None lasts until one side ends it.

        Raises:
            CaxtonError: What the server said; `unreachable`; `timed_out`.
        """
        endpoint = await self.connected()
        call = stub(self._channel(endpoint))(request, timeout=timeout_s, metadata=self._metadata)
        try:
            async for answer in call:
                self._endpoints.answered(endpoint)
                yield answer
        except grpc.aio.AioRpcError as failure:
            raise error_from_rpc(failure) from None
        except asyncio.CancelledError:
            _raise_if_ours()
            raise _closed() from None
        finally:
            call.cancel()

    async def open_stream(self, stub: Stub) -> Any:
        """Return a bidirectional call on a connected endpoint, for the caller to read and write.

        Raises:
            Unavailable: `unreachable`.
        """
        endpoint = await self.connected()
        return stub(self._channel(endpoint))(metadata=self._metadata)

    async def connected(self, timeout_s: float | None = None) -> str:
        """Return an endpoint that is connected.

        Raises:
            Unavailable: `unreachable`: none can be.
        """
        ends_at_s = _now_s() + (self._timeout_s if timeout_s is None else timeout_s)
        async for endpoint in self._tries(ends_at_s):
            return endpoint
        raise self._unreachable()

    def _unreachable(self) -> Unavailable:
        return Unavailable(
            "unreachable", f"none of {', '.join(self._endpoints.all)} can be reached"
        )

    async def _tries(self, ends_at_s: float) -> AsyncGenerator[str]:
        """Yield endpoints that are connected, the best first, until the time is up."""
        pause_s = PAUSE_S
        for round_number in range(ROUNDS_MAX):
            if round_number:
                await asyncio.sleep(min(pause_s, max(0.0, ends_at_s - _now_s())))
                pause_s *= 2
            for endpoint in self._endpoints.order(_now_s()):
                left_s = ends_at_s - _now_s()
                if left_s <= 0:
                    return
                if await self._connect(endpoint, min(left_s, CONNECT_S)):
                    yield endpoint
                else:
                    self._endpoints.failed(endpoint, _now_s())

    async def _connect(self, endpoint: str, timeout_s: float) -> bool:
        """Return whether a channel is connected within a time; False as soon as it cannot be."""
        channel = self._channel(endpoint)
        state = channel.get_state(try_to_connect=True)
        try:
            async with asyncio.timeout(timeout_s):
                while state is not grpc.ChannelConnectivity.READY:
                    if state in _HOPELESS:
                        return False
                    await channel.wait_for_state_change(state)
                    state = channel.get_state(try_to_connect=True)
        except TimeoutError:
            return False
        return True


_HOPELESS: Final = frozenset(
    {grpc.ChannelConnectivity.TRANSIENT_FAILURE, grpc.ChannelConnectivity.SHUTDOWN}
)


def _raise_if_ours() -> None:
    """Let a cancellation through that is meant for the caller: gRPC raises it for its own, too."""
    task = asyncio.current_task()
    if task is not None and task.cancelling():
        raise asyncio.CancelledError


def _closed() -> Unavailable:
    return Unavailable("unreachable", "the client was closed under the call")


def _now_s() -> float:
    return asyncio.get_running_loop().time()
