"""What routing knows of agents on other nodes: nothing here, or what the cluster's registry says.

An agent elsewhere is an `Inbox` like one of this node: it takes a place for a message, and takes
the message. How that travels is the links' business; who is where is the registry's. A node alone
has `Nowhere`.
"""

from collections.abc import Iterable, Sequence
from typing import Protocol

from caxton_node.domain.message import Message
from caxton_node.routing.directory import Inbox

__all__ = ["Elsewhere", "Nowhere"]


class Elsewhere(Protocol):
    """Agents and clients of other nodes. Asked only for what this node does not have itself."""

    def inbox(self, agent: str) -> Inbox | None:
        """Return where an agent's messages go, or None when no live node is known to have it."""
        ...

    def at(self, node: str, agent: str) -> Inbox | None:
        """Return where messages for an agent on a given node go, alive or not.

        None where that node will not come back.
        """
        ...

    def inboxes(self) -> Iterable[Inbox]:
        """Return the inboxes of all agents elsewhere, one an agent, by name."""
        ...

    def providers(self, capability: str) -> Sequence[tuple[Inbox, int]]:
        """Return who answers a request for `capability`, each with its distance, by name."""
        ...

    def names(self) -> Iterable[str]:
        """Return the names of all agents elsewhere, to suggest one that comes near."""
        ...

    def capabilities(self) -> Iterable[str]:
        """Return what agents elsewhere offer, to suggest what comes near."""
        ...

    def client(self, node: str) -> Inbox | None:
        """Return what takes answers for the clients of another node; None for this one.

        A node that cannot be reached now has one all the same: answers wait for it.
        """
        ...

    def may_come(self, message: Message) -> bool:
        """Return whether a message for nobody is kept until there is somebody.

        So where its agent was known and its node is gone, where this node cannot see the others,
        or has not heard all of them yet. Otherwise its sender is told at once that nobody is
        called so.
        """
        ...


class Nowhere:
    """The `Elsewhere` of a node alone."""

    def inbox(self, agent: str) -> Inbox | None:  # noqa: ARG002 - the Protocol's
        """Nobody is elsewhere."""
        return None

    def at(self, node: str, agent: str) -> Inbox | None:  # noqa: ARG002 - the Protocol's
        """There is no other node."""
        return None

    def inboxes(self) -> Iterable[Inbox]:
        """Nobody is elsewhere."""
        return ()

    def providers(self, capability: str) -> Sequence[tuple[Inbox, int]]:  # noqa: ARG002 - the Protocol's
        """Nobody is elsewhere."""
        return ()

    def names(self) -> Iterable[str]:
        """Nobody is elsewhere."""
        return ()

    def capabilities(self) -> Iterable[str]:
        """Nothing is offered elsewhere."""
        return ()

    def client(self, node: str) -> Inbox | None:  # noqa: ARG002 - the Protocol's
        """Every client is a client of this node."""
        return None

    def may_come(self, message: Message) -> bool:  # noqa: ARG002 - the Protocol's
        """Nobody is to come."""
        return False
