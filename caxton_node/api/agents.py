"""Agents: listed, deployed, read, replaced and deleted."""

import base64
import binascii
from typing import Annotated, Final, Literal

import msgspec
from pydantic import Field

from caxton_node.api.agent_views import (
    AgentDetail,
    AgentSummary,
    show_agent,
    show_agent_elsewhere,
    show_detail,
)
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
from caxton_node.api.types import READS_INTEGER, Cursor, Limit, Query, QueryBool, View
from caxton_node.domain.agent import AgentState
from caxton_node.domain.errors import Conflict, NotFound, Place, Rejected
from caxton_node.runtime.deployments import Deployed, version_numbered
from caxton_node.runtime.door import Ask, Whole
from caxton_node.runtime.fleet import FleetAgent
from caxton_node.runtime.node import Node
from caxton_node.runtime.rollout import CanarySettings

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
    node: Annotated[str, Field(min_length=1, max_length=64)] | None = Field(
        default=None, description="Only agents that this node runs."
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
    node: Annotated[str, Field(min_length=1, max_length=64)] | None = Field(
        default=None, description="The node to deploy to, without binding the agent to it."
    )
    replicas: Annotated[int, Field(ge=1, le=100), READS_INTEGER] | None = Field(
        default=None,
        description="How many nodes are to run it. Without it: as before, or as its file says.",
    )
    strategy: Literal["immediate", "canary"] | None = Field(
        default=None,
        description="`canary`: a new version takes a share of new conversations first. Without "
        "it: at once, unless `canary` says how much.",
    )
    canary: Annotated[int, Field(ge=1, le=100), READS_INTEGER] | None = Field(
        default=None, description="How many percent of new conversations a canary takes: 10."
    )
    canary_for: Annotated[int, Field(ge=1, le=86_400), READS_INTEGER] | None = Field(
        default=None, description="For how many seconds it is watched at least: 300."
    )
    canary_turns: Annotated[int, Field(ge=1, le=100_000), READS_INTEGER] | None = Field(
        default=None, description="How many turns it must have taken to be promoted: 20."
    )
    approve_grants: QueryBool = Field(
        default=False,
        description="A person agrees to what a guest in WebAssembly may do more than before.",
    )


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
    """List the agents of the cluster by name."""
    query = request.query
    wanted = _names(node, query.capability)
    if query.state is not None or query.node is not None:
        wanted = [name for name in wanted if _is_wanted(node, name, query)]
    after = "" if query.cursor is None else _name_in(query.cursor)
    rest = [name for name in wanted if name > after]
    shown = rest[: query.limit]
    return AgentList(
        items=[_summary(node, name) for name in shown],
        total=len(wanted),
        next_cursor=_cursor_at(shown[-1]) if len(rest) > len(shown) else None,
    )


def _names(node: Node, capability: str | None) -> list[str]:
    """Return the names of all agents, or of those that answer requests for a capability."""
    if capability is None:
        found = {seat.agent for seat in node.roster}
        found.update(() if node.cluster is None else node.cluster.fleet.agent_names())
    else:
        found = set(node.directory.providers(capability))
        if node.cluster is not None:
            found.update(one.name for one, _ in node.cluster.fleet.providers(capability))
    return sorted(found)


def _copies(node: Node, name: str) -> list[FleetAgent]:
    """Return an agent's copies on other nodes, the one to ask first before the others."""
    if node.cluster is None:
        return []
    holders = list(node.cluster.fleet.holders(name))
    copies = node.cluster.fleet.agents((name,))
    return sorted(
        (copy for copy in copies if copy.node != node.name),
        key=lambda copy: holders.index(copy.node),
    )


def _is_wanted(node: Node, name: str, query: AgentListQuery) -> bool:
    seat = node.roster.find(name)
    if seat is not None and query.node in (None, node.name):
        return query.state in (None, seat.state)
    return any(
        query.node in (None, copy.node) and query.state in (None, copy.state)
        for copy in _copies(node, name)
    )


def _summary(node: Node, name: str) -> AgentSummary:
    seat = node.roster.find(name)
    return show_agent_elsewhere(_copies(node, name)) if seat is None else show_agent(seat, node)


async def deploy_agent(request: Request[DeployQuery, Definition], node: Node) -> Answer | Whole:
    """Bring a definition into force: a new agent, or a new version of one."""
    return await _deploy(request, node, must_be=None)


async def replace_agent(request: Request[DeployQuery, Definition], node: Node) -> Answer | Whole:
    """Bring a definition of the agent at this address into force."""
    return await _deploy(request, node, must_be=request.path["name"])


async def _deploy(
    request: Request[DeployQuery, Definition], node: Node, *, must_be: str | None
) -> Answer | Whole:
    source, format_, file = source_of(request)
    target = None if request.query.dry_run else _target(request, node)
    if target is not None:
        return await _deploy_at(target, request, must_be)
    if request.query.dry_run:
        parsed = node.deployments.parse(source, format_, file)
        name = parsed.spec.name
        if must_be is not None and name != must_be:
            raise Conflict("state_conflict", f"the definition is of {name!r}, not of {must_be!r}")
        return Answer(show_dry_run(parsed, is_new=node.roster.find(name) is None))
    if node.cluster is not None:
        await node.cluster.fleet.until_formed()
    deployed = await _bring(request, node, must_be)
    if node.cluster is not None:
        # Said to be deployed when somebody can take it over.
        await node.cluster.fleet.secure(deployed.agent)
    view = show_deployed(deployed, node.roster.seat(deployed.agent))
    return Answer(
        view,
        status=201 if deployed.is_new else 200,
        headers={"Location": f"{API_PREFIX}/agents/{deployed.agent}"},
    )


async def _bring(
    request: Request[DeployQuery, Definition], node: Node, must_be: str | None
) -> Deployed:
    """Bring a definition into force, or let it be tried as a canary."""
    source, format_, file = source_of(request)
    query, canary = request.query, _canary(request.query)
    if canary is None:
        return await node.deployments.deploy(
            source,
            format_,
            file=file,
            must_be=must_be,
            replicas=query.replicas,
            has_approval=query.approve_grants,
        )
    return await node.rollouts.begin(
        source,
        format_,
        canary,
        file=file,
        must_be=must_be,
        replicas=query.replicas,
        has_approval=query.approve_grants,
    )


def _canary(query: DeployQuery) -> CanarySettings | None:
    """Return how a new version is to be tried; None where it comes into force at once.

    Raises:
        Rejected: `invalid_request`.
    """
    asked = (query.canary, query.canary_for, query.canary_turns)
    is_asked = asked != (None, None, None)
    if query.strategy == "immediate" and is_asked:
        raise Rejected(
            "invalid_request",
            "What comes into force at once is no canary.",
            places=[Place("not with a canary's settings", field="strategy", rule="contradiction")],
        )
    if query.strategy != "canary" and not is_asked:
        return None
    default = CanarySettings()
    return CanarySettings(
        share=default.share if query.canary is None else query.canary / 100,
        watch_s=default.watch_s if query.canary_for is None else query.canary_for,
        turns_min=default.turns_min if query.canary_turns is None else query.canary_turns,
    )


def _target(request: Request[DeployQuery, Definition], node: Node) -> str | None:
    """Return the other node that is to deploy: the one named, or the one that has the agent."""
    others, wanted = request.edge.others, request.query.node
    if wanted not in (None, node.name):
        if others is None or wanted not in others.peers():
            raise NotFound("node_not_found", f"no live node is called {wanted!r}")
        return wanted
    if others is None or request.is_from_node or wanted is not None:
        return None
    name = node.deployments.parse(*source_of(request)).spec.name
    return None if node.roster.find(name) is not None else others.holder(name)


async def _deploy_at(
    target: str, request: Request[DeployQuery, Definition], must_be: str | None
) -> Whole:
    others = request.edge.others
    assert others is not None, "somebody named the target"
    source, format_, file = source_of(request)
    definition = {"source": source, "format": format_.value} | ({"file": file} if file else {})
    query = {"approve_grants": "true"} if request.query.approve_grants else {}
    for name in ("replicas", "strategy", "canary", "canary_for", "canary_turns"):
        value = getattr(request.query, name)
        if value is not None:
            query[name] = str(value)
    answer = await others.ask(
        target,
        Ask(
            method="POST" if must_be is None else "PUT",
            path=f"{API_PREFIX}/agents" + ("" if must_be is None else f"/{must_be}"),
            query=query,
            body=msgspec.json.encode(definition),
        ),
    )
    assert isinstance(answer, Whole), "a deployment is answered in one piece"
    return answer


async def get_agent(request: Request[NoQuery, None], node: Node) -> AgentDetail:
    """Return everything about an agent."""
    seat = node.roster.seat(request.path["name"])
    versions = await node.store.agent_versions(seat.agent)
    return show_detail(seat, version_numbered(versions, seat.agent, seat.tenant.number), node)


async def delete_agent(request: Request[DeleteQuery, None], node: Node) -> Answer:
    """Take an agent off the node, with its versions, usage and log."""
    await node.deployments.delete(request.path["name"], is_forced=request.query.force)
    return Answer(None, status=204)


DEPLOY_S: Final = 180.0
"""To compile a guest in WebAssembly; everything else takes a moment."""

_DEPLOY_ERRORS: Final = (
    "invalid_agent",
    "invalid_module",
    "denied",
    "tool_not_found",
    "storage_unavailable",
    "no_majority",
    "node_not_found",
    "unreachable",
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
        deadline_s=DEPLOY_S,
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
        deadline_s=DEPLOY_S,
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
