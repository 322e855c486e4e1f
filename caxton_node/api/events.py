"""Everything that happens on the node, as it happens."""

import asyncio
from collections.abc import AsyncIterator
from typing import Annotated, Final

from pydantic import Field

from caxton_node.api.edge import STREAM_S_MAX
from caxton_node.api.table import API_PREFIX, Endpoint, EventStream, Request, Shape, StreamEvent
from caxton_node.api.types import ConversationIdText, Query, instant
from caxton_node.runtime.node import Node
from caxton_node.telemetry.events import Event

__all__ = ["ENDPOINTS"]

_SECONDS: Final = r"^[0-9]{1,4}(\.[0-9]{1,3})?$"


class EventQuery(Query):
    """Which events."""

    kind: Annotated[str, Field(pattern=r"^[a-z_.]{1,64}$")] | None = Field(
        default=None, description="Only kinds that begin so, such as `message.` or `agent.state`."
    )
    agent: Annotated[str, Field(pattern=r"^[A-Za-z][A-Za-z0-9_-]{0,63}$")] | None = None
    conversation_id: ConversationIdText | None = None
    message_id: Annotated[str, Field(pattern=r"^[A-Za-z0-9._:#~-]{1,512}$")] | None = None
    for_s: Annotated[str, Field(pattern=_SECONDS)] | None = Field(
        default=None, description=f"End after so many seconds; {STREAM_S_MAX:g} at most."
    )


def _wants(query: EventQuery, event: Event) -> bool:
    return (
        (query.kind is None or event.kind.startswith(query.kind))
        and (query.agent is None or event.data.get("agent") == query.agent)
        and (
            query.conversation_id is None
            or event.data.get("conversation_id") == query.conversation_id
        )
        and (query.message_id is None or event.data.get("message_id") == query.message_id)
    )


async def watch_events(request: Request[EventQuery, None], node: Node) -> EventStream:
    """Stream events from now on."""
    return EventStream(_follow(request.query, node, request.edge.heartbeat_s))


async def _follow(
    query: EventQuery, node: Node, heartbeat_s: float
) -> AsyncIterator[StreamEvent | None]:
    loop = asyncio.get_running_loop()
    ends_at_s = loop.time() + (STREAM_S_MAX if query.for_s is None else float(query.for_s))
    lost_count = 0
    with node.events.watch(lambda event: _wants(query, event)) as watcher:
        yield None
        while (left_s := ends_at_s - loop.time()) > 0:
            event = await watcher.next(timeout_s=min(heartbeat_s, left_s))
            if watcher.lost_count > lost_count:
                newly_lost = watcher.lost_count - lost_count
                lost_count = watcher.lost_count
                node.counts.events_lost += newly_lost
                yield StreamEvent("lost", {"count": newly_lost, "total": lost_count})
            if event is None:
                yield None
                continue
            data = {
                "number": event.number,
                "at": instant(event.at),
                "kind": event.kind,
                **event.data,
            }
            yield StreamEvent(event.kind, data, event.number)


ENDPOINTS: Final = (
    Endpoint(
        method="GET",
        path=f"{API_PREFIX}/events",
        summary="Watch what happens",
        tag="events",
        handle=watch_events,
        description="Server-sent events: the kind is the event's name, `data` is JSON. A client "
        "that is too slow misses events; `lost` says how many.",
        query=EventQuery,
        responses={200: Shape("Events.", media_type="text/event-stream")},
        errors=("node_busy",),
    ),
)
