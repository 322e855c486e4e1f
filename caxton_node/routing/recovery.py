"""What becomes of a message that was accepted and has no end. Pure.

There are such after a restart, and when an operator wants a dead letter tried again.
"""

from dataclasses import dataclass
from typing import Final

from caxton_node.domain.delivery import DeadReason
from caxton_node.domain.errors import CaxtonError, NotFound
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

__all__ = ["LookedUp", "Lost", "Recovery", "TryAgain", "Wait", "after_restart"]

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


Recovery = TryAgain | LookedUp | Wait | Lost


def after_restart(
    message: Message, directory: Directory, elsewhere: Elsewhere = _NOWHERE, *, turn: int
) -> Recovery:
    """Decide what becomes of a message without an end."""
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
