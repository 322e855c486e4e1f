"""When a newcomer may speak for the cluster: once it knows what its peers knew as it came.

The first digest that each of a few peers tells in full says what there is. A node is ready when
it has reached all of that, for every owner that is still alive. Once ready it stays so: later it
may be behind for moments, as everybody is.
"""

from collections.abc import Iterable, Mapping

from caxton_cluster.registry.records import OwnerDigest

__all__ = ["Readiness"]

Reached = tuple[int, int]
"""Epoch and version."""


class Readiness:
    """What a newcomer has to reach.

    Args:
        peer_count: How many peers must be heard, or all if there are fewer.
    """

    def __init__(self, peer_count: int) -> None:
        self._peer_count = peer_count
        self._heard: set[str] = set()
        self._targets: dict[str, Reached] = {}
        self._has_joined = False
        self._is_over = False

    def joined(self) -> None:
        """Note that membership knows who is there."""
        self._has_joined = True

    def heard(self, peer: str, lines: Iterable[OwnerDigest]) -> None:
        """Take in what a peer has; only the first time counts."""
        if self._is_over or peer in self._heard:
            return
        self._heard.add(peer)
        for line in lines:
            reached = (line.owner.epoch, line.version)
            self._targets[line.owner.node] = max(
                reached, self._targets.get(line.owner.node, reached)
            )

    def missing(self, live: Mapping[str, Reached]) -> tuple[str, ...]:
        """Return what is waited for, in words; nothing when ready.

        Args:
            live: How far we are with each live peer.
        """
        if self._is_over:
            return ()
        if not self._has_joined:
            return ("membership",)
        silent_count = min(self._peer_count, len(live)) - len(self._heard)
        if silent_count > 0:
            return (f"the digests of {silent_count} more peers",)
        behind = tuple(
            f"records of {node}"
            for node, target in sorted(self._targets.items())
            if node in live and live[node] < target
        )
        if not behind:
            self._is_over = True
            self._heard.clear()
            self._targets.clear()
        return behind
