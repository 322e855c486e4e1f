"""The life of a deployed agent: states, versions, health."""

from typing import Annotated, Final

from pydantic import Field

from caxton_node.api.agent_views import AgentCounts, AgentSummary, show_agent, show_counts
from caxton_node.api.agents import AGENT_NAME
from caxton_node.api.definitions import DeployedView, show_deployed
from caxton_node.api.table import (
    API_PREFIX,
    Endpoint,
    Handler,
    NoQuery,
    PathParameter,
    Request,
    Shape,
)
from caxton_node.api.types import READS_WHOLE, Body, Instant, View, instant
from caxton_node.domain.agent import AgentState
from caxton_node.domain.errors import Conflict
from caxton_node.runtime.deployments import Deployed, version_numbered
from caxton_node.runtime.node import Node
from caxton_node.store.protocol import AgentVersion

__all__ = ["ENDPOINTS"]

GRACE_S_MAX: Final = 600.0


class Stop(Body):
    """How to stop."""

    grace_s: float = Field(
        default=10.0, ge=0.0, le=GRACE_S_MAX, description="For turns under way, in seconds."
    )
    force: bool = Field(default=False, description="Call turns off at once.")


class Rollback(Body):
    """Where to roll back to."""

    number: Annotated[int, Field(ge=1, le=1_000_000), READS_WHOLE] | None = Field(
        default=None, description="The version before, when absent."
    )


class VersionSummary(View):
    """One version of an agent."""

    number: int
    version: str
    digest: str = Field(description="SHA-256 of the source.")
    format: str
    deployed_at: Instant
    is_current: bool


class VersionDetail(VersionSummary):
    """One version of an agent, with its source."""

    source: str


class VersionList(View):
    """All versions, oldest first."""

    items: list[VersionSummary]
    total: int
    next_cursor: None = None


class AgentHealth(View):
    """How an agent does."""

    agent: str
    state: AgentState
    uptime_s: float
    queued: int
    turns_under_way: int
    counts: AgentCounts
    success_rate: float | None = Field(description="0 to 1; null before the first turn.")


async def _change(request: Request[NoQuery, None], node: Node, to: AgentState) -> AgentSummary:
    seat = await node.deployments.change_state(request.path["name"], to)
    return show_agent(seat, node)


async def restart_agent(request: Request[NoQuery, None], node: Node) -> AgentSummary:
    """Build the version in force anew and let it run."""
    return await _change(request, node, AgentState.RUNNING)


async def suspend_agent(request: Request[NoQuery, None], node: Node) -> AgentSummary:
    """Take no new turns; messages wait."""
    return await _change(request, node, AgentState.SUSPENDED)


async def resume_agent(request: Request[NoQuery, None], node: Node) -> AgentSummary:
    """Take turns again after a suspension."""
    seat = node.roster.seat(request.path["name"])
    if seat.state is not AgentState.SUSPENDED:
        raise Conflict(
            "state_conflict",
            f"{seat.agent!r} is {seat.state}, not suspended",
            hint="Restart it instead.",
            facts={"state": seat.state.value},
        )
    return await _change(request, node, AgentState.RUNNING)


async def stop_agent(request: Request[NoQuery, Stop | None], node: Node) -> AgentSummary:
    """Take no more turns until a restart; messages wait."""
    stop = request.body or Stop()
    seat = await node.deployments.change_state(
        request.path["name"], AgentState.STOPPED, grace_s=0.0 if stop.force else stop.grace_s
    )
    return show_agent(seat, node)


def _version(version: AgentVersion, current: int) -> VersionSummary:
    return VersionSummary(
        number=version.number,
        version=version.version,
        digest=version.digest,
        format=version.format,
        deployed_at=instant(version.deployed_at),
        is_current=version.number == current,
    )


async def list_versions(request: Request[NoQuery, None], node: Node) -> VersionList:
    """List an agent's versions, oldest first."""
    versions = await node.deployments.versions(request.path["name"])
    current = node.roster.seat(request.path["name"]).tenant.number
    return VersionList(
        items=[_version(version, current) for version in versions], total=len(versions)
    )


async def get_version(request: Request[NoQuery, None], node: Node) -> VersionDetail:
    """Return a version with its source."""
    name, number = request.path["name"], int(request.path["number"])
    versions = await node.deployments.versions(name)
    version = version_numbered(versions, name, number)
    summary = _version(version, node.roster.seat(name).tenant.number)
    return VersionDetail(**dict(summary), source=version.source)


async def rollback_agent(request: Request[NoQuery, Rollback | None], node: Node) -> DeployedView:
    """End a canary, or bring an earlier version into force again."""
    name = request.path["name"]
    number = request.body.number if request.body is not None else None
    if number is None and node.rollouts.is_under_way(name):
        node.rollouts.roll_back(name)
        tenant = node.roster.seat(name).tenant
        deployed = Deployed(name, tenant.number, tenant.spec.version, False, True, ())
    else:
        deployed = await node.deployments.rollback(name, number)
    return show_deployed(deployed, node.roster.seat(deployed.agent))


async def get_agent_health(request: Request[NoQuery, None], node: Node) -> AgentHealth:
    """Return how an agent does."""
    seat = node.roster.seat(request.path["name"])
    counts = show_counts(seat)
    turns = counts.finished + counts.failed
    return AgentHealth(
        agent=seat.agent,
        state=seat.state,
        uptime_s=max(0, node.clock.now_ms() - seat.deployed_at) / 1000,
        queued=len(seat.mailbox),
        turns_under_way=len(seat.running),
        counts=counts,
        success_rate=round(counts.finished / turns, 6) if turns else None,
    )


_NUMBER: Final = PathParameter(
    name="number",
    description="A version's number, counted from 1.",
    pattern=r"[1-9][0-9]{0,6}",
    missing_code="version_not_found",
    example="1",
    kind="integer",
)


_BUILD_ERRORS: Final = ("invalid_agent", "denied", "tool_not_found")
"""A version that was once in force may not build any more: a tool or a class is gone."""


def _state_endpoint(verb: str, handle: Handler, summary: str) -> Endpoint:
    return Endpoint(
        method="POST",
        path=f"{API_PREFIX}/agents/{{name}}/{verb}",
        summary=summary,
        tag="agents",
        handle=handle,
        belongs_to="agent",
        parameters=(AGENT_NAME,),
        body=Stop if verb == "stop" else None,
        is_body_optional=True,
        responses={200: Shape("The agent.", AgentSummary)},
        errors=("agent_not_found", "state_conflict", "storage_unavailable", *_BUILD_ERRORS),
    )


ENDPOINTS: Final = (
    _state_endpoint("restart", restart_agent, "Restart an agent"),
    _state_endpoint("suspend", suspend_agent, "Suspend an agent"),
    _state_endpoint("resume", resume_agent, "Resume a suspended agent"),
    _state_endpoint("stop", stop_agent, "Stop an agent"),
    Endpoint(
        method="GET",
        path=f"{API_PREFIX}/agents/{{name}}/versions",
        summary="List an agent's versions",
        tag="agents",
        handle=list_versions,
        belongs_to="agent",
        parameters=(AGENT_NAME,),
        responses={200: Shape("All of them, oldest first.", VersionList)},
        errors=("agent_not_found",),
    ),
    Endpoint(
        method="GET",
        path=f"{API_PREFIX}/agents/{{name}}/versions/{{number}}",
        summary="Read a version",
        tag="agents",
        handle=get_version,
        belongs_to="agent",
        parameters=(AGENT_NAME, _NUMBER),
        responses={200: Shape("The version.", VersionDetail)},
        errors=("agent_not_found", "version_not_found"),
    ),
    Endpoint(
        method="POST",
        path=f"{API_PREFIX}/agents/{{name}}/rollback",
        summary="Roll an agent back",
        tag="agents",
        handle=rollback_agent,
        belongs_to="agent",
        parameters=(AGENT_NAME,),
        body=Rollback,
        is_body_optional=True,
        responses={200: Shape("The version now in force.", DeployedView)},
        errors=(
            "agent_not_found",
            "version_not_found",
            "storage_unavailable",
            "no_majority",
            *_BUILD_ERRORS,
        ),
    ),
    Endpoint(
        method="GET",
        path=f"{API_PREFIX}/agents/{{name}}/health",
        summary="Ask how an agent does",
        tag="agents",
        handle=get_agent_health,
        belongs_to="agent",
        parameters=(AGENT_NAME,),
        responses={200: Shape("How it does.", AgentHealth)},
        errors=("agent_not_found",),
    ),
)
