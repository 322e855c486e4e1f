"""What goes along when an agent is left to another node, and what ends here."""

import pytest

from caxton_node.domain.agent import AgentKind, AgentSpec, AgentState
from caxton_node.domain.capability import Capability
from caxton_node.domain.message import Message
from caxton_node.domain.performatives import Performative
from caxton_node.forwarding.handover import TURN_END_S, Handover
from caxton_node.routing.envelope import RETRYING, Envelope
from caxton_node.runtime.seat import RunningTurn, Seat, Tenant

SPEC = AgentSpec(name="Ada", capabilities=(Capability("test"),), kind=AgentKind.PYTHON)


def envelope(seq, conversation="c", **more):
    message = Message(
        id=f"msg-{seq}",
        performative=Performative.REQUEST,
        sender="client",
        receiver="Ada",
        content=b"null",
        conversation_id=conversation,
        created_at=0,
    )
    return Envelope(seq, message, **more)


class Stage:
    """A seat, and everything that leaves it."""

    def __init__(self):
        self.routed, self.dismissed, self.woken = [], [], []
        self.seat = Seat(
            tenant=Tenant(SPEC, None, 1),
            state=AgentState.RUNNING,
            deployed_at=0,
            spawn=self.woken.append,
            on_cancel=lambda *_: None,
            on_late=lambda *_: None,
        )
        self.handover = Handover(reroute=self.routed.extend, dismiss=self.dismiss)

    def dismiss(self, seat):
        seat.is_dismissed = True
        self.dismissed.append(seat)

    def waits(self, *envelopes):
        for one in envelopes:
            assert self.seat.reserve(True)
            self.seat.mailbox.put(one)

    def runs(self, one):
        self.waits(one)
        taken = self.seat.mailbox.take()
        assert taken is one
        self.seat.running[one.message.conversation_id] = RunningTurn(one, None, 0, None)

    def ends(self, conversation):
        del self.seat.running[conversation]
        self.seat.mailbox.release(conversation)

    @property
    def seqs(self):
        return [one.seq for one in self.routed]


@pytest.fixture
def stage():
    return Stage()


def test_what_waits_goes_in_order_of_acceptance(stage):
    stage.waits(envelope(3, "x"), envelope(1, "y"), envelope(4, "y"), envelope(2, "z"))
    stage.handover.begin(stage.seat, 0.0)
    assert stage.seqs == [1, 2, 3, 4]
    assert stage.dismissed == [stage.seat]
    assert len(stage.handover) == 0


def test_nothing_goes_while_a_turn_runs_and_no_new_one_begins(stage):
    stage.runs(envelope(1, "x"))
    stage.waits(envelope(2, "x"), envelope(3, "y"))
    stage.handover.begin(stage.seat, 0.0)
    stage.handover.advance(TURN_END_S - 0.1)
    assert stage.routed == []
    assert stage.seat.next() is None
    stage.ends("x")
    stage.handover.advance(TURN_END_S - 0.05)
    assert stage.seqs == [2, 3]
    assert stage.dismissed == [stage.seat]


def test_after_a_while_other_conversations_go_without_waiting_for_a_long_turn(stage):
    stage.runs(envelope(1, "x"))
    stage.waits(envelope(2, "x"), envelope(3, "y"))
    stage.handover.begin(stage.seat, 0.0)
    stage.handover.advance(TURN_END_S)
    assert stage.seqs == [3]
    assert stage.dismissed == []
    assert stage.seat.is_running, "what stays is worked off here"
    stage.ends("x")
    assert stage.seat.next().seq == 2
    stage.handover.advance(TURN_END_S + 1)
    assert stage.dismissed == [stage.seat]


def test_what_was_begun_here_ends_here_with_its_conversation(stage):
    begun, behind = envelope(1, "x", attempts=1), envelope(2, "x")
    stage.waits(begun, behind, envelope(3, "y", is_recovered=True), envelope(4, "z"))
    stage.handover.begin(stage.seat, 0.0)
    assert stage.seqs == [4]
    assert stage.seat.is_running
    assert len(stage.handover) == 1


def test_what_is_between_two_attempts_keeps_the_seat(stage):
    one = envelope(1, "x")
    stage.runs(one)
    stage.seat.running.clear()
    one.phase = RETRYING
    stage.seat.retrying["x"] = one
    stage.waits(envelope(2, "y"))
    stage.handover.begin(stage.seat, 0.0)
    assert stage.routed == []
    stage.handover.advance(TURN_END_S)
    assert stage.seqs == [2]
    assert stage.dismissed == []


def test_what_was_being_journaled_meanwhile_follows(stage):
    assert stage.seat.reserve(True)
    stage.handover.begin(stage.seat, 0.0)
    assert stage.dismissed == [stage.seat]
    stage.seat.put(envelope(7))
    assert stage.seqs == [7]
