"""Keys of a whole ring: what is asked, who answered, and what follows."""

import random
from base64 import b64encode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from caxton_cluster.errors import MalformedPacket
from caxton_cluster.overlay import Publish, Spread, Tell
from caxton_cluster.serf.messages import (
    KeyAnswer,
    QueryResponse,
    decode_key_answer,
    decode_serf,
    encode_key_request,
    encode_serf,
)
from caxton_cluster.serf.overlay import KeyOperation, SerfAnswer, SerfOverlay
from caxton_cluster.serf.tally import KeyTally
from caxton_cluster.swim.events import UserMessage
from caxton_cluster.swim.secrecy import KeyRing
from caxton_cluster.types import Address

ME, OTHER = Address.of("10.0.0.1", 7946), Address.of("10.0.0.2", 7946)
KEY, NEW_KEY = b"k" * 16, b"n" * 32
KEY_TEXT, NEW_TEXT = b64encode(KEY), b64encode(NEW_KEY)


def overlay(name: str) -> SerfOverlay:
    return SerfOverlay(name, KeyRing([KEY], random.Random(1).randbytes))


def test_a_question_is_done_by_the_asker_and_by_whoever_hears_it():
    asker, other = overlay("me"), overlay("other")

    spread, own = asker.ask(7, KeyOperation.INSTALL, encode_key_request(NEW_KEY), ME)
    assert own == Publish(SerfAnswer(7, "me", KeyAnswer(is_done=True)))
    actions = other.hear(UserMessage(spread.payload))
    (told,) = [action for action in actions if isinstance(action, Tell)]
    assert told.target == ME
    assert asker.hear(UserMessage(told.payload)) == [
        Publish(SerfAnswer(7, "other", KeyAnswer(is_done=True)))
    ]


def test_an_answer_to_nothing_that_we_asked_is_let_drop():
    answer = QueryResponse(1, 99, "other", encode_serf(KeyAnswer(is_done=True)))

    assert overlay("me").hear(UserMessage(encode_serf(answer))) == []


def test_a_question_of_ours_that_comes_back_is_not_asked_again():
    asker = overlay("me")
    spread, _ = asker.ask(7, KeyOperation.LIST, b"", ME)

    assert asker.hear(UserMessage(spread.payload)) == []


def test_a_question_for_some_is_answered_by_them_only():
    asker = overlay("me")
    actions = asker.ask(7, KeyOperation.LIST, b"", ME, only=("b", "c"))

    (spread,) = actions
    for name, is_asked in (("a", False), ("b", True), ("c", True)):
        told = [a for a in overlay(name).hear(UserMessage(spread.payload)) if isinstance(a, Tell)]
        assert bool(told) == is_asked


def test_too_many_names_for_a_datagram_ask_everyone():
    names = tuple(f"a-rather-long-name-of-a-node-{number}" for number in range(100))

    spread = overlay("me").ask(7, KeyOperation.LIST, b"", ME, only=names)[0]

    assert isinstance(spread, Spread)
    assert decode_serf(spread.payload).filters == ()


def listing(*keys: bytes) -> KeyAnswer:
    return KeyAnswer(is_done=True, keys=keys, primary=keys[0])


def test_a_report_counts_holders_and_users():
    tally = KeyTally(("a", "b", "c"))
    tally.hear("a", listing(KEY_TEXT, NEW_TEXT))
    tally.hear("b", listing(NEW_TEXT))

    report = tally.report()

    assert report.holder_counts == {KEY_TEXT: 1, NEW_TEXT: 2}
    assert report.user_counts == {KEY_TEXT: 1, NEW_TEXT: 1}
    assert (report.done, report.silent, report.is_complete) == (("a", "b"), ("c",), False)


def test_a_report_says_who_would_not_and_why():
    tally = KeyTally(("a",))
    tally.hear("a", KeyAnswer(is_done=False, text="full"))

    assert tally.report().failed == {"a": "full"}
    assert not tally.report().is_complete


def test_a_member_counts_once_and_a_stranger_never():
    tally = KeyTally(("a",))
    for name in ("stranger", "a", "a"):
        tally.hear(name, listing(KEY_TEXT))

    assert tally.report().done == ("a",)
    assert tally.report().holder_counts == {KEY_TEXT: 1}


def test_a_key_that_is_named_twice_by_one_is_held_once():
    tally = KeyTally(("a",))
    tally.hear("a", listing(KEY_TEXT, KEY_TEXT))

    assert tally.report().holder_counts == {KEY_TEXT: 1}


def test_an_answer_comes_back_as_it_was_given():
    answer = KeyAnswer(is_done=True, text="", keys=(KEY_TEXT, NEW_TEXT), primary=KEY_TEXT)

    assert decode_key_answer(encode_serf(answer)) == answer


@pytest.mark.parametrize("key", [b"no base64!", b64encode(b"short"), 7])
def test_a_key_that_is_none_makes_an_answer_malformed(key):
    answer = KeyAnswer(is_done=True, keys=(key,))

    with pytest.raises(MalformedPacket):
        decode_key_answer(encode_serf(answer))


@given(st.binary(max_size=80))
def test_any_answer_is_read_or_malformed(data):
    for payload in (data, b"\x08" + data):
        try:
            decode_key_answer(payload)
        except MalformedPacket:
            continue
