"""What a node does when the others know a later life of it: it begins one that is later still.

An epoch is the time at which the process started, or one more than the last. Where the clock went
back and the data folder is new, or an older copy, it is lower than one that the others remember,
and they ignore what the node says of itself. Told so, it takes a higher epoch, keeps it, and says
everything again.

Two nodes of one name would do that to each other for ever: between two renewals lies `PAUSE_S`, and
each is in the log.
"""

import asyncio
import logging
from typing import Final

from caxton_node.domain.errors import CaxtonError
from caxton_node.forwarding.fleet import NodeFleet
from caxton_node.forwarding.registry_feed import RegistryFeed
from caxton_node.ring import ClusterRing
from caxton_node.runtime.node import Node

__all__ = ["EPOCH", "PAUSE_S", "Renewal"]

EPOCH: Final = "epoch"
"""The name under which the store keeps it."""

PAUSE_S: Final = 2.0

_log = logging.getLogger("caxton.cluster")


class Renewal:
    """Raises the epoch of a node.

    Args:
        node: Has the store and the clock.
        ring: Tells membership.
        feed: Tells the registry.
        fleet: Tells placement.
        tasks: Own the writing.
    """

    def __init__(
        self,
        node: Node,
        ring: ClusterRing,
        feed: RegistryFeed,
        fleet: NodeFleet,
        tasks: asyncio.TaskGroup,
    ) -> None:
        self._node = node
        self._ring = ring
        self._feed = feed
        self._fleet = fleet
        self._tasks = tasks
        self._known_epoch = 0
        self._is_renewing = False

    def superseded(self, epoch: int) -> None:
        """Take note that the others know a life of this node with a higher epoch."""
        self._known_epoch = max(self._known_epoch, epoch)
        if not self._is_renewing and epoch >= self._ring.epoch:
            self._is_renewing = True
            self._tasks.create_task(self._renew(), name="renew-epoch")

    async def _renew(self) -> None:
        try:
            before = self._ring.epoch
            epoch = max(self._node.clock.now_ms(), self._known_epoch + 1)
            await self._node.store.put_node_number(EPOCH, epoch)
            _log.warning(
                "the others know a later life of this node (%d, ours is %d): it goes on as %d. "
                "Its clock went back, or another node has its name",
                self._known_epoch,
                before,
                epoch,
            )
            self._ring.renew(epoch)
            self._fleet.renew(epoch)
            self._feed.renew(epoch)
        except CaxtonError as problem:
            _log.error("a later epoch is not on disk: %s", problem)
        finally:
            self._node.clock.call_later(PAUSE_S, self._rested)

    def _rested(self) -> None:
        self._is_renewing = False
