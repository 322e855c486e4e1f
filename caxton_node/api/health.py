"""Whether the node lives, whether it can work, and what it is doing."""

import os
from typing import Final, Literal

from pydantic import Field

from caxton_node.api.table import API_PREFIX, Answer, Endpoint, NoQuery, Request, Shape
from caxton_node.api.types import Instant, View, instant
from caxton_node.domain.agent import AgentState
from caxton_node.llm.model import OFFLINE
from caxton_node.runtime.node import Node
from caxton_node.telemetry.metrics import resident_bytes

__all__ = ["ENDPOINTS"]


class Health(View):
    """The process lives."""

    status: Literal["ok"] = "ok"
    version: str
    node: str
    uptime_s: float
    agents: int


class Readiness(View):
    """Whether the node can work, part by part."""

    status: Literal["ready", "not_ready"]
    components: dict[str, str] = Field(
        description="`ready`, `degraded: why` or `failed: why`, by name."
    )


class AgentTotals(View):
    """Agents by state."""

    total: int
    running: int
    suspended: int
    stopped: int
    failed: int


class MessageTotals(View):
    """Messages since the node started."""

    accepted: int
    delivered: int
    dead: int
    expired: int
    cancelled: int
    refused: int
    retried: int
    duplicate: int


class StoreStatus(View):
    """Where messages are kept."""

    path: str | None


class ModelStatus(View):
    """Which model answers for agents that name none."""

    provider: str
    model: str | None


class NodeStatus(View):
    """What the node is doing."""

    node: str
    version: str
    started_at: Instant
    uptime_s: float
    status: Literal["ready", "not_ready", "draining"]
    agents: AgentTotals
    messages: MessageTotals
    turns_under_way: int
    queued: int
    store: StoreStatus
    model: ModelStatus
    pid: int
    memory_mb: float


def _uptime_s(node: Node) -> float:
    return max(0, node.clock.now_ms() - node.started_at) / 1000


def _is_ready(node: Node) -> bool:
    return not node.pipeline.is_draining and not any(
        state.startswith("failed") for state in node.components().values()
    )


async def get_health(_: Request[NoQuery, None], node: Node) -> Health:
    """Say that the process lives."""
    return Health(
        version=node.version, node=node.name, uptime_s=_uptime_s(node), agents=len(node.roster)
    )


async def get_readiness(_: Request[NoQuery, None], node: Node) -> Answer:
    """Say whether the node can work."""
    components = dict(node.components())
    if node.pipeline.is_draining:
        components["intake"] = "failed: the node is stopping"
    is_ready = _is_ready(node)
    readiness = Readiness(status="ready" if is_ready else "not_ready", components=components)
    return Answer(
        readiness,
        status=200 if is_ready else 503,
        headers={} if is_ready else {"Retry-After": "1"},
    )


async def get_status(_: Request[NoQuery, None], node: Node) -> NodeStatus:
    """Say what the node is doing."""
    seats = list(node.roster)
    counts = node.counts
    by_state = {state: sum(seat.state is state for seat in seats) for state in AgentState}
    return NodeStatus(
        node=node.name,
        version=node.version,
        started_at=instant(node.started_at),
        uptime_s=_uptime_s(node),
        status="draining"
        if node.pipeline.is_draining
        else ("ready" if _is_ready(node) else "not_ready"),
        agents=AgentTotals(
            total=len(seats),
            running=by_state[AgentState.RUNNING],
            suspended=by_state[AgentState.SUSPENDED],
            stopped=by_state[AgentState.STOPPED],
            failed=by_state[AgentState.FAILED],
        ),
        messages=MessageTotals(
            accepted=counts.messages_accepted,
            delivered=counts.messages_delivered,
            dead=counts.messages_dead,
            expired=counts.messages_expired,
            cancelled=counts.messages_cancelled,
            refused=counts.messages_refused,
            retried=counts.messages_retried,
            duplicate=counts.messages_duplicate,
        ),
        turns_under_way=node.supervisor.turns_under_way,
        queued=sum(len(seat.mailbox) for seat in seats),
        store=StoreStatus(path=_setting(node, "node.data_dir")),
        model=ModelStatus(provider=_default_provider(node), model=_setting(node, "llm.model")),
        pid=os.getpid(),
        memory_mb=round(resident_bytes() / 1_000_000, 1),
    )


def _default_provider(node: Node) -> str:
    """Return who answers for agents that name no provider, by the rule of `[llm] provider`."""
    given = _setting(node, "llm.provider")
    if given is not None:
        return given
    has_endpoint = _setting(node, "llm.base_url") or _setting(node, "llm.api_key")
    return "openai" if has_endpoint else OFFLINE


def _setting(node: Node, key: str) -> str | None:
    value, _ = node.settings_in_force.get(key, (None, ""))
    return None if value is None else str(value)


ENDPOINTS: Final = (
    Endpoint(
        method="GET",
        path="/health",
        summary="Ask whether the process lives",
        tag="node",
        handle=get_health,
        responses={200: Shape("It does.", Health)},
    ),
    Endpoint(
        method="GET",
        path="/ready",
        summary="Ask whether the node can work",
        tag="node",
        handle=get_readiness,
        responses={
            200: Shape("It can.", Readiness),
            503: Shape("It cannot.", Readiness, headers={"Retry-After": "Seconds to wait."}),
        },
    ),
    Endpoint(
        method="GET",
        path=f"{API_PREFIX}/status",
        summary="Ask what the node is doing",
        tag="node",
        handle=get_status,
        responses={200: Shape("Its state and counts.", NodeStatus)},
    ),
)
