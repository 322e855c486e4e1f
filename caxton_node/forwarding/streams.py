"""The two ends of a call as one kind of stream."""

from collections.abc import Callable
from typing import Any

import grpc

from caxton.v1.peer_pb2 import LinkFrame, PeerLinkRequest, PeerLinkResponse

__all__ = ["LINK_METHOD", "Answered", "Called"]

LINK_METHOD = "/caxton.v1.Peer/Link"


class Called:
    """The stream of a call that this node made.

    Args:
        channel: To the other node.
    """

    def __init__(self, channel: grpc.aio.Channel) -> None:
        method = channel.stream_stream(
            LINK_METHOD,
            request_serializer=PeerLinkRequest.SerializeToString,
            response_deserializer=PeerLinkResponse.FromString,
        )
        self._call: Any = method()

    async def read(self) -> LinkFrame | None:
        """Return the next frame, or None at the end."""
        response = await self._call.read()
        return None if response is grpc.aio.EOF else response.frame

    async def write(self, fill: Callable[[LinkFrame], None]) -> None:
        """Send a frame that `fill` fills."""
        request = PeerLinkRequest()
        fill(request.frame)
        await self._call.write(request)

    async def ending(self) -> str:
        """Return why the call ended, once it has."""
        return f"{(await self._call.code()).name}: {await self._call.details()}"

    def cancel(self) -> None:
        """End the call."""
        self._call.cancel()


class Answered:
    """The stream of a call that another node made.

    Args:
        context: Of the call.
    """

    def __init__(self, context: Any) -> None:
        self._context = context

    async def read(self) -> LinkFrame | None:
        """Return the next frame, or None at the end."""
        request = await self._context.read()
        return None if request is grpc.aio.EOF else request.frame

    async def write(self, fill: Callable[[LinkFrame], None]) -> None:
        """Send a frame that `fill` fills."""
        response = PeerLinkResponse()
        fill(response.frame)
        await self._context.write(response)
