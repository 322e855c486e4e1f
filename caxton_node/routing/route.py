"""Where a message goes. Pure: reads the directory, changes nothing, decides.

Deliver to agents, hand to the client who waits, or say why not and what comes near.
"""

from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

import msgspec

from caxton_node.domain.delivery import RoutingStrategy
from caxton_node.domain.errors import NotFound
from caxton_node.domain.message import BROADCAST, Message
from caxton_node.routing.directory import Directory, Inbox

__all__ = ["Decision", "Deliver", "FanOut", "HandToClient", "Undeliverable", "route"]


class Deliver(msgspec.Struct, frozen=True):
    """To one agent of this node."""

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


Decision = Deliver | FanOut | HandToClient | Undeliverable


def route(message: Message, directory: Directory, *, turn: int = 0) -> Decision:
    """Decide where a message goes.

    Args:
        message: Validated.
        directory: The agents of this node.
        turn: A number that grows from message to message; it breaks ties among equals, so
            that `load_balanced` goes round.
    """
    if message.capability is not None:
        return _by_capability(message, message.capability, directory, turn)
    inbox = directory.inbox(message.receiver)
    if inbox is not None:
        return Deliver(inbox)
    if message.receiver == BROADCAST:
        return FanOut(
            tuple(
                inbox
                for inbox in directory.inboxes()
                if inbox.is_running and inbox.agent != message.sender
            )
        )
    if message.in_reply_to is not None:
        return HandToClient(message.receiver)
    known = [inbox.agent for inbox in directory.inboxes()]
    return Undeliverable(
        "agent_not_found",
        f"no agent is called {message.receiver!r}",
        tuple(get_close_matches(message.receiver, known, n=3)),
    )


def _by_capability(message: Message, capability: str, directory: Directory, turn: int) -> Decision:
    distances = directory.providers(capability)
    # An agent that asks for what it offers itself means another one.
    candidates = [agent for agent in distances if agent != message.sender]
    found = [inbox for agent in candidates if (inbox := directory.inbox(agent)) is not None]
    running = [inbox for inbox in found if inbox.is_running]
    # A paused provider is better than none: the message waits for it.
    choice = running or found
    if not choice:
        return Undeliverable(
            "no_provider",
            f"nobody provides {capability!r}",
            tuple(get_close_matches(capability, directory.capabilities(), n=3)),
        )
    match message.routing_strategy:
        case RoutingStrategy.BROADCAST:
            return FanOut(tuple(choice))
        case RoutingStrategy.LOAD_BALANCED:
            return Deliver(_least_loaded(choice, turn))
        case RoutingStrategy.BEST_MATCH:
            nearest = min(distances[inbox.agent] for inbox in choice)
            best = [inbox for inbox in choice if distances[inbox.agent] == nearest]
            return Deliver(_least_loaded(best, turn))


def _least_loaded(inboxes: list[Inbox], turn: int) -> Inbox:
    first = turn % len(inboxes)
    return min(inboxes[first:] + inboxes[:first], key=lambda inbox: inbox.load)
