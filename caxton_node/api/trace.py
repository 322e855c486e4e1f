"""The way of one message: where it waited, what its turn did, which questions that asked."""

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Final, Literal

from pydantic import Field, ValidationError

from caxton_node.api.messages import MESSAGE_ID
from caxton_node.api.table import API_PREFIX, Endpoint, NoQuery, Request, Shape
from caxton_node.api.types import Instant, View, instant
from caxton_node.domain.delivery import DeliveryStatus
from caxton_node.domain.errors import CaxtonError
from caxton_node.domain.message import Message
from caxton_node.routing.waiting import ASK_MARK
from caxton_node.runtime.door import Ask, Others, Whole
from caxton_node.runtime.node import Node
from caxton_node.runtime.sending import find_answer, message_not_found
from caxton_node.store.protocol import Step, StepState, Store, StoredMessage

__all__ = ["ENDPOINTS", "hops_of"]

CHILDREN_MAX: Final = 200
"""Questions of one turn that a trace names."""

HOLDER_S: Final = 5.0
"""How long the node that had the turn may take to tell of it."""

_OF_TURN: Final = frozenset({"turn_started", "model_call", "tool_call"})

_ORDER: Final = {
    event: place
    for place, event in enumerate(
        (
            "accepted",
            "routed",
            "forwarded",
            "turn_started",
            "model_call",
            "tool_call",
            "replied",
            "settled",
        )
    )
}
"""Of what happened in the same millisecond. The clocks of two nodes may differ by more."""


class Hop(View):
    """Something that happened to a message."""

    at: Instant
    event: Literal[
        "accepted",
        "routed",
        "forwarded",
        "turn_started",
        "model_call",
        "tool_call",
        "settled",
        "replied",
    ]
    who: str
    duration_ms: int | None = None
    detail: str | None = None
    node: str | None = Field(
        default=None, description="The node where it happened, when that is not the one asked."
    )


class MessageTrace(View):
    """The way of a message through the node."""

    message_id: str
    conversation_id: str
    status: DeliveryStatus
    hops: list[Hop]
    steps: int = Field(description="Model calls and tool calls of its turn.")
    children: list[str] = Field(description="Messages that its turn sent or asked.")


def hops_of(
    stored: StoredMessage, steps: Sequence[Step], answer: Message | None
) -> list[tuple[int, dict[str, Any]]]:
    """Return what happened to a message, each with its instant, in order of time."""
    message = stored.message
    hops: list[tuple[int, dict[str, Any]]] = [
        (stored.accepted_at, {"event": "accepted", "who": message.sender})
    ]
    if stored.agent is not None:
        how = f"by capability {message.capability}" if message.capability else "by name"
        hops.append((stored.accepted_at, {"event": "routed", "who": stored.agent, "detail": how}))
    if stored.node is not None and stored.started_at is not None:
        forwarded = {"event": "forwarded", "who": stored.node, "detail": "its turn is told there"}
        hops.append((stored.started_at, forwarded))
    elif stored.started_at is not None:
        waited_ms = max(0, stored.started_at - stored.accepted_at)
        attempts = f"attempt {stored.attempts}, " if stored.attempts > 1 else ""
        detail = f"{attempts}{waited_ms} ms after acceptance"
        started = {"event": "turn_started", "who": stored.agent or "", "detail": detail}
        hops.append((stored.started_at, started))
    for step in steps:
        hop: dict[str, Any] = {"event": f"{step.kind}_call", "who": step.name}
        if step.finished_at is not None:
            hop["duration_ms"] = max(0, step.finished_at - step.started_at)
        if step.state is StepState.STARTED:
            hop["detail"] = "no end was recorded"
        hops.append((step.started_at, hop))
    if stored.settled_at is not None:
        settled = {"event": "settled", "who": stored.agent or "caxton", "detail": stored.status}
        if stored.reason:
            settled["detail"] = f"{stored.status}: {stored.reason}"
        hops.append((stored.settled_at, settled))
    if answer is not None:
        replied = {"event": "replied", "who": answer.sender, "detail": answer.performative.value}
        hops.append((answer.created_at, replied))
    return sorted(hops, key=lambda hop: hop[0])


async def get_trace(request: Request[NoQuery, None], node: Node) -> MessageTrace:
    """Return the way of one message."""
    message_id = request.path["message_id"]
    stored = await node.store.message(message_id)
    if stored is None:
        raise message_not_found(message_id)
    away = node.pipeline.in_flight.find(message_id)
    if away is not None and away.went_to is not None:
        stored = replace(stored, node=away.went_to, started_at=away.started_at)
    steps = await node.store.steps(message_id)
    answer = await find_answer(node, stored.message)
    trace = MessageTrace(
        message_id=message_id,
        conversation_id=stored.message.conversation_id,
        status=stored.status,
        hops=[Hop(at=instant(at), **hop) for at, hop in hops_of(stored, steps, answer)],
        steps=len(steps),
        children=await _children(node.store, message_id, steps),
    )
    others = request.edge.others
    if stored.node is None or others is None or request.is_from_node:
        return trace
    there = await _told_by(others, stored.node, message_id)
    return trace if there is None else _joined(trace, there, stored.node)


async def _told_by(others: Others, holder: str, message_id: str) -> MessageTrace | None:
    """Return what the node that had the turn tells of it; None when it does not answer."""
    ask = Ask(method="GET", path=f"{API_PREFIX}/messages/{message_id}/trace")
    try:
        async with asyncio.timeout(HOLDER_S):
            answer = await others.ask(holder, ask)
        assert isinstance(answer, Whole), "a trace is answered in one piece"
        return MessageTrace.model_validate_json(answer.body)
    except (CaxtonError, TimeoutError, ValidationError):
        return None


def _joined(trace: MessageTrace, there: MessageTrace, holder: str) -> MessageTrace:
    """Return a message's way with what its turn did on another node."""
    turn = [hop.model_copy(update={"node": holder}) for hop in there.hops if hop.event in _OF_TURN]
    hops = [
        hop.model_copy(update={"detail": None}) if turn and hop.event == "forwarded" else hop
        for hop in trace.hops
    ]
    return trace.model_copy(
        update={
            "hops": sorted([*hops, *turn], key=lambda hop: (hop.at, _ORDER[hop.event])),
            "steps": trace.steps + there.steps,
            "children": [*trace.children, *there.children],
        }
    )


async def _children(store: Store, message_id: str, steps: Sequence[Step]) -> list[str]:
    """Return the messages sent within a turn: their ids count up from the message's own."""
    found: list[str] = []
    prefixes = ["", *(f"s{step.number}-" for step in steps if step.kind == "tool")]
    for prefix in prefixes:
        for count in range(1, CHILDREN_MAX + 1):
            child_id = f"{message_id}{ASK_MARK}{prefix}{count}"
            if len(found) >= CHILDREN_MAX or await store.message(child_id) is None:
                break
            found.append(child_id)
    return found


ENDPOINTS: Final = (
    Endpoint(
        method="GET",
        path=f"{API_PREFIX}/messages/{{message_id}}/trace",
        summary="Follow a message's way",
        tag="messages",
        handle=get_trace,
        belongs_to="holder",
        parameters=(MESSAGE_ID,),
        responses={200: Shape("Its way so far.", MessageTrace)},
        errors=("message_not_found",),
    ),
)
