"""The records of other nodes: whose we hold, who is visible, and what a delta does to them.

A node has one holding, of the latest life we heard of. It is visible while membership holds that
very life alive. When the node is gone it is hidden in one step and kept a while, because a death
is often refuted and because survivors want to know what ran there. Then it is dropped, and its
epoch remembered, so that a peer which is slower to forget cannot bring it back.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import assert_never

from caxton_cluster.errors import MalformedPacket
from caxton_cluster.registry.acceptance import Verdict, judge
from caxton_cluster.registry.config import RegistryConfig
from caxton_cluster.registry.events import Event, OwnerAppeared, OwnerVanished, event_of
from caxton_cluster.registry.holding import Change, Holding
from caxton_cluster.registry.query import Lookup
from caxton_cluster.registry.records import (
    AgentRecord,
    Delta,
    Owner,
    OwnerDigest,
    check_delta,
    unpack_record,
)
from caxton_cluster.registry.repair import Repair, Want

__all__ = ["RegistryStatistics", "Replicas"]


@dataclass(slots=True)
class RegistryStatistics:
    """Counters since the start."""

    deltas: int = 0
    """Deltas and chunks received."""
    malformed: int = 0
    """Of these, those that made no sense."""
    stale: int = 0
    """From an earlier life of their owner, or one that is forgotten."""
    duplicates: int = 0
    """Told what we knew already."""
    gaps: int = 0
    """Deltas whose predecessor was missing."""
    refused: int = 0
    """Beyond a limit: owners, or records of one owner."""
    late_chunks: int = 0
    """Chunks of pulls that were given up."""
    pulls: int = 0
    """Pulls made."""
    resets: int = 0
    """States that were started over, because of a gap in the tombstones or a checksum."""
    mismatches: int = 0
    """Checksums that differed at equal versions: each is a bug of ours or a peer's."""


class Replicas:
    """Holdings of peers, by name of the node.

    Args:
        config: Limits, and how long to keep what.
        lookup: What is to find them.
        repair: What is to fetch what they lack.
        events: Where to put what happens.
    """

    def __init__(
        self, config: RegistryConfig, lookup: Lookup, repair: Repair, events: list[Event]
    ) -> None:
        self.statistics = RegistryStatistics()
        self.live: dict[str, int] = {}
        """Live peers → epoch, as membership tells them; the suspected ones too."""
        self._config = config
        self._lookup = lookup
        self._repair = repair
        self._events = events
        self._holdings: dict[str, Holding] = {}
        self._shadows: dict[str, Holding] = {}
        """States that are being pulled from 0, to replace a holding once they are whole."""
        self._gone_at: dict[str, float] = {}
        self._forgotten: dict[str, tuple[int, float]] = {}
        """Node → epoch that was dropped, and when."""

    def get(self, node: str) -> Holding | None:
        """Return what we hold of a node, the gone included."""
        return self._holdings.get(node)

    def by_name(self) -> list[Holding]:
        """Return all holdings, those of the gone included, by name of the node."""
        return [self._holdings[node] for node in sorted(self._holdings)]

    def version_of(self, owner: Owner) -> int:
        """Return how far we are with an owner in this very life."""
        holding = self._holdings.get(owner.node)
        return holding.max_version if holding is not None and holding.owner == owner else 0

    def is_forgotten(self, owner: Owner) -> bool:
        """Return whether the owner is one that is gone for good."""
        epoch, _ = self._forgotten.get(owner.node, (-1, 0.0))
        return owner.epoch <= epoch

    # Lives.

    def up(self, owner: Owner, now: float) -> bool:
        """Note who is alive and in which life; return whether that is news."""
        is_new = self.live.get(owner.node) != owner.epoch
        self.live[owner.node] = owner.epoch
        self._gone_at.pop(owner.node, None)
        self._forgotten.pop(owner.node, None)
        holding = self._holdings.get(owner.node)
        if holding is None or holding.owner.epoch < owner.epoch:
            holding = self._begin_life(owner, now)
        if holding is not None:
            holding.holder.suspect(is_suspect=False)
            self._show_if_live(holding)
        return is_new

    def suspect(self, node: str) -> None:
        """Rank a node's agents below others until it is up again."""
        holding = self._holdings.get(node)
        if holding is not None:
            holding.holder.suspect(is_suspect=True)

    def down(self, node: str, now: float) -> bool:
        """Hide a node; return whether that is news."""
        if self.live.pop(node, None) is None:
            return False
        self._gone_at[node] = now
        self._repair.peer_lost(node, now)
        holding = self._holdings.get(node)
        if holding is not None:
            self._hide(holding, is_replaced=False)
        return True

    def _show_if_live(self, holding: Holding) -> None:
        owner = holding.owner
        if self.live.get(owner.node) == owner.epoch and not holding.holder.is_visible:
            self._lookup.show(holding)
            self._events.append(OwnerAppeared(owner, holding.record_count))

    def _hide(self, holding: Holding, *, is_replaced: bool) -> None:
        if holding.holder.is_visible:
            self._lookup.hide(holding)
            self._events.append(OwnerVanished(holding.owner, holding.record_count, is_replaced))

    def _begin_life(self, owner: Owner, now: float) -> Holding | None:
        """Return an empty holding in place of an earlier life's; None if there are too many."""
        before = self._holdings.get(owner.node)
        if before is None and not self._make_room(now):
            self.statistics.refused += 1
            return None
        if before is not None:
            self._hide(before, is_replaced=True)
            self._drop(before)
            self._repair.forget(owner.node, before_epoch=owner.epoch)
        holding = self._holdings[owner.node] = Holding(owner)
        if owner.node not in self.live:
            self._gone_at.setdefault(owner.node, now)
        self._show_if_live(holding)
        return holding

    def _make_room(self, now: float) -> bool:
        if len(self._holdings) < self._config.owners_max:
            return True
        longest_gone = next((node for node in self._gone_at if node in self._holdings), None)
        if longest_gone is None:
            return False
        self._forget(longest_gone, now)
        return True

    def _drop(self, holding: Holding) -> None:
        self._lookup.drop(holding)
        self._shadows.pop(holding.owner.node, None)
        del self._holdings[holding.owner.node]

    def _forget(self, node: str, now: float) -> None:
        """Drop a gone node's records, and remember which they were."""
        del self._gone_at[node]
        holding = self._holdings.get(node)
        if holding is None:
            return
        self._drop(holding)
        self._repair.forget(node)
        self._forgotten.pop(node, None)
        self._forgotten[node] = (holding.owner.epoch, now)
        if len(self._forgotten) > self._config.owners_max:
            del self._forgotten[next(iter(self._forgotten))]

    def keep_house(self, now: float) -> None:
        """Drop whom we kept for long enough, and then the memory of them."""
        for node, gone_at in list(self._gone_at.items()):
            if now - gone_at >= self._config.keep_gone_s:
                self._forget(node, now)
        for node, (_, forgotten_at) in list(self._forgotten.items()):
            if now - forgotten_at >= self._config.remember_gone_s:
                del self._forgotten[node]

    # Deltas.

    def take_in(self, delta: Delta, now: float, want: Want | None) -> None:
        """Apply a delta as far as it fits.

        Args:
            delta: From the network; nothing is raised whatever it holds.
            now: The time, in seconds.
            want: What it answers, if it is a chunk of a pull.
        """
        owner = delta.owner
        if self.is_forgotten(owner):
            self.statistics.stale += 1
            return
        try:
            records = _read(delta)
        except MalformedPacket:
            self.statistics.malformed += 1
            return
        holding = self._holdings.get(owner.node)
        if holding is None or holding.owner.epoch < owner.epoch:
            holding = self._begin_life(owner, now)
            if holding is None:
                return
        target = self._shadow_for(delta, holding, want) or holding
        if len(target.entries) + len(records) > self._config.records_per_owner_max:
            self.statistics.refused += 1
        elif target is holding:
            self._carry_out(judge(delta, holding), delta, records, holding, now)
        elif delta.after_version == target.max_version:
            _apply(target, delta, records)
        else:
            self.statistics.gaps += 1

    def collect(self, lines: Iterable[OwnerDigest]) -> None:
        """Forget the tombstones that others forgot, of owners with whom we are as far as they."""
        for line in lines:
            holding = self._holdings.get(line.owner.node)
            if holding is not None and (holding.owner, holding.max_version) == (
                line.owner,
                line.version,
            ):
                holding.collect(min(line.collected_version, line.version))

    def _shadow_for(self, delta: Delta, holding: Holding, want: Want | None) -> Holding | None:
        """Return where to build a state anew beside the one in use, or None if that goes on."""
        if want is None or delta.owner.epoch != holding.owner.epoch:
            return None
        node = delta.owner.node
        if delta.after_version > 0:
            return self._shadows.get(node)
        if not (want.is_reset or delta.collected_version > holding.max_version):
            return None
        want.is_reset = True
        shadow = self._shadows[node] = Holding(delta.owner)
        return shadow

    def _carry_out(
        self,
        verdict: Verdict,
        delta: Delta,
        records: list[AgentRecord | None],
        holding: Holding,
        now: float,
    ) -> None:
        match verdict:
            case Verdict.STALE:
                self.statistics.stale += 1
            case Verdict.DUPLICATE:
                self.statistics.duplicates += 1
            case Verdict.GAP:
                self.statistics.gaps += 1
                self._repair.want(delta.owner, delta.through_version, delta.owner.node, now)
            case Verdict.REPLACE:
                fresh = Holding(delta.owner)
                _apply(fresh, delta, records)
                self._swap(holding, fresh)
            case Verdict.APPLY:
                for change in _apply(holding, delta, records):
                    self._lookup.follow(change)
                    if holding.holder.is_visible and (event := event_of(change)) is not None:
                        self._events.append(event)
                self._repair.reached(delta.owner.node, holding.max_version)
            case _:
                assert_never(verdict)

    # Pulls.

    def begin_pull(self, node: str) -> None:
        """Forget what an earlier pull that broke off had put aside."""
        self._shadows.pop(node, None)

    def pull_ended(self, want: Want, now: float, *, is_complete: bool) -> None:
        """Take what a pull has put aside into use, if it is whole."""
        assert want.pull is not None, "only what is under way ends"
        holding = self._holdings[want.owner.node]
        shadow = self._shadows.pop(want.owner.node, None)
        if shadow is not None and is_complete:
            # What was deleted and forgotten while the shadow grew would come back with it.
            is_complete = holding.collected_version <= shadow.max_version
            if is_complete:
                self._swap(holding, shadow)
        self._repair.ended(want, self.version_of(want.owner), now, is_complete=is_complete)

    def _swap(self, before: Holding, after: Holding) -> None:
        """Put a state that was built aside in the place of the one in use."""
        if before.max_version > after.max_version:
            for entry in before.since(after.max_version):
                after.write(entry, None if entry.value is None else unpack_record(entry.value))
            after.max_version = before.max_version
            after.is_whole = before.is_whole
        is_visible = before.holder.is_visible
        after.holder.suspect(is_suspect=before.holder.is_suspect)
        self._lookup.hide(before)
        self._lookup.drop(before)
        self._lookup.enter(after)
        self._holdings[after.owner.node] = after
        self.statistics.resets += 1
        if is_visible:
            self._lookup.show(after)
            events = map(event_of, _differences(before, after))
            self._events += [event for event in events if event is not None]


def _read(delta: Delta) -> list[AgentRecord | None]:
    """Return the records of a delta, None for tombstones.

    Raises:
        MalformedPacket: It makes no sense, or one of its records does not.
    """
    check_delta(delta)
    records: list[AgentRecord | None] = []
    for entry in delta.entries:
        if entry.value is None:
            records.append(None)
            continue
        record = unpack_record(entry.value)
        if record.agent != entry.agent:
            raise MalformedPacket(f"a record of {record.agent!r} under {entry.agent!r}")
        records.append(record)
    return records


def _apply(holding: Holding, delta: Delta, records: list[AgentRecord | None]) -> list[Change]:
    reached = holding.max_version
    changes = [
        holding.write(entry, record)
        for entry, record in zip(delta.entries, records, strict=True)
        if entry.version > reached
    ]
    holding.max_version = delta.through_version
    # Whatever was there before: all that is later than it, is in the delta.
    holding.is_whole = not delta.is_partial
    holding.collect(min(delta.collected_version, delta.through_version))
    return changes


def _differences(before: Holding, after: Holding) -> list[Change]:
    """Return what changed between two states of an owner."""
    old = {listing.agent: listing for listing in before.listings()}
    new = {listing.agent: listing for listing in after.listings()}
    changes = [
        Change("", old.get(agent), "", listing)
        for agent, listing in new.items()
        if agent not in old or old[agent].version != listing.version
    ]
    changes += [Change("", listing, "", None) for agent, listing in old.items() if agent not in new]
    return changes
