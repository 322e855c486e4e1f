"""The checker of fault runs must itself find what is wrong."""

import pytest

from tests.ledger import Effect, Ledger, Sent, faults


def sent(number, *, mode="at_least_once", conversation="c", is_accepted=True):
    return Sent(f"m{number}", conversation, number, mode, is_accepted)


def good():
    return Ledger(
        sent=[sent(1), sent(2, mode="exactly_once"), sent(3)],
        effects=[Effect(10, "m1", "a"), Effect(20, "m2", "a"), Effect(30, "m3", "b")],
        ends={"m1": "delivered", "m2": "delivered", "m3": "delivered"},
    )


def test_a_good_run_has_no_faults():
    assert faults(good()) == []


@pytest.mark.parametrize("node", ["a", "b"])
def test_a_repeated_turn_is_a_fault_where_once_was_asked(node):
    ledger = good()
    ledger.effects.append(Effect(40, "m1", "b"))
    assert faults(ledger) == []
    ledger.effects.append(Effect(50, "m2", node))
    assert faults(ledger) == [f"m2 was sent exactly_once and took effect on ['a', '{node}']"]


@pytest.mark.parametrize(
    ("end", "said"),
    [
        (None, "m1 was accepted and no node knows it"),
        ("accepted", "m1 was accepted and has no end: accepted"),
    ],
)
def test_a_message_without_an_end_is_a_fault(end, said):
    ledger = good()
    del ledger.ends["m1"]
    if end is not None:
        ledger.ends["m1"] = end
    assert faults(ledger) == [said]


def test_a_delivery_that_nobody_saw_is_a_fault():
    ledger = good()
    del ledger.effects[0]
    assert faults(ledger) == ["m1 is said to be delivered and no agent took a turn for it"]


def test_a_dead_letter_needs_no_turn():
    ledger = good()
    del ledger.effects[0]
    ledger.ends["m1"] = "dead"
    assert faults(ledger) == []


def test_a_message_that_nobody_confirmed_may_be_gone():
    ledger = good()
    ledger.sent.append(sent(4, is_accepted=False))
    assert faults(ledger) == []


def test_a_turn_for_a_message_of_nobody_is_a_fault():
    ledger = good()
    ledger.effects.append(Effect(40, "m9", "b"))
    assert faults(ledger) == ["m9 took effect and nobody sent it"]


def test_a_later_message_of_a_conversation_must_not_come_first():
    ledger = good()
    ledger.effects[2] = Effect(5, "m3", "b")
    assert faults(ledger) == ["in c, m3 took effect before m1"]


def test_what_must_happen_once_may_be_overtaken():
    ledger = good()
    ledger.effects[2] = Effect(15, "m3", "b")
    assert faults(ledger) == []


def test_conversations_do_not_wait_for_each_other():
    ledger = good()
    ledger.sent[2] = sent(3, conversation="d")
    ledger.effects[2] = Effect(5, "m3", "b")
    assert faults(ledger) == []
