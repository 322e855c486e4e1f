"""Keys of ours that others read in the store: put there while we live, gone when we are.

The truth is here; the store has a copy. Whoever changes a key says so and goes on: nothing waits
for etcd, nothing is raised, and an outage costs no more than the copy's age. Writes go out in
batches under one lease. When the lease is lost, or etcd was, everything is written anew, and what
an earlier life left behind is deleted.

A batch whose answer got lost may still arrive, after a later one. So each batch is conditional on
the one before: a late copy finds that it was overtaken, and does nothing.
"""

import asyncio
import logging
from collections.abc import Mapping
from typing import Final

from caxton_cluster.errors import MetadataError, MetadataRefused, OutcomeUnknown
from caxton_cluster.metadata.lease import Lease
from caxton_cluster.metadata.store import MetadataStore
from caxton_cluster.metadata.values import (
    WRITES_MAX,
    Absent,
    Connection,
    Delete,
    Put,
    Unchanged,
    Write,
    check_key,
    check_value,
)

__all__ = ["KEYS_MAX", "TURNS_FOLDER", "Mirror", "MirrorBook"]

KEYS_MAX: Final = 20_000
"""Keys of one mirror."""

BATCH_SIZE_BYTES_MAX: Final = 1_000_000
"""Keys and values of one batch; etcd takes 1.5 MB."""

TURNS_FOLDER: Final = "turns/"
"""Where each mirror keeps the key that puts its batches in order."""

RETRY_WAIT_FIRST_S: Final = 0.2
RETRY_WAIT_MAX_S: Final = 5.0
"""Waits after a failure; they double from the first to the longest."""

_log = logging.getLogger("caxton.metadata")


class MirrorBook:
    """What should be in the store, and which part of it was not written yet. Pure."""

    def __init__(self) -> None:
        self._wanted: dict[str, bytes] = {}
        # In the order of their first change; a key that changes twice is written once.
        self._unwritten: dict[str, None] = {}

    def __len__(self) -> int:
        return len(self._wanted)

    @property
    def backlog(self) -> int:
        """Keys that differ, as far as is known."""
        return len(self._unwritten)

    @property
    def wanted(self) -> Mapping[str, bytes]:
        """All that should be there."""
        return self._wanted

    def put(self, key: str, value: bytes) -> bool:
        """Want a value; return whether there is room for it."""
        if key not in self._wanted and len(self._wanted) >= KEYS_MAX:
            return False
        if self._wanted.get(key) != value:
            self._wanted[key] = value
            self._unwritten[key] = None
        return True

    def remove(self, key: str) -> None:
        """Want a key no more."""
        if self._wanted.pop(key, None) is not None:
            self._unwritten[key] = None

    def take(self) -> list[str]:
        """Take the keys of the next batch off the list; at least one, if there is any."""
        batch: list[str] = []
        size_bytes = 0
        for key in self._unwritten:
            size_bytes += len(key) + len(self._wanted.get(key, b""))
            # One place is for the key that keeps the order.
            if batch and (size_bytes > BATCH_SIZE_BYTES_MAX or len(batch) >= WRITES_MAX - 1):
                break
            batch.append(key)
        for key in batch:
            del self._unwritten[key]
        return batch

    def write_again(self, keys: Mapping[str, object] | None = None) -> None:
        """List keys as unwritten, before the others: these, or all that should be there."""
        again = dict.fromkeys(self._wanted if keys is None else keys)
        self._unwritten = again | self._unwritten


class Mirror:
    """A copy of keys in the store, kept up by `run`.

    Args:
        store: Where the copy is.
        folder: Where in it, such as `nodes/node-1/`; nobody else writes there.
        owner: Names the key that keeps the order; unique like the folder.
        ttl_s: How long the copy outlives us.
    """

    def __init__(
        self, store: MetadataStore, folder: str, *, owner: str, ttl_s: float = 15.0
    ) -> None:
        assert folder.endswith("/"), "a folder ends with a slash"
        self.refused_count = 0
        """Keys that had no room, or cannot be stored."""
        self.rewrites_count = 0
        """How often everything was written anew."""
        self._store = store
        self._folder = folder
        self._turn_key = check_key(f"{TURNS_FOLDER}{owner}")
        self._ttl_s = ttl_s
        self._book = MirrorBook()
        self._bell = asyncio.Event()
        self._turn_revision = 0
        self._turn = 0

    @property
    def backlog(self) -> int:
        """Keys that are not written yet."""
        return self._book.backlog

    def put(self, key: str, value: bytes) -> bool:
        """Let the copy have this value soon. Neither waits nor raises.

        Returns:
            Whether there is room for it; what has none is counted.
        """
        try:
            check_key(self._folder + key)
            is_taken = self._book.put(key, check_value(value))
        except MetadataRefused:
            is_taken = False
        if not is_taken:
            self.refused_count += 1
        self._bell.set()
        return is_taken

    def remove(self, key: str) -> None:
        """Let the copy have this key no more. Neither waits nor raises."""
        self._book.remove(key)
        self._bell.set()

    async def run(self) -> None:
        """Keep the copy up until cancelled.

        Raises:
            MetadataOff: No store is configured.
        """
        wait_s = RETRY_WAIT_FIRST_S
        while True:
            try:
                async with self._store.lease(self._ttl_s) as lease:
                    await self._take_over()
                    wait_s = RETRY_WAIT_FIRST_S
                    lease.on_lost(self._bell.set)
                    await self._write(lease)
            except MetadataError as error:
                if self._store.state.connection is Connection.OFF:
                    raise
                _log.info("the copy in %s is not up to date: %s", self._folder, error)
            await asyncio.sleep(wait_s)
            wait_s = min(2 * wait_s, RETRY_WAIT_MAX_S)

    async def _take_over(self) -> None:
        """Begin anew: everything is unwritten, and so is what an earlier life left."""
        turn = await self._store.get(self._turn_key)
        self._turn_revision = turn.mod_revision if turn else 0
        there = await self._store.list(self._folder)
        keys = [item.key.removeprefix(self._folder) for item in there.items]
        self._book.write_again({key: None for key in keys if key not in self._book.wanted})
        self._book.write_again()
        self.rewrites_count += 1

    async def _write(self, lease: Lease) -> None:
        """Write what is unwritten, and whatever comes, for as long as the lease lasts."""
        while True:
            lease.check()
            batch = self._book.take()
            if not batch:
                self._bell.clear()
                await self._bell.wait()
                continue
            is_written = False
            try:
                is_written = await self._write_batch(batch, lease)
            finally:
                if not is_written:
                    self._book.write_again(dict.fromkeys(batch))
            if not is_written:
                # Somebody wrote in between: a batch of ours that was given up, or a namesake.
                await self._take_over()

    async def _write_batch(self, batch: list[str], lease: Lease) -> bool:
        wanted, known = self._book.wanted, self._turn_revision
        self._turn += 1
        mark = f"{lease.id:016x}/{self._turn}".encode()
        writes: list[Write] = [
            Put(self._folder + key, wanted[key], lease.id)
            if key in wanted
            else Delete(self._folder + key)
            for key in batch
        ]
        writes.append(Put(self._turn_key, mark, lease.id))
        guard = Unchanged(self._turn_key, known) if known else Absent(self._turn_key)
        try:
            revision = await self._store.commit(writes, only_if=[guard])
        except OutcomeUnknown:
            turn = await self._store.get(self._turn_key)
            # Not there yet: it is written again under the same condition, and one of the two wins.
            revision = turn.mod_revision if turn and turn.value == mark else None
        if revision is None:
            return False
        self._turn_revision = revision
        return True
