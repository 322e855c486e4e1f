"""Agents as clients see them."""

from collections.abc import Sequence
from dataclasses import fields
from typing import Any

from pydantic import Field

from caxton_node.api.types import Instant, View, instant
from caxton_node.domain.agent import AgentKind, AgentSpec, AgentState
from caxton_node.runtime.fleet import FleetAgent
from caxton_node.runtime.node import Node
from caxton_node.runtime.seat import Seat
from caxton_node.store.protocol import AgentVersion

__all__ = [
    "AgentCounts",
    "AgentDetail",
    "AgentSummary",
    "show_agent",
    "show_agent_elsewhere",
    "show_counts",
    "show_detail",
]


class AgentSummary(View):
    """An agent in a list."""

    name: str
    kind: AgentKind
    state: AgentState
    version: str
    number: int = Field(description="Of the version in force, counted by its node.")
    description: str
    capabilities: list[str]
    tools: list[str]
    nodes: list[str] = Field(
        description="The nodes that run it. What follows is of the first; in a list null where "
        "that is another node than the one that was asked."
    )
    replicas: int = Field(description="How many nodes are to run it.")
    queued: int | None = Field(description="Messages that wait.")
    turns_under_way: int | None
    uptime_s: float | None = Field(description="Since it was deployed, or the node started.")
    last_activity_at: Instant | None


class AgentCounts(View):
    """What an agent has done since the node started."""

    finished: int
    failed: int
    average_ms: float | None = Field(description="Time of a turn on average; null before one.")


class LlmView(View):
    """How an agent calls its model. Null is the node's default."""

    provider: str | None
    model: str | None
    temperature: float | None
    max_tokens: int | None


class AgentDetail(AgentSummary):
    """Everything about an agent. Secrets stay as `${VAR}`."""

    system_prompt: str
    user_prompt_template: str
    documentation: str
    parameters: dict[str, Any]
    llm: LlmView
    limits: dict[str, Any]
    budget: dict[str, Any]
    permissions: dict[str, Any]
    deployed_at: Instant
    counts: AgentCounts
    source: str
    format: str
    digest: str


def show_agent(seat: Seat, node: Node) -> AgentSummary:
    """Return an agent of this node for a list."""
    return AgentSummary(**_summary(seat, node))


def show_agent_elsewhere(copies: Sequence[FleetAgent]) -> AgentSummary:
    """Return an agent of other nodes for a list, the node to ask first being the first."""
    first = copies[0]
    return AgentSummary(
        name=first.name,
        kind=first.kind,
        state=first.state,
        version=first.version,
        number=first.number,
        description=first.description,
        capabilities=list(first.capabilities),
        tools=[],
        nodes=[copy.node for copy in copies],
        replicas=first.replicas,
        queued=None,
        turns_under_way=None,
        uptime_s=None,
        last_activity_at=None,
    )


def _summary(seat: Seat, node: Node) -> dict[str, Any]:
    spec, last_at = seat.spec, seat.counts.last_activity_at
    replicas = node.deployments.claim(seat.agent).replicas
    others = () if node.cluster is None else node.cluster.fleet.holders(seat.agent)
    return {
        "name": spec.name,
        "kind": spec.kind,
        "state": seat.state,
        "version": spec.version,
        "number": seat.tenant.number,
        "description": spec.description,
        "capabilities": [str(capability) for capability in spec.capabilities],
        "tools": list(spec.tools),
        "nodes": [node.name, *(one for one in others if one != node.name)],
        "replicas": spec.deployment.replicas if replicas is None else replicas,
        "queued": len(seat.mailbox),
        "turns_under_way": len(seat.running),
        "uptime_s": max(0, node.clock.now_ms() - seat.deployed_at) / 1000,
        "last_activity_at": None if last_at is None else instant(last_at),
    }


def show_detail(seat: Seat, version: AgentVersion, node: Node) -> AgentDetail:
    """Return everything about an agent.

    Args:
        seat: The agent's.
        version: Of the definition in force.
        node: That runs it.
    """
    spec: AgentSpec = seat.spec
    return AgentDetail(
        **_summary(seat, node),
        system_prompt=spec.system_prompt,
        user_prompt_template=spec.user_prompt_template,
        documentation=spec.documentation,
        parameters=dict(spec.parameters),
        llm=LlmView(
            provider=spec.llm.provider,
            model=spec.llm.model,
            temperature=spec.llm.temperature,
            max_tokens=spec.llm.max_tokens,
        ),
        limits=_as_json(spec.limits),
        budget=_as_json(spec.budget),
        permissions=_as_json(spec.permissions),
        deployed_at=instant(version.deployed_at),
        counts=show_counts(seat),
        source=version.source,
        format=version.format,
        digest=version.digest,
    )


def show_counts(seat: Seat) -> AgentCounts:
    """Return what an agent has done."""
    counts = seat.counts
    turns = counts.finished + counts.failed
    return AgentCounts(
        finished=counts.finished,
        failed=counts.failed,
        average_ms=round(counts.busy_ms / turns, 3) if turns else None,
    )


def _as_json(settings: Any) -> dict[str, Any]:
    values = {field.name: getattr(settings, field.name) for field in fields(settings)}
    return {
        name: list(value) if isinstance(value, tuple) else value for name, value in values.items()
    }
