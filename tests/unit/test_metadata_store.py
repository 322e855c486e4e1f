"""The pure parts of the metadata store, and the store that is not."""

import asyncio
from random import Random

import pytest
from grpc import StatusCode
from hypothesis import given
from hypothesis import strategies as st

from caxton_cluster.errors import (
    ClusterError,
    InvalidSetting,
    LeaseLost,
    MetadataDenied,
    MetadataError,
    MetadataOff,
    MetadataUnavailable,
)
from caxton_cluster.metadata import (
    Change,
    Connection,
    EtcdSettings,
    Gone,
    KeyValue,
    NoStore,
    StillMade,
)
from caxton_cluster.metadata.health import Health
from caxton_cluster.metadata.leader import LeaderLease
from caxton_cluster.metadata.lease import TRUSTED_SHARE, Lease, keep
from caxton_cluster.metadata.lock import Lock, lock_key, read_locks
from caxton_cluster.metadata.mirror import BATCH_SIZE_BYTES_MAX, KEYS_MAX, Mirror, MirrorBook
from caxton_cluster.metadata.requests import Keys
from caxton_cluster.metadata.values import WRITES_MAX
from caxton_cluster.metadata.verdict import Verdict, judge
from caxton_cluster.metadata.watch import WatchCursor, WatchEnded
from caxton_cluster.metadata.wire import etcd_pb2 as wire

HTTP = ("http://127.0.0.1:2379",)
HTTPS = ("https://127.0.0.1:2379",)


def subclasses(kind):
    return {kind}.union(*(subclasses(each) for each in kind.__subclasses__()))


def test_every_error_has_a_code_of_its_own():
    codes = [error.code for error in subclasses(ClusterError)]
    assert len(codes) == len(set(codes))


# What failures mean.


@pytest.mark.parametrize(
    ("code", "details", "verdict"),
    [
        (StatusCode.UNAVAILABLE, "failed to connect to all addresses; last", Verdict.NOT_DONE),
        (StatusCode.UNAVAILABLE, "DNS resolution failed for etcd:1", Verdict.NOT_DONE),
        (StatusCode.UNAVAILABLE, "errors resolving etcd:1: [field:hostname", Verdict.NOT_DONE),
        (StatusCode.UNAVAILABLE, "etcdserver: no leader", Verdict.NOT_DONE),
        (StatusCode.RESOURCE_EXHAUSTED, "etcdserver: too many requests", Verdict.NOT_DONE),
        (StatusCode.UNAVAILABLE, "Socket closed", Verdict.UNKNOWN),
        (StatusCode.UNAVAILABLE, "etcdserver: leader changed", Verdict.UNKNOWN),
        (StatusCode.UNAVAILABLE, "etcdserver: request timed out", Verdict.UNKNOWN),
        (StatusCode.DEADLINE_EXCEEDED, "Deadline Exceeded", Verdict.UNKNOWN),
        (StatusCode.CANCELLED, "", Verdict.UNKNOWN),
        (StatusCode.UNAUTHENTICATED, "etcdserver: invalid auth token", Verdict.TOKEN),
        (StatusCode.INVALID_ARGUMENT, "etcdserver: user name is empty", Verdict.TOKEN),
        (
            StatusCode.INVALID_ARGUMENT,
            "etcdserver: authentication failed, invalid user ID or password",
            Verdict.DENIED,
        ),
        (StatusCode.PERMISSION_DENIED, "etcdserver: permission denied", Verdict.DENIED),
        (StatusCode.NOT_FOUND, "etcdserver: requested lease not found", Verdict.LEASE_GONE),
        (
            StatusCode.OUT_OF_RANGE,
            "etcdserver: mvcc: required revision has been compacted",
            Verdict.COMPACTED,
        ),
        (
            StatusCode.RESOURCE_EXHAUSTED,
            "etcdserver: mvcc: database space exceeded",
            Verdict.REFUSED,
        ),
        (StatusCode.INVALID_ARGUMENT, "etcdserver: request is too large", Verdict.REFUSED),
    ],
)
def test_a_failure_means_what_can_be_done_about_it(code, details, verdict):
    assert judge(code, details) is verdict


def test_only_words_that_are_known_make_a_write_repeatable():
    surely = [code for code in StatusCode if judge(code, "whatever") is Verdict.NOT_DONE]
    assert surely == []


# Watches.


def events_of(revision, count):
    return [
        wire.Event(
            type=wire.Event.DELETE if number % 3 == 2 else wire.Event.PUT,
            kv=wire.KeyValue(key=b"/c/%d" % number, value=b"%d" % revision, mod_revision=revision),
        )
        for number in range(count)
    ]


@st.composite
def histories(draw):
    """A history, and how etcd cuts it in answers and streams break between them."""
    counts = draw(st.lists(st.integers(1, 4), min_size=1, max_size=12))
    history = [event for r, count in enumerate(counts, 2) for event in events_of(r, count)]
    return history, Random(draw(st.integers(0, 2**32)))


def answers(history, start_revision, random):
    """Yield what one stream answers from a revision on, in pieces; it may break anywhere."""
    rest = [event for event in history if event.kv.mod_revision >= start_revision]
    newest = history[-1].kv.mod_revision
    while rest:
        if random.random() < 0.2:
            return
        count = random.randint(1, len(rest))
        piece, rest = rest[:count], rest[count:]
        # A transaction is in one answer, unless that comes in fragments.
        is_fragment = bool(rest) and rest[0].kv.mod_revision == piece[-1].kv.mod_revision
        header = wire.ResponseHeader(revision=newest)
        yield wire.WatchResponse(header=header, events=piece, fragment=is_fragment)
    yield wire.WatchResponse(header=wire.ResponseHeader(revision=newest + random.randint(0, 3)))


@given(histories())
def test_however_streams_break_each_change_is_told_once_whole_and_in_order(case):
    history, random = case
    cursor = WatchCursor(2, lambda key: key.decode())
    told = []
    for _ in range(200):
        cursor.restart()
        for answer in answers(history, cursor.next_revision, random):
            change = cursor.receive(answer)
            if change is not None:
                assert cursor.next_revision == change.revision + 1
                told.append(change)
        if cursor.next_revision > history[-1].kv.mod_revision:
            break
    flat = [event for change in told for event in change.events]
    assert [(e.key, e.mod_revision) for e in flat] == [
        (e.kv.key.decode(), e.kv.mod_revision) for e in history
    ]
    for change in told:
        whole = [e for e in history if change.events[0].mod_revision <= e.kv.mod_revision]
        whole = [e for e in whole if e.kv.mod_revision <= change.revision]
        assert len(whole) == len(change.events), "no part of a transaction"


def test_a_header_beside_events_does_not_move_the_watch_on():
    cursor = WatchCursor(2, lambda key: key.decode())
    header = wire.ResponseHeader(revision=900)
    change = cursor.receive(wire.WatchResponse(header=header, events=events_of(2, 1)))
    assert change == Change(
        (KeyValue(key="/c/0", value=b"2", create_revision=0, mod_revision=2),), 2
    )
    assert cursor.next_revision == 3
    assert cursor.receive(wire.WatchResponse(header=header)) is None
    assert cursor.next_revision == 901


def test_the_answer_that_opens_a_watch_does_not_move_it_on():
    cursor = WatchCursor(2, lambda key: key.decode())
    header = wire.ResponseHeader(revision=900)
    assert cursor.receive(wire.WatchResponse(header=header, created=True)) is None
    assert cursor.next_revision == 2


def test_a_deletion_is_told_as_such():
    cursor = WatchCursor(2, lambda key: key.decode())
    change = cursor.receive(wire.WatchResponse(events=events_of(2, 3)))
    assert change.events[2] == Gone("/c/2", 2)


def test_a_watch_that_etcd_ends_says_whether_history_is_missing():
    cursor = WatchCursor(2, lambda key: key.decode())
    with pytest.raises(WatchEnded) as caught:
        cursor.receive(wire.WatchResponse(canceled=True, compact_revision=7))
    assert caught.value.is_compacted
    with pytest.raises(WatchEnded, match="why") as caught:
        cursor.receive(wire.WatchResponse(canceled=True, cancel_reason="why"))
    assert not caught.value.is_compacted


# Keys.


@given(st.binary(max_size=40))
def test_whatever_bytes_somebody_uses_as_a_key_make_the_round_trip(raw):
    keys = Keys("/caxton/")
    key = keys.from_wire(b"/caxton/" + raw)
    if key and not key.startswith("/") and not key.endswith("/"):
        assert keys.to_wire(key) == b"/caxton/" + raw


def test_a_folder_ends_where_the_next_one_begins():
    assert Keys("/caxton/").folder("locks/") == (b"/caxton/locks/", b"/caxton/locks0")
    assert Keys("/caxton/").folder("") == (b"/caxton/", b"/caxton0")


# Leases.


class FakeEtcd:
    """Renews a lease as it is told, in a time of its own."""

    def __init__(self, *answers):
        self.now_s = 0.0
        self._answers = list(answers)
        self.timeouts_s = []

    def clock(self):
        return self.now_s

    async def keep_alive(self, lease_id, *, timeout_s):
        self.timeouts_s.append(timeout_s)
        answer = self._answers.pop(0) if self._answers else 0.0
        if isinstance(answer, Exception):
            self.now_s += timeout_s
            raise answer
        return answer


@pytest.fixture
def no_waiting(monkeypatch):
    """Let `asyncio.sleep` move the fake time on."""

    def of(etcd):
        async def sleep(delay_s):
            etcd.now_s += delay_s

        monkeypatch.setattr("caxton_cluster.metadata.lease.asyncio.sleep", sleep)

    return of


def lease_of(etcd, ttl_s=10.0):
    return Lease(1, ttl_s, sent_at_s=0.0, clock=etcd.clock)


def test_a_lease_is_trusted_for_a_share_of_its_time_from_before_it_was_asked_for():
    etcd = FakeEtcd()
    lease = lease_of(etcd)
    etcd.now_s = 10.0 * TRUSTED_SHARE - 0.001
    assert lease.is_alive
    etcd.now_s = 10.0 * TRUSTED_SHARE
    assert not lease.is_alive
    with pytest.raises(LeaseLost, match="not renewed in time"):
        lease.check()


async def test_a_lease_lives_from_renewal_to_renewal_until_etcd_forgets_it(no_waiting):
    etcd = FakeEtcd(10.0, 10.0, 10.0, 0.0)
    no_waiting(etcd)
    lease = lease_of(etcd)
    await keep(lease, etcd.keep_alive, etcd.clock)
    assert etcd.now_s == pytest.approx(4 * 10.0 * TRUSTED_SHARE / 4)
    assert await lease.lost() == "etcd does not know it any more"


async def test_a_lease_that_nobody_renews_is_lost_when_its_time_is_over(no_waiting):
    etcd = FakeEtcd(10.0, MetadataUnavailable("nobody there"))
    no_waiting(etcd)
    lease = lease_of(etcd)
    told = []
    lease.on_lost(lambda: told.append(etcd.now_s))
    await keep(lease, etcd.keep_alive, etcd.clock)
    assert await lease.lost() == "nobody there"
    # Renewed after two seconds, and trusted for eight from then.
    assert told == [pytest.approx(10.0)]
    assert not lease.is_alive


async def test_a_lease_that_etcd_denies_is_lost_at_once(no_waiting):
    etcd = FakeEtcd(MetadataDenied("no"))
    no_waiting(etcd)
    lease = lease_of(etcd)
    await keep(lease, etcd.keep_alive, etcd.clock)
    assert not lease.is_alive


# Locks.


def test_the_key_that_was_made_first_holds_the_lock():
    def item(name, lease_id, revision, holder):
        return KeyValue(
            key=lock_key(name, lease_id),
            value=holder,
            create_revision=revision,
            mod_revision=revision,
            lease_id=lease_id,
        )

    items = [item("b", 9, 4, b"n1"), item("a", 1, 8, b"n2"), item("a", 2, 7, b"n3")]
    found = [(lock.name, lock.holder, lock.token, lock.waiting_count) for lock in read_locks(items)]
    assert found == [("a", "n3", 7, 1), ("b", "n1", 4, 0)]


def test_what_somebody_else_put_among_the_locks_is_no_lock():
    stray = KeyValue(key="locks/stray", value=b"", create_revision=1, mod_revision=1)
    assert read_locks([stray]) == []


def test_a_lock_guards_by_its_token():
    etcd = FakeEtcd()
    lock = Lock("a", 7, lock_key("a", 1), lease_of(etcd))
    assert lock.guard == StillMade("locks/a/0000000000000001", 7)
    assert lock.is_held


# Mirrors.


def test_a_key_that_changes_twice_is_written_once():
    book = MirrorBook()
    book.put("a", b"1")
    book.put("b", b"1")
    book.put("a", b"2")
    assert book.take() == ["a", "b"]
    assert book.take() == []
    book.put("a", b"2")
    assert book.backlog == 0, "it is what was written"


def test_a_batch_is_small_enough_for_etcd():
    book = MirrorBook()
    for number in range(3 * WRITES_MAX):
        book.put(f"{number}", b"")
    assert [len(book.take()) for _ in range(4)] == [99, 99, 99, 3]
    for number in range(5):
        book.put(f"{number}", bytes(BATCH_SIZE_BYTES_MAX // 2))
    assert [len(book.take()) for _ in range(5)] == [1, 1, 1, 1, 1]


def test_a_key_that_was_removed_is_unwritten_until_it_is_deleted():
    book = MirrorBook()
    book.put("a", b"1")
    book.take()
    book.remove("a")
    book.remove("never there")
    assert book.take() == ["a"]
    assert "a" not in book.wanted


def test_what_was_not_written_comes_first_again():
    book = MirrorBook()
    book.put("a", b"1")
    taken = book.take()
    book.put("b", b"1")
    book.write_again(dict.fromkeys(taken))
    assert book.take() == ["a", "b"]


def test_a_full_mirror_refuses_new_keys_and_takes_changes_of_old_ones():
    book = MirrorBook()
    for number in range(KEYS_MAX):
        assert book.put(f"{number}", b"")
    assert not book.put("one more", b"")
    assert book.put("0", b"changed")


def test_a_mirror_counts_what_it_cannot_take_and_raises_nothing():
    mirror = Mirror(NoStore(0), "nodes/n1/", owner="n1")
    assert not mirror.put("", b"")
    assert not mirror.put("a", bytes(1_000_000))
    assert mirror.refused_count == 2
    assert mirror.put("a", b"")
    assert mirror.backlog == 1


# The state.


def test_the_state_changes_when_the_store_is_lost_and_found_and_says_since_when():
    now = iter(range(10, 20))
    health = Health(lambda: next(now))
    told = []
    health.on_change(told.append)
    assert health.state.connection is Connection.DEGRADED
    health.answered()
    health.answered()
    health.failed("refused")
    health.failed("no leader")
    assert [(s.connection, s.reason, s.since_ms) for s in told] == [
        (Connection.CONNECTED, "", 11),
        (Connection.DEGRADED, "refused", 12),
    ]
    # Another reason is not another loss.
    assert (health.state.reason, health.state.since_ms) == ("no leader", 12)
    assert health.losses_count == 1


def test_a_store_that_is_never_reached_says_so_once():
    health = Health(lambda: 10)
    told = []
    health.on_change(told.append)
    health.failed("refused")
    health.failed("refused")
    health.failed("no leader")
    assert [state.reason for state in told] == ["refused"]
    assert health.losses_count == 0


# The store that is not.


async def test_a_store_that_is_not_configured_says_so():
    store = NoStore(7)
    assert store.state.connection is Connection.OFF
    assert (store.state.reason, store.state.since_ms) == ("not configured", 7)
    for asked in (store.get("a"), store.put("a", b""), store.delete("a"), store.list("")):
        with pytest.raises(MetadataOff, match="no store for cluster metadata is configured"):
            await asked
    for asked in (store.commit([]), store.locks()):
        with pytest.raises(MetadataOff):
            await asked
    with pytest.raises(MetadataOff):
        store.watch("")
    with pytest.raises(MetadataOff):
        store.lease(5.0)
    with pytest.raises(MetadataOff):
        store.lock("a", holder="n1", ttl_s=1, timeout_s=1)


async def test_without_a_store_nobody_leads_and_nothing_is_mirrored():
    leader = LeaderLease(NoStore(0), "job", holder="n1")
    with pytest.raises(MetadataOff):
        await leader.run()
    assert leader.token is None
    with pytest.raises(MetadataOff):
        await Mirror(NoStore(0), "nodes/n1/", owner="n1").run()


async def test_a_candidate_that_fails_tries_again(monkeypatch):
    waits_s = []

    async def sleep(delay_s):
        waits_s.append(delay_s)
        if len(waits_s) == 3:
            raise asyncio.CancelledError

    monkeypatch.setattr("caxton_cluster.metadata.leader.asyncio.sleep", sleep)

    class Failing(NoStore):
        def lock(self, name, /, **_):
            raise MetadataError("not today")

    with pytest.raises(asyncio.CancelledError):
        await LeaderLease(Failing(0), "job", holder="n1").run()
    assert waits_s[0] < waits_s[2]


# Settings.


@pytest.mark.parametrize(
    ("wrong", "name"),
    [
        ({"endpoints": ()}, "endpoints"),
        ({"endpoints": ("127.0.0.1:2379",)}, "endpoints"),
        ({"endpoints": ("http://127.0.0.1",)}, "endpoints"),
        ({"endpoints": ("http://127.0.0.1:0",)}, "endpoints"),
        ({"endpoints": ("http://127.0.0.1:99999",)}, "endpoints"),
        ({"endpoints": ("http://u:p@127.0.0.1:2379",)}, "endpoints"),
        ({"endpoints": ("http://127.0.0.1:2379/v3",)}, "endpoints"),
        ({"endpoints": ("http://[::1:2379",)}, "endpoints"),
        ({"endpoints": HTTP + HTTPS}, "endpoints"),
        ({"endpoints": HTTP * 17}, "endpoints"),
        ({"ca_path": "ca.pem"}, "endpoints"),
        ({"endpoints": HTTPS, "cert_path": "c.pem"}, "cert_path"),
        ({"prefix": "caxton"}, "prefix"),
        ({"prefix": "/"}, "prefix"),
        ({"user": "u"}, "user"),
        ({"password": "p"}, "user"),
        ({"attempt_timeout_s": 9.0}, "attempt_timeout_s"),
        ({"attempt_timeout_s": 0.0}, "attempt_timeout_s"),
        ({"probe_interval_s": 0.0}, "probe_interval_s"),
    ],
)
def test_settings_that_cannot_work_are_refused_by_name(wrong, name):
    with pytest.raises(InvalidSetting) as caught:
        EtcdSettings(**({"endpoints": HTTP} | wrong))
    assert caught.value.name == name


def test_settings_never_show_the_password():
    settings = EtcdSettings(endpoints=("http://[::1]:2379",), user="u", password="s3cret")
    assert "s3cret" not in repr(settings)
