"""Where a message goes. Pure: reads who is here and who is elsewhere, changes nothing, decides.

Deliver to agents, hand to the client who waits, keep for an agent that is to come, or say why not
and what comes near. An agent of this node is found without a look at the others.
"""

from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any, Final

import msgspec

from caxton_node.domain.delivery import RoutingStrategy
from caxton_node.domain.errors import NotFound
from caxton_node.domain.message import BROADCAST, Message
from caxton_node.routing.directory import Directory, Inbox
from caxton_node.routing.elsewhere import Elsewhere, Nowhere

__all__ = ["Await", "Decision", "Deliver", "FanOut", "HandToClient", "Undeliverable", "route"]

_NOWHERE: Final = Nowhere()


class Deliver(msgspec.Struct, frozen=True):
    """To one agent, of this node or of another."""

    inbox: Any
    """An `Inbox`."""


@dataclass(frozen=True, slots=True)
class FanOut:
    """To several agents: the message is copied, once for each."""

    inboxes: tuple[Inbox, ...]


@dataclass(frozen=True, slots=True)
class HandToClient:
    """An answer for someone who is no agent: whoever waits for it, or reads it later."""

    client: str


@dataclass(frozen=True, slots=True)
class Await:
    """To an agent that is nowhere now and may come (back)."""

    nowhere: "Undeliverable"
    """What to say if it never does."""


@dataclass(frozen=True, slots=True)
class Undeliverable:
    """To nobody."""

    code: str
    """`agent_not_found` or `no_provider`."""
    detail: str
    suggestions: tuple[str, ...]

    def error(self) -> NotFound:
        """Return what to tell the sender."""
        hint = f"Did you mean {', '.join(self.suggestions)}?" if self.suggestions else None
        return NotFound(
            self.code, self.detail, hint=hint, facts={"suggestions": list(self.suggestions)}
        )


Decision = Deliver | FanOut | HandToClient | Await | Undeliverable


def route(
    message: Message, directory: Directory, elsewhere: Elsewhere = _NOWHERE, turn: int = 0
) -> Decision:
    """Decide where a message goes.

    Args:
        message: Validated.
        directory: The agents of this node.
        elsewhere: Those of the others.
        turn: A number that grows from message to message; it breaks ties among equals, so
            that `load_balanced` goes round.
    """
    if message.capability is not None:
        return _by_capability(message, message.capability, directory, elsewhere, turn)
    inbox = directory.inbox(message.receiver)
    if inbox is not None:
        return Deliver(inbox)
    if message.receiver == BROADCAST:
        return FanOut(_everybody(message.sender, directory, elsewhere))
    inbox = elsewhere.inbox(message.receiver)
    if inbox is not None:
        return Deliver(inbox)
    if message.in_reply_to is not None:
        home = None if message.home is None else elsewhere.client(message.home)
        return HandToClient(message.receiver) if home is None else Deliver(home)
    known = [*(inbox.agent for inbox in directory.inboxes()), *elsewhere.names()]
    return _nobody(
        message,
        elsewhere,
        Undeliverable(
            "agent_not_found",
            f"no agent is called {message.receiver!r}",
            tuple(get_close_matches(message.receiver, known, n=3)),
        ),
    )


def _nobody(message: Message, elsewhere: Elsewhere, nowhere: Undeliverable) -> Decision:
    return Await(nowhere) if elsewhere.may_come(message) else nowhere


def _everybody(sender: str, directory: Directory, elsewhere: Elsewhere) -> tuple[Inbox, ...]:
    """Return the inboxes of all running agents but the sender's, one an agent."""
    here = tuple(directory.inboxes())
    names = {inbox.agent for inbox in here}
    there = (inbox for inbox in elsewhere.inboxes() if inbox.agent not in names)
    return tuple(inbox for inbox in (*here, *there) if inbox.is_running and inbox.agent != sender)


def _by_capability(
    message: Message, capability: str, directory: Directory, elsewhere: Elsewhere, turn: int
) -> Decision:
    # An agent that asks for what it offers itself means another one.
    here = [
        (inbox, distance)
        for agent, distance in directory.providers(capability).items()
        if agent != message.sender and (inbox := directory.inbox(agent)) is not None
    ]
    there = [
        (inbox, distance)
        for inbox, distance in elsewhere.providers(capability)
        if inbox.agent != message.sender and directory.inbox(inbox.agent) is None
    ]
    # A paused provider is better than none: the message waits for it.
    here, there = _running(here, there) or (here, there)
    choice = [*here, *there]
    if not choice:
        offered = [*directory.capabilities(), *elsewhere.capabilities()]
        near = tuple(get_close_matches(capability, offered, n=3))
        nowhere = Undeliverable("no_provider", f"nobody provides {capability!r}", near)
        return _nobody(message, elsewhere, nowhere)
    match message.routing_strategy:
        case RoutingStrategy.BROADCAST:
            return FanOut(tuple(inbox for inbox, _ in choice))
        case RoutingStrategy.LOAD_BALANCED:
            return Deliver(_least_loaded([inbox for inbox, _ in choice], turn))
        case RoutingStrategy.BEST_MATCH:
            nearest = min(distance for _, distance in choice)
            # Of equals, one of this node spares a journey.
            best = _at(nearest, here) or _at(nearest, there)
            return Deliver(_least_loaded(best, turn))


_Providers = list[tuple[Inbox, int]]


def _running(here: _Providers, there: _Providers) -> tuple[_Providers, _Providers] | None:
    """Return those that take turns now, or None when none does."""
    running = tuple([one for one in some if one[0].is_running] for some in (here, there))
    return (running[0], running[1]) if running[0] or running[1] else None


def _at(distance: int, providers: _Providers) -> list[Inbox]:
    return [inbox for inbox, its in providers if its == distance]


def _least_loaded(inboxes: list[Inbox], turn: int) -> Inbox:
    first = turn % len(inboxes)
    return min(inboxes[first:] + inboxes[:first], key=lambda inbox: inbox.load)
