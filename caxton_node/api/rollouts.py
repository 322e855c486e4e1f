"""Canaries: how one does, and bringing it into force."""

from typing import Literal

from pydantic import Field

from caxton_node.api.agents import AGENT_NAME
from caxton_node.api.definitions import DeployedView, show_deployed
from caxton_node.api.table import API_PREFIX, Endpoint, NoQuery, Request, Shape
from caxton_node.api.types import Instant, View, instant
from caxton_node.runtime.node import Node
from caxton_node.runtime.rollout import Outcomes
from caxton_node.runtime.rollouts import Rollout

__all__ = ["ENDPOINTS"]


class SideView(View):
    """What one of the two versions has done since the canary began."""

    version: str
    turns: int
    failures: int
    p95_s: float | None = Field(
        description="What one turn of twenty takes or more, of the latest that went well; null "
        "before the first."
    )


class RolloutView(View):
    """A canary, under way or over."""

    agent: str
    outcome: Literal["under_way", "promoted", "rolled_back", "replaced"] = Field(
        description="`replaced`: the agent was changed in another way meanwhile."
    )
    reason: str | None = Field(description="Why it ended; null while it is under way.")
    share_percent: float = Field(description="Of new conversations, that go to the canary.")
    watch_s: float = Field(description="How long it is watched at least.")
    turns_min: int = Field(description="Turns that it must have taken to be promoted by itself.")
    started_at: Instant
    ended_at: Instant | None
    running: SideView
    canary: SideView


def _side(version: str, outcomes: Outcomes) -> SideView:
    p95_s = outcomes.p95_s
    return SideView(
        version=version,
        turns=outcomes.turns,
        failures=outcomes.failures,
        p95_s=None if p95_s is None else round(p95_s, 6),
    )


def show_rollout(rollout: Rollout) -> RolloutView:
    """Return a canary for a client."""
    trial = rollout.trial
    return RolloutView(
        agent=rollout.agent,
        outcome=rollout.outcome,
        reason=rollout.reason,
        share_percent=round(trial.settings.share * 100, 3),
        watch_s=trial.settings.watch_s,
        turns_min=trial.settings.turns_min,
        started_at=instant(trial.started_at),
        ended_at=None if rollout.ended_at is None else instant(rollout.ended_at),
        running=_side(rollout.running_version, trial.of_running),
        canary=_side(rollout.spec.version, trial.of_canary),
    )


async def get_rollout(request: Request[NoQuery, None], node: Node) -> RolloutView:
    """Return how an agent's canary does, or how the last one ended."""
    seat = node.roster.seat(request.path["name"])
    return show_rollout(node.rollouts.find(seat.agent))


async def promote_agent(request: Request[NoQuery, None], node: Node) -> DeployedView:
    """Bring an agent's canary into force."""
    deployed = await node.rollouts.promote(request.path["name"])
    if node.cluster is not None:
        await node.cluster.fleet.secure(deployed.agent)
    return show_deployed(deployed, node.roster.seat(deployed.agent))


ENDPOINTS = (
    Endpoint(
        method="GET",
        path=f"{API_PREFIX}/agents/{{name}}/rollout",
        summary="Ask how a canary does",
        tag="agents",
        handle=get_rollout,
        belongs_to="agent",
        parameters=(AGENT_NAME,),
        responses={200: Shape("The canary, or the last one since the node started.", RolloutView)},
        errors=("agent_not_found", "version_not_found"),
    ),
    Endpoint(
        method="POST",
        path=f"{API_PREFIX}/agents/{{name}}/promote",
        summary="Promote a canary",
        tag="agents",
        handle=promote_agent,
        belongs_to="agent",
        description="The canary comes into force at once. `rollback` ends it instead.",
        parameters=(AGENT_NAME,),
        responses={200: Shape("The version now in force.", DeployedView)},
        errors=(
            "agent_not_found",
            "state_conflict",
            "agent_failed",
            "storage_unavailable",
            "no_majority",
        ),
    ),
)
