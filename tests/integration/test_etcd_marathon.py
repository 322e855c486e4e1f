"""The metadata store, while members of etcd are killed and stopped at random for most of a minute.

What must hold is checked apart from the store: every confirmed write was told to every watcher,
once and in order; a counter that is raised under a lock is never raised twice from the same value;
tokens rise. The seed is in the report of a failure.
"""

import asyncio
import random
from contextlib import aclosing

import pytest

from caxton_cluster.errors import MetadataError, MetadataUnavailable, OutcomeUnknown
from caxton_cluster.metadata import EtcdSettings, Gone, Put, Snapshot, Unchanged
from caxton_cluster.metadata.etcd import EtcdStore
from tests.integration.etcd_cluster import etcd_cluster, needs_etcd

pytestmark = [needs_etcd, pytest.mark.slow, pytest.mark.timeout(150)]

LENGTH_S = 40.0
SETTLE_S = 20.0
TTL_S = 6.0


def store_of(etcd, dice):
    urls = list(etcd.endpoints)
    dice.shuffle(urls)
    return EtcdStore(EtcdSettings(endpoints=tuple(urls), attempt_timeout_s=1.0))


class Books:
    """What was confirmed, told and held."""

    def __init__(self):
        self.revisions = {}
        self.unknown_writes = set()
        self.raised_count = 0
        self.unknown_raises = 0
        self.lost_raises = 0
        self.tokens = []
        self.holders = set()
        self.is_over = asyncio.Event()


async def write(store, books, name):
    number = 0
    while not books.is_over.is_set():
        key = f"w/{name}-{number}"
        number += 1
        try:
            books.revisions[key] = await store.put(key, b"")
        except OutcomeUnknown:
            books.unknown_writes.add(key)
        except MetadataUnavailable:
            continue
        await asyncio.sleep(0.002)


async def watch(store, seen):
    async with aclosing(store.watch("w/")) as news:
        async for told in news:
            # Nothing is compacted here, so that there is one list, at the start.
            assert not (isinstance(told, Snapshot) and seen)
            events = told.items if isinstance(told, Snapshot) else told.events
            assert not any(isinstance(event, Gone) for event in events)
            in_order = sorted(events, key=lambda event: event.mod_revision)
            assert isinstance(told, Snapshot) or in_order == list(events)
            seen += [(event.key, event.mod_revision) for event in in_order]


async def contend(store, books, name):
    while not books.is_over.is_set():
        try:
            async with store.lock("counter", holder=name, ttl_s=TTL_S, timeout_s=10.0) as lock:
                assert not books.holders, f"{name} and {books.holders} hold it"
                books.holders.add(name)
                try:
                    await raise_counter(store, books, lock)
                finally:
                    books.holders.discard(name)
        except MetadataError:
            await asyncio.sleep(0.05)


async def raise_counter(store, books, lock):
    async with asyncio.timeout(lock.lease.rest_s):
        item = await store.get("counter")
        books.tokens.append(lock.token)
        value = b"%d" % (int(item.value) + 1)
        guards = [lock.guard, Unchanged("counter", item.mod_revision)]
        try:
            revision = await store.commit([Put("counter", value)], only_if=guards)
        except OutcomeUnknown:
            books.unknown_raises += 1
            raise
        if revision is None:
            books.lost_raises += 1
        else:
            books.raised_count += 1


async def make_trouble(etcd, dice):
    ends_at = asyncio.get_running_loop().time() + LENGTH_S
    while asyncio.get_running_loop().time() < ends_at:
        await asyncio.sleep(dice.uniform(0.5, 2.5))
        victim = dice.choice(etcd.members)
        if dice.random() < 0.5:
            await asyncio.to_thread(victim.kill)
            await asyncio.sleep(dice.uniform(0.1, 3.0))
            victim.start()
            await asyncio.to_thread(etcd.wait_until_ready, victim)
        else:
            etcd.pause(victim)
            await asyncio.sleep(dice.uniform(0.1, 4.0))
            etcd.resume(victim)
    await asyncio.to_thread(etcd.mend)


@pytest.mark.parametrize("seed", [1, 2])
async def test_nothing_is_lost_and_nobody_holds_what_another_holds(tmp_path, seed):
    dice, books = random.Random(seed), Books()
    histories = [[], [], []]
    with etcd_cluster(tmp_path) as etcd:
        async with EtcdStore(EtcdSettings(endpoints=etcd.endpoints)) as store:
            await store.put("counter", b"0")

        async def use(work):
            async with store_of(etcd, dice) as store:
                await work(store)

        async with asyncio.TaskGroup() as tasks:
            watching = [
                tasks.create_task(use(lambda s, seen=seen: watch(s, seen))) for seen in histories
            ]
            running = [
                tasks.create_task(use(lambda s, work=work, name=name: work(s, books, name)))
                for work, names in ((write, "xy"), (contend, "abcd"))
                for name in names
            ]
            await make_trouble(etcd, dice)
            books.is_over.set()
            await asyncio.wait(running, timeout=SETTLE_S)
            async with asyncio.timeout(SETTLE_S):
                while any(set(books.revisions) - {key for key, _ in seen} for seen in histories):
                    await asyncio.sleep(0.05)
            for task in watching:
                task.cancel()
        async with EtcdStore(EtcdSettings(endpoints=etcd.endpoints)) as store:
            counter = int((await store.get("counter")).value)
    print(f"{len(books.revisions)} writes, {len(books.unknown_writes)} unknown,", end=" ")
    print(f"{books.raised_count} raises, {books.unknown_raises} unknown, {books.lost_raises} lost")
    for seen in histories:
        revisions = [revision for _, revision in seen]
        assert revisions == sorted(set(revisions)), "in order, none twice"
        told = dict(seen)
        assert {k: told.get(k) for k in books.revisions} == books.revisions
        assert set(told) <= set(books.revisions) | books.unknown_writes
    assert books.raised_count <= counter <= books.raised_count + books.unknown_raises
    assert books.tokens == sorted(set(books.tokens))
    assert books.raised_count > 50, "it came to something"
