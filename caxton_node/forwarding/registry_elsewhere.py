"""The agents of other nodes, as routing asks for them: answered from the registry at hand.

No question leaves this node. What a name or a capability comes to is remembered until the registry
changes, so that a message for an agent elsewhere costs a look-up in a table.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import Final, Protocol

from caxton_cluster.registry import Listing
from caxton_node.domain.message import Message
from caxton_node.forwarding.agent_records import distance_of, mailbox_of, right_of
from caxton_node.forwarding.registry_feed import RegistryFeed
from caxton_node.forwarding.remote_agent import RemoteAgent
from caxton_node.routing.directory import Inbox
from caxton_node.runtime.placement import weight

__all__ = ["AgentInboxes", "RegistryElsewhere"]

REMEMBERED_MAX: Final = 10_000
"""Answers remembered; beyond it all are worked out anew."""


class AgentInboxes(Protocol):
    """Where inboxes of agents and clients elsewhere come from: the links."""

    def inbox(self, node: str, agent: RemoteAgent) -> Inbox:
        """Return the inbox of an agent on another node, brought up to date."""
        ...

    def known_inbox(self, node: str, agent: str) -> Inbox:
        """Return the inbox of an agent on another node as it was last known, or as any is."""
        ...

    def client(self, node: str) -> Inbox:
        """Return what takes answers to the clients of another node."""
        ...


class RegistryElsewhere:
    """Implements `caxton_node.routing.elsewhere.Elsewhere`.

    Args:
        own: This node's name.
        feed: Has the registry.
        links: Have the inboxes.
        sees_all: Whether this node may take what it sees for all there is: it has heard the
            others, and is with the majority.
        is_struck_off: Whether a node is expected no more.
    """

    def __init__(
        self,
        own: str,
        feed: RegistryFeed,
        links: AgentInboxes,
        *,
        sees_all: Callable[[], bool],
        is_struck_off: Callable[[str], bool],
    ) -> None:
        self._own = own
        self._feed = feed
        self._lookup = feed.registry.lookup
        self._whereabouts = feed.whereabouts
        self._links = links
        self._sees_all = sees_all
        self._is_struck_off = is_struck_off
        self._generation = -1
        self._named: dict[str, Inbox | None] = {}
        self._offered: dict[str, Sequence[tuple[Inbox, int]]] = {}

    def _forget_stale(self) -> None:
        is_full = len(self._named) + len(self._offered) > REMEMBERED_MAX
        if self._generation != self._feed.generation or is_full:
            self._generation = self._feed.generation
            self._named.clear()
            self._offered.clear()

    def inbox(self, agent: str) -> Inbox | None:
        """Return where an agent's messages go, or None when no live node is known to have it.

        Of several replicas always the same one, as long as it lives: a conversation's history is
        where it began. Each node has another favourite.
        """
        self._forget_stale()
        if agent not in self._named:
            listings = self._elsewhere(agent)
            best = max(listings, key=self._fitness, default=None)
            self._named[agent] = None if best is None else self._inbox_of(best)
        return self._named[agent]

    def _elsewhere(self, agent: str) -> list[Listing]:
        return [one for one in self._lookup.locate(agent) if one.node != self._own]

    def _fitness(self, listing: Listing) -> tuple[bool, tuple[int, int], bool, int]:
        # Replicas in force have the same revision and epoch. A lower one is being left.
        return (
            not listing.holder.is_suspect,
            right_of(listing),
            listing.is_running,
            weight(self._own, listing.node),
        )

    def _inbox_of(self, listing: Listing) -> Inbox:
        # A bucket of load is a power of two; its lower bound stands for it.
        load = 2 ** (listing.load - 1) if listing.load else 0
        agent = RemoteAgent(
            name=listing.agent,
            mailbox=mailbox_of(listing.record),
            load=load,
            is_running=listing.is_running,
        )
        return self._links.inbox(listing.node, agent)

    def at(self, node: str, agent: str) -> Inbox | None:
        """Return where messages for an agent on a given node go; None for a node struck off."""
        return None if self._is_struck_off(node) else self._links.known_inbox(node, agent)

    def inboxes(self) -> Iterable[Inbox]:
        """Return the inboxes of all agents elsewhere, one an agent, by name."""
        for listing in self._lookup.agents():
            inbox = self.inbox(listing.agent)
            if inbox is not None:
                yield inbox

    def providers(self, capability: str) -> Sequence[tuple[Inbox, int]]:
        """Return who answers a request for `capability`, each with its distance, by name.

        Every replica is one: a request by capability may go to any.
        """
        self._forget_stale()
        found = self._offered.get(capability)
        if found is None:
            found = self._offered[capability] = [
                (self._inbox_of(replica), distance_of(replica.record.capabilities, capability))
                for name in sorted({one.agent for one in self._lookup.providers(capability)})
                for replica in self._elsewhere(name)
            ]
        return found

    def names(self) -> Iterable[str]:
        """Return the names of all agents elsewhere, to suggest one that comes near."""
        return [one.agent for one in self._lookup.agents()]

    def capabilities(self) -> Iterable[str]:
        """Return what agents elsewhere offer, to suggest what comes near."""
        return self._lookup.capabilities()

    def client(self, node: str) -> Inbox | None:
        """Return what takes answers for the clients of another node; None for this one."""
        return None if node == self._own else self._links.client(node)

    def may_come(self, message: Message) -> bool:
        """Return whether a message for nobody is kept until there is somebody."""
        if not self._sees_all():
            return True
        if message.capability is not None:
            return self._whereabouts.was_offered(message.capability)
        return self._whereabouts.was_known(message.receiver)
