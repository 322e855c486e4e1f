"""Cluster metadata in etcd.

    async with EtcdStore(EtcdSettings(endpoints=("http://10.0.0.1:2379",))) as store:
        async with store.lock("janitor", holder="node-1", ttl_s=10, timeout_s=30) as lock:
            await store.commit([Put("swept", b"now")], only_if=[lock.guard])

The store owns the tasks that keep its leases, and one that looks now and then whether etcd is
there. Opening it does not wait for etcd: a store that cannot be reached is degraded, and says so,
until it can.
"""

import asyncio
import math
import random
import secrets
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Coroutine, Sequence
from contextlib import aclosing, asynccontextmanager, suppress
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Final, Self

from caxton_cluster.errors import (
    LeaseLost,
    LockBusy,
    MetadataDenied,
    MetadataError,
    MetadataUnavailable,
    NotRunning,
)
from caxton_cluster.metadata.client import Compacted, EtcdClient, StreamBroken
from caxton_cluster.metadata.health import Health
from caxton_cluster.metadata.lease import LEASE_TTL_S_MIN, Lease, keep
from caxton_cluster.metadata.lock import LOCKS_FOLDER, Lock, lock_folder, lock_key, read_locks
from caxton_cluster.metadata.methods import LEASE_GRANT, LEASE_REVOKE, PUT, RANGE, TXN
from caxton_cluster.metadata.requests import (
    Keys,
    compare,
    delete_op,
    get_op,
    made_by,
    predecessor_op,
    put_op,
    write_op,
)
from caxton_cluster.metadata.settings import EtcdSettings
from caxton_cluster.metadata.values import (
    WRITES_MAX,
    Change,
    Connection,
    Gone,
    Guard,
    KeyValue,
    LockInfo,
    Snapshot,
    StoreState,
    Write,
    check_value,
)
from caxton_cluster.metadata.watch import WatchCursor, WatchEnded, read_key_value
from caxton_cluster.metadata.wire import etcd_pb2 as wire

__all__ = ["EtcdStore", "StoreCounts"]

PAGE_SIZE: Final = 128
"""Keys of one page of a listing: with the largest values, half of the largest answer."""

REOPEN_WAIT_FIRST_S: Final = 0.02
REOPEN_WAIT_MAX_S: Final = 1.0
"""Waits before a broken watch is opened again; they double from the first to the longest."""

PROBE_TIMEOUT_S: Final = 3.0
"""After which etcd counts as lost. The election of another leader takes one to two seconds."""

PROBE_AGAIN_S: Final = 1.0
"""How often etcd is looked for while it is lost."""

REVOKE_TIMEOUT_S: Final = 1.0
"""For giving a lease back. Without it the lease ends by itself."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreCounts:
    """What a store has done since it was opened."""

    calls: int
    failures: int
    """Attempts that failed; their calls may have succeeded at another member."""
    member_changes: int
    """How often another member was asked from then on."""
    watch_resumptions: int
    relistings: int
    """Watches that began anew because their history was compacted."""


class EtcdStore:
    """A `MetadataStore` in etcd. Use it as an async context manager.

    Args:
        settings: Where etcd is and how to come in.
        now_ms: Milliseconds since 1970, UTC, for people to read.
    """

    def __init__(
        self,
        settings: EtcdSettings,
        *,
        now_ms: Callable[[], int] = lambda: int(time.time() * 1000),
    ) -> None:
        self.settings = settings
        self._keys = Keys(settings.prefix)
        self._health = Health(now_ms)
        self._client: EtcdClient | None = None
        self._tasks = asyncio.TaskGroup()
        self._running: set[asyncio.Task[None]] = set()
        self._random = random.Random(secrets.randbits(64))  # noqa: S311 - it spreads attempts
        self.watch_resumptions_count = 0
        """Watches that went on after their stream broke."""
        self.relistings_count = 0
        """Watches that began anew because their history was compacted."""

    # Life.

    async def __aenter__(self) -> Self:
        self._client = EtcdClient(self.settings, self._health)
        await self._tasks.__aenter__()
        self._start(self._probe())
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        for task in self._running:
            task.cancel()
        client, self._client = self._open, None
        try:
            await self._tasks.__aexit__(None, None, None)
        finally:
            await client.close()

    def _start(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = self._tasks.create_task(work, name="etcd")
        self._running.add(task)
        task.add_done_callback(self._running.discard)
        return task

    @property
    def _probe_timeout_s(self) -> float:
        return min(PROBE_TIMEOUT_S, self.settings.timeout_s)

    @property
    def _open(self) -> EtcdClient:
        if self._client is None:
            raise NotRunning("open the store with `async with` first")
        return self._client

    async def _probe(self) -> None:
        """Look whether etcd is there: at once, every so often, and whenever a call failed."""
        client = self._open
        request = wire.RangeRequest(key=self._keys.to_wire("probe"), count_only=True)
        interval_s = self.settings.probe_interval_s
        while True:
            client.doubts.clear()
            wait_s = interval_s
            try:
                await client.call(
                    RANGE, request, is_repeatable=True, timeout_s=self._probe_timeout_s
                )
            except MetadataDenied as error:
                self._health.failed(str(error))
            except MetadataError:
                # The health has been told. What follows must not be a doubt about this.
                wait_s = min(interval_s, PROBE_AGAIN_S)
            if self._health.state.connection is not Connection.CONNECTED:
                client.doubts.clear()
            with suppress(TimeoutError):
                async with asyncio.timeout(wait_s):
                    await client.doubts.wait()

    # How it does.

    @property
    def state(self) -> StoreState:
        """How it does, why, and since when."""
        return self._health.state

    @property
    def losses_count(self) -> int:
        """How often it was lost since it was opened."""
        return self._health.losses_count

    @property
    def counts(self) -> StoreCounts:
        """What it has done since it was opened."""
        client = self._open
        return StoreCounts(
            calls=client.calls_count,
            failures=client.failures_count,
            member_changes=client.members.changes_count,
            watch_resumptions=self.watch_resumptions_count,
            relistings=self.relistings_count,
        )

    def on_change(self, tell: Callable[[StoreState], None], /) -> None:
        """Call `tell`, which must not block, whenever the store is lost or found."""
        self._health.on_change(tell)

    # Keys and values.

    async def get(self, key: str, /) -> KeyValue | None:
        """Return what is at a key."""
        request = wire.RangeRequest(key=self._keys.to_wire(key))
        response = await self._open.call(RANGE, request, is_repeatable=True)
        return self._read(response.kvs[0]) if response.kvs else None

    async def list(self, folder: str, /) -> Snapshot:
        """Return all keys of a folder, `locks/` or the empty text for all, at one revision."""
        while True:
            with suppress(Compacted):  # between two pages; begin anew
                return await self._list(folder)

    async def _list(self, folder: str) -> Snapshot:
        first, end = self._keys.folder(folder)
        items: list[KeyValue] = []
        revision = 0
        while True:
            request = wire.RangeRequest(
                key=first, range_end=end, limit=PAGE_SIZE, revision=revision
            )
            response = await self._open.call(RANGE, request, is_repeatable=True)
            items += map(self._read, response.kvs)
            revision = revision or response.header.revision
            if not response.more:
                return Snapshot(tuple(items), revision)
            first = response.kvs[-1].key + b"\0"

    async def put(self, key: str, value: bytes, /, *, lease_id: int = 0) -> int:
        """Write one value and return the revision.

        Raises:
            OutcomeUnknown: It was sent, and the answer got lost.
        """
        name = self._keys.to_wire(key)
        request = wire.PutRequest(key=name, value=check_value(value), lease=lease_id)
        response = await self._open.call(PUT, request, is_repeatable=False)
        return response.header.revision

    async def delete(self, key: str, /) -> bool:
        """Delete a key; return whether it was there.

        Raises:
            OutcomeUnknown: It was sent, and the answer got lost.
        """
        request = wire.TxnRequest(success=[delete_op(self._keys.to_wire(key))])
        response = await self._open.call(TXN, request, is_repeatable=False)
        return response.responses[0].response_delete_range.deleted > 0

    async def commit(
        self, writes: Sequence[Write], /, *, only_if: Sequence[Guard] = ()
    ) -> int | None:
        """Write all or nothing; return the revision, or None where a condition does not hold.

        Raises:
            OutcomeUnknown: It was sent, and the answer got lost.
        """
        assert len(writes) <= WRITES_MAX, "split what is more"
        request = wire.TxnRequest(
            compare=[compare(guard, self._keys) for guard in only_if],
            success=[write_op(write, self._keys) for write in writes],
        )
        response = await self._open.call(TXN, request, is_repeatable=False)
        return response.header.revision if response.succeeded else None

    def _read(self, kv: wire.KeyValue) -> KeyValue:
        return read_key_value(kv, self._keys.from_wire)

    # Watches.

    async def watch(self, folder: str, /) -> AsyncGenerator[Snapshot | Change]:
        """Yield all keys of a folder, then every change, in order; again all where some got lost.

        An outage ends nothing: it goes on where it was, once etcd is back.

        Raises:
            MetadataDenied: Etcd does not let us.
        """
        first, end = self._keys.folder(folder)
        while True:
            snapshot = await self._list_some_time(folder)
            yield snapshot
            try:
                async with aclosing(self._follow(first, end, snapshot.revision + 1)) as changes:
                    async for change in changes:
                        yield change
            except Compacted:
                self.relistings_count += 1

    async def _list_some_time(self, folder: str) -> Snapshot:
        wait_s = REOPEN_WAIT_FIRST_S
        while True:
            try:
                return await self.list(folder)
            except MetadataUnavailable:
                wait_s = await self._pause(wait_s)

    async def _follow(self, first: bytes, end: bytes, revision: int) -> AsyncGenerator[Change]:
        """Yield every change from a revision on, over any number of streams.

        Raises:
            Compacted: Some of them are no longer kept.
            MetadataDenied: Etcd does not let us.
        """
        cursor = WatchCursor(revision, self._keys.from_wire)
        wait_s = REOPEN_WAIT_FIRST_S
        while True:
            request = wire.WatchCreateRequest(
                key=first,
                range_end=end,
                start_revision=cursor.next_revision,
                progress_notify=True,
                fragment=True,
            )
            cursor.restart()
            try:
                async with aclosing(self._open.watch(request)) as responses:
                    async for response in responses:
                        change = cursor.receive(response)
                        wait_s = REOPEN_WAIT_FIRST_S
                        if change is not None:
                            yield change
            except WatchEnded as ended:
                if ended.is_compacted:
                    raise Compacted from None
            except (StreamBroken, MetadataUnavailable):
                pass
            self.watch_resumptions_count += 1
            wait_s = await self._pause(wait_s)
            await self._check_history(cursor.next_revision)

    async def _check_history(self, next_revision: int) -> None:
        """Return once etcd is there, where the history that a watch has followed is still its own.

        An etcd that was made anew, or from an old copy of its data, counts from a lower revision:
        a watch would wait for years, and miss everything until then.

        Raises:
            Compacted: It is not.
        """
        request = wire.RangeRequest(key=self._keys.to_wire("probe"), count_only=True)
        wait_s = REOPEN_WAIT_FIRST_S
        while True:
            try:
                response = await self._open.call(RANGE, request, is_repeatable=True)
            except MetadataUnavailable:
                wait_s = await self._pause(wait_s)
                continue
            if response.header.revision < next_revision - 1:
                raise Compacted
            return

    async def _pause(self, wait_s: float) -> float:
        """Wait for about this long, and return for how long next time."""
        await asyncio.sleep(wait_s * (0.5 + self._random.random()))
        return min(2 * wait_s, REOPEN_WAIT_MAX_S)

    # Leases and locks.

    @asynccontextmanager
    async def lease(self, ttl_s: float, /) -> AsyncIterator[Lease]:
        """Hold a lease, renewed inside of the block and revoked at its end."""
        client, clock = self._open, asyncio.get_running_loop().time
        sent_at_s = clock()
        request = wire.LeaseGrantRequest(TTL=math.ceil(max(ttl_s, LEASE_TTL_S_MIN)))
        granted = await client.call(LEASE_GRANT, request, is_repeatable=True)
        lease = Lease(granted.ID, float(granted.TTL), sent_at_s=sent_at_s, clock=clock)
        keeper = self._start(keep(lease, client.keep_alive, clock))
        # However it ends, nobody renews it any more.
        keeper.add_done_callback(lambda _: lease.lose("the store was closed"))
        try:
            yield lease
        finally:
            keeper.cancel()
            lease.lose("it was given back")
            with suppress(MetadataError, NotRunning):  # then it ends by itself
                await client.call(
                    LEASE_REVOKE,
                    wire.LeaseRevokeRequest(ID=lease.id),
                    is_repeatable=True,
                    timeout_s=REVOKE_TIMEOUT_S,
                )

    @asynccontextmanager
    async def lock(
        self, name: str, /, *, holder: str, ttl_s: float, timeout_s: float
    ) -> AsyncIterator[Lock]:
        """Hold a lock inside of the block.

        Raises:
            LockBusy: It did not become free in time.
            LeaseLost: The lease was lost while waiting for it.
        """
        async with self.lease(ttl_s) as lease:
            key = lock_key(name, lease.id)
            token = await self._queue_up(key, check_value(holder.encode()), lease)
            try:
                async with asyncio.timeout(timeout_s):
                    await self._wait_for_turn(key, token)
            except TimeoutError:
                holding = read_locks((await self.list(lock_folder(name))).items)
                raise LockBusy(name, holding[0].holder if holding else "") from None
            lease.check()
            yield Lock(name, token, key, lease)

    async def locks(self) -> Sequence[LockInfo]:
        """Return the locks that are held, by name."""
        return read_locks((await self.list(LOCKS_FOLDER)).items)

    async def _queue_up(self, key: str, holder: bytes, lease: Lease) -> int:
        """Put our key and return the revision that made it. Done twice, it is done once."""
        name = self._keys.to_wire(key)
        request = wire.TxnRequest(
            compare=[made_by(name, 0)],
            success=[put_op(name, holder, lease.id)],
            failure=[get_op(name)],
        )
        response = await self._open.call(TXN, request, is_repeatable=True)
        if response.succeeded:
            return response.header.revision
        return response.responses[0].response_range.kvs[0].create_revision

    async def _wait_for_turn(self, key: str, token: int) -> None:
        """Return when nobody stands before us.

        Raises:
            LeaseLost: Our own key is gone.
        """
        name = self._keys.to_wire(key)
        folder, end = self._keys.folder(key.rpartition("/")[0] + "/")
        request = wire.TxnRequest(
            success=[get_op(name), predecessor_op(folder, end, before_revision=token)]
        )
        while True:
            response = await self._open.call(TXN, request, is_repeatable=True)
            own, before = (one.response_range.kvs for one in response.responses)
            if not own or own[0].create_revision != token:
                raise LeaseLost("the lock's key was deleted while waiting for it")
            if not before:
                return
            await self._wait_until_gone(before[0].key, response.header.revision + 1)

    async def _wait_until_gone(self, name: bytes, revision: int) -> None:
        with suppress(Compacted):  # look again
            async with aclosing(self._follow(name, b"", revision)) as changes:
                async for change in changes:
                    if any(isinstance(event, Gone) for event in change.events):
                        return
