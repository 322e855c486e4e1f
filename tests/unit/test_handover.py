"""What goes along when an agent is left to another node, and what ends here."""

import pytest

from caxton_node.domain.agent import AgentKind, AgentSpec, AgentState
from caxton_node.domain.capability import Capability
from caxton_node.domain.message import Message
from caxton_node.domain.performatives import Performative
from caxton_node.forwarding.handover import Handover
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
        self.left = {}
        self.handover = Handover(reroute=self.routed.extend, dismiss=self.dismiss, left=self.left)

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
    stage.handover.begin(stage.seat)
    assert stage.seqs == [1, 2, 3, 4]
    assert stage.dismissed == [stage.seat]
    assert len(stage.handover) == 0
    assert stage.left == {}


def test_a_conversation_stays_closed_while_its_turn_runs_and_the_others_go(stage):
    stage.runs(envelope(1, "x"))
    stage.waits(envelope(2, "x"), envelope(3, "y"))
    stage.handover.begin(stage.seat)
    assert stage.seqs == [3]
    assert stage.left == {"Ada": [stage.seat]}
    assert stage.seat.holds("x")
    assert not stage.seat.holds("y")
    assert stage.seat.next() is None


def test_what_comes_behind_a_running_turn_goes_after_it_in_order(stage):
    stage.runs(envelope(1, "x"))
    stage.waits(envelope(2, "x"))
    stage.handover.begin(stage.seat)
    assert stage.seat.reserve(True)
    stage.seat.put(envelope(3, "x"))
    assert stage.routed == []
    stage.ends("x")
    assert stage.seat.next() is None
    assert stage.seqs == [2, 3]
    stage.handover.advance()
    assert stage.dismissed == [stage.seat]
    assert stage.left == {}


def test_what_was_begun_here_ends_here_and_what_is_behind_it_goes_then(stage):
    begun, behind = envelope(1, "x", attempts=1), envelope(2, "x")
    stage.waits(begun, behind, envelope(3, "y", is_recovered=True), envelope(4, "z"))
    stage.handover.begin(stage.seat)
    assert stage.seqs == [4]
    assert stage.seat.is_running
    assert len(stage.handover) == 1
    assert [stage.seat.next().seq, stage.seat.next().seq] == [1, 3]
    stage.seat.mailbox.release("x")
    stage.seat.mailbox.release("y")
    assert stage.seat.next() is None
    assert stage.seqs == [4, 2]


def test_what_is_between_two_attempts_keeps_the_seat(stage):
    one = envelope(1, "x")
    stage.runs(one)
    stage.seat.running.clear()
    one.phase = RETRYING
    stage.seat.retrying["x"] = one
    stage.waits(envelope(2, "x"), envelope(3, "y"))
    stage.handover.begin(stage.seat)
    stage.handover.advance()
    assert stage.seqs == [3]
    assert stage.dismissed == []


def test_an_agent_that_takes_no_turns_leaves_nothing_behind_but_what_nobody_else_may_judge(stage):
    stage.seat.state = AgentState.SUSPENDED
    stage.waits(envelope(1, "x", is_recovered=True), envelope(2, "y"))
    stage.waits(envelope(3, "z", is_recovered=True, begun_by="Ada"))
    stage.handover.begin(stage.seat)
    assert stage.seqs == [1, 2]
    assert stage.seat.next().seq == 3


def test_what_waits_behind_a_turn_of_a_suspended_agent_goes_when_it_is_over(stage):
    stage.runs(envelope(1, "x"))
    stage.waits(envelope(2, "x"))
    stage.seat.state = AgentState.SUSPENDED
    stage.handover.begin(stage.seat)
    stage.ends("x")
    stage.handover.advance()
    assert stage.seqs == [2]
    assert stage.dismissed == [stage.seat]


def test_what_was_being_journaled_meanwhile_follows(stage):
    assert stage.seat.reserve(True)
    stage.handover.begin(stage.seat)
    assert stage.dismissed == [stage.seat]
    stage.seat.put(envelope(7))
    assert stage.seqs == [7]
