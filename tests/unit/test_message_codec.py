"""The packed message: what was written is read, in every version, and junk is only malformed."""

from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from caxton_node.domain.delivery import DeliveryMode, RoutingStrategy
from caxton_node.domain.message import (
    Message,
    decode_message,
    encode_away,
    encode_content,
    encode_message,
)
from caxton_node.domain.performatives import Performative

GOLDEN = Path(__file__).resolve().parents[1] / "golden" / "message"

# Surrogates have no UTF-8; no parser lets them in.
TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
MAYBE = st.none() | TEXT
INSTANT = st.integers(min_value=0, max_value=2**53)
INTEGER = st.integers(min_value=-(2**63), max_value=2**64 - 1)
JSON = st.recursive(
    st.none() | st.booleans() | INTEGER | st.floats(allow_nan=False, allow_infinity=False) | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=8,
)
MESSAGES = st.builds(
    Message,
    id=TEXT,
    performative=st.sampled_from(Performative),
    sender=TEXT,
    receiver=TEXT,
    content=JSON.map(encode_content),
    conversation_id=TEXT,
    reply_with=MAYBE,
    in_reply_to=MAYBE,
    protocol=MAYBE,
    reply_by=st.none() | INSTANT,
    language=MAYBE,
    ontology=MAYBE,
    capability=MAYBE,
    routing_strategy=st.sampled_from(RoutingStrategy),
    delivery=st.sampled_from(DeliveryMode),
    created_at=INSTANT,
    traceparent=MAYBE,
    metadata=st.none() | st.dictionaries(TEXT, JSON, max_size=3),
    reply_to=MAYBE,
    encoding=MAYBE,
    home=MAYBE,
)
FULL = Message(
    id="msg-0mfa3k2v9qw7x0a1b-0000000f",
    performative=Performative.REQUEST,
    sender="client",
    receiver="DataAnalyzer",
    content=b'{"action":"analyze","rows":[1,2.5,null]}',
    conversation_id="conv-1",
    reply_with="req-1",
    in_reply_to="req-0",
    protocol="fipa-request",
    reply_by=1_767_225_600_000,
    language="json",
    ontology="caxton-core",
    capability="data-analysis",
    routing_strategy=RoutingStrategy.LOAD_BALANCED,
    delivery=DeliveryMode.EXACTLY_ONCE,
    created_at=1_767_225_500_123,
    traceparent="00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
    metadata={"model": "offline", "tokens": 42},
    reply_to="auditor",
    encoding="utf-8",
    home="node-1",
)


@given(MESSAGES)
def test_a_message_is_read_as_it_was_written(message):
    assert decode_message(encode_message(message)) == message


def test_the_bytes_of_version_2_are_still_written():
    assert encode_message(FULL).hex() == (GOLDEN / "v2.hex").read_text().strip()


def test_the_bytes_of_version_2_are_still_read():
    assert decode_message(bytes.fromhex((GOLDEN / "v2.hex").read_text())) == FULL


def test_the_bytes_of_version_1_are_still_read():
    before_homes = msgspec.structs.replace(FULL, home=None)
    assert decode_message(bytes.fromhex((GOLDEN / "v1.hex").read_text())) == before_homes


@given(MESSAGES)
def test_a_message_that_leaves_has_a_home_and_keeps_the_one_it_has(message):
    away = decode_message(encode_away(message, msgspec.msgpack.encode("here")))
    home = "here" if message.home is None else message.home
    assert away == msgspec.structs.replace(message, home=home)


def test_every_field_of_the_golden_message_differs_from_its_default():
    same = [
        field.name
        for field in msgspec.structs.fields(Message)
        if field.default is not msgspec.NODEFAULT and getattr(FULL, field.name) == field.default
    ]
    assert same == []


@given(MESSAGES, st.data())
def test_a_shorter_array_of_an_older_version_takes_defaults(message, data):
    values = msgspec.to_builtins(message, builtin_types=(bytes,))
    length = data.draw(st.integers(min_value=3, max_value=len(values)))
    read = msgspec.structs.asdict(decode_message(msgspec.msgpack.encode(values[:length])))
    fields = msgspec.structs.fields(Message)
    for field in fields[:length]:
        assert read[field.name] == getattr(message, field.name)
    for field in fields[length:]:
        assert read[field.name] == field.default


@given(MESSAGES, st.lists(JSON, min_size=1, max_size=3))
def test_a_longer_array_of_a_newer_version_is_read_without_the_news(message, news):
    values = msgspec.to_builtins(message, builtin_types=(bytes,))
    assert decode_message(msgspec.msgpack.encode([*values, *news])) == message


def read_or_malformed(data: bytes) -> None:
    try:
        decode_message(data)
    except msgspec.DecodeError:
        return


@given(st.binary(max_size=200))
def test_junk_is_malformed_and_nothing_worse(data):
    read_or_malformed(data)


@given(MESSAGES, st.data())
def test_a_damaged_message_is_malformed_and_nothing_worse(message, data):
    packed = bytearray(encode_message(message))
    for _ in range(data.draw(st.integers(min_value=1, max_value=3))):
        packed[data.draw(st.integers(0, len(packed) - 1))] = data.draw(st.integers(0, 255))
    read_or_malformed(bytes(packed[: data.draw(st.integers(0, len(packed)))]))


BEFORE_METADATA = encode_message(Message("m", Performative.INFORM, "s"))[:-3]


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(b"\x93\xa1\xff\xa6inform\xa1s", id="text that is not UTF-8"),
        pytest.param(BEFORE_METADATA + b"\x81\xa1k" + b"\x91" * 100_000, id="nested without end"),
        pytest.param(BEFORE_METADATA + b"\x81\xa1k\xd4\x05\x00\xc0\xc0", id="extension type"),
        pytest.param(b"\x93\xa1m\xa5shout\xa1s", id="unknown act"),
        pytest.param(b"\x92\xa1m\xa6inform", id="no sender"),
        pytest.param(b"\x93\xa1m\xa6inform\xa1s\x00", id="more than a message"),
        pytest.param(b"\x80", id="a map"),
        pytest.param(b"", id="nothing"),
    ],
)
def test_what_is_no_message_is_malformed(data):
    with pytest.raises(msgspec.DecodeError):
        decode_message(data)
