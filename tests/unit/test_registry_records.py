"""Bytes of the registry: what is written is read, and whatever else comes is refused in one way."""

import itertools

import msgspec
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from caxton_cluster.errors import MalformedPacket
from caxton_cluster.registry import (
    AgentRecord,
    Delta,
    Digest,
    Entry,
    Owner,
    OwnerDigest,
    decode,
    encode,
)
from caxton_cluster.registry.records import (
    COUNT_MAX,
    FRAME_SIZE_BYTES_MAX,
    RECORD_SIZE_BYTES_MAX,
    pack_record,
    unpack_record,
    version_key,
)

COUNTS = st.integers(0, COUNT_MAX)
TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=30)
NAMES = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=30)
OWNERS = st.builds(Owner, NAMES, COUNTS)
ENTRIES = st.builds(Entry, NAMES, COUNTS, st.none() | st.binary(max_size=100))
DELTAS = st.builds(
    Delta,
    OWNERS,
    COUNTS,
    COUNTS,
    COUNTS,
    st.lists(ENTRIES, max_size=5).map(tuple),
    st.booleans(),
)
LINES = st.builds(OwnerDigest, OWNERS, COUNTS, COUNTS, COUNTS, st.integers(0, 2**64 - 1))
DIGESTS = st.builds(
    Digest, st.integers(0, 2**64 - 1), st.booleans(), st.lists(LINES, max_size=5).map(tuple)
)
RECORDS = st.builds(
    AgentRecord,
    NAMES,
    st.lists(NAMES, min_size=1, max_size=5).map(tuple),
    agent_version=TEXT,
    agent_epoch=COUNTS,
    state=TEXT,
    load=st.integers(0, 7),
    kind=TEXT,
    tenant=TEXT,
    labels=st.lists(st.tuples(TEXT, TEXT), max_size=3).map(tuple),
    definition_digest=st.binary(max_size=32),
    description=TEXT,
)


@given(DELTAS | DIGESTS)
def test_a_frame_survives_its_bytes(frame):
    assert decode(encode(frame)) == frame


@given(RECORDS)
def test_a_record_survives_its_bytes(record):
    assert unpack_record(pack_record(record)) == record


@given(st.binary(max_size=300))
@example(b"\x93\x01\xa1\xff\x00")
@example(b"\x91" * 100_000)
@example(b"\x94\x02\x00\xc3\xdd\xff\xff\xff\xff")
@example(b"\x94\x02\x00\xc3" + b"\x91" * 200_000)
@settings(max_examples=500)
def test_any_bytes_are_a_frame_or_refused(data):
    for read in (decode, unpack_record):
        try:
            read(data)
        except MalformedPacket:
            continue


@given(DELTAS | DIGESTS, st.data())
@settings(max_examples=300)
def test_damaged_bytes_are_a_frame_or_refused(frame, data):
    raw = bytearray(encode(frame))
    for _ in range(data.draw(st.integers(1, 4))):
        raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    try:
        decode(bytes(raw[: data.draw(st.integers(0, len(raw)))]))
    except MalformedPacket:
        return


@pytest.mark.parametrize(
    "fields",
    [
        (1, ["", 1], 0, 1, 0, []),
        (1, ["n" * 256, 1], 0, 1, 0, []),
        (1, ["n", -1], 0, 1, 0, []),
        (1, ["n", 2**63], 0, 1, 0, []),
        (1, ["n", 1], 0, 1, 0, [["a" * 65, 1, None]]),
        (1, ["n", 1], 0, 1, 0, [["a", 1, bytes(RECORD_SIZE_BYTES_MAX + 1)]]),
        (1, ["n", 1], 0, 1, 0, [["a", 1, "text"]]),
        (1, ["n", 1], 0, 1, 0),
        (2, -1, True, []),
        (2, 0, True, [[["n", 1], 0, 0, 0, 0]] * 4097),
        (3, 0),
    ],
)
def test_a_field_beyond_its_bounds_is_refused(fields):
    with pytest.raises(MalformedPacket):
        decode(msgspec.msgpack.encode(fields))


def test_a_frame_beyond_its_size_is_refused_unread():
    with pytest.raises(MalformedPacket, match="bytes"):
        decode(bytes(FRAME_SIZE_BYTES_MAX + 1))


def test_fields_that_a_later_release_adds_at_the_end_are_skipped():
    record = AgentRecord("a", ("echo",))
    fields = [*msgspec.msgpack.decode(pack_record(record)), {"new": [1, 2]}]

    assert unpack_record(msgspec.msgpack.encode(fields)) == record


def test_a_record_of_an_earlier_release_gets_defaults():
    assert unpack_record(msgspec.msgpack.encode(["a", ["echo"]])) == AgentRecord("a", ("echo",))


def test_versions_sort_as_semantic_versions_do():
    # The order of semver.org 2.0.0, item 11, and neighbours of ours.
    ordered = [
        "0.9.9", "1.0.0-alpha", "1.0.0-alpha.1", "1.0.0-alpha.beta", "1.0.0-beta", "1.0.0-beta.2",
        "1.0.0-beta.11", "1.0.0-rc.1", "1.0.0", "1.0.1-0", "1.0.1", "1.2.0", "1.10.0", "2.0.0",
    ]  # fmt: skip
    for lower, higher in itertools.pairwise(ordered):
        assert version_key(lower) < version_key(higher), (lower, higher)
    assert version_key("1.0.0+build.7") == version_key("1.0.0")


@given(TEXT, TEXT)
def test_any_two_versions_compare(one, other):
    first, second = version_key(one), version_key(other)
    assert (first < second) + (first == second) + (first > second) == 1
