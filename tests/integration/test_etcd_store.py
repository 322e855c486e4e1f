"""The metadata store on three real members of etcd that live."""

import asyncio
import itertools
from contextlib import aclosing

import pytest

from caxton_cluster.errors import (
    LeaseLost,
    LockBusy,
    MetadataRefused,
    MetadataUnavailable,
    NotRunning,
)
from caxton_cluster.metadata import (
    Absent,
    Change,
    Connection,
    Delete,
    EtcdSettings,
    Gone,
    Put,
    Snapshot,
    Unchanged,
)
from caxton_cluster.metadata.etcd import PAGE_SIZE, EtcdStore
from caxton_cluster.metadata.leader import LeaderLease
from caxton_cluster.metadata.mirror import TURNS_FOLDER, Mirror
from caxton_cluster.metadata.values import VALUE_SIZE_BYTES_MAX, WRITES_MAX
from tests.integration.etcd_cluster import etcd_cluster, free_ports, needs_etcd

pytestmark = needs_etcd

PATIENCE_S = 15.0
PREFIXES = (f"/t{number}/" for number in itertools.count())


@pytest.fixture(scope="module")
def etcd(tmp_path_factory):
    with etcd_cluster(tmp_path_factory.mktemp("etcd")) as cluster:
        yield cluster


@pytest.fixture
def settings(etcd):
    """Every test has keys of its own."""
    return EtcdSettings(endpoints=etcd.endpoints, prefix=next(PREFIXES))


@pytest.fixture
async def store(settings):
    async with EtcdStore(settings) as opened:
        yield opened


async def told(watch):
    """Return the next thing that a watch tells."""
    async with asyncio.timeout(PATIENCE_S):
        return await anext(watch)


async def until(condition):
    async with asyncio.timeout(PATIENCE_S):
        while not (found := await condition()):
            await asyncio.sleep(0.02)
    return found


# Keys and values.


async def test_what_was_put_is_there_until_it_is_deleted(store):
    revision = await store.put("config/log.level", b"debug")
    item = await store.get("config/log.level")
    assert (item.key, item.value) == ("config/log.level", b"debug")
    assert item.create_revision == item.mod_revision == revision
    assert await store.delete("config/log.level") is True
    assert await store.get("config/log.level") is None
    assert await store.delete("config/log.level") is False


async def test_a_value_may_be_any_bytes_and_a_key_any_text(store):
    await store.put("ключ/🗝", bytes(range(256)))
    assert (await store.list("ключ/")).items[0].value == bytes(range(256))


async def test_two_stores_with_other_prefixes_do_not_see_each_other(store, etcd):
    await store.put("a", b"1")
    async with EtcdStore(EtcdSettings(endpoints=etcd.endpoints, prefix="/other/")) as other:
        assert await other.get("a") is None
        assert (await other.list("")).items == ()


async def test_a_list_has_all_keys_of_its_folder_and_no_others(store):
    count = 2 * PAGE_SIZE + 1
    keys = [f"many/{number:04}" for number in range(count)]
    for start in range(0, count, WRITES_MAX):
        await store.commit([Put(key, b"") for key in keys[start : start + WRITES_MAX]])
    await store.put("many0", b"behind it")
    snapshot = await store.list("many/")
    assert [item.key for item in snapshot.items] == keys
    assert snapshot.revision >= snapshot.items[-1].mod_revision


async def test_a_transaction_is_written_whole_or_not_at_all(store):
    revision = await store.commit([Put("a", b"1"), Put("b", b"2")], only_if=[Absent("a")])
    assert (await store.get("a")).mod_revision == (await store.get("b")).mod_revision == revision
    assert await store.commit([Delete("b"), Put("c", b"3")], only_if=[Absent("a")]) is None
    assert await store.get("b") is not None
    assert await store.commit([Delete("b")], only_if=[Unchanged("a", revision)]) == revision + 1
    assert await store.commit([Put("a", b"9")], only_if=[Unchanged("a", revision + 1)]) is None


async def test_what_cannot_be_stored_is_refused_before_it_is_sent(store):
    for key in ("", "/a", "a/", "k" * 513):
        with pytest.raises(MetadataRefused):
            await store.put(key, b"")
    with pytest.raises(MetadataRefused, match="at most 262,144 bytes"):
        await store.put("a", bytes(VALUE_SIZE_BYTES_MAX + 1))
    with pytest.raises(MetadataRefused, match="ends with a slash"):
        await store.list("locks")
    await store.put("a", bytes(VALUE_SIZE_BYTES_MAX))


async def test_the_state_is_a_value_to_show(store, etcd):
    await store.get("a")
    assert store.state.connection is Connection.CONNECTED
    assert store.state.reason == ""
    assert store.state.since_ms > 0


async def test_a_store_that_finds_nobody_says_so_and_fails_in_time():
    (port,) = free_ports(1)
    settings = EtcdSettings(
        endpoints=(f"http://127.0.0.1:{port}",), timeout_s=0.3, attempt_timeout_s=0.3
    )
    async with EtcdStore(settings) as store:
        with pytest.raises(MetadataUnavailable, match="Connection refused"):
            # A write that was surely not sent: its outcome is known.
            await store.put("a", b"1")
        assert store.state.connection is Connection.DEGRADED
        assert "Connection refused" in store.state.reason


async def test_a_closed_store_says_that_it_is_closed(settings):
    async with EtcdStore(settings) as store:
        pass
    with pytest.raises(NotRunning):
        await store.get("a")


async def test_a_problem_inside_of_the_block_comes_out_as_it_is(settings):
    with pytest.raises(LookupError):
        async with EtcdStore(settings):
            raise LookupError


# Watches.


async def test_a_watch_tells_what_is_there_and_then_each_change_in_order(store):
    await store.put("w/a", b"1")
    async with aclosing(store.watch("w/")) as watch:
        first = await told(watch)
        assert isinstance(first, Snapshot)
        assert [(item.key, item.value) for item in first.items] == [("w/a", b"1")]
        await store.put("w/a", b"2")
        await store.delete("w/a")
        await store.put("elsewhere", b"")
        await store.put("w/b", b"3")
        seen = []
        while len(seen) < 3:
            seen += (await told(watch)).events
    assert [getattr(event, "value", "gone") for event in seen] == [b"2", "gone", b"3"]
    revisions = [event.mod_revision for event in seen]
    assert revisions == sorted(set(revisions))


async def test_what_was_written_together_is_told_together(store):
    async with aclosing(store.watch("w/")) as watch:
        await told(watch)
        # More than one answer of etcd holds: it comes in pieces.
        big = bytes(VALUE_SIZE_BYTES_MAX)
        await store.commit([Put(f"w/{number}", big) for number in range(5)])
        change = await told(watch)
    assert [event.key for event in change.events] == [f"w/{number}" for number in range(5)]


async def test_many_watches_of_one_store_do_not_disturb_each_other(store):
    async def follow(folder):
        async with aclosing(store.watch(folder)) as watch:
            await told(watch)
            await store.put(f"{folder}x", folder.encode())
            return (await told(watch)).events[0].value.decode()

    folders = [f"f{number}/" for number in range(20)]
    async with asyncio.TaskGroup() as tasks:
        following = [tasks.create_task(follow(folder)) for folder in folders]
    assert [task.result() for task in following] == folders


# Leases and locks.


async def test_what_hangs_on_a_lease_goes_with_it(store):
    async with store.lease(10.0) as lease:
        await store.put("presence/n1", b"", lease_id=lease.id)
        assert (await store.get("presence/n1")).lease_id == lease.id
        assert lease.is_alive
    assert await store.get("presence/n1") is None
    assert not lease.is_alive
    assert await lease.lost() == "it was given back"


async def test_a_lease_outlives_its_first_time_to_live_while_it_is_kept(store):
    async with store.lease(2.0) as lease:
        await store.put("presence/n1", b"", lease_id=lease.id)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(3.0):
                await lease.lost()
        assert lease.is_alive
        assert await store.get("presence/n1") is not None


async def test_a_lease_that_etcd_ended_is_lost(store, etcd):
    async with store.lease(2.0) as lease:
        etcd.ask("lease/revoke", ID=lease.id)
        async with asyncio.timeout(PATIENCE_S):
            assert await lease.lost() == "etcd does not know it any more"
        with pytest.raises(LeaseLost):
            await store.put("presence/n1", b"", lease_id=lease.id)


async def test_who_comes_second_waits_and_gets_a_higher_token(store):
    order = []

    async def hold(name):
        async with store.lock("job", holder=name, ttl_s=10, timeout_s=PATIENCE_S) as lock:
            order.append((name, lock.token))
            (info,) = await store.locks()
            assert (info.name, info.holder, info.token) == ("job", name, lock.token)

    async with asyncio.TaskGroup() as tasks:
        for name in ("a", "b", "c", "d"):
            tasks.create_task(hold(name))
    assert sorted(name for name, _ in order) == ["a", "b", "c", "d"]
    tokens = [token for _, token in order]
    assert tokens == sorted(set(tokens))
    assert await store.locks() == []


async def test_a_lock_that_does_not_become_free_is_busy_and_leaves_nothing_behind(store):
    async with store.lock("job", holder="n1", ttl_s=10, timeout_s=5):
        with pytest.raises(LockBusy, match="held by n1"):
            async with store.lock("job", holder="n2", ttl_s=10, timeout_s=0.2):
                pytest.fail("two hold it")
        (info,) = await store.locks()
        assert info.waiting_count == 0


async def test_a_write_under_a_lost_lock_is_refused_by_etcd_itself(store):
    async with store.lock("job", holder="n1", ttl_s=10, timeout_s=5) as lock:
        assert await store.commit([Put("done", b"1")], only_if=[lock.guard]) is not None
    assert not lock.is_held
    assert await store.commit([Put("done", b"2")], only_if=[lock.guard]) is None
    async with store.lock("job", holder="n2", ttl_s=10, timeout_s=5):
        assert await store.commit([Put("done", b"3")], only_if=[lock.guard]) is None


async def test_a_waiter_whose_place_was_taken_away_does_not_get_the_lock(store, etcd):
    async def wait():
        with pytest.raises(LeaseLost):
            async with store.lock("job", holder="n2", ttl_s=10, timeout_s=PATIENCE_S):
                pytest.fail("it stood in no line")

    async with (
        asyncio.TaskGroup() as tasks,
        store.lock("job", holder="n1", ttl_s=10, timeout_s=5),
    ):
        tasks.create_task(wait())

        async def is_in_line():
            items = (await store.list("locks/job/")).items
            return items[1:]

        (theirs,) = await until(is_in_line)
        etcd.ask("lease/revoke", ID=theirs.lease_id)


@pytest.mark.parametrize("name", ["", "a/b", "é", "-a", "a" * 201])
async def test_a_lock_has_a_plain_name(store, name):
    with pytest.raises(MetadataRefused):
        async with store.lock(name, holder="n1", ttl_s=10, timeout_s=1):
            pytest.fail("it has no name")


async def test_one_of_two_candidates_leads_and_the_other_takes_over(settings):
    async with EtcdStore(settings) as first, EtcdStore(settings) as second:
        one = LeaderLease(first, "schedules", holder="n1", ttl_s=2.0)
        other = LeaderLease(second, "schedules", holder="n2", ttl_s=2.0)
        async with asyncio.TaskGroup() as tasks:
            leading = tasks.create_task(one.run())
            async with asyncio.timeout(PATIENCE_S):
                token = await one.elected()
            following = tasks.create_task(other.run())
            assert other.token is None
            assert other.guard is None
            assert await first.commit([Put("step", b"")], only_if=[one.guard]) is not None
            leading.cancel()
            async with asyncio.timeout(PATIENCE_S):
                assert await other.elected() > token
            assert one.token is None
            following.cancel()


# Mirrors.


async def test_a_mirror_has_what_was_put_and_not_what_was_removed(store):
    mirror = Mirror(store, "nodes/n1/", owner="n1")
    for number in range(2 * WRITES_MAX):
        assert mirror.put(f"agents/{number}", b"1")
    mirror.remove("agents/0")
    async with asyncio.TaskGroup() as tasks:
        copying = tasks.create_task(mirror.run())

        async def is_there():
            return len((await store.list("nodes/n1/")).items) == 2 * WRITES_MAX - 1

        await until(is_there)
        mirror.put("agents/1", b"2")
        mirror.remove("agents/2")

        async def is_changed():
            one = await store.get("nodes/n1/agents/1")
            return one.value == b"2" and await store.get("nodes/n1/agents/2") is None

        await until(is_changed)
        copying.cancel()
    assert (await store.list("nodes/n1/")).items == ()


async def test_a_mirror_deletes_what_an_earlier_life_left_behind(store):
    await store.put("nodes/n1/agents/old", b"")
    mirror = Mirror(store, "nodes/n1/", owner="n1")
    mirror.put("agents/new", b"")
    async with asyncio.TaskGroup() as tasks:
        copying = tasks.create_task(mirror.run())

        async def is_so():
            keys = [item.key for item in (await store.list("nodes/n1/")).items]
            return keys == ["nodes/n1/agents/new"]

        await until(is_so)
        copying.cancel()


async def test_a_mirror_whose_lease_was_lost_is_written_anew(store, etcd):
    mirror = Mirror(store, "nodes/n1/", owner="n1", ttl_s=2.0)
    mirror.put("agents/a", b"1")
    async with asyncio.TaskGroup() as tasks:
        copying = tasks.create_task(mirror.run())

        async def lease_id():
            item = await store.get("nodes/n1/agents/a")
            return item.lease_id if item else None

        before = await until(lease_id)
        etcd.ask("lease/revoke", ID=before)

        async def is_back():
            now = await lease_id()
            return now is not None and now != before

        await until(is_back)
        copying.cancel()
    assert mirror.rewrites_count == 2


async def test_a_mirror_that_was_overtaken_writes_everything_again(store):
    mirror = Mirror(store, "nodes/n1/", owner="n1")
    mirror.put("agents/a", b"1")
    async with asyncio.TaskGroup() as tasks:
        copying = tasks.create_task(mirror.run())

        async def is_there():
            return await store.get("nodes/n1/agents/a")

        await until(is_there)
        # A batch of a namesake, or one of its own that came late.
        await store.commit([Put("nodes/n1/agents/a", b"late"), Put(f"{TURNS_FOLDER}n1", b"x")])
        mirror.put("agents/b", b"2")

        async def is_mended():
            items = (await store.list("nodes/n1/")).items
            return [item.value for item in items] == [b"1", b"2"]

        await until(is_mended)
        copying.cancel()


async def test_a_change_is_a_value_of_the_last_revision_in_it(store):
    async with aclosing(store.watch("w/")) as watch:
        await told(watch)
        revision = await store.commit([Put("w/a", b""), Delete("w/none")])
        change = await told(watch)
    assert isinstance(change, Change)
    assert change.revision == revision
    assert not any(isinstance(event, Gone) for event in change.events)
