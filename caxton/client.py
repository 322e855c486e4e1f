"""`CaxtonClient`: agents, messages, memory and the cluster from asyncio programs."""

from collections.abc import Sequence
from types import TracebackType
from typing import Self

from caxton.agent_calls import AgentCalls
from caxton.cluster_calls import ClusterCalls
from caxton.connection import Connection, Tls
from caxton.memory_calls import MemoryCalls
from caxton.message_calls import MessageCalls

__all__ = ["CaxtonClient"]


class CaxtonClient(AgentCalls, MessageCalls, MemoryCalls, ClusterCalls):
    """A client of one cluster. Open it with `async with`, or call `close` at the end.

    Args:
        endpoints: `host:port` of a node, or of several to turn to when one is away. The port is
            50051 where it is left out.
        tls: How to know the server and be known by it; None for plain channels.
        token: Sent with every call.
        timeout_s: For a call that names none of its own, all tries together.

    Raises:
        ValueError: An endpoint is wrong, or a token would travel unencrypted.
        OSError: A file of `tls` cannot be read.
    """

    def __init__(
        self,
        endpoints: str | Sequence[str] = "localhost:50051",
        *,
        tls: Tls | None = None,
        token: str | None = None,
        timeout_s: float = 30.0,
    ) -> None:
        given = [endpoints] if isinstance(endpoints, str) else endpoints
        self._connection = Connection(given, tls=tls, token=token, timeout_s=timeout_s)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the connections."""
        await self._connection.close()
