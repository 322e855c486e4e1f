"""The small parts of the machine, each by itself."""

import itertools
import random
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from caxton_cluster.config import SwimConfig, fast, lan, local, wan
from caxton_cluster.errors import InvalidSetting
from caxton_cluster.swim.awareness import Awareness
from caxton_cluster.swim.circle import Circle
from caxton_cluster.swim.gossip import RumourQueue, send_count_max
from caxton_cluster.swim.members import MemberTable
from caxton_cluster.swim.peerbook import PEERS_MAX, PeerBook
from caxton_cluster.swim.precedence import (
    AliveVerdict,
    accusation_wins,
    first_incarnation,
    judge_alive,
)
from caxton_cluster.swim.rotation import Rotation
from caxton_cluster.swim.suspicion import (
    Suspicion,
    confirmations_wanted,
    timeout_bounds_s,
    timeout_s,
)
from caxton_cluster.swim.throttle import KEYS_MAX, Throttle
from caxton_cluster.swim.timers import GossipDue, ProbeDue, SyncDue, Timers
from caxton_cluster.swim.wire.messages import Alive
from caxton_cluster.transport.memory import LinkQuality, MemoryNetwork
from caxton_cluster.types import INCARNATION_MAX, Address, Member, MemberState, Versions

HERE = Address.of("10.0.0.1", 7946)
THERE = Address.of("10.0.0.2", 7946)


def member(name: str = "a", **changes) -> Member:
    return replace(Member(name=name, address=HERE, incarnation=5), **changes)


# Suspicion. The numbers are those of memberlist's own tests.


@pytest.mark.parametrize(
    ("confirmed", "expected_s"), [(0, 30.0), (1, 16.0), (2, 7.81), (3, 2.0), (4, 2.0)]
)
def test_each_confirmation_shortens_a_suspicion_logarithmically(confirmed, expected_s):
    assert timeout_s(2.0, 30.0, 3, confirmed) == pytest.approx(expected_s, abs=0.002)


def test_a_ring_too_small_for_witnesses_suspects_for_the_shortest_time():
    assert confirmations_wanted(lan(), 3) == 0
    assert confirmations_wanted(lan(), 4) == 2
    assert timeout_s(4.0, 24.0, 0, 0) == 4.0


def test_a_larger_ring_gives_the_accused_more_time():
    assert timeout_bounds_s(lan(), 8) == (4.0, 24.0)
    assert timeout_bounds_s(lan(), 100) == (8.0, 48.0)


def suspicion(wanted: int = 2) -> Suspicion:
    return Suspicion(
        accuser="x", incarnation=1, started_at=10.0, bounds_s=(4.0, 24.0), wanted=wanted
    )


def test_the_same_accuser_counts_once():
    running = suspicion()

    assert not running.confirm("x")
    assert running.confirm("y")
    assert not running.confirm("y")


def test_confirmations_beyond_those_wanted_do_not_count():
    running = suspicion(wanted=1)

    assert running.confirm("y")
    assert not running.confirm("z")


def test_evidence_of_our_own_shortens_only_the_shortest_wait():
    running = suspicion()
    running.patience = 0.5

    assert running.ends_at == 34.0
    running.confirm("y")
    running.confirm("z")
    assert running.ends_at == 12.0


# The circle.


def test_everyone_in_a_circle_is_exactly_one_members_neighbour():
    circle = Circle()
    names = {f"n{number}" for number in range(50)}
    for name in names:
        circle.add(name)

    assert {circle.after(name) for name in names} == names
    assert all(circle.after(name) != name for name in names)


def test_the_order_of_a_circle_does_not_depend_on_who_came_when():
    one, other = Circle(), Circle()
    names = [f"n{number}" for number in range(20)]
    for name in names:
        one.add(name)
    for name in reversed([*names, "guest"]):
        other.add(name)
    other.remove("guest")

    assert [one.after(name) for name in names] == [other.after(name) for name in names]


def test_who_is_alone_in_a_circle_has_no_neighbour():
    circle = Circle()
    assert circle.after("me") is None
    circle.add("me")
    assert circle.after("me") is None


# Local health.


def test_the_health_score_stays_in_its_bounds():
    awareness = Awareness(8)

    awareness.apply(-3)
    assert awareness.score == 0
    awareness.apply(100)
    assert awareness.score == 7
    assert awareness.scale(1.0) == 8.0


# Rotation.


@pytest.mark.parametrize("seed", range(20))
def test_the_one_who_is_wanted_is_found_wherever_the_pass_begins(seed):
    rotation = Rotation(random.Random(seed))
    for name in ("me", "peer"):
        rotation.add(name)
    for _ in range(20):
        assert rotation.take(3, lambda name: name == "peer") == ["peer"]
        rotation.take(1, lambda _: True)


def test_everyone_is_picked_once_before_anyone_is_picked_twice():
    rotation = Rotation(random.Random(1))
    for name in "abcdefgh":
        rotation.add(name)

    picks = [rotation.take(1, lambda _: True)[0] for _ in range(24)]

    for turn in range(3):
        assert sorted(picks[8 * turn : 8 * turn + 8]) == list("abcdefgh")


def test_one_pick_never_holds_the_same_name_twice():
    rotation = Rotation(random.Random(2))
    for name in "abc":
        rotation.add(name)

    for _ in range(50):
        picked = rotation.take(2, lambda _: True)
        assert len(picked) == len(set(picked))


@settings(deadline=None)
@given(st.lists(st.integers(0, 30), max_size=60), st.integers(0, 2**32))
def test_members_may_come_and_go_during_a_turn(moves, seed):
    rotation, present = Rotation(random.Random(seed)), set()
    for move in moves:
        name = str(move)
        if name in present:
            rotation.remove(name)
            present.remove(name)
        else:
            rotation.add(name)
            present.add(name)
        for picked in rotation.take(1, lambda _: True):
            assert picked in present
    assert len(rotation) == len(present)


# Rumours.


def test_a_rumour_is_sent_its_number_of_times_and_forgotten():
    queue = RumourQueue(10)
    queue.put("a", b"rumour")

    sends = [queue.take(100, 3) for _ in range(5)]

    assert sends == [[b"rumour"]] * 3 + [[]] * 2


def test_a_newer_rumour_replaces_the_older_one_about_the_same_member():
    queue = RumourQueue(10)
    queue.put("a", b"old")
    queue.put("a", b"new")

    assert queue.take(100, 1) == [b"new"]


def test_the_least_sent_rumour_goes_first():
    queue = RumourQueue(10)
    queue.put("a", b"first")
    queue.take(100, 9)
    queue.put("b", b"later")

    assert queue.take(7, 9) == [b"later"]


def test_members_come_before_the_application():
    queue = RumourQueue(10)
    queue.put_user(b"users")
    queue.put("a", b"about")

    assert queue.take(7, 9) == [b"about"]


def test_the_oldest_application_rumour_gives_way_when_there_are_too_many():
    queue = RumourQueue(2)
    for payload in (b"1", b"2", b"3"):
        queue.put_user(payload)

    assert sorted(queue.take(100, 1)) == [b"2", b"3"]
    assert queue.dropped_count == 1


@settings(deadline=None)
@given(
    st.dictionaries(st.text(max_size=3), st.binary(min_size=1, max_size=80), max_size=30),
    st.integers(0, 400),
)
def test_packing_keeps_to_its_budget(rumours, room_bytes):
    queue = RumourQueue(10)
    for name, payload in rumours.items():
        queue.put(name, payload)

    assert sum(len(part) + 2 for part in queue.take(room_bytes, 4)) <= room_bytes


@settings(deadline=None)
@given(st.lists(st.binary(min_size=1, max_size=90), min_size=1, max_size=30))
def test_packing_starves_no_rumour(payloads):
    queue = RumourQueue(10)
    for number, payload in enumerate(payloads):
        queue.put(str(number), payload)

    for _ in range(2 * len(payloads)):
        queue.take(100, 2)

    assert len(queue) == 0


def test_a_small_ring_hears_every_rumour_at_least_once_a_member():
    assert [send_count_max(lan(), count) for count in (2, 4, 9, 32, 100)] == [4, 5, 10, 12, 12]
    assert send_count_max(lan(), 10_000) == 20


# Timers.


def test_timers_fall_due_in_order_and_equal_ones_as_they_were_set():
    timers = Timers()
    timers.set(2.0, ProbeDue())
    timers.set(1.0, GossipDue())
    timers.set(2.0, SyncDue())

    assert timers.pop_due(0.5) is None
    assert [timers.pop_due(2.0) for _ in range(3)] == [
        (1.0, GossipDue()),
        (2.0, ProbeDue()),
        (2.0, SyncDue()),
    ]


def test_a_cancelled_timer_neither_falls_due_nor_wakes_anybody():
    timers = Timers()
    number = timers.set(1.0, ProbeDue())
    timers.set(2.0, SyncDue())

    timers.cancel(number)

    assert timers.next_at() == 2.0
    assert timers.pop_due(1.0) is None
    assert timers.pop_due(2.0) == (2.0, SyncDue())


def test_a_timer_that_fell_due_is_cancelled_without_harm():
    timers = Timers()
    number = timers.set(1.0, ProbeDue())
    timers.pop_due(1.0)

    timers.cancel(number)

    assert (timers.next_at(), len(timers)) == (None, 0)


# Precedence.


claims = st.tuples(st.integers(0, 4), st.sampled_from(MemberState))


def _apply(row: Member, claim: tuple[int, MemberState]) -> Member:
    incarnation, state = claim
    if state == MemberState.ALIVE:
        alive = Alive(incarnation, "a", HERE, b"", Versions())
        verdict = judge_alive(row, alive, now=0.0, reclaim_after_s=0.0)
        wins = verdict == AliveVerdict.NEWER
    else:
        wins = accusation_wins(row, state, incarnation)
    return replace(row, state=state, incarnation=incarnation) if wins else row


@settings(deadline=None)
@given(st.lists(claims, max_size=4))
def test_statements_of_one_incarnation_commute(statements):
    same_life = [(5, state) for _, state in statements]

    ends = {
        (row.incarnation, row.state)
        for order in itertools.permutations(same_life)
        for row in [_fold(member(), list(order))]
    }

    assert len(ends) == 1


def _fold(row: Member, statements: list[tuple[int, MemberState]]) -> Member:
    for statement in statements:
        row = _apply(row, statement)
    return row


@settings(deadline=None)
@given(st.lists(claims, max_size=8), claims)
def test_hearing_a_statement_again_changes_nothing(statements, claim):
    row = _apply(_fold(member(incarnation=0), statements), claim)

    assert _apply(row, claim) == row


@settings(deadline=None)
@given(st.lists(claims, max_size=8))
def test_no_statement_lowers_an_incarnation(statements):
    row = member(incarnation=0)
    for statement in statements:
        after = _apply(row, statement)
        assert after.incarnation >= row.incarnation
        row = after


def judge(known: Member | None, claim: Alive, now: float = 100.0) -> AliveVerdict:
    return judge_alive(known, claim, now=now, reclaim_after_s=5.0)


def test_a_name_in_use_does_not_move():
    assert judge(member(), Alive(9, "a", THERE)) == AliveVerdict.CONFLICT


def test_a_name_moves_at_once_after_a_goodbye():
    assert judge(member(state=MemberState.LEFT), Alive(6, "a", THERE)) == AliveVerdict.MOVED


def test_a_dead_name_moves_after_a_while():
    dead = member(state=MemberState.DEAD, changed_at=90.0)

    assert judge(dead, Alive(6, "a", THERE), now=94.0) == AliveVerdict.CONFLICT
    assert judge(dead, Alive(6, "a", THERE), now=95.0) == AliveVerdict.MOVED


def test_an_old_rumour_moves_nobody():
    dead = member(state=MemberState.DEAD, changed_at=0.0)

    assert judge(dead, Alive(5, "a", THERE)) == AliveVerdict.STALE


def test_a_suspicion_does_not_bring_back_the_dead():
    assert not accusation_wins(member(state=MemberState.DEAD), MemberState.SUSPECT, 9)


def test_a_late_goodbye_turns_a_failure_into_a_leave():
    assert accusation_wins(member(state=MemberState.DEAD), MemberState.LEFT, 5)
    assert not accusation_wins(member(state=MemberState.LEFT), MemberState.DEAD, 9)


def test_a_life_begins_beyond_the_earlier_one_and_by_the_clock():
    assert first_incarnation(1_800_000_000.7) == 1_800_000_000
    assert first_incarnation(1_800_000_000.7, earlier=1_900_000_000) == 1_900_000_001


def test_a_clock_that_is_far_ahead_leaves_room_to_object():
    assert first_incarnation(2.0**40) + 16_000_000 < INCARNATION_MAX


# The member table.


def test_the_table_counts_the_living_and_the_gone():
    table = MemberTable(member("me"), random.Random(1))
    table.put(member("a", address=THERE))
    table.put(member("a", address=THERE, state=MemberState.DEAD))

    assert (table.live_count, table.gone_count) == (1, 1)
    table.put(member("a", address=THERE))
    assert (table.live_count, table.gone_count) == (2, 0)
    table.remove("a")
    assert (len(table), table.live_count, table.gone_count) == (1, 1, 0)


def test_a_member_is_found_by_its_address_while_it_lives():
    table = MemberTable(member("me"), random.Random(1))
    table.put(member("a", address=THERE))
    assert table.named_at(THERE) == table["a"]

    table.put(member("a", address=THERE, state=MemberState.DEAD))

    assert table.named_at(THERE) is None


def test_a_ring_member_accepts_only_versions_it_can_share_a_ring_with():
    plain, serf = Versions(), Versions(1, 5, 2, 2, 5, 5)

    assert plain.accepts(plain)
    assert serf.accepts(Versions(1, 5, 2, 2, 5, 4))
    assert not plain.accepts(serf)
    assert not serf.accepts(plain)
    assert not plain.accepts(Versions(0, 0, 0))


# Throttling.


def test_the_same_thing_is_said_once_an_interval():
    throttle = Throttle(1.0)

    said = [throttle.allows("a", at) for at in (0.0, 0.9, 1.0, 1.5, 2.0)]

    assert said == [True, False, True, False, True]
    assert throttle.allows("b", 0.0)


def test_the_throttle_forgets_the_oldest_when_there_are_too_many():
    throttle = Throttle(1000.0)
    for number in range(KEYS_MAX + 1):
        throttle.allows(str(number), 0.0)

    assert throttle.allows("0", 1.0)
    assert not throttle.allows(str(KEYS_MAX), 1.0)


# The peer book.


def test_a_lonely_member_always_tries_a_missing_peer():
    book = PeerBook()
    book.remember("a", THERE)

    chosen = book.choose_missing(frozenset({HERE}), 1, random.Random(1))

    assert chosen == THERE


def test_members_share_the_search_for_the_missing():
    book, chance = PeerBook(), random.Random(1)
    book.remember("a", THERE)

    tries = [book.choose_missing(frozenset({HERE}), 10, chance) for _ in range(1000)]

    assert 50 < sum(address is not None for address in tries) < 150


def test_the_present_are_not_missing():
    book = PeerBook()
    book.remember("a", THERE)
    book.set_seeds([HERE])

    assert book.choose_missing(frozenset({HERE, THERE}), 1, random.Random(1)) is None


def test_who_said_goodbye_is_not_looked_for():
    book = PeerBook()
    book.remember("a", THERE)
    book.forget("a")

    assert book.choose_missing(frozenset(), 1, random.Random(1)) is None


def test_the_book_forgets_the_oldest_when_it_is_full():
    book = PeerBook()
    for number in range(PEERS_MAX + 1):
        book.remember(f"n{number}", Address(bytes((10, 0, number // 256, number % 256)), 1))

    assert len(book.entries) == PEERS_MAX
    assert "n0" not in book.entries


# Settings.


@pytest.mark.parametrize("preset", [lan, wan, local, fast])
def test_the_presets_are_valid(preset):
    assert isinstance(preset(), SwimConfig)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("suspicion_mult", 2),
        ("probe_timeout_s", 2.0),
        ("probe_interval_s", 0.0),
        ("nack_fraction", 1.5),
        ("datagram_size_bytes", 100),
        ("gossip_fanout", 0),
        ("members_max", 1),
    ],
)
def test_a_setting_that_cannot_work_is_named(name, value):
    with pytest.raises(InvalidSetting, match=name) as raised:
        replace(lan(), **{name: value})
    assert raised.value.name == name


@pytest.mark.parametrize(("ip", "port"), [(b"123", 1), (b"", 1), (bytes(4), -1), (bytes(4), 65536)])
def test_an_impossible_address_does_not_construct(ip, port):
    with pytest.raises(ValueError, match=r"address|port"):
        Address(ip, port)


def test_an_address_reads_as_operators_write_it():
    assert str(Address.of("10.0.0.1", 7946)) == "10.0.0.1:7946"
    assert str(Address.of("fe80::1%eth0", 7946)) == "[fe80::1]:7946"


# The in-memory network.


def test_a_cut_stops_one_direction_only():
    network = MemoryNetwork(LinkQuality(), random.Random(1))
    network.cut(HERE, THERE)

    assert network.datagram_delays_s(HERE, THERE) == ()
    assert len(network.datagram_delays_s(THERE, HERE)) == 1
    assert network.stream_delay_s(THERE, HERE) is None


def test_overlapping_cuts_are_mended_one_by_one():
    network = MemoryNetwork(LinkQuality(), random.Random(1))
    network.cut_between([HERE], [THERE])
    network.cut(HERE, THERE)

    network.mend_between([HERE], [THERE])
    assert not network.is_open(HERE, THERE)
    network.mend(HERE, THERE)
    assert network.is_open(HERE, THERE)


def test_loss_and_duplication_take_their_share():
    network = MemoryNetwork(LinkQuality(loss=0.25, duplication=0.1), random.Random(1))

    copies = [len(network.datagram_delays_s(HERE, THERE)) for _ in range(10_000)]

    assert 2300 < copies.count(0) < 2700
    assert 650 < copies.count(2) < 850
