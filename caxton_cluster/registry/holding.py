"""One owner's records as one node holds them: who has which version, and who offers what.

Entries are kept in order of version: a write takes its record to the end. That makes "all since
version v" a walk from the end, and a state a pure function of the writes, however they were cut
into deltas.

Offers stand on shelves: one shelf a spelling of a capability, on it one row a rank, so that the
best of a node is found without looking at the others. Everything here belongs to one owner:
hiding or dropping it touches nothing else.
"""

from collections.abc import Iterable, Iterator
from functools import lru_cache
from hashlib import blake2b
from typing import Final

import msgspec

from caxton_cluster.registry.records import (
    LOAD_MAX,
    RUNNING,
    AgentRecord,
    Delta,
    Entry,
    Owner,
    OwnerDigest,
    unpack_record,
    version_key,
)

__all__ = [
    "LOAD_RANKS",
    "PAUSED_RANK",
    "REMOTE_RANK",
    "SUSPECT_RANK",
    "Change",
    "Holder",
    "Holding",
    "Listing",
    "Precedence",
    "Shelf",
    "ShelfKey",
    "Tombstone",
    "distance_of",
    "spellings",
]

ShelfKey = tuple[str, str]
"""Tenant and spelling of a request."""
Precedence = tuple[tuple[tuple[int, int, str], ...], int]
"""What decides between duplicates of an agent before the node's name does: version, epoch."""

PAUSED_RANK: Final = 1 << 16
"""Added to the rank of an agent that takes no turns now."""
SUSPECT_RANK: Final = PAUSED_RANK >> 1
"""Added to the rank of all agents of a node that may be gone."""
LOAD_RANKS: Final = LOAD_MAX << 1
"""The bits of a rank that hold the load."""
REMOTE_RANK: Final = 1
"""Added to the rank of all agents of other nodes."""
_DISTANCE_UNIT: Final = 1 << 4
_LOAD_UNIT: Final = 1 << 1
_HEAD_SIZE_BYTES: Final = 50
"""Of a packed delta without its entries and the owner's name, at most."""
_ENTRY_SIZE_BYTES: Final = 20
"""Of a packed entry besides its name and value, at most: the version, the marks of msgpack."""


class Holder(msgspec.Struct):
    """How a node stands with us. Shared by all of its listings: one write hides or shows all."""

    owner: Owner
    is_local: bool = False
    is_visible: bool = False
    rank: int = REMOTE_RANK
    """What being there, and not elsewhere, adds to the rank of its agents."""

    @property
    def is_suspect(self) -> bool:
        """Whether the node may be gone."""
        return self.rank >= SUSPECT_RANK

    def suspect(self, *, is_suspect: bool) -> None:
        """Rank the node's agents below, or among, those of others."""
        self.rank = (0 if self.is_local else REMOTE_RANK) + (SUSPECT_RANK if is_suspect else 0)


class Listing(msgspec.Struct, gc=False, eq=False):
    """An agent on a node, as lookups return it. Compare with `is`.

    It stays as it was when the record changes or goes: a change makes a new listing.
    """

    holder: Holder
    agent: str
    version: int
    """Of the record, by its owner's counter."""
    value: bytes
    """The packed record."""
    is_running: bool
    load: int
    precedence: Precedence

    @property
    def node(self) -> str:
        """Name of the node that runs the agent."""
        return self.holder.owner.node

    @property
    def owner(self) -> Owner:
        """The node in the life of its process that wrote this."""
        return self.holder.owner

    @property
    def record(self) -> AgentRecord:
        """The whole record, unpacked anew each time: about a microsecond."""
        return unpack_record(self.value)


class Tombstone(msgspec.Struct, gc=False, eq=False):
    """That a record is gone."""

    agent: str
    version: int


class Change(msgspec.Struct, gc=False, eq=False):
    """What a write did to a record; None stands for "not there"."""

    tenant_before: str
    before: Listing | None
    tenant_after: str
    after: Listing | None


Shelf = dict[int, list[Listing]]
"""Rank → listings. Lower is better: running first, then the nearest, then the least loaded."""


@lru_cache(maxsize=8192)
def spellings(capability: str) -> tuple[str, ...]:
    """Return every request that an offer of `capability` answers, nearest first.

    `data.visual:v2` answers to itself, `data.visual`, `data:v2` and `data`: whoever asks for the
    general also gets the particular, whoever asks for no version gets any.
    """
    name, colon, version = capability.partition(":")
    found: list[str] = []
    while name:
        if colon:
            found.append(f"{name}:{version}")
        found.append(name)
        name = name.rpartition(".")[0]
    return tuple(found)


@lru_cache(maxsize=8192)
def _places_of(tenant: str, capability: str) -> tuple[tuple[ShelfKey, int], ...]:
    """Return on which shelves an offer stands, and its rank there for its distance."""
    return tuple(
        ((tenant, spelling), distance * _DISTANCE_UNIT)
        for distance, spelling in enumerate(spellings(capability))
    )


def _places(record: AgentRecord) -> Iterable[tuple[ShelfKey, int]]:
    """Return on which shelves an agent stands, once on each, for the nearest of its offers."""
    tenant, capabilities = record.tenant, record.capabilities
    if len(capabilities) == 1:
        return _places_of(tenant, capabilities[0])
    nearest: dict[ShelfKey, int] = {}
    for capability in capabilities:
        for key, rank in _places_of(tenant, capability):
            if rank < nearest.get(key, PAUSED_RANK):
                nearest[key] = rank
    return nearest.items()


def distance_of(rank: int) -> int:
    """Return how far the offer is from the request, 0 for what was asked for exactly."""
    return (rank % PAUSED_RANK) // _DISTANCE_UNIT


def _hash64(agent: str, version: int) -> int:
    digest = blake2b(b"%d %b" % (version, agent.encode()), digest_size=8).digest()
    return int.from_bytes(digest, "little")


class Holding:
    """The records of one owner.

    Args:
        owner: Whose. A later epoch gets a holding of its own.
        is_local: Whether the owner is ourselves.
    """

    __slots__ = (
        "checksum",
        "collected_version",
        "entries",
        "holder",
        "is_whole",
        "max_version",
        "record_count",
        "shelves",
    )

    def __init__(self, owner: Owner, *, is_local: bool = False) -> None:
        self.holder = Holder(owner, is_local)
        self.holder.suspect(is_suspect=False)
        self.entries: dict[str, Listing | Tombstone] = {}
        self.shelves: dict[ShelfKey, Shelf] = {}
        self.max_version = 0
        self.collected_version = 0
        self.record_count = 0
        self.checksum = 0
        self.is_whole = True
        """Whether this is what the owner had at `max_version`. Between the parts of a change it is
        not: what was changed later is still to come, and not there in its earlier form."""

    @property
    def owner(self) -> Owner:
        """Whose records these are."""
        return self.holder.owner

    @property
    def tombstone_count(self) -> int:
        """How many entries say that something is gone."""
        return len(self.entries) - self.record_count

    def line(self) -> OwnerDigest:
        """Return how far this holding has come."""
        return OwnerDigest(
            self.holder.owner,
            self.max_version,
            self.collected_version,
            self.record_count,
            self.checksum,
        )

    def listings(self) -> Iterator[Listing]:
        """Yield the records in order of their last change."""
        return (entry for entry in self.entries.values() if isinstance(entry, Listing))

    # Writing.

    def write(self, entry: Entry, record: AgentRecord | None) -> Change:
        """Apply one entry. Its version must be above all that are here; `max_version` follows.

        Args:
            entry: What to write.
            record: Its value, unpacked; None for a tombstone.
        """
        agent, version = entry.agent, entry.version
        before = self.entries.pop(agent, None)
        old_tenant = new_tenant = ""
        old: Listing | None = None
        if isinstance(before, Listing):
            old = before
            old_tenant = self._remove(before)
        new: Listing | None = None
        if record is None or entry.value is None:
            self.entries[agent] = Tombstone(agent, version)
        else:
            new = Listing(
                self.holder,
                agent,
                version,
                entry.value,
                record.state == RUNNING,
                record.load,
                (version_key(record.agent_version), record.agent_epoch),
            )
            new_tenant = record.tenant
            self.entries[agent] = new
            self.record_count += 1
            self.checksum ^= _hash64(agent, version)
            self._shelve(new, record)
        self.max_version = version
        return Change(old_tenant, old, new_tenant, new)

    def _remove(self, listing: Listing) -> str:
        self.record_count -= 1
        self.checksum ^= _hash64(listing.agent, listing.version)
        record = listing.record
        base = _base_rank(listing)
        for key, rank in _places(record):
            shelf = self.shelves[key]
            row = shelf[base + rank]
            if len(row) > 1:
                row[row.index(listing)] = row[-1]
                row.pop()
            elif len(shelf) > 1:
                del shelf[base + rank]
            else:
                del self.shelves[key]
        return record.tenant

    def _shelve(self, listing: Listing, record: AgentRecord) -> None:
        base, shelves = _base_rank(listing), self.shelves
        for key, rank in _places(record):
            shelf = shelves.get(key)
            if shelf is None:
                shelves[key] = {base + rank: [listing]}
                continue
            row = shelf.get(base + rank)
            if row is None:
                shelf[base + rank] = [listing]
            else:
                row.append(listing)

    def collect(self, through_version: int) -> None:
        """Forget the tombstones up to `through_version`, which must have been reached."""
        if through_version <= self.collected_version:
            return
        assert through_version <= self.max_version, "what we have not seen we cannot forget"
        self.collected_version = through_version
        if self.tombstone_count == 0:
            return
        expired = [
            agent
            for agent, entry in self.entries.items()
            if isinstance(entry, Tombstone) and entry.version <= through_version
        ]
        for agent in expired:
            del self.entries[agent]

    # Telling.

    def since(self, version: int) -> list[Entry]:
        """Return the entries above `version`, in order."""
        found: list[Entry] = []
        for entry in reversed(self.entries.values()):
            if entry.version <= version:
                break
            value = entry.value if isinstance(entry, Listing) else None
            found.append(Entry(entry.agent, entry.version, value))
        found.reverse()
        return found

    def deltas(self, after_version: int, *, size_bytes_max: int) -> list[Delta]:
        """Return what someone who reached `after_version` misses, cut into chunks.

        Each can be applied by itself once those before it are; the last one reaches our version.
        Whoever missed tombstones that are forgotten gets everything, from 0.
        """
        after = after_version if after_version >= self.collected_version else 0
        if after >= self.max_version:
            return []
        owner, collected = self.holder.owner, self.collected_version
        chunks: list[Delta] = []
        chunk: list[Entry] = []
        head_size_bytes = size_bytes = _HEAD_SIZE_BYTES + len(owner.node.encode())
        for entry in self.since(after):
            value_size_bytes = 0 if entry.value is None else len(entry.value)
            length = _ENTRY_SIZE_BYTES + len(entry.agent.encode()) + value_size_bytes
            if chunk and size_bytes + length > size_bytes_max:
                through = chunk[-1].version
                chunks.append(Delta(owner, after, through, collected, tuple(chunk), True))
                after, chunk, size_bytes = through, [], head_size_bytes
            chunk.append(entry)
            size_bytes += length
        is_partial = not self.is_whole
        chunks.append(Delta(owner, after, self.max_version, collected, tuple(chunk), is_partial))
        return chunks


def _base_rank(listing: Listing) -> int:
    return (0 if listing.is_running else PAUSED_RANK) + listing.load * _LOAD_UNIT
