"""What becomes of a message that was accepted and has no end. Pure.

There are such after a restart, and when an operator wants a dead letter tried again.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from caxton_node.domain.delivery import DeadReason
from caxton_node.domain.errors import CaxtonError, Failed, NotFound
from caxton_node.domain.message import Message
from caxton_node.routing.directory import Directory, Inbox
from caxton_node.routing.elsewhere import Elsewhere, Nowhere
from caxton_node.routing.route import (
    Await,
    Deliver,
    FanOut,
    HandToClient,
    Undeliverable,
    route,
)
from caxton_node.routing.waiting import is_ask
from caxton_node.store.protocol import Step

__all__ = [
    "Begun",
    "LookedUp",
    "Lost",
    "Recovery",
    "TryAgain",
    "Wait",
    "after_restart",
    "begun_before",
    "had_effect",
]

_NOWHERE: Final = Nowhere()


@dataclass(frozen=True, slots=True)
class TryAgain:
    """Its agent is known: it takes its turn (again), here or elsewhere."""

    inbox: Inbox


@dataclass(frozen=True, slots=True)
class LookedUp:
    """An answer to a question asked within a turn: that turn looks it up when it resumes."""


@dataclass(frozen=True, slots=True)
class Wait:
    """Nobody is there for it now, and somebody may come."""


@dataclass(frozen=True, slots=True)
class Lost:
    """Nobody is here for it: a dead letter, its sender told."""

    error: CaxtonError
    reason: str


@dataclass(frozen=True, slots=True)
class Begun:
    """Its turn began here before the process ended, and its effect must not happen twice."""

    error: CaxtonError
    reason: str


Recovery = Begun | TryAgain | LookedUp | Wait | Lost


def begun_before(agent: str) -> Failed:
    """Return why a turn that may have had its effect is not taken again."""
    return Failed(
        "outcome_unknown",
        f"the turn of {agent!r} had begun when the node stopped; whether it took effect is unknown",
        hint="Look at the world, then retry the dead letter or drop it.",
    )


def had_effect(steps: Sequence[Step]) -> bool:
    """Return whether a turn that began once may have changed the world.

    An agent without recorded steps may have done anything. One with a model records each call of
    a tool before it is made: as long as there is none, its turn can begin anew wherever it is.
    """
    return not steps or any(step.kind == "tool" for step in steps)


def after_restart(
    message: Message,
    directory: Directory,
    elsewhere: Elsewhere = _NOWHERE,
    *,
    turn: int,
    begun_by: str | None = None,
) -> Recovery:
    """Decide what becomes of a message without an end.

    Args:
        message: Of which an end is owed.
        directory: The agents of this node.
        elsewhere: Those of the others.
        turn: As `route` takes it.
        begun_by: The agent of this node that began its turn already, where it must have its effect
            once: nobody else may.
    """
    if begun_by is not None:
        inbox = directory.inbox(begun_by)
        if inbox is not None:
            return TryAgain(inbox)
        unknown = begun_before(begun_by)
        return Begun(unknown, f"{unknown.code}: {unknown.detail}")
    is_answer_to_turn = is_ask(message.in_reply_to)
    match route(message, directory, elsewhere, turn=turn):
        case Deliver(inbox) if not is_answer_to_turn or inbox is not directory.inbox(inbox.agent):
            return TryAgain(inbox)
        case _ if is_answer_to_turn:
            return LookedUp()
        case Deliver(inbox):
            return TryAgain(inbox)
        case Await():
            return Wait()
        case Undeliverable("no_provider", detail) as nowhere:
            return Lost(nowhere.error(), f"{DeadReason.NO_PROVIDER}: {detail}")
        case Undeliverable(_, detail) as nowhere:
            return Lost(nowhere.error(), f"{DeadReason.AGENT_NOT_FOUND}: {detail}")
        case HandToClient() | FanOut():
            # What a client gets, or several agents, is journaled with its end. This was for an
            # agent that is not here any more.
            gone = NotFound("agent_not_found", f"no agent is called {message.receiver!r}")
            return Lost(gone, f"{DeadReason.AGENT_NOT_FOUND}: {gone.detail}")
