"""The metadata store while members of etcd are killed, stopped, and all gone."""

import asyncio
import itertools
import shutil
import signal
import sys
from collections import Counter
from contextlib import aclosing, asynccontextmanager
from pathlib import Path

import pytest

from caxton_cluster.errors import MetadataError, MetadataUnavailable, OutcomeUnknown
from caxton_cluster.metadata import Connection, EtcdSettings, Gone, Snapshot
from caxton_cluster.metadata.etcd import EtcdStore
from caxton_cluster.metadata.mirror import Mirror
from tests.integration.etcd_cluster import etcd_cluster, needs_etcd

pytestmark = needs_etcd

ROOT = Path(__file__).resolve().parents[2]
PATIENCE_S = 20.0
PREFIXES = (f"/f{number}/" for number in itertools.count())


@pytest.fixture(scope="module")
def whole_etcd(tmp_path_factory):
    options = ("--experimental-watch-progress-notify-interval", "200ms")
    with etcd_cluster(tmp_path_factory.mktemp("etcd"), options=options) as cluster:
        yield cluster


@pytest.fixture
def etcd(whole_etcd):
    """Three members, that all run again after the test."""
    yield whole_etcd
    whole_etcd.mend()


@pytest.fixture
def prefix():
    return next(PREFIXES)


def settings_of(etcd, prefix, *, first=None, **others):
    """Return settings that begin with one member, or with any."""
    urls = sorted(etcd.endpoints, key=lambda url: first is not None and url != first.url)
    return EtcdSettings(endpoints=tuple(urls), prefix=prefix, **others)


async def until(condition):
    async with asyncio.timeout(PATIENCE_S):
        while not (found := await condition()):
            await asyncio.sleep(0.02)
    return found


async def becomes(store, connection):
    async def is_so():
        return store.state.connection is connection

    await until(is_so)


class Load:
    """Writes numbered values one after the other, and notes what it was told of each."""

    def __init__(self, store):
        self._store = store
        self.revisions = {}
        self.unknown = set()

    async def write(self, numbers):
        for number in numbers:
            while number not in self.revisions and number not in self.unknown:
                try:
                    self.revisions[number] = await self._store.put(f"w/{number}", b"")
                except OutcomeUnknown:
                    self.unknown.add(number)
                except MetadataUnavailable:
                    continue


async def collect(watch, seen, last):
    """Note every event until that of the last key."""
    async for told in watch:
        assert not isinstance(told, Snapshot), "nothing was compacted"
        for event in told.events:
            assert not isinstance(event, Gone)
            seen.append((int(event.key.removeprefix("w/")), event.mod_revision))
        if seen[-1][0] == last:
            return


@pytest.mark.parametrize("whom", ["leader", "follower"])
async def test_a_watch_loses_nothing_when_its_member_is_killed_under_load(etcd, prefix, whom):
    victim = getattr(etcd, whom)()
    seen, last = [], 400
    async with (
        EtcdStore(settings_of(etcd, prefix, first=victim)) as watcher,
        EtcdStore(settings_of(etcd, prefix, first=victim)) as writer,
        aclosing(watcher.watch("w/")) as watch,
    ):
        load = Load(writer)
        async with asyncio.timeout(PATIENCE_S), asyncio.TaskGroup() as tasks:
            assert (await anext(watch)).items == ()
            watching = tasks.create_task(collect(watch, seen, last))
            await load.write(range(150))
            killing = tasks.create_task(asyncio.to_thread(victim.kill))
            await load.write(range(150, last))
            await killing
            victim.start()
            while last not in load.revisions:
                load.unknown.discard(last)
                await load.write([last])
            await watching
        assert watcher.watch_resumptions_count >= 1
    revisions = [revision for _, revision in seen]
    assert revisions == sorted(set(revisions)), "in order, and none twice"
    told = dict(seen)
    lost = {n: r for n, r in load.revisions.items() if n != last and told.get(n) != r}
    assert lost == {}, "every write that was confirmed was told, at its revision"
    assert set(told) - set(load.revisions) <= load.unknown
    assert max(Counter(n for n, _ in seen if n != last).values()) == 1, "no write was done twice"


@pytest.mark.parametrize("whom", ["leader", "follower"])
async def test_nobody_holds_a_lock_with_another_while_a_member_is_killed(etcd, prefix, whom):
    victim = getattr(etcd, whom)()
    holders, order = set(), []
    rounds, contenders = 8, 4

    async def contend(name, store):
        done = 0
        while done < rounds:
            try:
                async with store.lock("job", holder=name, ttl_s=5, timeout_s=10) as lock:
                    holders.add(name)
                    assert holders == {name}, "two hold it"
                    await asyncio.sleep(0.01)
                    if lock.is_held:
                        order.append(lock.token)
                        done += 1
                    holders.discard(name)
            except MetadataError:
                holders.discard(name)
            if len(order) == rounds * contenders // 3 and victim.is_running:
                await asyncio.to_thread(victim.kill)

    async with asyncio.timeout(40.0), asyncio.TaskGroup() as tasks:
        for number in range(contenders):
            settings = settings_of(etcd, prefix, first=victim)
            tasks.create_task(_with_store(settings, lambda s, n=number: contend(f"n{n}", s)))
    assert not victim.is_running
    assert len(order) == rounds * contenders
    assert order == sorted(set(order)), "each token is higher than those before it"


async def _with_store(settings, work):
    async with EtcdStore(settings) as store:
        await work(store)


async def test_a_lease_and_what_hangs_on_it_survive_the_loss_of_a_member(etcd, prefix):
    victim = etcd.leader()
    async with (
        EtcdStore(settings_of(etcd, prefix, first=victim)) as store,
        store.lease(3.0) as lease,
    ):
        await store.put("presence/n1", b"", lease_id=lease.id)
        await asyncio.to_thread(victim.kill)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(4.0):
                await lease.lost()
        assert lease.is_alive
        assert await store.get("presence/n1") is not None


@asynccontextmanager
async def lease_holder(etcd, prefix, ttl_s):
    """Run a process that holds the lock `job`; yield it with its token."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        str(ROOT / "tests" / "integration" / "programs" / "etcd_lease_holder.py"),
        *(prefix, str(ttl_s), *etcd.endpoints),
        stdout=asyncio.subprocess.PIPE,
        cwd=ROOT,
        env={"PYTHONPATH": str(ROOT)},
    )
    try:
        async with asyncio.timeout(PATIENCE_S):
            token, _ = (await process.stdout.readline()).split()
        yield process, int(token)
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


async def test_the_lock_of_a_killed_process_passes_on_with_a_higher_token(etcd, prefix):
    async with (
        lease_holder(etcd, prefix, 2.0) as (process, token),
        EtcdStore(settings_of(etcd, prefix)) as store,
    ):
        process.kill()
        async with store.lock("job", holder="heir", ttl_s=5, timeout_s=PATIENCE_S) as lock:
            assert lock.token > token


async def test_a_process_that_was_stopped_too_long_knows_that_it_lost_its_lock(etcd, prefix):
    async with (
        lease_holder(etcd, prefix, 2.0) as (process, token),
        EtcdStore(settings_of(etcd, prefix)) as store,
    ):
        process.send_signal(signal.SIGSTOP)
        async with store.lock("job", holder="heir", ttl_s=5, timeout_s=PATIENCE_S) as lock:
            process.send_signal(signal.SIGCONT)
            async with asyncio.timeout(PATIENCE_S):
                assert await process.stdout.readline() != b""
            assert lock.token > token
            assert lock.is_held


async def test_a_write_to_a_member_that_hangs_has_an_unknown_outcome(etcd, prefix):
    victim = etcd.follower()
    settings = settings_of(etcd, prefix, first=victim, attempt_timeout_s=0.5)
    async with EtcdStore(settings) as store:
        await store.put("a", b"1")
        etcd.pause(victim)
        with pytest.raises(OutcomeUnknown):
            await store.put("a", b"2")
        # The next call goes to another member. Either answer is right, as the error said.
        assert (await store.get("a")).value in {b"1", b"2"}
        etcd.resume(victim)


async def test_what_may_be_repeated_is_answered_by_another_member(etcd, prefix):
    victim = etcd.follower()
    settings = settings_of(etcd, prefix, first=victim, attempt_timeout_s=0.3)
    async with EtcdStore(settings) as store:
        await store.put("a", b"1")
        etcd.pause(victim)
        assert (await store.get("a")).value == b"1"
        etcd.resume(victim)
        assert store.counts.member_changes >= 1


async def test_a_watch_whose_history_was_compacted_lists_anew(etcd, prefix):
    victim, other = etcd.follower(), etcd.leader()
    settings = EtcdSettings(endpoints=(victim.url,), prefix=prefix)
    async with (
        EtcdStore(settings) as store,
        EtcdStore(settings_of(etcd, prefix, first=other)) as writer,
        aclosing(store.watch("w/")) as watch,
        asyncio.timeout(PATIENCE_S),
    ):
        assert (await anext(watch)).items == ()
        await writer.put("w/a", b"1")
        assert (await anext(watch)).events[0].value == b"1"
        await asyncio.to_thread(victim.kill)
        await writer.delete("w/a")
        for value in (b"2", b"3"):
            await writer.put("w/b", value)
        await asyncio.to_thread(etcd.compact)
        victim.start()
        anew = await anext(watch)
        assert [(item.key, item.value) for item in anew.items] == [("w/b", b"3")]
        await writer.put("w/b", b"4")
        assert (await anext(watch)).events[0].value == b"4"
        assert store.relistings_count == 1


async def test_a_watch_notices_that_etcd_was_made_anew(tmp_path, prefix):
    with etcd_cluster(tmp_path, count=1) as etcd:
        (member,) = etcd.members
        async with (
            EtcdStore(settings_of(etcd, prefix)) as store,
            aclosing(store.watch("w/")) as watch,
            asyncio.timeout(PATIENCE_S),
        ):
            await anext(watch)
            for _ in range(10):
                await store.put("w/a", b"1")
                await anext(watch)
            await asyncio.to_thread(member.kill)
            shutil.rmtree(tmp_path / member.name)
            member.start()
            await asyncio.to_thread(etcd.wait_until_ready)
            assert await anext(watch) == Snapshot((), 1)
            await store.put("w/b", b"2")
            assert (await anext(watch)).events[0].value == b"2"


async def test_a_quiet_watch_keeps_up_with_the_history(etcd, prefix):
    victim = etcd.follower()
    settings = EtcdSettings(endpoints=(victim.url,), prefix=prefix)
    async with (
        EtcdStore(settings) as store,
        EtcdStore(settings_of(etcd, prefix, first=etcd.leader())) as writer,
        aclosing(store.watch("quiet/")) as watch,
        asyncio.timeout(PATIENCE_S),
    ):
        await anext(watch)
        first = asyncio.create_task(anext(watch))  # noqa: TID251 - a reader of the test's own
        await writer.put("elsewhere", b"")
        # Twice the interval at which etcd tells its progress.
        await asyncio.sleep(0.5)
        await asyncio.to_thread(etcd.compact)
        await asyncio.to_thread(victim.kill)
        victim.start()
        await asyncio.to_thread(etcd.wait_until_ready, victim)
        await writer.put("quiet/a", b"1")
        assert (await first).events[0].value == b"1", "a change, and no list"
        assert store.relistings_count == 0


async def test_without_a_majority_the_store_is_degraded_and_comes_back(etcd, prefix):
    changes = []
    settings = settings_of(etcd, prefix, timeout_s=2.0, attempt_timeout_s=0.5, probe_interval_s=0.5)
    async with EtcdStore(settings) as store, aclosing(store.watch("w/")) as watch:
        store.on_change(lambda state: changes.append(state.connection))
        mirror = Mirror(store, "nodes/n1/", owner="n1", ttl_s=2.0)
        mirror.put("before", b"")
        async with asyncio.TaskGroup() as tasks:
            copying = tasks.create_task(mirror.run())
            await anext(watch)

            async def is_copied():
                keys = {item.key for item in (await store.list("nodes/n1/")).items}
                return len(keys) == 1 + ("nodes/n1/during" in keys)

            await until(is_copied)
            for member in etcd.members:
                await asyncio.to_thread(member.kill)
            await becomes(store, Connection.DEGRADED)
            assert "refused" in store.state.reason
            with pytest.raises(MetadataUnavailable):
                await store.get("a")
            # Whoever says something to the mirror is neither held up nor told.
            assert mirror.put("during", b"")
            for member in etcd.members:
                member.start()
            await becomes(store, Connection.CONNECTED)

            async def is_mirrored():
                return await store.get("nodes/n1/during")

            await until(is_mirrored)
            await store.put("w/a", b"1")
            async with asyncio.timeout(PATIENCE_S):
                assert (await anext(watch)).events[0].value == b"1"
            copying.cancel()
    assert changes == [Connection.CONNECTED, Connection.DEGRADED, Connection.CONNECTED]
    assert store.losses_count == 1


async def test_a_minority_is_not_believed(etcd, prefix):
    survivor, *others = etcd.members
    settings = EtcdSettings(
        endpoints=(survivor.url,),
        prefix=prefix,
        timeout_s=1.0,
        probe_interval_s=0.3,
        attempt_timeout_s=0.5,
    )
    async with EtcdStore(settings) as store:
        await store.put("a", b"1")
        for member in others:
            await asyncio.to_thread(member.kill)
        await becomes(store, Connection.DEGRADED)
        with pytest.raises(MetadataUnavailable):
            await store.get("a")
