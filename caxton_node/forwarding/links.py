"""The links of a node to all others: who can be reached, and the inboxes of what is there.

One link a pair of nodes, kept for as long as both live. The rest of the node sees inboxes and a few
questions; how frames travel is `caxton_node.forwarding.link`'s business.
"""

import asyncio
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass

import grpc

from caxton_node.forwarding.credentials import open_channel
from caxton_node.forwarding.inbox import RemoteInbox
from caxton_node.forwarding.peers import PeerDirectory
from caxton_node.forwarding.remote_agent import RemoteAgent
from caxton_node.routing.directory import Inbox
from caxton_node.routing.pipeline import Pipeline
from caxton_node.security.tls_files import TlsFiles

__all__ = ["Links", "OnLink", "OnRegistry", "Self"]

OnRegistry = Callable[[str, bytes], None]
"""Takes the name of a node and what it says of the registry."""

OnLink = Callable[[str, bool], None]
"""Takes the name of a node and whether its link is up now."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Self:
    """This node, as it introduces itself."""

    node: str
    epoch: int
    """Start of this process, as a number that only grows."""
    cluster: str
    """Name of the cluster. A node of another one is refused."""
    version: str
    """Of the program."""


class Links:
    """The links of this node. All methods belong to the event loop.

    Args:
        me: This node.
        peers: The other nodes, as the ring knows them.
        pipeline: Takes in what arrives, and ends what was forwarded.
        files: This node's certificates; None where channels are plain.
    """

    def __init__(
        self,
        *,
        me: Self,
        peers: PeerDirectory,
        pipeline: Pipeline,
        files: TlsFiles | None,
    ) -> None:
        self._me = me
        self._directory = peers
        self._pipeline = pipeline
        self._files = files
        self._channels: dict[str, grpc.aio.Channel] = {}
        self._inboxes: dict[tuple[str, str], RemoteInbox] = {}
        self.on_registry: OnRegistry = lambda _node, _payload: None
        """Told of what another node says of the registry. Whoever keeps it sets this."""
        self.on_link: OnLink = lambda _node, _is_up: None
        """Told of a link that came up or went down."""

    def start(self, tasks: asyncio.TaskGroup) -> list[asyncio.Task[None]]:  # noqa: ARG002 - soon
        """Dial the peers and keep their links, in tasks to be cancelled at the end."""
        return []

    async def close(self) -> None:
        """Say goodbye on every link and close the channels."""
        for channel in self._channels.values():
            await channel.close()

    def add_to(self, server: grpc.aio.Server) -> None:
        """Serve the links that other nodes open: the method `Link` of `caxton.v1.Peer`.

        Other methods of the service are added by their own handlers, next to this one.
        """

    def peers(self) -> Sequence[str]:
        """Return the names of the other nodes that are held alive, linked or not, by name."""
        return sorted(peer.node for peer in self._directory)

    def is_up(self, node: str) -> bool:  # noqa: ARG002 - soon
        """Return whether messages flow between this node and another."""
        return False

    def round_trip_s(self, node: str) -> float | None:  # noqa: ARG002 - soon
        """Return how long the last frame to a node and its echo took; None when never."""
        return None

    def channel(self, node: str) -> grpc.aio.Channel | None:
        """Return the channel for calls to a node, or None when it is not held alive."""
        peer = self._directory.find(node)
        if peer is None:
            return None
        if node not in self._channels:
            self._channels[node] = open_channel(peer.address, node=node, files=self._files)
        return self._channels[node]

    def inbox(self, node: str, agent: RemoteAgent) -> RemoteInbox:
        """Return the inbox of an agent on another node, brought up to date.

        Always the same object for the same agent on the same node, so that it may be kept.
        """
        inbox = self._inboxes.get((node, agent.name))
        if inbox is None:
            inbox = self._inboxes[node, agent.name] = RemoteInbox(node, agent)
        inbox.record = agent
        return inbox

    def client(self, node: str) -> Inbox:
        """Return what takes answers to the clients of another node."""
        return self.inbox(node, RemoteAgent(name=""))

    def broadcast_registry(self, payload: bytes) -> None:
        """Tell every linked node something of the registry. It may be lost on the way."""

    def send_registry(self, node: str, payload: bytes) -> bool:  # noqa: ARG002 - soon
        """Tell one node something of the registry. It may be lost on the way.

        Returns:
            False when there is no link now, or too much waits on it.
        """
        return False

    def reconsider(self, agents: Collection[str] | None = None) -> None:
        """Route again what waits for agents whose place changed.

        Called by whoever keeps the registry, after each change of who is where; and when an agent
        came to this node.

        Args:
            agents: Their names; None is all, as after a node's death.
        """
