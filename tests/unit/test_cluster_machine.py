"""One machine at a time: what it says when something is said to it."""

import random
from dataclasses import replace

import pytest

from caxton_cluster.config import SwimConfig, lan
from caxton_cluster.errors import MetadataTooLarge
from caxton_cluster.swim.beliefs import HEARINGS_MAX
from caxton_cluster.swim.digest import DIGEST_SIZE_BYTES_MAX
from caxton_cluster.swim.events import (
    LeaveFinished,
    MemberFailed,
    MemberForgotten,
    MemberJoined,
    MemberLeft,
    MemberRecovered,
    MemberSuspected,
    MemberUpdated,
    NameConflict,
    RecordRefused,
    SeedAnswered,
    SeedSilent,
    UserMessage,
    UserState,
)
from caxton_cluster.swim.machine import Machine
from caxton_cluster.swim.relay import RELAYS_MAX
from caxton_cluster.swim.secrecy import KeyRing
from caxton_cluster.swim.suspicion import timeout_bounds_s
from caxton_cluster.swim.wire.codec import decode, encode
from caxton_cluster.swim.wire.label import LABEL_SIZE_BYTES_MAX
from caxton_cluster.swim.wire.messages import (
    Ack,
    Alive,
    Dead,
    IndirectPing,
    Kind,
    Message,
    Nack,
    Ping,
    PushPull,
    Record,
    Suspect,
    User,
)
from caxton_cluster.swim.wire.wire import Wire
from caxton_cluster.types import (
    INCARNATION_MAX,
    META_SIZE_BYTES_MAX,
    NAME_SIZE_BYTES_MAX,
    Address,
    Member,
    MemberState,
    Versions,
)

ME = Address.of("10.0.0.1", 7946)
A, B, C = (Address.of(f"10.0.1.{number}", 7946) for number in (1, 2, 3))
ELSEWHERE = Address.of("10.9.9.9", 7946)
V = Versions()


class Bench:
    """A machine, a clock, and what came out."""

    def __init__(self, config: SwimConfig | None = None, *, wire: Wire | None = None, **options):
        self.wire = wire or Wire()
        self.now = 0.0
        own = Member(name="me", address=ME, incarnation=10)
        self.machine = Machine(
            config or lan(), own, random=random.Random(1), now=0.0, wire=self.wire, **options
        )

    def hear(self, *messages: Message, sender: Address = A) -> None:
        if not messages:
            return
        datagram = self.wire.packets.encode([encode(message) for message in messages])
        self.machine.receive(datagram, sender, self.now)

    def know(self, **addresses: Address) -> None:
        for name, address in addresses.items():
            self.hear(Alive(5, name, address, b"", V), sender=address)
        self.said()
        self.events()

    def said(self) -> list[tuple[Address, Message]]:
        return [
            (datagram.target, message)
            for datagram in self.machine.take_datagrams()
            for message in self.wire.packets.decode(datagram.payload).messages
        ]

    def said_of(self, *kinds: type) -> list[tuple[Address, Message]]:
        return [(target, message) for target, message in self.said() if isinstance(message, kinds)]

    def events(self) -> list:
        return self.machine.take_events()

    def run_until(self, end_at: float) -> None:
        while (wakeup_at := self.machine.wakeup_at()) is not None and wakeup_at <= end_at:
            self.now = max(self.now, wakeup_at)
            self.machine.tick(self.now)
        self.now = end_at

    def run_until_said(self, kind: type, deadline_at: float = 60.0) -> tuple[Address, Message]:
        while (wakeup_at := self.machine.wakeup_at()) is not None and wakeup_at <= deadline_at:
            self.now = max(self.now, wakeup_at)
            self.machine.tick(self.now)
            found = self.said_of(kind)
            if found:
                return found[0]
        raise AssertionError(f"no {kind.__name__} was said")

    def state_of(self, name: str) -> MemberState | None:
        row = self.machine.table.get(name)
        return None if row is None else row.state


@pytest.fixture
def bench() -> Bench:
    return Bench()


NAME, ACCUSED = "m" * NAME_SIZE_BYTES_MAX, "a" * NAME_SIZE_BYTES_MAX
FAR, FARTHER = (Address.of(f"fd00:aaaa:bbbb:cccc:dddd:eeee:ffff:{host}", 65_535) for host in (1, 2))


@pytest.mark.parametrize("size_bytes", [1152, 1400])
def test_the_longest_of_everything_keeps_to_the_budget_and_is_said(size_bytes):
    config = replace(lan(), datagram_size_bytes=size_bytes)
    wire = Wire(label="l" * LABEL_SIZE_BYTES_MAX, key_ring=KeyRing([b"k" * 32], bytes))
    own = Member(name=NAME, address=FAR, incarnation=10, meta=b"m" * META_SIZE_BYTES_MAX)
    machine = Machine(config, own, random=random.Random(1), now=0.0, wire=wire, names_source=True)
    machine.digests.set(b"d" * DIGEST_SIZE_BYTES_MAX)
    known = Alive(INCARNATION_MAX - 9, ACCUSED, FARTHER, b"m" * META_SIZE_BYTES_MAX, V)
    machine.receive(wire.packets.encode([encode(known)]), FARTHER, 0.0)
    machine.receive(wire.packets.encode([encode(Suspect(10, NAME, ACCUSED))]), FARTHER, 0.0)
    said: set[type] = set()
    for step in range(100):
        machine.tick(step / 10)
        if step == 30:
            ping = encode(Ping(65_535, NAME, FARTHER, ACCUSED))
            machine.receive(wire.packets.encode([ping]), FARTHER, 3.0)
        for datagram in machine.take_datagrams():
            assert len(datagram.payload) <= size_bytes
            said.update(map(type, wire.packets.decode(datagram.payload).messages))

    assert said >= {Ping, Ack, Alive, Suspect}


# Answering.


def test_a_ping_is_answered_to_the_source_it_names(bench):
    bench.hear(Ping(7, "me", B, "b"), sender=A)

    assert bench.said() == [(B, Ack(7))]


def test_a_ping_without_a_source_is_answered_to_its_sender(bench):
    bench.hear(Ping(7), sender=A)

    assert bench.said() == [(A, Ack(7))]


def test_a_ping_for_another_name_is_not_answered(bench):
    bench.hear(Ping(7, "who was here before", A, "a"))

    assert bench.said() == []


def test_a_pinging_member_that_is_held_dead_is_told_so(bench):
    bench.know(a=A)
    bench.hear(Dead(5, "a", "b"))
    bench.said()

    bench.hear(Ping(7, "me", A, "a"))

    assert bench.said_of(Ack, Dead)[:2] == [(A, Ack(7)), (A, Dead(5, "a", "me"))]


def test_junk_is_counted_and_changes_nothing(bench):
    bench.machine.receive(b"\xff\x00junk", A, 0.0)
    bench.machine.receive(b"", A, 0.0)

    assert bench.machine.statistics.malformed == 2
    assert bench.events() == []


def test_another_clusters_packets_are_counted_apart():
    bench = Bench(wire=Wire(label="prod"))
    bench.machine.receive(Wire(label="dev").packets.encode([encode(Nack(1))]), A, 0.0)

    assert bench.machine.statistics.not_for_us == 1


# Learning of members.


def test_a_rumour_is_read_alike_however_often_and_however_long(bench):
    """What repeated rumours mean is remembered, up to a length."""
    for size_bytes in (0, 512):
        claim = Alive(5, f"m{size_bytes}", A, bytes(size_bytes), V)
        padded = encode(claim) + bytes(2000)
        for data in (encode(claim), encode(claim), padded):
            assert decode(data) == claim


def test_a_newcomer_joins_and_the_news_is_spread(bench):
    bench.hear(Alive(5, "a", A, b"tags", V))

    assert [type(event) for event in bench.events()] == [MemberJoined]
    bench.run_until(0.2)
    assert (A, Alive(5, "a", A, b"tags", V)) in bench.said()


def test_news_that_is_known_is_not_spread_again(bench):
    bench.know(a=A)
    bench.run_until(9.0)
    bench.said()

    bench.hear(Alive(5, "a", A, b"", V))

    assert bench.machine.rumour_count == 0


def test_a_change_of_metadata_is_an_update(bench):
    bench.know(a=A)

    bench.hear(Alive(6, "a", A, b"new", V))

    (event,) = bench.events()
    assert isinstance(event, MemberUpdated)
    assert event.member.meta == b"new"


def test_a_record_without_versions_is_refused(bench):
    bench.hear(Alive(5, "a", A, b"", None))

    (event,) = bench.events()
    assert isinstance(event, RecordRefused)
    assert "a" not in bench.machine.table


def test_one_incompatible_record_does_not_spoil_a_whole_table(bench):
    records = (
        Record("a", A, 5, MemberState.ALIVE, b"", Versions(1, 5, 2, 2, 5, 5)),
        Record("b", B, 5, MemberState.ALIVE, b"", V),
    )
    bench.machine.serve(PushPull(records), 0.0)

    assert [type(event) for event in bench.events()] == [RecordRefused, MemberJoined]
    assert "b" in bench.machine.table


def test_a_full_table_refuses_newcomers():
    bench = Bench(replace(lan(), members_max=2))
    bench.know(a=A)

    bench.hear(Alive(5, "b", B, b"", V))

    assert isinstance(bench.events()[0], RecordRefused)


def test_a_name_claimed_elsewhere_is_a_conflict_and_the_known_one_stays(bench):
    bench.know(a=A)

    bench.hear(Alive(9, "a", ELSEWHERE, b"", V))

    assert bench.events() == [NameConflict(bench.machine.table["a"], ELSEWHERE)]
    assert bench.machine.table["a"].address == A


def test_a_conflict_is_reported_once_however_often_the_rumour_comes(bench):
    bench.know(a=A)

    for _ in range(5):
        bench.hear(Alive(9, "a", ELSEWHERE, b"", V))

    assert len(bench.events()) == 1


def test_a_refusal_is_reported_once_however_often_the_rumour_comes(bench):
    for _ in range(5):
        bench.hear(Alive(9, "a", A, b"", None))

    assert len(bench.events()) == 1


def test_a_disputed_member_is_probed_before_its_turn(bench):
    bench.know(a=A, b=B, c=C)
    bench.hear(Alive(9, "c", ELSEWHERE, b"", V))
    bench.said()

    assert bench.run_until_said(Ping)[0] == C


def test_two_names_at_one_address_are_a_dispute(bench):
    bench.know(a=A, b=B, old=C)
    bench.hear(Alive(9, "new", C, b"", V))
    bench.said()

    target, ping = bench.run_until_said(Ping)
    assert (target, ping.node) == (C, "old")


def test_a_stale_member_is_told_directly_what_is_said_of_it(bench):
    bench.know(a=A)
    bench.hear(Dead(100, "a", "b"))
    bench.said()

    bench.hear(Alive(1, "a", ELSEWHERE, b"", V))

    assert (ELSEWHERE, Dead(100, "a", "me")) in bench.said()


def test_a_stale_member_is_told_once_an_interval(bench):
    bench.know(a=A)
    bench.hear(Dead(100, "a", "b"))
    bench.said()

    for _ in range(5):
        bench.hear(Alive(1, "a", A, b"", V))

    assert bench.said().count((A, Dead(100, "a", "me"))) == 1


def test_an_accuser_that_missed_the_verdict_is_told(bench):
    bench.know(a=A, b=B)
    bench.hear(Dead(5, "a", "b"))
    bench.said()

    bench.hear(Suspect(5, "a", "c"), sender=C)

    assert (C, Dead(5, "a", "me")) in bench.said()


# Standing up for ourselves.


def test_a_refuted_suspicion_raises_the_incarnation(bench):
    bench.know(a=A)
    bench.hear(Suspect(10, "me", "a"))

    assert bench.machine.table.own.incarnation == 11
    bench.run_until(0.2)
    assert (A, Alive(11, "me", ME, b"", V)) in bench.said()


def test_an_old_suspicion_of_us_is_ignored(bench):
    bench.hear(Suspect(9, "me", "a"))

    assert bench.machine.table.own.incarnation == 10


def test_who_has_not_heard_our_objection_is_told_directly_once_an_interval(bench):
    bench.know(a=A)

    for _ in range(5):
        bench.hear(Suspect(9, "me", "b"))

    assert bench.said().count((A, Alive(10, "me", ME, b"", V))) == 1


def test_who_left_objects_no_more(bench):
    bench.know(a=A)
    bench.machine.leave(bench.now)
    bench.said()

    bench.hear(Suspect(9, "me", "b"))

    assert bench.said_of(Alive) == []


def test_an_accusation_of_a_later_life_is_outbid(bench):
    bench.hear(Dead(5000, "me", "a"))

    assert bench.machine.table.own.incarnation == 5001
    assert bench.machine.table.own.state == MemberState.ALIVE


def test_being_accused_costs_health(bench):
    bench.hear(Suspect(10, "me", "a"))

    assert bench.machine.awareness.score == 1


def test_an_earlier_life_of_ours_is_outlived_without_shame(bench):
    bench.hear(Alive(500, "me", ME, b"old tags", V))

    assert bench.machine.table.own.incarnation == 501
    assert bench.machine.awareness.score == 0


def test_our_own_rumour_coming_back_changes_nothing(bench):
    bench.hear(Alive(10, "me", ME, b"", V))

    assert bench.machine.table.own.incarnation == 10
    assert bench.events() == []


def test_the_highest_incarnation_can_still_be_refuted(bench):
    bench.hear(Suspect(INCARNATION_MAX - 1, "me", "a"))

    assert bench.machine.table.own.incarnation == INCARNATION_MAX


def test_our_name_elsewhere_is_a_conflict(bench):
    bench.hear(Alive(500, "me", ELSEWHERE, b"", V))

    assert bench.events() == [NameConflict(bench.machine.table.own, ELSEWHERE)]


# Suspecting and burying others.


def test_a_suspect_that_does_not_object_is_declared_dead(bench):
    bench.know(a=A, b=B)
    bench.hear(Suspect(5, "a", "b"))

    bench.run_until(4.5)

    kinds = [type(event) for event in bench.events() if event.member.name == "a"]
    assert kinds == [MemberSuspected, MemberFailed]


def test_a_suspect_that_objects_recovers(bench):
    bench.know(a=A, b=B)
    bench.hear(Suspect(5, "a", "b"))
    bench.hear(Alive(6, "a", A, b"", V))

    bench.run_until(0.5)

    assert [type(event) for event in bench.events()] == [MemberSuspected, MemberRecovered]
    assert bench.machine.beliefs.suspicion_count == 0


def test_an_objection_of_the_same_incarnation_is_not_enough(bench):
    bench.know(a=A, b=B)
    bench.hear(Suspect(5, "a", "b"))
    bench.hear(Alive(5, "a", A, b"", V))

    assert bench.state_of("a") == MemberState.SUSPECT


def test_a_confirmation_is_spread_and_a_repetition_is_not(bench):
    bench.know(a=A, b=B, c=C)
    bench.hear(Suspect(5, "a", "b"))
    bench.run_until(3.0)
    bench.said()
    assert bench.machine.rumour_count == 0

    bench.hear(Suspect(5, "a", "b"))
    assert bench.machine.rumour_count == 0
    bench.hear(Suspect(5, "a", "c"))
    assert bench.machine.rumour_count == 1


def accused_by_hearsay(bench: Bench) -> float:
    """Let us hear enough accusers of one whose turn to be probed by us is far; return its end."""
    others = {f"n{number}": Address(bytes((10, 0, 2, number)), 1) for number in range(100)}
    bench.know(a=A, **others)
    for accuser in ("n1", "n2", "n3"):
        bench.hear(Suspect(5, "a", accuser), sender=B)
    bench.machine.beliefs.disputed.clear()
    bench.said()
    shortest_s, _ = timeout_bounds_s(lan(), 102)
    return shortest_s


def questions(bench: Bench) -> int:
    """Return how often the accused was asked by a datagram of its own since the last look."""
    return bench.said().count((A, Suspect(5, "a", "me")))


def test_the_accused_is_asked_before_a_verdict_by_hearsay_alone(bench):
    ends_at = accused_by_hearsay(bench)
    bench.run_until(ends_at - 0.01)
    assert questions(bench) == 0

    bench.run_until(ends_at + 0.01)

    assert questions(bench) == 1
    assert bench.state_of("a") == MemberState.SUSPECT


def test_the_accused_that_answers_then_is_spared(bench):
    ends_at = accused_by_hearsay(bench)
    bench.run_until(ends_at + 0.01)

    bench.hear(Alive(6, "a", A, b"", V))
    bench.run_until(ends_at + 2)

    assert bench.state_of("a") == MemberState.ALIVE


def test_the_accused_that_stays_silent_is_asked_three_times_and_buried(bench):
    ends_at = accused_by_hearsay(bench)

    bench.run_until(ends_at + HEARINGS_MAX * lan().probe_timeout_s - 0.01)
    assert questions(bench) == HEARINGS_MAX
    assert bench.state_of("a") == MemberState.SUSPECT
    bench.run_until(ends_at + HEARINGS_MAX * lan().probe_timeout_s + 0.01)

    assert bench.state_of("a") == MemberState.DEAD


def test_enough_witnesses_bury_a_suspect_in_the_shortest_time(bench):
    others = {f"n{number}": Address(bytes((10, 0, 2, number)), 1) for number in range(6)}
    bench.know(a=A, **others)
    for accuser in ("n1", "n2", "n3"):
        bench.hear(Suspect(5, "a", accuser))

    bench.run_until(3.9)
    assert bench.state_of("a") == MemberState.SUSPECT
    bench.run_until(4.6)
    assert bench.state_of("a") == MemberState.DEAD


def test_a_goodbye_is_no_failure(bench):
    bench.know(a=A)
    bench.hear(Dead(5, "a", "a"))

    assert [type(event) for event in bench.events()] == [MemberLeft]


def test_a_peers_dead_are_only_suspected_here(bench):
    bench.know(a=A, b=B)
    records = (
        Record("a", A, 5, MemberState.DEAD, b"", V),
        Record("b", B, 5, MemberState.LEFT, b"", V),
    )
    bench.machine.serve(PushPull(records), 0.0)

    assert bench.state_of("a") == MemberState.SUSPECT
    assert bench.state_of("b") == MemberState.LEFT


def test_the_long_gone_are_forgotten_but_their_address_is_not(bench):
    bench.know(a=A, b=B)
    bench.run_until(0.1)
    bench.hear(Dead(5, "a", "b"))
    for at in range(1, 45):
        bench.run_until(float(at))
        bench.hear(*(Ack(m.sequence) for _, m in bench.said_of(Ping)), sender=B)

    assert bench.state_of("a") is None
    assert bench.machine.book.entries["a"] == A
    assert MemberForgotten("a") in bench.events()


def test_a_lonely_member_keeps_no_rumours_of_those_it_forgot(bench):
    bench.know(a=A)
    bench.hear(Dead(5, "a", "a"))
    bench.run_until(45.0)

    assert (bench.state_of("a"), bench.machine.rumour_count) == (None, 0)


def test_a_later_life_takes_over_the_living_and_forgets_the_gone(bench):
    bench.know(a=A, b=B)
    bench.hear(Dead(5, "a", "b"))
    later = Bench()

    later.machine.inherit(bench.machine)

    assert (later.state_of("a"), later.state_of("b")) == (None, MemberState.ALIVE)
    assert later.events() == [MemberForgotten("a")]


def test_a_restarted_name_is_let_in_at_its_new_address(bench):
    bench.know(a=A, b=B)
    bench.hear(Dead(5, "a", "b"))
    bench.events()
    bench.run_until(1.5)
    bench.hear(Alive(6, "a", ELSEWHERE, b"", V))

    assert isinstance(bench.events()[-1], MemberJoined)
    assert bench.machine.table["a"].address == ELSEWHERE


# Probing.


def test_a_member_that_answers_is_left_in_peace(bench):
    bench.know(a=A)
    target, ping = bench.run_until_said(Ping)
    bench.hear(Ack(ping.sequence))

    bench.run_until(bench.now + 0.9)

    assert target == A
    assert bench.state_of("a") == MemberState.ALIVE
    assert bench.machine.round_trip_s("a") == 0.0


def test_a_silent_member_is_asked_after_through_others_and_by_stream(bench):
    bench.know(a=A, b=B, c=C)
    target, ping = bench.run_until_said(Ping)
    bench.run_until(bench.now + 0.5)

    helpers = bench.said_of(IndirectPing)
    (exchange,) = bench.machine.take_exchanges()
    assert {helper for helper, _ in helpers} == {A, B, C} - {target}
    assert all(request.target == target for _, request in helpers)
    assert all(request.wants_nack for _, request in helpers)
    assert exchange.target == target
    assert exchange.timeout_s == pytest.approx(0.6, abs=0.01)
    assert ping.source is None, "it came from where we are reached"
    assert all(request.source == ME for _, request in helpers)


def test_who_sends_from_elsewhere_says_where_the_answer_goes():
    bench = Bench(names_source=True)
    bench.know(a=A)

    _, ping = bench.run_until_said(Ping)

    assert ping.source == ME


def test_a_table_is_answered_with_what_the_asker_lacks(bench):
    bench.know(a=A, b=B, c=C)
    bench.hear(Suspect(5, "c", "b"))
    alive, suspect = MemberState.ALIVE, MemberState.SUSPECT
    request = PushPull(
        (
            Record("a", A, 5, alive, b"", V),
            Record("b", B, 4, alive, b"", V),
            Record("c", C, 5, suspect, b"", V),
        )
    )

    reply = bench.machine.reply_decoder().feed(bench.machine.serve(request, 0.0))

    assert {record.node for record in reply.records} == {"me", "b", "c"}


def test_a_regular_exchange_is_squeezed_and_a_join_is_not():
    bench = Bench(replace(lan(), push_pull_interval_s=0.2))
    bench.know(**{f"n{number}": Address.of("10.0.2.1", number) for number in range(1, 10)})
    bench.machine.join([A], bench.now)
    (join,) = bench.machine.take_exchanges()

    bench.run_until(0.2)

    (regular,) = bench.machine.take_exchanges()
    assert join.request[0] == Kind.PUSH_PULL
    assert regular.request[0] == Kind.COMPRESS
    assert len(regular.request) < len(join.request)


def test_an_ack_through_a_helper_clears_the_target(bench):
    bench.know(a=A, b=B, c=C)
    target, ping = bench.run_until_said(Ping)
    bench.run_until(bench.now + 0.6)
    bench.hear(Ack(ping.sequence), sender=next(x for x in (A, B, C) if x != target))
    bench.run_until(bench.now + 0.5)

    assert not [event for event in bench.events() if isinstance(event, MemberSuspected)]


def test_an_answer_by_stream_clears_the_target(bench):
    bench.know(a=A)
    _, ping = bench.run_until_said(Ping)
    bench.run_until(bench.now + 0.6)
    (exchange,) = bench.machine.take_exchanges()
    bench.machine.exchange_answered(exchange.id, Ack(ping.sequence), bench.now)
    bench.run_until(bench.now + 0.45)

    assert bench.state_of("a") == MemberState.ALIVE


def test_a_member_nobody_reaches_is_suspected(bench):
    bench.know(a=A)
    bench.run_until_said(Ping)
    bench.run_until(bench.now + 1.05)

    (event,) = bench.events()
    assert isinstance(event, MemberSuspected)
    assert event.accuser == "me"


def test_a_round_ends_at_once_when_all_the_evidence_is_in(bench):
    bench.know(a=A)
    bench.run_until_said(Ping)
    bench.run_until(bench.now + 0.55)
    (exchange,) = bench.machine.take_exchanges()

    bench.machine.exchange_failed(exchange.id, "refused", bench.now, is_refused=True)

    assert bench.state_of("a") == MemberState.SUSPECT


def refused_round(bench: Bench) -> tuple[Address, int]:
    """Let the target of the next probe refuse a stream; return it, and the ping's number."""
    target, ping = bench.run_until_said(Ping)
    bench.run_until(bench.now + 0.4)
    (exchange,) = bench.machine.take_exchanges()
    bench.machine.exchange_failed(exchange.id, "refused", bench.now, is_refused=True)
    return target, ping.sequence


def suspected(bench: Bench) -> list[Address]:
    return [one.member.address for one in bench.events() if isinstance(one, MemberSuspected)]


def test_a_refused_stream_is_waited_upon_only_while_a_helper_may_contradict(bench):
    bench.know(a=A, b=B, c=C)
    target, _ = refused_round(bench)

    bench.run_until(bench.now + 0.07)
    assert not suspected(bench)
    bench.run_until(bench.now + 0.02)
    assert suspected(bench) == [target]


def test_a_helper_contradicts_a_refused_stream(bench):
    bench.know(a=A, b=B, c=C)
    target, sequence = refused_round(bench)
    bench.hear(Ack(sequence), sender=next(x for x in (A, B, C) if x != target))

    bench.run_until(bench.now + 0.3)

    assert not suspected(bench)


def test_a_refused_stream_is_no_reason_to_doubt_ourselves(bench):
    bench.know(a=A, b=B, c=C)
    refused_round(bench)

    bench.run_until(bench.now + 0.3)

    assert bench.machine.awareness.score == 0


@pytest.mark.parametrize("count", [4, 64])
def test_a_refused_stream_leaves_no_more_time_in_a_large_ring(bench, count):
    bench.know(**{f"n{number}": Address.of("10.0.2.1", number) for number in range(1, count)})
    target, _ = refused_round(bench)
    bench.run_until(bench.now + 0.1)
    name = next(row.name for row in bench.machine.table if row.address == target)
    accused_at = bench.machine.table[name].changed_at
    others = [row.name for row in bench.machine.table if row.name not in {"me", name}]
    bench.hear(*[Suspect(5, name, other) for other in others[:2]])

    bench.run_until(accused_at + 1.95)
    assert bench.state_of(name) == MemberState.SUSPECT
    bench.run_until(accused_at + 2.05)
    assert bench.state_of(name) == MemberState.DEAD


def test_an_answered_ping_leaves_nothing_to_wake_up_for_but_the_next():
    bench = Bench(replace(lan(), push_pull_interval_s=1e6, rejoin_interval_s=1e6))
    bench.machine.table.put(Member(name="a", address=A, incarnation=5))  # and no rumour of it
    _, ping = bench.run_until_said(Ping)
    asked_at = bench.now

    bench.hear(Ack(ping.sequence))

    assert bench.machine.wakeup_at() == asked_at + bench.machine.config.probe_interval_s


def test_members_who_hold_the_same_exchange_the_same_bytes():
    names = {f"n{number}": Address.of("10.0.2.1", number) for number in range(1, 10)}
    requests = set()
    for order in (sorted(names), sorted(names, reverse=True)):
        bench = Bench(replace(lan(), push_pull_interval_s=0.2))
        bench.know(**{name: names[name] for name in order})
        bench.run_until(0.2)
        requests |= {exchange.request for exchange in bench.machine.take_exchanges()}

    assert len(requests) == 1


def test_a_failed_dial_that_is_no_refusal_waits_for_the_round(bench):
    bench.know(a=A)
    bench.run_until_said(Ping)
    bench.run_until(bench.now + 0.55)
    (exchange,) = bench.machine.take_exchanges()

    bench.machine.exchange_failed(exchange.id, "no route", bench.now)

    assert bench.state_of("a") == MemberState.ALIVE


def unanswered_round(bench: Bench, nacks_in_time: int, nacks_late: int = 0) -> int:
    bench.machine.awareness.apply(-8)
    bench.know(a=A, b=B, c=C)
    _, ping = bench.run_until_said(Ping)
    bench.run_until(bench.now + 0.95)
    helpers = [helper for helper, _ in bench.said_of(IndirectPing)]
    for helper in helpers[:nacks_in_time]:
        bench.hear(Nack(ping.sequence), sender=helper)
    bench.run_until(bench.now + 0.06)
    for helper in helpers[:nacks_late]:
        bench.hear(Nack(ping.sequence), sender=helper)
    bench.run_until(bench.now + 0.08)
    return bench.machine.awareness.score


def test_missing_nacks_cost_health(bench):
    assert unanswered_round(bench, nacks_in_time=0) == 2


def test_with_all_nacks_a_dead_member_costs_no_health(bench):
    assert unanswered_round(bench, nacks_in_time=2) == 0


def test_a_nack_shortly_after_the_round_still_counts(bench):
    assert unanswered_round(bench, nacks_in_time=0, nacks_late=2) == 0


def test_a_nack_that_the_network_doubled_counts_once(bench):
    bench.know(a=A, b=B, c=C)
    target, ping = bench.run_until_said(Ping)
    bench.run_until(bench.now + 0.5)
    helper = next(address for address in (A, B, C) if address != target)
    bench.hear(*[Nack(ping.sequence)] * 9, sender=helper)

    assert not [event for event in bench.events() if isinstance(event, MemberSuspected)]


def test_a_round_ends_once_every_helper_is_a_witness_of_the_silence(bench):
    bench.know(a=A, b=B, c=C)
    target, ping = bench.run_until_said(Ping)
    bench.run_until(bench.now + 0.5)
    for helper in {A, B, C} - {target}:
        bench.hear(Nack(ping.sequence), sender=helper)

    (event,) = [event for event in bench.events() if isinstance(event, MemberSuspected)]
    assert event.member.address == target


@pytest.mark.parametrize(("doubts", "wait_s"), [(0, 2.6), (1, 4.0)])
def test_witnessed_silence_leaves_less_time_to_those_who_trust_themselves(bench, doubts, wait_s):
    bench.know(a=A, b=B)
    bench.machine.awareness.apply(doubts)
    target, ping = bench.run_until_said(Ping)
    bench.run_until(bench.now + 0.5)
    for helper in {A, B} - {target}:
        bench.hear(Nack(ping.sequence), sender=helper)
    accused_at = bench.now
    assert bench.state_of("a" if target == A else "b") == MemberState.SUSPECT

    bench.run_until(accused_at + wait_s - 0.05)
    assert not [event for event in bench.events() if isinstance(event, MemberFailed)]
    bench.run_until(accused_at + wait_s + 0.05)
    assert [event for event in bench.events() if isinstance(event, MemberFailed)]


def test_the_neighbour_is_asked_in_every_other_round(bench):
    peers = {f"n{number}": Address.of("10.0.2.1", number) for number in range(1, 8)}
    bench.know(**peers)
    neighbour = peers[bench.machine.table.circle.after("me")]
    asked = []
    while len(asked) < 12:
        target, ping = bench.run_until_said(Ping)
        bench.hear(Ack(ping.sequence), sender=target)
        asked.append(target)

    assert asked[::2] == [neighbour] * 6 or asked[1::2] == [neighbour] * 6
    assert sorted(set(asked) - {neighbour}) == sorted(set(peers.values()) - {neighbour})


def test_the_accused_is_probed_before_its_turn(bench):
    peers = {f"n{number}": Address.of("10.0.2.1", number) for number in range(1, 6)}
    bench.know(**peers)
    bench.hear(Suspect(5, "n3", "n4"))

    target, _ = bench.run_until_said(Ping)

    assert target == peers["n3"]


def test_an_accusation_of_our_own_is_not_tried_again_out_of_turn(bench):
    bench.know(a=A, b=B, c=C)
    bench.machine.beliefs.hear_suspect(Suspect(5, "a", "me"), bench.now)

    assert not bench.machine.beliefs.disputed


def test_a_suspect_is_told_of_the_charge_with_the_next_probe(bench):
    bench.know(a=A)
    bench.hear(Suspect(5, "a", "b"))
    bench.said()
    bench.run_until(0.001)
    while True:
        bench.now = bench.machine.wakeup_at()
        bench.machine.tick(bench.now)
        said = bench.said()
        if any(isinstance(message, Ping) for _, message in said):
            break

    assert Suspect(5, "a", "me") in [message for _, message in said]


def test_poor_health_stretches_the_round(bench):
    bench.know(a=A)
    bench.machine.awareness.apply(3)
    bench.run_until_said(Ping)

    bench.run_until(bench.now + 3.5)
    assert bench.state_of("a") == MemberState.ALIVE
    bench.run_until(bench.now + 0.6)
    assert bench.state_of("a") == MemberState.SUSPECT


# Helping others probe.


def test_a_helper_passes_an_ack_on_under_the_askers_number(bench):
    bench.hear(IndirectPing(77, B, "b", True, A, "a"))
    ((target, ping),) = bench.said()
    bench.hear(Ack(ping.sequence), sender=B)

    assert (target, ping.node) == (B, "b")
    assert bench.said() == [(A, Ack(77))]


def test_a_helper_says_so_before_the_askers_round_ends(bench):
    bench.hear(IndirectPing(77, B, "b", True, A, "a"))
    bench.said()

    bench.run_until(0.31)
    assert bench.said_of(Nack) == []
    bench.run_until(0.33)
    assert bench.said_of(Nack) == [(A, Nack(77))]


def test_an_ack_after_the_nack_is_still_passed_on(bench):
    bench.hear(IndirectPing(77, B, "b", True, A, "a"))
    ((_, ping),) = bench.said()
    bench.run_until(0.5)
    bench.said()
    bench.hear(Ack(ping.sequence), sender=B)

    assert bench.said_of(Ack) == [(A, Ack(77))]


def test_an_asker_that_wants_no_nack_gets_none(bench):
    bench.hear(IndirectPing(77, B, "b", False, A, "a"))
    bench.run_until(0.9)

    assert bench.said_of(Nack) == []


def test_a_helper_serves_only_so_many_at_once(bench):
    for number in range(RELAYS_MAX + 5):
        bench.hear(IndirectPing(number, B, "b", False, A, "a"))

    assert len(bench.said_of(Ping)) == RELAYS_MAX


# Tables by stream.


def test_the_reply_is_the_table_from_before_the_request(bench):
    request = PushPull((Record("a", A, 5, MemberState.ALIVE, b"", V),), True)
    reply = bench.machine.serve(request, 0.0)

    message = bench.machine.reply_decoder().feed(reply)
    assert [record.node for record in message.records] == ["me"]
    assert bench.state_of("a") == MemberState.ALIVE


def test_the_applications_state_travels_both_ways():
    bench = Bench(user_state=lambda _: b"state of me")
    reply = bench.machine.serve(PushPull((), True, b"state of a"), 0.0)

    assert bench.machine.reply_decoder().feed(reply).user_state == b"state of me"
    assert bench.events() == [UserState(b"state of a", False)]


def test_only_what_answers_a_join_of_ours_happened_before_we_came(bench):
    bench.machine.join([A], 0.0)
    (exchange,) = bench.machine.take_exchanges()
    bench.machine.exchange_answered(exchange.id, PushPull((), False, b"state of a"), 0.1)

    assert UserState(b"state of a", True) in bench.events()


def test_a_stream_ping_for_another_name_gets_no_answer(bench):
    assert bench.machine.serve(Ping(1, "other"), 0.0) is None
    assert bench.machine.serve(Ping(1, "me"), 0.0) is not None


def test_a_seed_that_answers_is_reported(bench):
    bench.machine.join([A], 0.0)
    (exchange,) = bench.machine.take_exchanges()
    record = Record("a", A, 5, MemberState.ALIVE, b"", V)
    bench.machine.exchange_answered(exchange.id, PushPull((record,)), 0.1)

    events = bench.events()
    assert [type(event) for event in events] == [MemberJoined, SeedAnswered]


def test_a_seed_that_is_silent_is_reported(bench):
    bench.machine.join([A], 0.0)
    (exchange,) = bench.machine.take_exchanges()
    bench.machine.exchange_failed(exchange.id, "timed out", 0.1)

    assert bench.events() == [SeedSilent(A, "timed out")]


def test_two_early_exchanges_follow_a_join(bench):
    bench.machine.join([A], 0.0)
    (exchange,) = bench.machine.take_exchanges()
    record = Record("a", A, 5, MemberState.ALIVE, b"", V)
    bench.machine.exchange_answered(exchange.id, PushPull((record,)), 0.0)
    dialled = []
    while bench.now < 2.0:
        bench.run_until(bench.now + 0.1)
        bench.hear(*(Ack(m.sequence) for _, m in bench.said_of(Ping)))
        dialled += bench.machine.take_exchanges()

    assert len(dialled) == 2


def test_a_lonely_member_keeps_looking_for_its_peers(bench):
    bench.machine.book.remember("a", A)
    dialled = []
    for at in range(10, 100, 10):
        bench.run_until(float(at))
        for exchange in bench.machine.take_exchanges():
            dialled.append(exchange.target)
            bench.machine.exchange_failed(exchange.id, "no route", bench.now)

    assert len(dialled) >= 8
    assert set(dialled) == {A}


def test_a_stranger_that_pings_us_is_got_to_know(bench):
    bench.hear(Ping(1, "me", B, "b"))

    assert [exchange.target for exchange in bench.machine.take_exchanges()] == [B]


# Leaving and the application.


def test_leaving_is_said_at_once_and_finishes_when_it_spread(bench):
    bench.know(a=A, b=B)
    bench.machine.leave(0.0)
    assert {target for target, _ in bench.said_of(Dead)} == {A, B}

    bench.run_until(3.0)

    assert bench.events() == [LeaveFinished(True)]


def test_leaving_an_empty_ring_finishes_at_once(bench):
    bench.machine.leave(0.0)

    assert [type(event) for event in bench.events()] == [LeaveFinished]


def test_who_leaves_buries_nobody(bench):
    bench.know(a=A, b=B)
    bench.hear(Suspect(5, "a", "b"))
    bench.machine.leave(bench.now)

    bench.run_until(bench.now + 60)

    assert not [event for event in bench.events() if isinstance(event, MemberFailed)]


def test_who_asks_for_one_that_left_hears_the_goodbye(bench):
    """It missed the rumour, or heard of us by a table that was on its way as we left."""
    bench.know(a=A)
    bench.machine.leave(0.0)
    bench.run_until(5.0)
    bench.said()

    bench.hear(Ping(7, "me", B, "b"), sender=B)

    assert bench.said() == [(B, Ack(7)), (B, Dead(10, "me", "me"))]


def test_new_metadata_after_the_goodbye_bring_nobody_back(bench):
    bench.know(a=A)
    bench.machine.leave(0.0)
    bench.machine.update_meta(b"new", 0.1)
    bench.run_until(5.0)

    assert "me" not in {message.node for _, message in bench.said_of(Alive)}


def test_a_seed_that_answers_after_the_goodbye_hears_of_no_return(bench):
    bench.machine.join([A], 0.0)
    (exchange,) = bench.machine.take_exchanges()
    bench.machine.leave(0.0)

    record = Record("a", A, 5, MemberState.ALIVE, b"", V)
    bench.machine.exchange_answered(exchange.id, PushPull((record,)), 0.0)
    bench.run_until(5.0)

    assert "me" not in {message.node for _, message in bench.said_of(Alive)}


def test_who_leaves_does_not_object(bench):
    bench.know(a=A)
    bench.machine.leave(0.0)
    bench.hear(Dead(10, "me", "a"), Suspect(11, "me", "a"))

    assert bench.machine.table.own.incarnation == 10


def test_new_metadata_raise_the_incarnation(bench):
    bench.know(a=A)
    bench.machine.update_meta(b"tags", 0.0)
    bench.run_until(0.2)

    assert (A, Alive(11, "me", ME, b"tags", V)) in bench.said()


def test_metadata_beyond_the_limit_are_refused(bench):
    with pytest.raises(MetadataTooLarge, match="512"):
        bench.machine.update_meta(b"x" * 513, 0.0)


def test_an_application_message_is_spread_and_heard(bench):
    bench.know(a=A)
    bench.machine.broadcast(b"hello", 0.0)
    bench.run_until(0.2)
    bench.hear(User(b"answer"))

    assert (A, User(b"hello")) in bench.said()
    assert bench.events() == [UserMessage(b"answer")]


def test_an_application_message_that_fits_no_datagram_is_refused(bench):
    with pytest.raises(MetadataTooLarge):
        bench.machine.broadcast(b"x" * 1400, 0.0)


def test_no_datagram_exceeds_its_budget_under_every_wrapping():
    ring = KeyRing([b"k" * 32], random.Random(1).randbytes)
    bench = Bench(wire=Wire(label="l" * 50, key_ring=ring))
    for number in range(60):
        address = Address(bytes((10, 0, 3, number)), 7946)
        bench.hear(Alive(5, f"member-{number}", address, b"m" * 300, V))
    bench.run_until(3.0)

    sizes = [len(datagram.payload) for datagram in bench.machine.take_datagrams()]
    assert max(sizes) <= 1400
    assert len(sizes) > 20


# Time.


def test_time_we_did_not_run_buries_nobody(bench):
    bench.know(a=A, b=B)
    bench.hear(Suspect(5, "a", "b"))
    bench.run_until(1.0)
    bench.events()

    bench.machine.tick(31.0)
    assert bench.state_of("a") == MemberState.SUSPECT
    bench.hear(Alive(6, "a", A, b"", V))
    assert bench.state_of("a") == MemberState.ALIVE


def test_a_stall_costs_health(bench):
    bench.machine.tick(5.0)

    assert bench.machine.awareness.score == 1
    assert bench.machine.statistics.lags == 1


def test_a_clock_that_goes_back_stops_nothing(bench):
    bench.know(a=A)
    bench.run_until(5.0)
    bench.said()
    bench.now = -1000.0
    bench.machine.tick(bench.now)

    assert bench.machine.wakeup_at() < -998.0


def test_the_same_seed_says_the_same():
    def run() -> list:
        bench = Bench()
        bench.know(a=A, b=B, c=C)
        bench.run_until(20.0)
        return bench.said()

    assert run() == run()
