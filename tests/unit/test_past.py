"""What an agent looks back on, pieced together from the journals of several nodes."""

from hypothesis import given
from hypothesis import strategies as st

from caxton_node.domain.message import Message
from caxton_node.domain.performatives import Performative
from caxton_node.forwarding.pasts import PART_BYTES, parts_of, past_of
from caxton_node.runtime.past import Ended, Past, in_order, merged
from caxton_node.store.protocol import UsageTotal


def ended(name, settled_at, *, answers=None, seq=1, size_bytes=2, wants=None):
    message = Message(
        id=name,
        performative=Performative.INFORM,
        sender="someone",
        receiver="agent",
        conversation_id="c",
        content=b'"' + b"x" * (size_bytes - 2) + b'"',
        in_reply_to=answers,
        reply_with=wants,
    )
    return Ended(message, settled_at, seq)


def names(messages):
    return [one.id for one in messages]


def test_a_question_comes_before_its_answer_though_its_end_was_heard_of_later():
    told = [ended("a1", 10), ended("q2", 31), ended("a2", 30, answers="q2"), ended("q3", 40)]
    assert names(in_order(told)) == ["a1", "q2", "a2", "q3"]


def test_a_question_that_was_accepted_first_but_answered_second_comes_second():
    told = [
        ended("q1", 20, seq=1),
        ended("q2", 10, seq=2),
        ended("a2", 10, seq=3, answers="q2"),
        ended("a1", 20, seq=4, answers="q1"),
    ]
    assert names(in_order(told)) == ["q2", "a2", "q1", "a1"]


def test_an_answer_finds_its_question_under_the_name_that_was_asked_for():
    question = ended("q", 11, wants="req-1")
    assert names(in_order([ended("a", 10, answers="req-1"), question])) == ["q", "a"]


def test_an_answer_whose_question_is_too_long_ago_stands_where_it_ended():
    told = [ended("q2", 30), ended("a1", 10, answers="q1")]
    assert names(in_order(told)) == ["a1", "q2"]


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9), st.booleans()), max_size=12))
def test_the_order_is_the_same_whoever_told_first(rows):
    told = [
        ended(f"m{number}", at, seq=seq, answers=f"m{number - 1}" if is_answer else None)
        for number, (at, seq, is_answer) in enumerate(rows)
    ]
    assert in_order(told) == in_order(told[::-1])


def test_what_two_nodes_journaled_is_there_once_from_its_first_end():
    here, there = Past(ended=(ended("q", 20, seq=9),)), Past(ended=(ended("q", 10, seq=3),))
    [one] = merged((here, there)).ended
    assert (one.settled_at, one.seq) == (10, 3)


def test_spending_adds_up():
    part = Past(in_conversation=UsageTotal(1, 2, 0.5), today=UsageTotal(10, 20, 1.5))
    both = merged((part, part))
    assert both.in_conversation == UsageTotal(2, 4, 1.0)
    assert both.today == UsageTotal(20, 40, 3.0)


def test_a_past_arrives_as_it_was_sent():
    past = Past(
        ended=tuple(ended(f"m{n}", n, seq=n, size_bytes=PART_BYTES // 3) for n in range(1, 9)),
        in_conversation=UsageTotal(1, 2, 0.25),
        today=UsageTotal(3, 4, 0.5),
    )
    parts = list(parts_of(past, bytes_max=10 * PART_BYTES))
    assert len(parts) > 1
    arrived = merged(past_of(part) for part in parts)
    assert set(names(in_order(arrived.ended))) == set(names(in_order(past.ended)))
    assert (arrived.in_conversation, arrived.today) == (past.in_conversation, past.today)


def test_of_a_long_past_the_latest_is_sent():
    past = Past(ended=tuple(ended(f"m{n}", n, size_bytes=1_000) for n in range(10)))
    arrived = merged(past_of(part) for part in parts_of(past, bytes_max=4_000))
    assert names(in_order(arrived.ended)) == ["m7", "m8", "m9"]
