"""Who the other nodes are and where they are dialled: what the links are told by the ring.

Membership decides who lives. The links only follow: they dial whom they are told of, and give up
a node when it is told to be gone.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

__all__ = ["OnPeer", "Peer", "PeerDirectory"]


@dataclass(frozen=True, slots=True)
class Peer:
    """Another node in one life of its process."""

    node: str
    address: str
    """`host:port` of its gRPC server."""
    epoch: int
    """Start of its process, as a number that only grows. 0 when it is not known."""


OnPeer = Callable[[Peer], None]


def _nobody_listens(peer: Peer) -> None:
    """Stand in until somebody listens."""


class PeerDirectory:
    """The other nodes that are held alive. Whoever watches the ring fills it."""

    def __init__(self) -> None:
        self._peers: dict[str, Peer] = {}
        self.on_seen: OnPeer = _nobody_listens
        """Told of a node that is new, has another address, or began another life."""
        self.on_gone: OnPeer = _nobody_listens
        """Told of a node that is dead, or has left."""

    def __iter__(self) -> Iterator[Peer]:
        return iter(tuple(self._peers.values()))

    def find(self, node: str) -> Peer | None:
        """Return a node that is held alive, or None."""
        return self._peers.get(node)

    def see(self, peer: Peer) -> None:
        """Note that a node lives, and where. What is known already is no news."""
        if self._peers.get(peer.node) != peer:
            self._peers[peer.node] = peer
            self.on_seen(peer)

    def lose(self, node: str) -> None:
        """Note that a node is dead or has left. Unknown names are fine."""
        gone = self._peers.pop(node, None)
        if gone is not None:
            self.on_gone(gone)
