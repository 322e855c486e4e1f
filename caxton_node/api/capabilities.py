"""Capabilities: what the agents of the cluster offer, and who answers a request for one."""

from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from typing import Final

from pydantic import Field

from caxton_node.api.table import API_PREFIX, Endpoint, NoQuery, PathParameter, Request, Shape
from caxton_node.api.types import View
from caxton_node.domain.agent import AgentState
from caxton_node.domain.errors import NotFound
from caxton_node.runtime.node import Node

__all__ = ["ENDPOINTS"]


class CapabilitySummary(View):
    """A capability as offered."""

    name: str
    agents: list[str]


class CapabilityList(View):
    """All capabilities by name."""

    items: list[CapabilitySummary]
    total: int
    next_cursor: None = None


class Provider(View):
    """An agent that answers a request for a capability."""

    name: str
    node: str
    distance: int = Field(description="0 offers exactly this; more is more particular.")
    load: int = Field(
        description="Messages waiting and turns under way; on other nodes roughly, as last heard."
    )
    state: AgentState


class CapabilityDetail(View):
    """A capability and who answers a request for it, the nearest first."""

    name: str
    agents: list[Provider]


async def list_capabilities(_: Request[NoQuery, None], node: Node) -> CapabilityList:
    """List what the agents of the cluster offer."""
    offered = _offered(node)
    return CapabilityList(
        items=[CapabilitySummary(name=name, agents=list(who)) for name, who in offered.items()],
        total=len(offered),
    )


async def get_capability(request: Request[NoQuery, None], node: Node) -> CapabilityDetail:
    """Return who answers a request for a capability."""
    name = request.path["capability"]
    agents = _providers(node, name)
    if not agents:
        near = get_close_matches(name, _offered(node), n=3)
        raise NotFound(
            "no_provider",
            f"nobody provides {name!r}",
            hint=f"Did you mean {', '.join(near)}?" if near else None,
            facts={"suggestions": near},
        )
    return CapabilityDetail(name=name, agents=agents)


def _offered(node: Node) -> Mapping[str, Sequence[str]]:
    if node.cluster is None:
        return node.directory.capabilities()
    return node.cluster.fleet.capabilities()


def _providers(node: Node, capability: str) -> list[Provider]:
    """Return who answers requests for a capability, the nearest first, this node's before."""
    agents = [
        Provider(
            name=agent,
            node=node.name,
            distance=distance,
            load=node.roster.seat(agent).load,
            state=node.roster.seat(agent).state,
        )
        for agent, distance in node.directory.providers(capability).items()
    ]
    if node.cluster is not None:
        agents += [
            Provider(
                name=agent.name,
                node=agent.node,
                distance=distance,
                load=agent.load and 2 ** (agent.load - 1),
                state=agent.state,
            )
            for agent, distance in node.cluster.fleet.providers(capability)
            if agent.node != node.name
        ]
    return sorted(agents, key=lambda one: (one.distance, one.name, one.node != node.name, one.node))


_CAPABILITY: Final = PathParameter(
    name="capability",
    description="Lower-case words joined by - and ., with an optional version such as :v2.",
    pattern=r"[a-z0-9.:-]{1,100}",
    missing_code="no_provider",
    example="data-analysis",
)

ENDPOINTS: Final = (
    Endpoint(
        method="GET",
        path=f"{API_PREFIX}/capabilities",
        summary="List capabilities",
        tag="capabilities",
        handle=list_capabilities,
        responses={200: Shape("All of them.", CapabilityList)},
    ),
    Endpoint(
        method="GET",
        path=f"{API_PREFIX}/capabilities/{{capability}}",
        summary="Find who provides a capability",
        tag="capabilities",
        handle=get_capability,
        parameters=(_CAPABILITY,),
        responses={200: Shape("Its providers, the nearest first.", CapabilityDetail)},
        errors=("no_provider",),
    ),
)
