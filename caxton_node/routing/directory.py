"""Who is here and what each offers: what `route` needs to know of the agents of this node.

The roster of the runtime fills it; routing only reads. An entry is whatever can take a message
for an agent, so that routing knows nothing of mailboxes, states or turns.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Protocol

from caxton_node.domain.agent import PermissionSettings
from caxton_node.domain.capability import Capability
from caxton_node.routing.envelope import Envelope

__all__ = ["Directory", "Inbox"]


class Inbox(Protocol):
    """Where an agent's messages go."""

    @property
    def agent(self) -> str:
        """The agent's name."""
        ...

    @property
    def node(self) -> str | None:
        """The other node that has the agent; None for one of this node, and for nobody's."""
        ...

    @property
    def permissions(self) -> PermissionSettings:
        """Whose messages the agent takes."""
        ...

    @property
    def is_running(self) -> bool:
        """Whether turns are being taken now. Messages for a paused agent wait."""
        ...

    @property
    def load(self) -> int:
        """Messages waiting and turns under way."""
        ...

    def reserve(self, is_forced: bool, /) -> bool:
        """Keep a slot for a message that is being journaled; False when all are taken.

        Args:
            is_forced: Take a slot above the bound: for replies, which their request paid for,
                and for messages that were accepted before a restart.
        """
        ...

    def unreserve(self) -> None:
        """Give a slot back: the message was not accepted after all."""
        ...

    def put(self, envelope: Envelope) -> None:
        """Take a message for which a slot is reserved."""
        ...

    def discard(self, envelope: Envelope) -> None:
        """Let go of a message that ends before its turn, or between two attempts."""
        ...

    def interrupt(self, envelope: Envelope) -> None:
        """Take a `cancel`, which does not queue behind what it calls off."""
        ...


class Directory:
    """Agents by name and by every spelling of a capability they answer to."""

    def __init__(self) -> None:
        self._inboxes: dict[str, Inbox] = {}
        self.inbox: Callable[[str], Inbox | None] = self._inboxes.get
        """Returns an agent's inbox, or None. The dictionary's own method: every message asks."""
        self._offers: dict[str, tuple[Capability, ...]] = {}
        self._providers: dict[str, dict[str, int]] = {}
        """Spelling of a request → agent → how far its nearest capability is from it."""

    def put(self, inbox: Inbox, capabilities: Iterable[Capability]) -> None:
        """Add an agent, or replace what it offers."""
        self.remove(inbox.agent)
        self._inboxes[inbox.agent] = inbox
        self._offers[inbox.agent] = tuple(capabilities)
        for capability in self._offers[inbox.agent]:
            for distance, spelling in enumerate(capability.answers_to()):
                agents = self._providers.setdefault(spelling, {})
                agents[inbox.agent] = min(distance, agents.get(inbox.agent, distance))

    def remove(self, agent: str) -> None:
        """Forget an agent. Unknown names are fine."""
        self._inboxes.pop(agent, None)
        for capability in self._offers.pop(agent, ()):
            for spelling in capability.answers_to():
                agents = self._providers.get(spelling, {})
                agents.pop(agent, None)
                if not agents:
                    self._providers.pop(spelling, None)

    def inboxes(self) -> Iterable[Inbox]:
        """Return all inboxes in order of their agents' first deployment."""
        return self._inboxes.values()

    def providers(self, capability: str) -> Mapping[str, int]:
        """Return who answers a request for `capability`, each with its distance."""
        return self._providers.get(capability, {})

    def capabilities(self) -> Mapping[str, tuple[str, ...]]:
        """Return every capability as offered, with the agents that offer it."""
        offered: dict[str, list[str]] = {}
        for agent, capabilities in self._offers.items():
            for capability in capabilities:
                offered.setdefault(str(capability), []).append(agent)
        return {name: tuple(offered[name]) for name in sorted(offered)}
