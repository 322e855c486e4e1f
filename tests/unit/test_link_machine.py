"""A link between two nodes: whatever breaks, nothing is lost, doubled or out of order."""

from dataclasses import dataclass, field

import pytest
from hypothesis import Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from caxton_node.forwarding import inflow as inflow_module
from caxton_node.forwarding.errors import LinkBroken, LinkRefused
from caxton_node.forwarding.inflow import WINDOW_BYTES, WINDOW_MESSAGES, Inflow
from caxton_node.forwarding.machine import Hello, LinkMachine, Self
from caxton_node.forwarding.outbox import (
    CHUNK_BYTES,
    FRAME_BYTES_MAX,
    FRAME_MESSAGES_MAX,
    Frame,
    Outbox,
    Parcel,
)


def open_outbox() -> Outbox:
    outbox = Outbox()
    outbox.grant(WINDOW_MESSAGES, WINDOW_BYTES)
    return outbox


def parcel(size_bytes: int = 10, cargo: object = None) -> Parcel:
    return Parcel(bytes(size_bytes), cargo)


def me(node: str, epoch: int = 1, cluster: str = "c") -> Self:
    return Self(node=node, epoch=epoch, cluster=cluster, version="1")


def test_a_frame_holds_what_waits_up_to_its_bound():
    outbox = open_outbox()
    for _ in range(FRAME_MESSAGES_MAX + 10):
        outbox.queue(parcel())
    first, second = outbox.take(), outbox.take()
    assert (first.number, len(first.parcels)) == (1, FRAME_MESSAGES_MAX)
    assert (second.number, len(second.parcels)) == (2, 10)
    assert second.parcels[0].sequence == FRAME_MESSAGES_MAX + 1
    assert outbox.take() is None


def test_the_bodies_of_a_frame_stay_below_its_bound():
    outbox = open_outbox()
    for _ in range(10):
        outbox.queue(parcel(CHUNK_BYTES))
    frame = outbox.take()
    assert sum(len(p.body) for p in frame.parcels) <= FRAME_BYTES_MAX


def test_a_large_message_travels_in_parts_and_comes_out_whole():
    outbox, inflow = open_outbox(), Inflow()
    body = bytes(range(256)) * 4_000
    outbox.queue(Parcel(body, "large"))
    outbox.queue(parcel())
    came = []
    while (frame := outbox.take()) is not None:
        if frame.part is not None:
            sequence = frame.last_of.sequence if frame.last_of else None
            came.append(inflow.take_part(frame.number, frame.part, sequence=sequence))
        else:
            assert inflow.take(frame.number, frame.parcels[0].sequence, [10])
    assert [one for one in came if one is not None] == [body]
    assert len(came) == -(-len(body) // CHUNK_BYTES)


def test_without_credit_nothing_is_sent():
    outbox = Outbox()
    outbox.queue(parcel())
    assert outbox.take() is None
    outbox.grant(1, 9)
    assert outbox.take() is None
    outbox.grant(1, 10)
    assert len(outbox.take().parcels) == 1


def test_outcomes_need_no_credit():
    outbox = Outbox()
    outbox.outcomes.delivered.append(7)
    assert outbox.take().outcomes.delivered == [7]


def test_what_is_acked_is_forgotten_but_for_what_is_followed():
    outbox = open_outbox()
    followed, told = parcel(), Parcel(b"x", None, is_followed=False)
    outbox.queue(followed)
    outbox.queue(told)
    outbox.take()
    assert outbox.acked(1) == [followed, told]
    assert outbox.begin_anew() == [followed]


def test_an_outcome_may_come_before_the_ack():
    outbox = open_outbox()
    outbox.queue(parcel(cargo="a"))
    outbox.take()
    assert outbox.ended(1).cargo == "a"
    outbox.acked(1)
    assert outbox.ended(1) is None


def test_what_is_on_its_way_cannot_be_taken_back():
    outbox = open_outbox()
    sent, waiting = parcel(), parcel()
    outbox.queue(sent)
    outbox.take()
    outbox.queue(waiting)
    assert not outbox.withdraw(sent)
    assert outbox.withdraw(waiting)
    assert not outbox.withdraw(waiting)
    assert outbox.take() is None


def test_many_questions_at_once_go_in_two_halves_without_a_pause():
    outbox = open_outbox()
    for _ in range(65):
        outbox.queue(Parcel(b"1", None, is_followed=False))
    first = outbox.take()
    assert outbox.is_pressing
    second = outbox.take()
    assert (len(first.parcels), len(second.parcels)) == (33, 32)
    assert not outbox.is_pressing
    assert outbox.take() is None


def test_what_is_journaled_goes_in_one_frame_however_much_there_is_at_once():
    outbox = open_outbox()
    for _ in range(65):
        outbox.queue(parcel())
    assert len(outbox.take().parcels) == 65


def test_an_ack_of_what_was_never_sent_breaks_the_link():
    with pytest.raises(LinkBroken):
        open_outbox().acked(1)


def test_a_gap_breaks_the_link():
    with pytest.raises(LinkBroken):
        Inflow().take(2, 1, [1])


def test_a_missing_message_breaks_the_link():
    with pytest.raises(LinkBroken):
        Inflow().take(1, 2, [1])


def test_a_frame_is_received_once():
    inflow = Inflow()
    assert inflow.take(1, 1, [1])
    assert not inflow.take(1, 1, [1])


def test_more_than_was_welcome_breaks_the_link():
    with pytest.raises(LinkBroken):
        Inflow().take(1, 1, [1] * (WINDOW_MESSAGES + 1))
    with pytest.raises(LinkBroken):
        Inflow().take(1, 1, [WINDOW_BYTES + 1])


def test_a_message_beyond_all_bounds_breaks_the_link(monkeypatch):
    monkeypatch.setattr(inflow_module, "BODY_BYTES_MAX", 5)
    inflow = Inflow()
    inflow.take_part(1, b"123", sequence=None)
    with pytest.raises(LinkBroken):
        inflow.take_part(2, b"456", sequence=None)


def test_the_ack_waits_for_the_first_frame_that_is_not_done():
    inflow = Inflow()
    for number in (1, 2, 3):
        inflow.take(number, number, [1])
    inflow.done(2)
    inflow.done(3)
    assert inflow.ack == 0
    inflow.done(1)
    assert inflow.ack == 3


@pytest.mark.parametrize(
    ("hello", "why"),
    [
        ({"node": "c"}, "answers where"),
        ({"cluster": "other"}, "belongs to the cluster"),
        ({"link_version": 2}, "speaks version 2"),
    ],
)
def test_a_stranger_is_refused(hello, why):
    facts = {
        "node": "b",
        "epoch": 1,
        "cluster": "c",
        "link_version": 1,
        "program_version": "1",
        "peer_epoch": 0,
        "received_through": 0,
    }
    with pytest.raises(LinkRefused, match=why):
        LinkMachine(me("a"), "b").meet(Hello(**facts | hello))


@dataclass
class Side:
    """A node: a link's end, a journal that survives, and what it knows of its own messages."""

    node: str
    other: str
    epoch: int = 1
    machine: LinkMachine = None
    open: dict[str, None] = field(default_factory=dict)
    """Ids accepted here without an outcome, in order: what the journal says after a restart."""
    ended: set[str] = field(default_factory=set)
    journal: list[str] = field(default_factory=list)
    """Ids of the other side's messages, in the order they were taken."""
    settled: set[str] = field(default_factory=set)
    under_way: dict[str, tuple[Inflow, int] | None] = field(default_factory=dict)
    """Taken and not ended → who is to be told, in which numbering, under which number."""
    asked: dict[str, tuple[Inflow, int]] = field(default_factory=dict)
    uncommitted: list[tuple[Inflow, int, list[tuple[str, int]]]] = field(default_factory=list)

    def __post_init__(self):
        self.start()

    def start(self):
        self.machine = LinkMachine(me(self.node, self.epoch), self.other)
        self.uncommitted.clear()
        self.asked.clear()
        self.under_way = dict.fromkeys(self.under_way)
        for message_id in self.open:
            self.send(message_id, is_doubtful=True)

    def send(self, message_id: str, *, is_doubtful: bool):
        self.machine.outbox.queue(Parcel(message_id.encode(), message_id, is_doubtful=is_doubtful))

    def take(self, frame: Frame):
        machine = self.machine
        sizes = [len(one.body) for one in frame.parcels]
        first = frame.parcels[0].sequence if frame.parcels else 0
        if not machine.inflow.take(frame.number, first, sizes):
            return
        came = []
        for one in frame.parcels:
            message_id = one.body.decode()
            if one.is_doubtful and message_id in self.settled:
                machine.outbox.outcomes.delivered.append(one.sequence)
            elif one.is_doubtful and message_id in self.under_way:
                self.under_way[message_id] = (machine.inflow, one.sequence)
            elif one.is_doubtful and self._is_being_written(message_id):
                self.asked[message_id] = (machine.inflow, one.sequence)
            else:
                came.append((message_id, one.sequence))
        self.uncommitted.append((machine.inflow, frame.number, came))
        if frame.outcomes is not None:
            for sequence in frame.outcomes.delivered:
                parcel = machine.outbox.ended(sequence)
                assert parcel is not None, "an outcome of something that was sent"
                self.open.pop(parcel.cargo, None)
                self.ended.add(parcel.cargo)

    def _is_being_written(self, message_id: str) -> bool:
        return any(message_id == one for _, _, came in self.uncommitted for one, _ in came)

    def commit(self):
        inflow, number, came = self.uncommitted.pop(0)
        for message_id, sequence in came:
            assert message_id not in self.journal, "nothing is taken twice"
            self.journal.append(message_id)
            # Whoever asked again meanwhile is told instead.
            self.under_way[message_id] = self.asked.pop(message_id, (inflow, sequence))
        inflow.done(number)

    def finish(self, message_id: str):
        told = self.under_way.pop(message_id)
        self.settled.add(message_id)
        if told is not None and told[0] is self.machine.inflow:
            # Only the numbering in force is told.
            self.machine.outbox.outcomes.delivered.append(told[1])


class Links(RuleBasedStateMachine):
    """Two nodes, one stream between them that breaks, and processes that die.

    Whoever exceeds its credit breaks the link, and so the test. The windows are small.
    """

    def __init__(self):
        super().__init__()
        self.windows = pytest.MonkeyPatch()
        self.windows.setattr(inflow_module, "WINDOW_MESSAGES", 7)
        self.windows.setattr(inflow_module, "WINDOW_BYTES", 60)

    @initialize()
    def begin(self):
        self.sides = [Side("a", "b"), Side("b", "a")]
        self.count = 0
        self.is_connected = False
        self.flying: list[list[tuple[Frame, int, int, int]]] = [[], []]

    @rule(side=st.integers(0, 1), count=st.integers(1, 5))
    def accept(self, side, count):
        for _ in range(count):
            self.count += 1
            message_id = f"{'ab'[side]}{self.count:04d}"
            self.sides[side].open[message_id] = None
            self.sides[side].send(message_id, is_doubtful=False)

    @precondition(lambda self: not self.is_connected)
    @rule()
    def connect(self):
        hellos = [side.machine.hello() for side in self.sides]
        for side, hello in zip(self.sides, reversed(hellos), strict=True):
            for one in side.machine.meet(hello):
                side.send(one.cargo, is_doubtful=one.was_sent or one.is_doubtful)
        self.is_connected = True

    @precondition(lambda self: self.is_connected)
    @rule()
    def break_stream(self):
        self.is_connected = False
        self.flying = [[], []]

    @precondition(lambda self: self.is_connected)
    @rule(side=st.integers(0, 1))
    def write(self, side):
        machine = self.sides[side].machine
        frame = machine.outbox.take()
        inflow = machine.inflow
        facts = (inflow.ack, inflow.credit_through, inflow.credit_bytes)
        self.flying[side].append((frame or Frame(0), *facts))

    @precondition(lambda self: self.is_connected)
    @rule(side=st.integers(0, 1))
    def read(self, side):
        if self.flying[side]:
            frame, ack, through, size_bytes = self.flying[side].pop(0)
            receiver = self.sides[1 - side]
            receiver.machine.outbox.grant(through, size_bytes)
            receiver.machine.outbox.acked(ack)
            if frame.number:
                receiver.take(frame)

    @precondition(lambda self: self.is_connected)
    @rule()
    def let_flow(self):
        for side in (0, 1, 0, 1):
            self.write(side)
            while self.flying[side]:
                self.read(side)

    @precondition(lambda self: self.is_connected)
    @rule(side=st.integers(0, 1))
    def lose_on_the_way(self, side):
        """The stream breaks with frames on it."""
        self.accept(side, 2)
        self.write(side)
        self.break_stream()
        self.connect()

    @precondition(lambda self: self.is_connected)
    @rule(side=st.integers(0, 1))
    def restart_before_the_outcome(self, side):
        """The other side dies when everything is committed there and nothing has ended."""
        self.accept(side, 2)
        self.let_flow()
        while self.sides[1 - side].uncommitted:
            self.commit(1 - side)
        self.let_flow()
        self.restart(1 - side)
        self.connect()

    @rule(side=st.integers(0, 1))
    def commit(self, side):
        if self.sides[side].uncommitted:
            self.sides[side].commit()

    @rule(side=st.integers(0, 1), which=st.integers(0, 20))
    def finish(self, side, which):
        under_way = list(self.sides[side].under_way)
        if under_way:
            self.sides[side].finish(under_way[which % len(under_way)])

    @rule(side=st.integers(0, 1))
    def restart(self, side):
        self.break_stream()
        self.sides[side].epoch += 1
        self.sides[side].start()

    @invariant()
    def order_is_kept_and_nothing_is_taken_twice(self):
        for side in self.sides:
            assert side.journal == sorted(set(side.journal))

    @invariant()
    def an_outcome_is_of_what_was_taken(self):
        for side, other in (self.sides, reversed(self.sides)):
            assert side.ended <= other.settled

    def teardown(self):
        """When the weather clears, everything arrives and everything has an outcome."""
        self.windows.undo()
        if not hasattr(self, "sides"):
            return
        if not self.is_connected:
            self.connect()
        for _ in range(20 + self.count):
            for side in (0, 1):
                self.write(side)
                while self.flying[side]:
                    self.read(side)
            for side in self.sides:
                while side.uncommitted:
                    side.commit()
                for message_id in list(side.under_way):
                    side.finish(message_id)
            if not any(side.open for side in self.sides):
                break
        for side, other in (self.sides, reversed(self.sides)):
            assert not side.open, "everything has an outcome"
            assert set(other.journal) == side.ended, "nothing is lost"


Links.TestCase.settings = settings(
    max_examples=150,
    stateful_step_count=60,
    deadline=None,
    # Shrinking sixty steps would take longer than the whole suite may.
    phases=(Phase.explicit, Phase.reuse, Phase.generate),
)
TestLinks = Links.TestCase
