"""The 22 acts, and every way to spell them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from caxton_node.domain.performatives import (
    ANSWERABLE,
    NEGATIVE,
    Performative,
    parse_performative,
    positive_reply,
)


def test_fipa_has_twenty_two_acts():
    assert len(Performative) == 22


@given(act=st.sampled_from(Performative), data=st.data())
def test_an_act_is_understood_in_any_case_and_hyphenation(act, data):
    characters = [
        data.draw(st.sampled_from("-_ ")) if letter == "_" else data.draw(_either_case(letter))
        for letter in act.value
    ]
    assert parse_performative("".join(characters)) is act


def _either_case(letter):
    return st.sampled_from([letter.lower(), letter.upper()])


@pytest.mark.parametrize(
    ("spelling", "act"),
    [
        ("query", Performative.QUERY_REF),
        ("QUERY", Performative.QUERY_REF),
        ("call-for-proposal", Performative.CFP),
        ("  inform\n", Performative.INFORM),
    ],
)
def test_other_names_are_understood_too(spelling, act):
    assert parse_performative(spelling) is act


@given(st.text())
def test_any_text_is_an_act_or_none(text):
    act = parse_performative(text)
    assert act is None or parse_performative(act.value) is act


@pytest.mark.parametrize("text", ["", "requests", "inform__if", "do"])
def test_what_is_no_act_is_none(text):
    assert parse_performative(text) is None


def test_no_act_both_asks_and_says_no():
    assert not ANSWERABLE & NEGATIVE


@pytest.mark.parametrize("act", sorted(ANSWERABLE))
def test_saying_yes_neither_asks_the_same_again_nor_says_no(act):
    reply = positive_reply(act)
    assert reply != act
    assert reply not in NEGATIVE
