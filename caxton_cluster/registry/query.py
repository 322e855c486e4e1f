"""Who can take a message: by name, or by the capability that is asked for.

By name it is one step whatever the number of agents; by capability one step a node. Only visible
nodes count. The order, best first: running before paused; on a node that is alive before one that
is suspected; then

- `best_match`: the nearest to what was asked for, then the least loaded, then our own node;
- `load_balanced`: the least loaded, wherever it is, each in turn among equals.

Duplicates of an agent, such as two sides of a healed partition bring along, resolve to the higher
(version, epoch). Those that are equal in both are replicas and all good; where there may only be
one, the node of the greater name has it (`winner`).

A lookup changes nothing: whose turn it is, is an argument.
"""

from collections.abc import Iterable, Iterator, Mapping
from difflib import get_close_matches
from enum import StrEnum
from heapq import nlargest
from itertools import islice
from typing import Final

from caxton_cluster.registry.holding import (
    LOAD_RANKS,
    PAUSED_RANK,
    SUSPECT_RANK,
    Change,
    Holding,
    Listing,
    ShelfKey,
    distance_of,
)

__all__ = ["SUGGESTIONS_MAX", "Lookup", "Strategy"]

SUGGESTIONS_MAX: Final = 3
"""Names suggested for one that nobody has."""

_LENGTH_DIFFERENCE_MAX: Final = 4
_LOOKED_AT_MAX: Final = 2000
_COMPARED_MAX: Final = 32
"""How many names are compared letter by letter, which is slow."""
_BALANCED_RANKS: Final = PAUSED_RANK | SUSPECT_RANK | LOAD_RANKS
"""The bits of a rank that count when load is to be balanced: neither distance nor place."""
_NOBODY_RANK: Final = PAUSED_RANK << 1


class Strategy(StrEnum):
    """Which of several providers is to get a message. The words are the message's own."""

    BEST_MATCH = "best_match"
    LOAD_BALANCED = "load_balanced"


class Lookup:
    """What is visible of the registry, arranged for questions. The table keeps it so."""

    def __init__(self) -> None:
        self._visible: dict[str, Holding] = {}
        self._named: dict[str, dict[str, tuple[Listing, ...]]] = {}
        """Tenant → agent → its listings, the hidden ones too."""

    # By name.

    def locate(self, agent: str, tenant: str = "") -> tuple[Listing, ...]:
        """Return where an agent runs: its replicas, the best to ask first; empty if nowhere.

        Duplicates of a lower (version, epoch) are left out. Ranked by: running, not suspected,
        on our own node, least loaded, the greater name of the node.
        """
        agents = self._named.get(tenant)
        found = agents.get(agent) if agents is not None else None
        if found is None:
            return ()
        if len(found) == 1:
            return found if found[0].holder.is_visible else ()
        visible = [listing for listing in found if listing.holder.is_visible]
        if not visible:
            return ()
        highest = max(listing.precedence for listing in visible)
        replicas = [listing for listing in visible if listing.precedence == highest]
        replicas.sort(key=lambda listing: listing.node, reverse=True)
        replicas.sort(key=_order_of_replica)
        return tuple(replicas)

    def winner(self, agent: str, tenant: str = "") -> Listing | None:
        """Return the listing of the highest (version, epoch, node): who runs what only one may."""
        return max(
            self.locate(agent, tenant),
            key=lambda listing: (listing.precedence, listing.node),
            default=None,
        )

    # By capability.

    def choose(
        self,
        capability: str,
        *,
        strategy: Strategy = Strategy.BEST_MATCH,
        tenant: str = "",
        labels: Mapping[str, str] | None = None,
        without: str | None = None,
        turn: int = 0,
    ) -> Listing | None:
        """Return the one to send a request for `capability` to, or None if nobody provides it.

        Args:
            capability: As asked for: `data-analysis`, `translate:v2`.
            strategy: What makes one better than another.
            tenant: Whose agents.
            labels: Labels that the agent must have with these values.
            without: An agent that does not count: the sender.
            turn: A number that grows from message to message, to go round among equals.
        """
        key = (tenant, capability)
        is_balanced = strategy is Strategy.LOAD_BALANCED
        rows = self._calmest_rows(key) if is_balanced else self._best_rows(key)
        position = turn % (sum(map(len, rows)) or 1)
        for row in rows:
            if position >= len(row):
                position -= len(row)
                continue
            chosen = row[position]
            if not labels and chosen.agent != without and self._is_current(chosen, tenant):
                return chosen
            # Somebody who does not count stands in the way: look at everyone.
            return next(
                (
                    listing
                    for listing in self._ranked(key, is_balanced, turn)
                    if listing.agent != without
                    and self._is_current(listing, tenant)
                    and (not labels or _has_labels(listing, labels))
                ),
                None,
            )
        return None

    def _best_rows(self, key: ShelfKey) -> list[list[Listing]]:
        """Return the rows of the best rank, with one look at each node's shelf."""
        best_rank, rows = _NOBODY_RANK, []
        for holding in self._visible.values():
            shelf = holding.shelves.get(key)
            if shelf is None:
                continue
            of_agent = min(shelf)
            rank = of_agent + holding.holder.rank
            if rank < best_rank:
                best_rank, rows = rank, [shelf[of_agent]]
            elif rank == best_rank:
                rows.append(shelf[of_agent])
        return rows

    def _calmest_rows(self, key: ShelfKey) -> list[list[Listing]]:
        """Return the rows of the best rank where neither distance nor place counts."""
        best_rank, rows = _NOBODY_RANK, []
        for holding in self._visible.values():
            of_node = holding.holder.rank
            for of_agent, row in holding.shelves.get(key, {}).items():
                rank = (of_agent + of_node) & _BALANCED_RANKS
                if rank < best_rank:
                    best_rank, rows = rank, [row]
                elif rank == best_rank:
                    rows.append(row)
        return rows

    def providers(
        self,
        capability: str,
        *,
        tenant: str = "",
        labels: Mapping[str, str] | None = None,
        without: str | None = None,
    ) -> tuple[Listing, ...]:
        """Return everyone to broadcast a request for `capability` to, the best match first.

        One listing an agent, the best of its replicas. Paused agents are left out, unless there
        are no others: then the message waits for them. Takes time with the number of providers.
        """
        found: dict[str, Listing] = {}
        for listing in self._ranked((tenant, capability), False, 0):
            agent = listing.agent
            if agent in found or agent == without or not self._is_current(listing, tenant):
                continue
            if labels and not _has_labels(listing, labels):
                continue
            if found and not listing.is_running and next(iter(found.values())).is_running:
                break
            found[agent] = listing
        return tuple(found.values())

    def _ranked(self, key: ShelfKey, is_balanced: bool, turn: int) -> Iterator[Listing]:
        """Yield all providers, best first; among equals begin with whose turn it is."""
        counted = _BALANCED_RANKS if is_balanced else -1
        groups: dict[int, list[Listing]] = {}
        for holding in self._visible.values():
            of_node = holding.holder.rank
            for of_agent, row in holding.shelves.get(key, {}).items():
                groups.setdefault((of_agent + of_node) & counted, []).extend(row)
        for rank in sorted(groups):
            group = groups[rank]
            first = turn % len(group)
            yield from group[first:]
            yield from group[:first]

    def _is_current(self, listing: Listing, tenant: str) -> bool:
        """Return whether no visible duplicate has a higher (version, epoch)."""
        found = self._named[tenant][listing.agent]
        return len(found) == 1 or all(
            other.precedence <= listing.precedence for other in found if other.holder.is_visible
        )

    # Overviews and suggestions. These take time with the number of agents.

    def agents(self, tenant: str = "") -> tuple[Listing, ...]:
        """Return every agent once, by name, the best of its replicas."""
        names = sorted(self._named.get(tenant, {}))
        return tuple(replicas[0] for name in names if (replicas := self.locate(name, tenant)))

    def capabilities(self, tenant: str = "") -> dict[str, int]:
        """Return every capability as offered, by name, with how many listings offer it."""
        counts: dict[str, int] = {}
        for holding in self._visible.values():
            for (of_tenant, spelling), shelf in holding.shelves.items():
                if of_tenant != tenant:
                    continue
                count = sum(len(row) for rank, row in shelf.items() if distance_of(rank) == 0)
                if count:
                    counts[spelling] = counts.get(spelling, 0) + count
        return dict(sorted(counts.items()))

    def suggest_capabilities(self, capability: str, tenant: str = "") -> tuple[str, ...]:
        """Return the offered capabilities that come nearest to one that nobody provides."""
        return _nearest(capability, self.capabilities(tenant))

    def suggest_agents(self, agent: str, tenant: str = "") -> tuple[str, ...]:
        """Return the names of agents that come nearest to one that nobody has."""
        named = self._named.get(tenant, {})
        near = _nearest(agent, named)
        return tuple(name for name in near if self.locate(name, tenant))

    # What the table does.

    def show(self, holding: Holding) -> None:
        """Let a node's records be found."""
        holding.holder.is_visible = True
        self._visible[holding.owner.node] = holding

    def hide(self, holding: Holding) -> None:
        """Let none of a node's records be found. Takes the same time however many they are."""
        holding.holder.is_visible = False
        if self._visible.get(holding.owner.node) is holding:
            del self._visible[holding.owner.node]

    def enter(self, holding: Holding) -> None:
        """Take in the names of all records of a holding."""
        for listing in holding.listings():
            self._add(listing.record.tenant, listing)

    def drop(self, holding: Holding) -> None:
        """Forget a hidden holding."""
        assert not holding.holder.is_visible, "hide it first"
        for listing in holding.listings():
            self._discard(listing.record.tenant, listing)

    def follow(self, change: Change) -> None:
        """Take in a change of one record."""
        before, after = change.before, change.after
        if before is not None and after is not None and change.tenant_before == change.tenant_after:
            agents = self._named[change.tenant_after]
            found = agents[after.agent]
            agents[after.agent] = tuple(after if one is before else one for one in found)
            return
        if before is not None:
            self._discard(change.tenant_before, before)
        if after is not None:
            self._add(change.tenant_after, after)

    def _add(self, tenant: str, listing: Listing) -> None:
        agents = self._named.setdefault(tenant, {})
        agents[listing.agent] = (*agents.get(listing.agent, ()), listing)

    def _discard(self, tenant: str, listing: Listing) -> None:
        agents = self._named[tenant]
        rest = tuple(one for one in agents[listing.agent] if one is not listing)
        if rest:
            agents[listing.agent] = rest
            return
        del agents[listing.agent]
        if not agents:
            del self._named[tenant]


def _order_of_replica(listing: Listing) -> tuple[bool, bool, bool, int]:
    holder = listing.holder
    return (not listing.is_running, holder.is_suspect, not holder.is_local, listing.load)


def _has_labels(listing: Listing, labels: Mapping[str, str]) -> bool:
    own = dict(listing.record.labels)
    return all(own.get(key) == value for key, value in labels.items())


def _nearest(text: str, names: Iterable[str]) -> tuple[str, ...]:
    """Return the names most like `text`. A slip seldom hits both ends, nor changes the length much.

    The time it takes is bounded: of many thousand names that could be meant only some are looked
    at, and of these only those that share the most pairs of letters are compared.
    """
    ends = (text[:2], text[-2:])
    possible = (
        name
        for name in names
        if abs(len(name) - len(text)) <= _LENGTH_DIFFERENCE_MAX
        and (name[:2] == ends[0] or name[-2:] == ends[1])
    )
    pairs = _pairs(text)
    likely = nlargest(
        _COMPARED_MAX,
        islice(possible, _LOOKED_AT_MAX),
        key=lambda name: (len(pairs & _pairs(name)), name),
    )
    return tuple(get_close_matches(text, likely, n=SUGGESTIONS_MAX))


def _pairs(text: str) -> set[str]:
    return {text[start : start + 2] for start in range(len(text) - 1)}
