"""How a client talks to an agent and follows its turn: the same for every edge.

A question is a message like any other. A client that goes away stops nothing: the turn goes on, and
the answer can be read in the conversation. What a turn shows on the way may be lost; the answer
may not.
"""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager, nullcontext
from dataclasses import dataclass
from typing import Final

from caxton_node.domain.agent import AgentState
from caxton_node.domain.errors import Conflict, Place, Rejected, TimedOut
from caxton_node.domain.message import Message
from caxton_node.domain.performatives import ANSWERABLE
from caxton_node.routing.waiting import answer_within
from caxton_node.runtime.door import Others
from caxton_node.runtime.node import Node
from caxton_node.runtime.sending import check_sender
from caxton_node.telemetry.events import Event, Watcher
from caxton_node.telemetry.message_spans import begin_send

__all__ = [
    "ASK_S_MAX",
    "Accepted",
    "Answered",
    "Glimpse",
    "agent_to_ask",
    "ask",
    "check_question",
    "follow",
]

ASK_S_MAX: Final = 600.0

SETTLE_S: Final = 0.2
"""How long an answer waits for the last that its turn showed on another node."""

_RESTED: Final = frozenset({AgentState.SUSPENDED, AgentState.STOPPED, AgentState.FAILED})

_SHOWN: Final = frozenset({"turn.delta", "turn.tool_call", "turn.tool_result"})

_ENDS: Final = frozenset({"message.delivered", "message.dead", "message.expired"})


@dataclass(frozen=True, slots=True)
class Accepted:
    """The node answers for the question."""

    question: Message


@dataclass(frozen=True, slots=True)
class Answered:
    """The answer; nothing comes after it."""

    question: Message
    reply: Message


Glimpse = Accepted | Event | Answered


def agent_to_ask(node: Node, name: str, others: Others | None) -> str:
    """Return the name of an agent that can be asked now, here or on another node.

    A message waits for an agent that was stopped; whoever asks and waits for the answer is told.

    Raises:
        NotFound: `agent_not_found`, with what comes near.
        Conflict: `state_conflict`: it takes no turns.
    """
    seat = node.roster.find(name)
    if seat is not None:
        _check_at_work(name, (seat.state,))
        return seat.agent
    if others is not None and node.cluster is not None and others.holder(name) is not None:
        _check_at_work(name, [one.state for one in node.cluster.fleet.agents([name])])
        return name
    return node.roster.seat(name).agent


def _check_at_work(name: str, states: Sequence[AgentState]) -> None:
    """Let pass what may answer: one replica is enough, and one that is still starting, too."""
    if not states or not _RESTED.issuperset(states):
        return
    state = states[0]
    verb = "resume" if state is AgentState.SUSPENDED else "restart"
    raise Conflict(
        "state_conflict",
        f"{name} is {state.value} and answers nobody",
        hint=f"Wake it with `caxton agent {verb} {name}`, or leave it a message, which waits: "
        f"`caxton message send --to {name}`.",
        facts={"state": state.value},
    )


def check_question(node: Node, question: Message) -> None:
    """Let pass what asks for an answer and speaks for itself.

    Raises:
        Rejected: `invalid_message`, `invalid_request`.
    """
    check_sender(node, question.sender)
    if question.performative not in ANSWERABLE:
        raise Rejected(
            "invalid_request",
            f"{question.performative.value} asks for no answer",
            hint="POST /api/v1/messages sends acts that are only told.",
            places=[
                Place("`performative` asks for no answer", field="performative", rule="answerable")
            ],
        )


async def ask(node: Node, question: Message, *, timeout_s: float) -> Message:
    """Ask and return the answer, which may be a negative one.

    Raises:
        CaxtonError: The question was not taken.
        TimedOut: `timed_out`, with the ids under which the answer can be found later.
    """
    check_question(node, question)
    with node.answers.expect(question.sender, question.id) as answer:
        await _hand_in(node, question)
        try:
            return await answer_within(answer, timeout_s)
        except TimedOut as late:
            late.facts |= _ids(question)
            raise


async def _hand_in(node: Node, question: Message) -> None:
    """Send a question; return when it is on disk."""
    question, span = begin_send(node.tracing, question)
    with span:
        await node.pipeline.send(question)


async def follow(
    node: Node,
    question: Message,
    *,
    timeout_s: float,
    heartbeat_s: float,
    others: Others | None = None,
) -> AsyncGenerator[Glimpse | None]:
    """Ask, and yield what the turn shows and then its answer; None is a sign of life.

    Args:
        node: That is asked.
        question: For an agent here or elsewhere.
        timeout_s: For the answer.
        heartbeat_s: How often to say that nothing happened.
        others: The other nodes, where there may be some.

    Raises:
        CaxtonError: The question was not taken.
        TimedOut: `timed_out`.
    """
    check_question(node, question)

    def concerns(event: Event) -> bool:
        return event.data.get("message_id") == question.id and (
            event.kind in _SHOWN or event.kind in _ENDS
        )

    loop = asyncio.get_running_loop()
    with (
        node.answers.expect(question.sender, question.id) as answer,
        node.events.watch(concerns) as watcher,
    ):
        answer.add_done_callback(lambda _: watcher.wake())
        async with _shown_elsewhere(node, question, others):
            await _hand_in(node, question)
            yield Accepted(question)
            ends_at_s = loop.time() + timeout_s
            while not answer.done():
                left_s = ends_at_s - loop.time()
                if left_s <= 0:
                    raise TimedOut(
                        "timed_out", f"no answer within {timeout_s:g} s", facts=_ids(question)
                    )
                event = await watcher.next(timeout_s=min(left_s, heartbeat_s))
                if event is not None:
                    if event.kind in _SHOWN:
                        yield event
                elif not answer.done():
                    yield None
            if others is not None and node.roster.find(question.receiver) is None:
                async for event in _rest(watcher, loop.time() + SETTLE_S):
                    yield event
            for event in watcher.drain():
                if event.kind in _SHOWN:
                    yield event
            yield Answered(question, answer.result())


def _shown_elsewhere(
    node: Node, question: Message, others: Others | None
) -> AbstractAsyncContextManager[None]:
    """Let this node show what a turn on another one shows, where the agent is there."""
    if others is None or node.roster.find(question.receiver) is not None:
        return nullcontext()
    holder = others.holder(question.receiver)
    if holder is None:
        return nullcontext()
    return others.watching(holder, question.id, node.events.publish)


async def _rest(watcher: Watcher, ends_at_s: float) -> AsyncIterator[Event]:
    """Yield what a turn elsewhere showed last; the answer came by a shorter way."""
    loop = asyncio.get_running_loop()
    while (left_s := ends_at_s - loop.time()) > 0:
        event = await watcher.next(timeout_s=left_s)
        if event is None or event.kind in _ENDS:
            return
        yield event


def _ids(question: Message) -> dict[str, object]:
    return {"message_id": question.id, "conversation_id": question.conversation_id}
