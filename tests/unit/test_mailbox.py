"""The mailbox: bounded, fair between conversations, in order within each."""

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from caxton_node.domain.message import Message
from caxton_node.domain.performatives import Performative
from caxton_node.routing.envelope import Envelope
from caxton_node.runtime.mailbox import Mailbox


def envelope(number: int, conversation: str = "c") -> Envelope:
    message = Message(
        id=f"m{number}",
        performative=Performative.INFORM,
        sender="s",
        receiver="r",
        conversation_id=conversation,
    )
    return Envelope(number, message)


def put(mailbox: Mailbox, one: Envelope) -> None:
    assert mailbox.reserve(False)
    mailbox.put(one)


def test_a_full_mailbox_refuses_a_slot():
    mailbox = Mailbox(2)
    put(mailbox, envelope(1))
    assert mailbox.reserve(False)
    assert not mailbox.reserve(False)


def test_a_forced_slot_goes_above_the_bound():
    mailbox = Mailbox(1)
    put(mailbox, envelope(1))
    assert mailbox.reserve(True)


def test_a_slot_given_back_can_be_taken_again():
    mailbox = Mailbox(1)
    assert mailbox.reserve(False)
    mailbox.unreserve()
    assert mailbox.reserve(False)


def test_a_second_message_of_a_conversation_waits_until_the_first_is_released():
    mailbox = Mailbox(10)
    put(mailbox, envelope(1))
    put(mailbox, envelope(2))
    assert mailbox.take().seq == 1
    assert mailbox.take() is None
    mailbox.release("c")
    assert mailbox.take().seq == 2


def test_another_conversation_does_not_wait():
    mailbox = Mailbox(10)
    put(mailbox, envelope(1, "a"))
    put(mailbox, envelope(2, "a"))
    put(mailbox, envelope(3, "b"))
    assert [mailbox.take().seq, mailbox.take().seq] == [1, 3]


def test_conversations_take_turns():
    mailbox = Mailbox(10)
    for number, conversation in enumerate("aaab", start=1):
        put(mailbox, envelope(number, conversation))
    taken = []
    while (one := mailbox.take()) is not None:
        taken.append(one.seq)
        mailbox.release(one.message.conversation_id)
    assert taken == [1, 4, 2, 3]


def test_a_message_put_back_comes_before_the_rest_of_its_conversation():
    mailbox = Mailbox(10)
    put(mailbox, envelope(1))
    put(mailbox, envelope(2))
    first = mailbox.take()
    mailbox.put_back(first)
    assert mailbox.take() is first


def test_a_message_that_ends_while_it_waits_frees_its_slot_and_its_conversation():
    mailbox = Mailbox(2)
    put(mailbox, envelope(1))
    put(mailbox, envelope(2))
    first = next(iter(mailbox.waiting()))
    mailbox.discard(first)
    assert mailbox.reserve(False)
    assert mailbox.take().seq == 2


class MailboxAgainstAModel(RuleBasedStateMachine):
    """Any sequence of puts, takes, releases and put-backs keeps the promises."""

    def __init__(self) -> None:
        super().__init__()
        self.mailbox = Mailbox(8)
        self.waiting: dict[str, list[int]] = {}
        self.in_turn: dict[str, Envelope] = {}
        self.count = 0

    @rule(conversation=st.sampled_from("abc"))
    def arrive(self, conversation: str) -> None:
        has_room = sum(len(lane) for lane in self.waiting.values()) < 8
        assert self.mailbox.reserve(False) == has_room
        if has_room:
            self.count += 1
            self.mailbox.put(envelope(self.count, conversation))
            self.waiting.setdefault(conversation, []).append(self.count)

    @rule()
    def take(self) -> None:
        one = self.mailbox.take()
        free = [c for c, lane in self.waiting.items() if lane and c not in self.in_turn]
        if one is None:
            assert not free
            return
        conversation = one.message.conversation_id
        assert conversation in free
        assert self.waiting[conversation].pop(0) == one.seq
        self.in_turn[conversation] = one

    @precondition(lambda self: self.in_turn)
    @rule(data=st.data())
    def end_a_turn(self, data) -> None:
        conversation = data.draw(st.sampled_from(sorted(self.in_turn)))
        del self.in_turn[conversation]
        self.mailbox.release(conversation)

    @precondition(lambda self: any(self.waiting.values()))
    @rule(data=st.data())
    def end_while_waiting(self, data) -> None:
        one = data.draw(st.sampled_from(sorted(self.mailbox.waiting(), key=lambda e: e.seq)))
        self.mailbox.discard(one)
        self.waiting[one.message.conversation_id].remove(one.seq)

    @precondition(lambda self: self.in_turn)
    @rule(data=st.data())
    def put_back(self, data) -> None:
        conversation = data.draw(st.sampled_from(sorted(self.in_turn)))
        one = self.in_turn.pop(conversation)
        self.mailbox.put_back(one)
        self.waiting.setdefault(conversation, []).insert(0, one.seq)

    @invariant()
    def nothing_is_lost(self) -> None:
        held = sorted(one.seq for one in self.mailbox.waiting())
        assert held == sorted(seq for lane in self.waiting.values() for seq in lane)
        assert len(self.mailbox) == len(held)


TestMailboxAgainstAModel = MailboxAgainstAModel.TestCase
TestMailboxAgainstAModel.settings = settings(max_examples=60, stateful_step_count=40)
