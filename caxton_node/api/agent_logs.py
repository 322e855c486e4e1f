"""An agent's own log: its last lines, and those to come."""

from collections.abc import AsyncIterator
from contextlib import AbstractContextManager
from typing import Annotated, Final, Literal

from pydantic import Field

from caxton_node.api.agents import AGENT_NAME
from caxton_node.api.table import API_PREFIX, Endpoint, EventStream, Request, Shape, StreamEvent
from caxton_node.api.types import READS_INTEGER, Instant, Query, View, instant
from caxton_node.runtime.node import Node
from caxton_node.store.protocol import LogLine
from caxton_node.telemetry.events import Event, Watcher

__all__ = ["ENDPOINTS"]

_LEVELS: Final = ("debug", "info", "warning", "error")
Level = Literal["debug", "info", "warning", "error"]


class LogQuery(Query):
    """Which lines."""

    tail: Annotated[int, Field(ge=1, le=1000), READS_INTEGER] = Field(
        default=100, description="How many of the last lines."
    )
    level: Level | None = Field(default=None, description="The least important level to show.")


class LogLineView(View):
    """A line."""

    at: Instant
    level: Level
    text: str
    conversation_id: str | None


class LogLines(View):
    """Lines, oldest first."""

    items: list[LogLineView]
    total: int | None = None
    next_cursor: None = None


def _is_shown(level: str, least: Level | None) -> bool:
    return least is None or _LEVELS.index(level) >= _LEVELS.index(least)


def _view(line: LogLine) -> LogLineView:
    return LogLineView.model_construct(
        at=instant(line.at),
        level=line.level,
        text=line.text,
        conversation_id=line.conversation_id,
    )


async def get_agent_logs(request: Request[LogQuery, None], node: Node) -> LogLines | EventStream:
    """Return the last lines of an agent's log, or follow it."""
    agent = node.roster.seat(request.path["name"]).agent
    query = request.query
    if request.wants_events:
        return EventStream(_follow(node, agent, query, request.edge.heartbeat_s))
    lines = await node.store.log(agent, tail=query.tail)
    return LogLines(items=[_view(line) for line in lines if _is_shown(line.level, query.level)])


def _watch(node: Node, agent: str) -> AbstractContextManager[Watcher]:
    def is_wanted(event: Event) -> bool:
        return event.kind == "agent.log" and event.data.get("agent") == agent

    return node.events.watch(is_wanted)


async def _follow(
    node: Node, agent: str, query: LogQuery, heartbeat_s: float
) -> AsyncIterator[StreamEvent | None]:
    """Yield the last lines, then each new one, until the agent is deleted."""
    with _watch(node, agent) as watcher:
        lines = await node.store.log(agent, tail=query.tail)
        # A line written between the two steps is in both; the event of it is older than the read.
        read_at = node.clock.now_ms()
        for line in lines:
            if _is_shown(line.level, query.level):
                yield StreamEvent("line", _view(line))
        yield None
        while node.roster.find(agent) is not None:
            event = await watcher.next(timeout_s=heartbeat_s)
            if event is None:
                yield None
            elif event.at >= read_at and _is_shown(event.data["level"], query.level):
                data = event.data
                line = LogLine(
                    at=event.at,
                    level=data["level"],
                    text=data["text"],
                    conversation_id=data.get("conversation_id"),
                )
                yield StreamEvent("line", _view(line), event.number)


ENDPOINTS: Final = (
    Endpoint(
        method="GET",
        path=f"{API_PREFIX}/agents/{{name}}/logs",
        summary="Read or follow an agent's log",
        tag="agents",
        handle=get_agent_logs,
        belongs_to="agent",
        description="With `Accept: text/event-stream` each line is an event called `line`, and "
        "the stream goes on.",
        parameters=(AGENT_NAME,),
        query=LogQuery,
        responses={200: Shape("The last lines, oldest first.", LogLines, has_events=True)},
        errors=("agent_not_found", "node_busy"),
    ),
)
