"""The nodes of a cluster as the edges see them: who runs what, and what this node may do.

Membership (`caxton_node.runtime.ring`) tells who seems to be alive. This tells what they do, and
is where agents are moved, nodes drained, and the dead struck off.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from caxton_node.domain.agent import AgentKind, AgentState
from caxton_node.telemetry.cluster_metrics import LinkSnapshot

__all__ = [
    "ClusterPlace",
    "Drained",
    "FailoverRight",
    "FailoverState",
    "Fleet",
    "FleetAgent",
    "FleetNode",
    "PartitionMode",
    "PartitionState",
]

PartitionMode = Literal["majority", "minority", "isolated"]
"""`majority` does everything; `minority` serves its own agents, refuses changes and keeps messages
for the others; `isolated` sees nobody."""


FailoverRight = Literal["majority", "lease", "degraded", "withheld"]
"""By what right a node takes agents over: a majority's answer alone where there is no etcd; a turn
with a lock in etcd besides; a majority alone because nobody reaches the etcd that there should be;
none, because others reach etcd and this node does not."""


@dataclass(frozen=True, slots=True)
class FailoverState:
    """By what right this node takes agents over, and how often it got it."""

    right: FailoverRight
    granted_count: int
    refused_count: int


@dataclass(frozen=True, slots=True, kw_only=True)
class PartitionState:
    """On which side of a partition this node is, and why it thinks so."""

    mode: PartitionMode
    alive_count: int
    """Nodes alive, this one included."""
    expected_count: int
    """Nodes that there should be."""
    majority_count: int
    """Nodes that make a majority."""
    since_ms: int
    """When the mode was entered: milliseconds since 1970, UTC."""
    unreachable: Sequence[str]
    """Nodes that are known and not alive, by name."""

    @property
    def is_writable(self) -> bool:
        """Whether deployments and other changes are taken."""
        return self.mode == "majority"


@dataclass(frozen=True, slots=True, kw_only=True)
class FleetNode:
    """A live node."""

    name: str
    mode: str
    """As the node itself says; empty before it has said so."""
    agent_count: int
    load: int
    """0, idle, to 7."""
    is_draining: bool
    labels: Mapping[str, str]
    is_linked: bool
    """Whether messages flow between this node and that one."""
    link_round_trip_s: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class FleetAgent:
    """An agent on a node, as that node told."""

    name: str
    node: str
    state: AgentState
    version: str
    """As the author counts it."""
    number: int
    """Of the deployment, as the node counts."""
    kind: AgentKind
    capabilities: Sequence[str]
    description: str
    replicas: int
    """How many nodes are to run it."""
    placement: str
    epoch: int
    load: int
    """0, idle, to 7."""


@dataclass(frozen=True, slots=True)
class Drained:
    """What came of draining."""

    moved_count: int
    """Agents that run elsewhere now."""
    left: Sequence[str]
    """Agents that are still here: no other node may run them, or there was no time."""


class ClusterPlace(Protocol):
    """What connects a node to the others, for those who serve and ask other nodes."""

    @property
    def fleet(self) -> "Fleet":
        """The nodes and what they do."""
        ...

    async def depart(self) -> None:
        """Leave the ring, once the others have what this node has for them. Drain first."""
        ...

    def go_alone(self) -> None:
        """Go on without the others, after leaving the ring."""
        ...

    def come_back(self) -> None:
        """Go on with the others, after joining the ring again."""
        ...

    def add_to(self, server: Any) -> None:
        """Let a gRPC server that is not started yet serve the links of other nodes."""
        ...

    def channel(self, node: str) -> Any:
        """Return the gRPC channel to a node, or None when it is not held alive."""
        ...

    def peers(self) -> Sequence[str]:
        """Return the names of the other live nodes, by name."""
        ...

    def holder(self, agent: str) -> str | None:
        """Return a live node that runs an agent and is not this one; None when no other does."""
        ...


class Fleet(Protocol):
    """This node among the others."""

    @property
    def partition(self) -> PartitionState:
        """On which side of a partition this node is."""
        ...

    @property
    def failover(self) -> FailoverState:
        """By what right this node takes agents over."""
        ...

    @property
    def moved_counts(self) -> tuple[int, int]:
        """How many agents this node took over, and left to others, since it started."""
        ...

    @property
    def links(self) -> Sequence[LinkSnapshot]:
        """What the links to the other live nodes have counted, by name."""
        ...

    @property
    def is_draining(self) -> bool:
        """Whether this node hands its agents over and takes none."""
        ...

    @property
    def waiting_for(self) -> Sequence[str]:
        """What this node still has to hear before it knows of everyone, in words."""
        ...

    def nodes(self) -> Sequence[FleetNode]:
        """Return the live nodes, by name."""
        ...

    def agent_names(self) -> Sequence[str]:
        """Return the names of all agents on live nodes, sorted."""
        ...

    def agents(self, names: Iterable[str]) -> Sequence[FleetAgent]:
        """Return what live nodes tell of agents: by name in the order given, then by node."""
        ...

    def capabilities(self) -> Mapping[str, Sequence[str]]:
        """Return every capability as offered, by name, with the agents that offer it."""
        ...

    def providers(self, capability: str) -> Sequence[tuple[FleetAgent, int]]:
        """Return who answers a request for a capability, each with its distance, nearest first."""
        ...

    def holders(self, agent: str) -> Sequence[str]:
        """Return the live nodes that run an agent, the one to ask first."""
        ...

    async def until_formed(self) -> None:
        """Return once the nodes have found each other for the first time; soon in any case."""
        ...

    async def secure(self, agent: str) -> int:
        """Have other nodes keep an agent's definition, so that its node's death does no harm.

        Returns:
            How many have it on disk now.
        """
        ...

    async def drain(self, timeout_s: float) -> Drained:
        """Hand all agents over, and take none until `resume`."""
        ...

    def resume(self) -> None:
        """Take agents again."""
        ...

    def move(self, agent: str, node: str) -> None:
        """Ask a node to take an agent over.

        Raises:
            NotFound: `agent_not_found`.
            Unavailable: `no_majority`; `unreachable`: the node is not alive or not linked.
        """
        ...

    def rebalance(self) -> int:
        """Move agents until no node has two more than another; return how many moves were asked.

        Raises:
            Unavailable: `no_majority`.
        """
        ...

    def strike_off(self, node: str) -> None:
        """Expect a dead node no more: it will not come back.

        Raises:
            Conflict: `state_conflict`: the node is alive.
        """
        ...
