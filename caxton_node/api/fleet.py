"""The nodes of the cluster: what each does, on which side of a partition, and who moves where.

Membership is `caxton_node.api.cluster`'s. A node in no ring is a cluster of one: it has the
majority, and nothing to move.
"""

from typing import Annotated, Final

from pydantic import AfterValidator, Field

from caxton_node.api.agents import AGENT_NAME
from caxton_node.api.partition_view import DRAIN_S_MAX, PartitionView, show_partition
from caxton_node.api.table import (
    API_PREFIX,
    Answer,
    Endpoint,
    NoQuery,
    PathParameter,
    Request,
    Shape,
)
from caxton_node.api.types import READS_WHOLE, Body, View
from caxton_node.domain.agent import AgentState
from caxton_node.domain.errors import Conflict
from caxton_node.domain.placement import read_placement
from caxton_node.runtime.fleet import Fleet, FleetAgent, FleetNode
from caxton_node.runtime.node import Node

__all__ = ["ENDPOINTS"]

PLACEMENT_LENGTH_MAX: Final = 500

_NODE: Final = PathParameter(
    name="node",
    description="A node's name.",
    pattern=r"[A-Za-z0-9](?:[A-Za-z0-9._-]{0,62}[A-Za-z0-9])?",
    missing_code="node_not_found",
    example="node-2",
)

NodeName = Annotated[str, Field(pattern=rf"^{_NODE.pattern}$")]


def _read_placement(text: str) -> str:
    return str(read_placement(text))


PlacementText = Annotated[
    str, Field(min_length=1, max_length=PLACEMENT_LENGTH_MAX), AfterValidator(_read_placement)
]


class NodeView(View):
    """A live node."""

    name: str
    mode: str = Field(description="As it says itself; empty before it has said so.")
    agents: int
    load: int = Field(ge=0, le=7, description="0 is idle, 7 busy.")
    is_draining: bool
    labels: dict[str, str]
    is_self: bool
    is_linked: bool = Field(description="Whether messages flow to it from the node that was asked.")
    round_trip_ms: float | None = Field(description="Of the link.")


class ClusterView(View):
    """The cluster, as the node that was asked sees it."""

    node: str
    partition: PartitionView
    agents: int = Field(description="Names of agents in the whole cluster.")
    is_draining: bool
    waiting_for: list[str] = Field(
        description="What the node still has to hear before it knows of everyone."
    )
    nodes: list[NodeView]


class PlacedAgent(View):
    """An agent on a node."""

    name: str
    node: str
    state: AgentState
    version: str
    number: int
    epoch: int = Field(description="Grows whenever a node takes the agent over.")
    replicas: int = Field(description="How many nodes are to run it.")
    placement: str
    load: int


class PlacedAgents(View):
    """Every agent on every live node, by name and node."""

    items: list[PlacedAgent]
    total: int
    next_cursor: None = None


class Drain(Body):
    """How to drain."""

    timeout_s: float = Field(default=30.0, ge=0.0, le=DRAIN_S_MAX, description="In seconds.")


class DrainedView(View):
    """What came of draining."""

    moved: int = Field(description="Agents that run elsewhere now.")
    left: list[str] = Field(
        description="Agents that are still here: no other node may run them, or the time was up."
    )


class Rebalanced(View):
    """What rebalancing asked for; it takes a moment."""

    moves: int


class Scale(Body):
    """How many nodes are to run an agent, and which."""

    replicas: Annotated[int, Field(ge=1, le=100), READS_WHOLE]
    placement: PlacementText | None = Field(
        default=None,
        description="As in an agent's file: `spread`, `pack` or `least-loaded`, with conditions "
        "such as `node=NAME` or `zone=eu`. As before, when absent.",
    )


class Scaled(View):
    """How many nodes are to run an agent, and which do now."""

    name: str
    replicas: int
    placement: str
    nodes: list[str]


class Move(Body):
    """Where an agent is to run."""

    node: NodeName


def _fleet(node: Node) -> Fleet:
    if node.cluster is None:
        raise Conflict(
            "state_conflict",
            f"the node {node.name!r} is in no ring",
            hint="start it with --gossip or --peers",
        )
    return node.cluster.fleet


def _node_view(one: FleetNode, own: str) -> NodeView:
    trip_s = one.link_round_trip_s
    return NodeView(
        name=one.name,
        mode=one.mode,
        agents=one.agent_count,
        load=one.load,
        is_draining=one.is_draining,
        labels=dict(one.labels),
        is_self=one.name == own,
        is_linked=one.is_linked,
        round_trip_ms=None if trip_s is None else round(trip_s * 1000, 3),
    )


async def get_cluster(_: Request[NoQuery, None], node: Node) -> ClusterView:
    """Show the nodes and what they do."""
    if node.cluster is None:
        alone = FleetNode(
            name=node.name,
            mode="majority",
            agent_count=len(node.roster),
            load=0,
            is_draining=node.pipeline.is_draining,
            labels={},
            is_linked=True,
            link_round_trip_s=None,
        )
        nodes, agent_count, waiting_for = [alone], len(node.roster), []
    else:
        fleet = node.cluster.fleet
        nodes, agent_count = list(fleet.nodes()), len(fleet.agent_names())
        waiting_for = list(fleet.waiting_for)
    return ClusterView(
        node=node.name,
        partition=show_partition(node),
        agents=agent_count,
        is_draining=node.cluster is not None and node.cluster.fleet.is_draining,
        waiting_for=waiting_for,
        nodes=[_node_view(one, node.name) for one in nodes],
    )


async def get_partition(_: Request[NoQuery, None], node: Node) -> PartitionView:
    """Say on which side of a partition the node is."""
    return show_partition(node)


def _placed(agent: FleetAgent) -> PlacedAgent:
    return PlacedAgent(
        name=agent.name,
        node=agent.node,
        state=agent.state,
        version=agent.version,
        number=agent.number,
        epoch=agent.epoch,
        replicas=agent.replicas,
        placement=agent.placement,
        load=agent.load,
    )


async def list_placed_agents(_: Request[NoQuery, None], node: Node) -> PlacedAgents:
    """List which node runs which agent."""
    fleet = _fleet(node)
    items = [_placed(agent) for agent in fleet.agents(fleet.agent_names())]
    return PlacedAgents(items=items, total=len(items))


async def drain_node(request: Request[NoQuery, Drain | None], node: Node) -> DrainedView:
    """Hand all agents of the node over, and take none."""
    drain = request.body or Drain()
    drained = await _fleet(node).drain(drain.timeout_s)
    return DrainedView(moved=drained.moved_count, left=list(drained.left))


async def resume_node(_: Request[NoQuery, None], node: Node) -> PartitionView:
    """Let the node take agents again."""
    _fleet(node).resume()
    return show_partition(node)


async def rebalance_cluster(_: Request[NoQuery, None], node: Node) -> Rebalanced:
    """Move agents until no node has two more than another."""
    return Rebalanced(moves=_fleet(node).rebalance())


async def remove_node(request: Request[NoQuery, None], node: Node) -> Answer:
    """Expect a dead node no more."""
    _fleet(node).strike_off(request.path["node"])
    return Answer(None, status=204)


async def scale_agent(request: Request[NoQuery, Scale], node: Node) -> Scaled:
    """Change how many nodes run an agent, and which."""
    name, scale = request.path["name"], request.body
    seat = await node.deployments.place(name, replicas=scale.replicas, placement=scale.placement)
    claim, file = node.deployments.claim(name), seat.spec.deployment
    return Scaled(
        name=name,
        replicas=file.replicas if claim.replicas is None else claim.replicas,
        placement=file.placement if claim.placement is None else claim.placement,
        nodes=[node.name] if node.cluster is None else list(node.cluster.fleet.holders(name)),
    )


async def move_agent(request: Request[NoQuery, Move], node: Node) -> Answer:
    """Ask a node to take an agent over."""
    _fleet(node).move(request.path["name"], request.body.node)
    return Answer(None, status=202)


_CHANGES: Final = ("state_conflict", "no_majority", "unreachable")

ENDPOINTS: Final = (
    Endpoint(
        method="GET",
        path=f"{API_PREFIX}/cluster",
        summary="Show the cluster",
        tag="cluster",
        handle=get_cluster,
        responses={200: Shape("As this node sees it.", ClusterView)},
    ),
    Endpoint(
        method="GET",
        path=f"{API_PREFIX}/cluster/partition",
        summary="Ask which side of a partition the node is on",
        tag="cluster",
        handle=get_partition,
        responses={200: Shape("The side, and why.", PartitionView)},
    ),
    Endpoint(
        method="GET",
        path=f"{API_PREFIX}/cluster/agents",
        summary="List which node runs which agent",
        tag="cluster",
        handle=list_placed_agents,
        responses={200: Shape("All of them, by name and node.", PlacedAgents)},
        errors=("state_conflict",),
    ),
    Endpoint(
        method="POST",
        path=f"{API_PREFIX}/cluster/drain",
        summary="Hand all agents of the node over",
        tag="cluster",
        handle=drain_node,
        description="What waits goes with its agent; turns under way end here. The node takes no "
        "agents until it is told to resume, or is started again.",
        body=Drain,
        is_body_optional=True,
        responses={200: Shape("What came of it.", DrainedView)},
        errors=("state_conflict",),
        is_while_draining=True,
        deadline_s=DRAIN_S_MAX + 5.0,
    ),
    Endpoint(
        method="POST",
        path=f"{API_PREFIX}/cluster/resume",
        summary="Let the node take agents again",
        tag="cluster",
        handle=resume_node,
        responses={200: Shape("On which side it is.", PartitionView)},
        errors=("state_conflict",),
    ),
    Endpoint(
        method="POST",
        path=f"{API_PREFIX}/cluster/rebalance",
        summary="Even out who runs how many agents",
        tag="cluster",
        handle=rebalance_cluster,
        description="At most 1,000 moves; ask again for more. Agents that are packed stay.",
        responses={200: Shape("How many moves were asked for.", Rebalanced)},
        errors=_CHANGES,
    ),
    Endpoint(
        method="DELETE",
        path=f"{API_PREFIX}/cluster/members/{{node}}",
        summary="Expect a dead node no more",
        tag="cluster",
        handle=remove_node,
        description="It is taken off the number by which majorities are told, on every node that "
        "can be reached. A node that is alive leaves by itself.",
        parameters=(_NODE,),
        responses={204: Shape("It is expected no more.")},
        errors=("node_not_found", "state_conflict"),
    ),
    Endpoint(
        method="POST",
        path=f"{API_PREFIX}/agents/{{name}}/scale",
        summary="Change how many nodes run an agent",
        tag="agents",
        handle=scale_agent,
        belongs_to="agent",
        parameters=(AGENT_NAME,),
        body=Scale,
        responses={200: Shape("What is wanted; it takes a moment.", Scaled)},
        errors=("agent_not_found", "no_majority", "storage_unavailable"),
    ),
    Endpoint(
        method="POST",
        path=f"{API_PREFIX}/agents/{{name}}/move",
        summary="Move an agent to a node",
        tag="agents",
        handle=move_agent,
        belongs_to="agent",
        description="The node takes it over under a higher epoch, and the one that has it hands "
        "over what waits. It takes a moment.",
        parameters=(AGENT_NAME,),
        body=Move,
        responses={202: Shape("The node was asked.")},
        errors=("agent_not_found", *_CHANGES),
    ),
)
