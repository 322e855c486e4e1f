"""Which messages are well formed, and what is said of the others."""

import msgspec
import pytest

from caxton_node.domain.errors import Rejected, TimedOut
from caxton_node.domain.message import CONTENT_BYTES_MAX, Message
from caxton_node.domain.performatives import Performative
from caxton_node.routing.validate import validate

GOOD = Message(
    id="m1",
    performative=Performative.REQUEST,
    sender="client",
    receiver="agent",
    conversation_id="c1",
)


def changed(**fields) -> Message:
    return msgspec.structs.replace(GOOD, **fields)


def test_a_well_formed_message_passes():
    validate(GOOD, now_ms=0)


@pytest.mark.parametrize(
    "fields",
    [
        {"receiver": "", "capability": "data-analysis.visual:v2"},
        {"metadata": {"a": 1}},
        {"protocol": "fipa-request", "reply_with": "r1", "reply_by": 10},
        {"receiver": "broadcast"},
        {"content": b"x" * CONTENT_BYTES_MAX},
    ],
)
def test_every_field_may_be_used(fields):
    validate(changed(**fields), now_ms=0)


@pytest.mark.parametrize(
    ("fields", "field", "rule"),
    [
        ({"sender": ""}, "sender", "required"),
        ({"id": ""}, "id", "required"),
        ({"conversation_id": ""}, "conversation_id", "required"),
        ({"receiver": ""}, "receiver", "one_destination"),
        ({"capability": "x"}, "receiver", "one_destination"),
        ({"receiver": "", "capability": "Not One"}, "capability", "capability_name"),
        ({"receiver": "topic://orders"}, "receiver", "unsupported"),
        ({"receiver": "a" * 257}, "receiver", "too_long"),
        ({"protocol": "p" * 257}, "protocol", "too_long"),
        ({"conversation_id": "c" * 257}, "conversation_id", "too_long"),
        ({"content": b"x" * (CONTENT_BYTES_MAX + 1)}, "content", "too_large"),
        ({"metadata": {str(n): n for n in range(65)}}, "metadata", "too_large"),
    ],
)
def test_a_broken_rule_is_named_with_its_field_and_a_fix(fields, field, rule):
    with pytest.raises(Rejected) as caught:
        validate(changed(**fields), now_ms=0)
    assert [(place.field, place.rule) for place in caught.value.places] == [(field, rule)]
    assert caught.value.places[0].fix


def test_all_broken_rules_are_told_at_once():
    with pytest.raises(Rejected) as caught:
        validate(changed(sender="", receiver="", language="x" * 300), now_ms=0)
    assert {place.field for place in caught.value.places} == {"sender", "receiver", "language"}


def test_a_message_whose_reply_by_has_passed_is_expired():
    with pytest.raises(TimedOut) as caught:
        validate(changed(reply_by=10), now_ms=10)
    assert caught.value.code == "expired"
