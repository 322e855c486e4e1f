"""Which messages wait behind earlier ones that are on another node, and how long."""

import pytest

from caxton_node.domain.message import Message
from caxton_node.domain.performatives import Performative
from caxton_node.forwarding.inbox import RemoteInbox
from caxton_node.forwarding.order import BEHIND_S, ConversationOrder
from caxton_node.forwarding.remote_agent import RemoteAgent
from caxton_node.routing.envelope import Envelope
from caxton_node.routing.unplaced import Unplaced


class Clock:
    """Time that passes when the test says so."""

    def __init__(self):
        self.ms = 0
        self.alarms = []

    def now_ms(self):
        return self.ms

    def call_later(self, delay_s, callback):
        self.alarms.append((self.ms + delay_s * 1000, callback))

    def pass_s(self, seconds):
        self.ms += int(seconds * 1000)
        due = [one for one in self.alarms if one[0] <= self.ms]
        self.alarms = [one for one in self.alarms if one[0] > self.ms]
        for _, callback in due:
            callback()


class Stage:
    """Two other nodes, what is out at them, and who is looked at again."""

    def __init__(self):
        self.clock = Clock()
        self.unplaced = Unplaced(lambda *_: None)
        self.out = []
        self.looked_at = []
        self.order = ConversationOrder(
            self.unplaced,
            self.clock,
            out=lambda inbox: [one for one in self.out if one.inbox is inbox],
            look_again=self.looked_at.append,
        )
        self.b, self.c = self.inbox("b"), self.inbox("c")

    def inbox(self, node):
        inbox = RemoteInbox(node, RemoteAgent(name="Ada"), None)
        self.order.know(inbox)
        return inbox

    def sends(self, inbox, seq, conversation="c", **more):
        one = envelope(seq, inbox, conversation, **more)
        inbox.outstanding += 1
        self.out.append(one)
        self.order.went(inbox, one)
        return one

    def ends(self, one):
        one.inbox.outstanding -= 1
        self.out.remove(one)
        self.order.came_back(one.inbox, one)

    def keeps(self, one):
        assert self.unplaced.reserve(True)
        self.unplaced.put(one)


def envelope(seq, inbox, conversation="c", act=Performative.REQUEST, **more):
    message = Message(
        id=f"msg-{seq}",
        performative=act,
        sender="client",
        receiver="Ada",
        content=b"null",
        conversation_id=conversation,
        created_at=0,
    )
    return Envelope(seq, message, inbox, **more)


@pytest.fixture
def stage():
    return Stage()


def test_a_message_goes_where_the_earlier_ones_are(stage):
    stage.sends(stage.b, 1)
    assert stage.order.detour(envelope(2, stage.b)) is None


def test_a_message_waits_for_earlier_ones_at_another_node(stage):
    stage.sends(stage.b, 1)
    assert stage.order.detour(envelope(2, stage.c)) is stage.unplaced
    assert stage.order.detour(envelope(3, stage.c, "other")) is None


def test_an_earlier_message_does_not_wait_for_a_later_one(stage):
    stage.sends(stage.b, 5)
    assert stage.order.detour(envelope(4, stage.c)) is None


def test_what_waits_goes_when_the_last_earlier_one_has_its_end(stage):
    first, second = stage.sends(stage.b, 1), stage.sends(stage.b, 2)
    late = envelope(3, stage.c)
    assert stage.order.detour(late) is stage.unplaced
    stage.keeps(late)
    stage.ends(first)
    stage.clock.pass_s(0)
    assert stage.looked_at == []
    stage.ends(second)
    stage.clock.pass_s(0)
    assert stage.looked_at == ["Ada"]
    assert stage.unplaced.take(("Ada",)) == [late]
    assert stage.order.detour(late) is None


def test_what_waits_is_not_overtaken(stage):
    first = stage.sends(stage.b, 1)
    stage.keeps(envelope(2, stage.c))
    stage.ends(first)
    assert stage.order.detour(envelope(3, stage.c)) is stage.unplaced
    assert stage.order.detour(envelope(1, stage.c)) is None


def test_what_is_sent_after_somebody_waits_counts_too(stage):
    first = stage.sends(stage.b, 1)
    assert stage.order.detour(envelope(9, stage.c)) is stage.unplaced
    second = stage.sends(stage.b, 2)
    stage.ends(first)
    assert stage.order.detour(envelope(9, stage.c)) is stage.unplaced
    stage.ends(second)
    assert stage.order.detour(envelope(9, stage.c)) is None


def test_one_that_waits_for_a_node_that_died_keeps_nobody_waiting(stage):
    stage.sends(stage.b, 1, sent_to="b")
    assert stage.order.detour(envelope(2, stage.c)) is None


def test_one_that_belongs_to_a_node_waits_for_nobody(stage):
    stage.sends(stage.b, 1)
    assert stage.order.detour(envelope(2, stage.c, sent_to="c")) is None


def test_what_calls_off_does_not_queue(stage):
    stage.sends(stage.b, 1)
    assert stage.order.detour(envelope(2, stage.c, act=Performative.CANCEL)) is None


def test_nobody_waits_for_ever(stage):
    stage.sends(stage.b, 1)
    late = envelope(2, stage.c)
    assert stage.order.detour(late) is stage.unplaced
    stage.clock.pass_s(BEHIND_S - 1)
    assert stage.order.detour(late) is stage.unplaced
    stage.clock.pass_s(1.2)
    assert stage.looked_at == ["Ada"]
    assert stage.order.detour(late) is None


def test_nothing_is_counted_while_nobody_waits(stage):
    one = stage.sends(stage.b, 1)
    assert stage.order.detour(envelope(2, stage.b)) is None
    assert stage.b.conversations is None
    stage.order.detour(envelope(2, stage.c))
    assert stage.b.conversations == {"c": {1}}
    stage.ends(one)
    assert stage.b.conversations is None
