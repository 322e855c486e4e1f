"""What `caxton_node.forwarding.fleet` is made of, and what it asks of the links."""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from caxton_cluster.partition import Partition
from caxton_node.forwarding.majority import Majority
from caxton_node.forwarding.node_table import NodeTable
from caxton_node.forwarding.placing import Placing
from caxton_node.forwarding.registry_feed import RegistryFeed, RegistryLinks
from caxton_node.forwarding.takeovers import Takeovers
from caxton_node.routing.clock import Clock
from caxton_node.runtime.deployments import Deployments
from caxton_node.runtime.roster import Roster
from caxton_node.telemetry.cluster_metrics import LinkSnapshot
from caxton_node.telemetry.events import Events

__all__ = ["FleetLinks", "FleetParts"]


class FleetLinks(RegistryLinks, Protocol):
    """What is asked of the links."""

    def is_up(self, node: str) -> bool:
        """Return whether messages flow between this node and another."""
        ...

    def round_trip_s(self, node: str) -> float | None:
        """Return how long the last frame to a node and its echo took; None when never."""
        ...

    def snapshots(self) -> Sequence[LinkSnapshot]:
        """Return what each link to a node that is held alive has counted, by name."""
        ...

    def give_up_on(self, node: str, why: str) -> None:
        """End what only a node could have told of: it `why`."""
        ...

    def reconsider(self, agents: Collection[str] | None = None) -> None:
        """Route again what waits for agents whose place changed; None is all."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class FleetParts:
    """What a fleet is made of."""

    own: str
    """This node's name."""
    epoch: int
    """Of this life of its process."""
    labels: Mapping[str, str]
    """What the operator says of it."""
    handlers: tuple[str, ...]
    """The Python classes that it allows."""
    nodes: NodeTable
    feed: RegistryFeed
    links: FleetLinks
    partition: Partition
    placing: Placing
    majority: Majority
    takeovers: Takeovers
    roster: Roster
    deployments: Deployments
    clock: Clock
    events: Events
    keep_expected: Callable[[int], None]
    """Keeps how many nodes are expected, for the next start."""
