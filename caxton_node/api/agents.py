"""Agents: listed, deployed, read, replaced and deleted."""

import base64
import binascii
from typing import Annotated, Final

from pydantic import Field

from caxton_node.api.agent_views import AgentDetail, AgentSummary, show_agent, show_detail
from caxton_node.api.definitions import (
    Definition,
    DeployedView,
    DryRunView,
    show_deployed,
    show_dry_run,
    source_of,
)
from caxton_node.api.table import (
    API_PREFIX,
    Answer,
    Endpoint,
    NoQuery,
    PathParameter,
    Request,
    Shape,
)
from caxton_node.api.types import Cursor, Limit, Query, QueryBool, View
from caxton_node.domain.agent import AgentState
from caxton_node.domain.errors import Conflict, Place, Rejected
from caxton_node.runtime.deployments import version_numbered
from caxton_node.runtime.node import Node

__all__ = ["AGENT_NAME", "ENDPOINTS"]

AGENT_NAME: Final = PathParameter(
    name="name",
    description="An agent's name: a letter, then letters, digits, - and _, at most 64.",
    pattern=r"[A-Za-z][A-Za-z0-9_-]{0,63}",
    missing_code="agent_not_found",
    example="DataAnalyzer",
)


class AgentListQuery(Query):
    """Which agents."""

    state: AgentState | None = None
    capability: Annotated[str, Field(min_length=1, max_length=100)] | None = Field(
        default=None, description="Only agents that answer a request for it."
    )
    cursor: Cursor | None = None
    limit: Limit = 50


class AgentList(View):
    """Part of the list of agents, by name."""

    items: list[AgentSummary]
    total: int
    next_cursor: str | None


class DeployQuery(Query):
    """How to deploy."""

    dry_run: QueryBool = Field(default=False, description="Check only; change nothing.")


class DeleteQuery(Query):
    """How to delete."""

    force: QueryBool = Field(
        default=False, description="Also when messages wait: they become dead letters."
    )


def _cursor_at(name: str) -> str:
    return base64.urlsafe_b64encode(name.encode()).decode().rstrip("=")


def _name_in(cursor: str) -> str:
    try:
        padding = "=" * (-len(cursor) % 4)
        return base64.b64decode(cursor + padding, altchars=b"-_", validate=True).decode()
    except (binascii.Error, ValueError):
        raise Rejected(
            "invalid_request",
            "The cursor is malformed.",
            hint="Pass `next_cursor` of the previous page back as it was, or leave it out.",
            places=[Place("not a cursor of this list", field="cursor", rule="malformed_cursor")],
        ) from None


async def list_agents(request: Request[AgentListQuery, None], node: Node) -> AgentList:
    """List the agents of this node by name."""
    query = request.query
    wanted = [
        seat
        for seat in sorted(node.roster, key=lambda seat: seat.agent)
        if (query.state is None or seat.state is query.state)
        and (query.capability is None or seat.agent in node.directory.providers(query.capability))
    ]
    after = "" if query.cursor is None else _name_in(query.cursor)
    rest = [seat for seat in wanted if seat.agent > after]
    shown = rest[: query.limit]
    now_ms = node.clock.now_ms()
    return AgentList(
        items=[show_agent(seat, now_ms=now_ms) for seat in shown],
        total=len(wanted),
        next_cursor=_cursor_at(shown[-1].agent) if len(rest) > len(shown) else None,
    )


async def deploy_agent(request: Request[DeployQuery, Definition], node: Node) -> Answer:
    """Bring a definition into force: a new agent, or a new version of one."""
    return await _deploy(request, node, must_be=None)


async def replace_agent(request: Request[DeployQuery, Definition], node: Node) -> Answer:
    """Bring a definition of the agent at this address into force."""
    return await _deploy(request, node, must_be=request.path["name"])


async def _deploy(
    request: Request[DeployQuery, Definition], node: Node, *, must_be: str | None
) -> Answer:
    source, format_, file = source_of(request)
    if request.query.dry_run:
        parsed = node.deployments.parse(source, format_, file)
        name = parsed.spec.name
        if must_be is not None and name != must_be:
            raise Conflict("state_conflict", f"the definition is of {name!r}, not of {must_be!r}")
        return Answer(show_dry_run(parsed, is_new=node.roster.find(name) is None))
    deployed = await node.deployments.deploy(source, format_, file=file, must_be=must_be)
    view = show_deployed(deployed, node.roster.seat(deployed.agent))
    return Answer(
        view,
        status=201 if deployed.is_new else 200,
        headers={"Location": f"{API_PREFIX}/agents/{deployed.agent}"},
    )


async def get_agent(request: Request[NoQuery, None], node: Node) -> AgentDetail:
    """Return everything about an agent."""
    seat = node.roster.seat(request.path["name"])
    versions = await node.store.agent_versions(seat.agent)
    return show_detail(
        seat, version_numbered(versions, seat.agent, seat.tenant.number), now_ms=node.clock.now_ms()
    )


async def delete_agent(request: Request[DeleteQuery, None], node: Node) -> Answer:
    """Take an agent off the node, with its versions, usage and log."""
    await node.deployments.delete(request.path["name"], is_forced=request.query.force)
    return Answer(None, status=204)


_DEPLOY_ERRORS: Final = (
    "invalid_agent",
    "denied",
    "tool_not_found",
    "storage_unavailable",
    "no_majority",
)
_LOCATION: Final = {"Location": "Address of the agent."}

ENDPOINTS: Final = (
    Endpoint(
        method="GET",
        path=f"{API_PREFIX}/agents",
        summary="List agents",
        tag="agents",
        handle=list_agents,
        query=AgentListQuery,
        responses={200: Shape("A page, by name.", AgentList)},
    ),
    Endpoint(
        method="POST",
        path=f"{API_PREFIX}/agents",
        summary="Deploy an agent",
        tag="agents",
        handle=deploy_agent,
        description="The body is the text of an agent's file, or the definition as an object. "
        "With `dry_run=true` it is checked and nothing changes.",
        query=DeployQuery,
        body=Definition,
        responses={
            200: Shape(
                "A new version, or no change; with `dry_run`, what would happen.",
                (DeployedView, DryRunView),
            ),
            201: Shape("A new agent.", DeployedView, headers=_LOCATION),
        },
        errors=(*_DEPLOY_ERRORS, "already_exists"),
    ),
    Endpoint(
        method="GET",
        path=f"{API_PREFIX}/agents/{{name}}",
        summary="Read an agent",
        tag="agents",
        handle=get_agent,
        belongs_to="agent",
        parameters=(AGENT_NAME,),
        responses={200: Shape("The agent.", AgentDetail)},
        errors=("agent_not_found",),
    ),
    Endpoint(
        method="PUT",
        path=f"{API_PREFIX}/agents/{{name}}",
        summary="Deploy a version of an agent",
        tag="agents",
        handle=replace_agent,
        belongs_to="agent",
        description="As POST to the list, for the agent of this name and no other.",
        parameters=(AGENT_NAME,),
        query=DeployQuery,
        body=Definition,
        responses={
            200: Shape(
                "A new version, or no change; with `dry_run`, what would happen.",
                (DeployedView, DryRunView),
            ),
            201: Shape("A new agent.", DeployedView, headers=_LOCATION),
        },
        errors=(*_DEPLOY_ERRORS, "agent_not_found", "state_conflict", "already_exists"),
    ),
    Endpoint(
        method="DELETE",
        path=f"{API_PREFIX}/agents/{{name}}",
        summary="Delete an agent",
        tag="agents",
        handle=delete_agent,
        belongs_to="agent",
        parameters=(AGENT_NAME,),
        query=DeleteQuery,
        responses={204: Shape("It is gone.")},
        errors=("agent_not_found", "state_conflict", "storage_unavailable", "no_majority"),
    ),
)
