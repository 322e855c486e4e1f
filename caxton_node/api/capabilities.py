"""Capabilities: what the agents of this node offer, and who answers a request for one."""

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
    distance: int = Field(description="0 offers exactly this; more is more particular.")
    load: int = Field(description="Messages waiting and turns under way.")
    state: AgentState


class CapabilityDetail(View):
    """A capability and who answers a request for it, the nearest first."""

    name: str
    agents: list[Provider]


async def list_capabilities(_: Request[NoQuery, None], node: Node) -> CapabilityList:
    """List what the agents of this node offer."""
    offered = node.directory.capabilities()
    return CapabilityList(
        items=[CapabilitySummary(name=name, agents=list(who)) for name, who in offered.items()],
        total=len(offered),
    )


async def get_capability(request: Request[NoQuery, None], node: Node) -> CapabilityDetail:
    """Return who answers a request for a capability."""
    name = request.path["capability"]
    providers = node.directory.providers(name)
    if not providers:
        near = get_close_matches(name, node.directory.capabilities(), n=3)
        raise NotFound(
            "no_provider",
            f"nobody provides {name!r}",
            hint=f"Did you mean {', '.join(near)}?" if near else None,
            facts={"suggestions": near},
        )
    agents = []
    for agent, distance in sorted(providers.items(), key=lambda item: (item[1], item[0])):
        seat = node.roster.seat(agent)
        agents.append(Provider(name=agent, distance=distance, load=seat.load, state=seat.state))
    return CapabilityDetail(name=name, agents=agents)


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
