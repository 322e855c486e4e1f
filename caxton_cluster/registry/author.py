"""Our own records: the one place where versions are given out.

Changes wait a moment for others and leave as one delta, in which the last write of a record is
enough. A load is told in eight buckets, up at once and down with hysteresis, and seldom: it is a
hint for routing, no meter.

A tombstone may be forgotten once every live member has it, because nobody can then bring the
record back. Only the owner decides that; everybody else follows its `collected_version`.
"""

from collections import deque
from typing import Final

import msgspec

from caxton_cluster.errors import RegistryFull
from caxton_cluster.registry.config import RegistryConfig
from caxton_cluster.registry.holding import Change, Holding, Listing
from caxton_cluster.registry.records import (
    LOAD_MAX,
    AgentRecord,
    Delta,
    Entry,
    Owner,
    pack_record,
)

__all__ = ["Author", "load_bucket"]

_CALM_SHARE: Final = 0.75
"""A load must fall below this share of its bucket's lower bound to leave the bucket."""


def load_bucket(waiting_count: int, before: int = 0) -> int:
    """Return the bucket of an agent with so many messages waiting or in work.

    Args:
        waiting_count: 0 is bucket 0, 1 is 1, 2 to 3 is 2, 4 to 7 is 3, … 64 and more is 7.
        before: The bucket it was in. It stays there until the load is clearly lower.
    """
    bucket = min(LOAD_MAX, waiting_count.bit_length())
    if bucket < before and waiting_count > _CALM_SHARE * 2 ** (before - 1):
        return before
    return bucket


class Author:
    """Writes our records.

    Args:
        config: How soon and how much.
        owner: Ourselves.
    """

    def __init__(self, config: RegistryConfig, owner: Owner) -> None:
        self.holding = Holding(owner, is_local=True)
        self._config = config
        self._pushed_version = 0
        self._flush_at: float | None = None
        self._tombstones: deque[tuple[int, float]] = deque()
        """Versions of our tombstones and when they were made, in order."""
        self._loads: dict[str, int] = {}
        """Buckets to tell when the time for it comes."""
        self._load_told_at: dict[str, float] = {}

    def put(self, record: AgentRecord, now: float) -> Change | None:
        """Write a record; None if it is what stands there already.

        Of an agent whose load was reported the load stays what it is.

        Raises:
            RecordInvalid: Peers would refuse it.
            RegistryFull: There are too many.
        """
        known = self.holding.entries.get(record.agent)
        if isinstance(known, Listing) and record.agent in self._load_told_at:
            record = msgspec.structs.replace(record, load=known.load)
        return self._put(record, now)

    def _put(self, record: AgentRecord, now: float) -> Change | None:
        value = pack_record(record)
        known = self.holding.entries.get(record.agent)
        if isinstance(known, Listing) and known.value == value:
            return None
        if known is None and len(self.holding.entries) >= self._config.records_per_owner_max:
            raise RegistryFull(self._config.records_per_owner_max)
        return self._write(Entry(record.agent, self._next_version, value), record, now)

    def remove(self, agent: str, now: float) -> Change | None:
        """Write a tombstone; None if there is nothing to remove."""
        self._loads.pop(agent, None)
        self._load_told_at.pop(agent, None)
        if not isinstance(self.holding.entries.get(agent), Listing):
            return None
        version = self._next_version
        self._tombstones.append((version, now))
        return self._write(Entry(agent, version, None), None, now)

    @property
    def _next_version(self) -> int:
        return self.holding.max_version + 1

    def _write(self, entry: Entry, record: AgentRecord | None, now: float) -> Change:
        if self._flush_at is None:
            self._flush_at = now + self._config.coalesce_s
        return self.holding.write(entry, record)

    def report_load(self, agent: str, waiting_count: int, now: float) -> Change | None:
        """Take note of an agent's load; it is told at once or when it may be."""
        known = self.holding.entries.get(agent)
        if not isinstance(known, Listing):
            return None
        bucket = load_bucket(waiting_count, known.load)
        if bucket == known.load:
            self._loads.pop(agent, None)
            return None
        told_at = self._load_told_at.get(agent)
        if told_at is not None and now < told_at + self._config.load_interval_s:
            self._loads[agent] = bucket
            return None
        return self._tell_load(known, bucket, now)

    def _tell_load(self, known: Listing, bucket: int, now: float) -> Change | None:
        self._loads.pop(known.agent, None)
        self._load_told_at[known.agent] = now
        return self._put(msgspec.structs.replace(known.record, load=bucket), now)

    @property
    def has_loads(self) -> bool:
        """Whether a load waits for its time to be told."""
        return bool(self._loads)

    def tell_loads(self, now: float) -> list[Change]:
        """Write the loads whose time has come."""
        changes: list[Change] = []
        for agent, bucket in list(self._loads.items()):
            known = self.holding.entries.get(agent)
            assert isinstance(known, Listing), "a load goes with its record"
            if now >= self._load_told_at[agent] + self._config.load_interval_s:
                change = self._tell_load(known, bucket, now)
                assert change is not None, "loads that do not differ are not kept"
                changes.append(change)
        return changes

    # Telling.

    @property
    def flush_at(self) -> float | None:
        """When the changes are to be told, or None when there are none."""
        return self._flush_at

    def flush(self) -> list[Delta]:
        """Return the changes since the last flush, usually as one delta."""
        self._flush_at = None
        after, self._pushed_version = self._pushed_version, self.holding.max_version
        return list(self.holding.deltas(after, size_bytes_max=self._config.chunk_size_bytes))

    # Forgetting.

    def collect(self, seen_version: int, now: float) -> bool:
        """Forget tombstones; return whether there were any to forget.

        Args:
            seen_version: What every live member has reached.
            now: The time, in seconds.
        """
        through = 0
        while self._tombstones:
            version, made_at = self._tombstones[0]
            age_s = now - made_at
            is_everywhere = version <= seen_version and age_s >= self._config.tombstone_age_min_s
            if not (is_everywhere or age_s >= self._config.tombstone_age_max_s):
                break
            # What peers were not told yet cannot be forgotten: their deltas begin where we ended.
            if version > self._pushed_version:
                break
            through = version
            self._tombstones.popleft()
        self.holding.collect(through)
        return through > 0

    # Another life.

    def renew(self, owner: Owner, now: float) -> "Author":
        """Return a new author that owns the same records in a later epoch."""
        renewed = Author(self._config, owner)
        for listing in self.holding.listings():
            renewed.put(listing.record, now)
        renewed._loads, renewed._load_told_at = self._loads, self._load_told_at
        return renewed
