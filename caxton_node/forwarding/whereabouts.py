"""Where every agent of the cluster is, and was: the registry's listings, arranged by agent.

The registry answers who can take a message now. Placement also asks for the copies of nodes that
are gone, and for one agent at a time: with tens of thousands of agents nobody looks at all of
them because one changed. This follows the registry's events and keeps what they say. A gone
node's agents stay as long as the registry keeps them.

State and lookups only. It is told of events and never asks a clock.
"""

from collections.abc import Collection, Iterable, Iterator
from typing import assert_never

from caxton_cluster.registry import (
    AgentAppeared,
    AgentChanged,
    AgentVanished,
    Event,
    Listing,
    OwnerAppeared,
    OwnerVanished,
    Registry,
    Superseded,
)
from caxton_cluster.registry.holding import spellings
from caxton_node.forwarding.agent_records import copy_of
from caxton_node.runtime.placement import Copy

__all__ = ["Whereabouts"]


class Whereabouts:
    """Follows a registry.

    Args:
        registry: Whose events are told to `follow`, all of them and in order.
    """

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self._listings: dict[str, dict[str, Listing]] = {}
        """Agent → node → what the node says or said of it."""
        self._agents_of: dict[str, set[str]] = {}
        """Node → its agents."""
        self._copies: dict[tuple[str, str], Copy] = {}
        """(Agent, node) → what was worked out of its listing."""
        self._visible = {registry.owner.node}
        """Nodes whose agents can be found. Kept here: a listing that was made before its node's
        records were fetched anew does not know."""

    def __len__(self) -> int:
        return len(self._listings)

    def agents(self) -> Iterator[str]:
        """Yield the names of all agents, on nodes alive or gone."""
        return iter(tuple(self._listings))

    def agents_of(self, node: str) -> Collection[str]:
        """Return the names of a node's agents."""
        return self._agents_of.get(node, ())

    def is_live(self, node: str) -> bool:
        """Return whether a node's agents can be found."""
        return node in self._visible

    def listings(self, agent: str) -> list[Listing]:
        """Return what live nodes say of an agent, by node."""
        found = self._listings.get(agent, {})
        return [found[node] for node in sorted(found) if node in self._visible]

    def listing(self, agent: str, node: str) -> Listing | None:
        """Return what a node says or said of an agent."""
        return self._listings.get(agent, {}).get(node)

    def copies(self, agent: str) -> list[Copy]:
        """Return an agent's copies on nodes alive or gone, by node."""
        found = self._listings.get(agent, {})
        copies = []
        for node in sorted(found):
            copy = self._copies.get((agent, node))
            if copy is None:
                copy = self._copies[agent, node] = copy_of(found[node])
            copies.append(copy)
        return copies

    def was_known(self, agent: str) -> bool:
        """Return whether any node has or had an agent of this name."""
        return agent in self._listings

    def was_offered(self, capability: str) -> bool:
        """Return whether an agent of a node that is gone answered requests for a capability.

        Takes time with the number of such agents: it is asked only before somebody is told that
        nobody provides it.
        """
        return any(
            capability in spellings(offer)
            for found in self._listings.values()
            for listing in found.values()
            if listing.node not in self._visible
            for offer in listing.record.capabilities
        )

    # What the registry tells.

    def follow(self, events: Iterable[Event]) -> set[str]:
        """Take in what changed; return the names of the agents concerned."""
        names: set[str] = set()
        for event in events:
            match event:
                case AgentAppeared(listing):
                    self._put(listing)
                    names.add(listing.agent)
                case AgentChanged(_, after):
                    self._put(after)
                    names.add(after.agent)
                case AgentVanished(listing):
                    self._drop(listing.agent, listing.node)
                    names.add(listing.agent)
                case OwnerAppeared(owner):
                    self._visible.add(owner.node)
                    names |= self._agents_of.get(owner.node, set())
                    self._replace(owner.node)
                    names |= self._agents_of.get(owner.node, set())
                case OwnerVanished(owner, _, is_replaced):
                    self._visible.discard(owner.node)
                    names |= self._agents_of.get(owner.node, set())
                    if is_replaced:
                        self._forget(owner.node)
                case Superseded():
                    pass
                case _:
                    assert_never(event)
        return names

    def forget_gone(self, live: Collection[str]) -> None:
        """Drop what the registry itself has dropped of nodes that are gone.

        Args:
            live: The nodes that are not.
        """
        for node in [node for node in self._agents_of if node not in live]:
            if not self._registry.listings(node):
                self._forget(node)

    def _put(self, listing: Listing) -> None:
        self._listings.setdefault(listing.agent, {})[listing.node] = listing
        self._agents_of.setdefault(listing.node, set()).add(listing.agent)
        self._copies.pop((listing.agent, listing.node), None)

    def _drop(self, agent: str, node: str) -> None:
        found = self._listings.get(agent, {})
        if found.pop(node, None) is None:
            return
        if not found:
            del self._listings[agent]
        self._copies.pop((agent, node), None)
        self._agents_of[node].discard(agent)
        if not self._agents_of[node]:
            del self._agents_of[node]

    def _forget(self, node: str) -> None:
        for agent in tuple(self._agents_of.get(node, ())):
            self._drop(agent, node)

    def _replace(self, node: str) -> None:
        self._forget(node)
        for listing in self._registry.listings(node):
            self._put(listing)
