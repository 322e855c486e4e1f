"""The serf overlay: what it says, what it passes on, and what it lets drop."""

import random
from base64 import b64encode

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from caxton_cluster.errors import MalformedPacket, MetadataTooLarge
from caxton_cluster.overlay import Publish, Spread, Tell
from caxton_cluster.serf.lamport import TIME_MAX, LamportClock
from caxton_cluster.serf.messages import (
    JoinIntent,
    LeaveIntent,
    State,
    UserEvent,
    decode_serf,
    encode_serf,
)
from caxton_cluster.serf.overlay import SerfOverlay, SerfUserEvent
from caxton_cluster.serf.tags import decode_tags, encode_tags
from caxton_cluster.swim.events import (
    MemberForgotten,
    MemberJoined,
    MemberLeft,
    UserMessage,
    UserState,
)
from caxton_cluster.swim.secrecy import KeyRing
from caxton_cluster.swim.wire.packing import pack, unpack
from caxton_cluster.types import Address, Member

ASKER = Address.of("10.0.0.9", 7946)
KEY, NEW_KEY = b"k" * 16, b"n" * 32


@pytest.fixture
def overlay() -> SerfOverlay:
    return SerfOverlay("me", KeyRing([KEY], random.Random(1).randbytes))


def hear(overlay: SerfOverlay, message) -> list:
    return overlay.hear(UserMessage(encode_serf(message)))


def query(name: str, *, time: int = 5, id_: int = 1, flags: int = 0, payload=b"", filters=()):
    fields = {
        b"LTime": time,
        b"ID": id_,
        b"Addr": ASKER.ip,
        b"Port": ASKER.port,
        b"SourceNode": b"asker",
        b"Filters": list(filters),
        b"Flags": flags,
        b"RelayFactor": 0,
        b"Timeout": 10**9,
        b"Name": name.encode(),
        b"Payload": payload,
    }
    return UserMessage(b"\x04" + pack(fields))


def answers(actions: list) -> list[dict]:
    """Return the decoded query responses among `actions`."""
    return [dict(unpack(action.payload[1:])) for action in actions if isinstance(action, Tell)]


def state(**changes) -> bytes:
    fields = {
        "time": 9,
        "status_times": (),
        "left": (),
        "event_time": 1,
        "query_time": 1,
        "events": (),
    }
    return encode_serf(State(**{**fields, **changes}))


# Tags.


@settings(deadline=None)
@given(st.dictionaries(st.text(max_size=8), st.text(max_size=8), max_size=8))
def test_tags_survive_the_metadata(tags):
    assert decode_tags(encode_tags(tags)) == tags


def test_metadata_without_the_marker_are_an_ancient_role():
    assert decode_tags(b"web") == {"role": "web"}


@settings(deadline=None)
@given(st.binary(max_size=100))
def test_any_metadata_read_as_some_tags(meta):
    assert isinstance(decode_tags(b"\xff" + meta), dict)


def test_tags_beyond_the_limit_are_refused():
    with pytest.raises(MetadataTooLarge):
        encode_tags({"a": "x" * 600})


# Clocks and intents.


def test_a_clock_never_falls_behind_what_it_heard():
    clock = LamportClock()
    clock.witness(41)
    clock.witness(3)

    assert clock.time == 42
    assert (clock.stamp(), clock.time) == (42, 43)


def test_an_intent_is_passed_on_once(overlay):
    intent = JoinIntent(7, "other")

    assert hear(overlay, intent) == [Spread(encode_serf(intent))]
    assert hear(overlay, intent) == []


def test_an_older_intent_is_not_passed_on(overlay):
    hear(overlay, LeaveIntent(7, "other"))

    assert hear(overlay, JoinIntent(6, "other")) == []


def test_a_leave_in_our_name_is_contradicted(overlay):
    (action,) = hear(overlay, LeaveIntent(50, "me"))

    assert decode_serf(action.payload) == JoinIntent(51, "me")


def test_our_own_leave_is_not_contradicted(overlay):
    (action,) = overlay.leaving()

    assert hear(overlay, decode_serf(action.payload)) == []


def test_a_peers_belief_that_we_left_is_contradicted(overlay):
    payload = state(status_times=(("me", 8),), left=("me",))

    (action,) = overlay.hear(UserState(payload, False))

    assert isinstance(decode_serf(action.payload), JoinIntent)


def test_who_left_and_who_came_back_is_in_our_state(overlay):
    member = Member(name="other", address=ASKER, incarnation=1)
    overlay.hear(MemberLeft(member))
    assert decode_serf(overlay.user_state(False)).left == ("other",)

    overlay.hear(MemberJoined(member))
    assert decode_serf(overlay.user_state(False)).left == ()


def test_a_leave_in_our_name_is_contradicted_once(overlay):
    """Its rumour comes many times over; each answer would be a rumour of its own."""
    assert hear(overlay, LeaveIntent(50, "me"))

    assert hear(overlay, LeaveIntent(50, "me")) == []
    assert overlay.hear(UserState(state(status_times=(("me", 50),), left=("me",)), False)) == []


def test_nothing_of_those_who_came_and_went_travels_on(overlay):
    before = overlay.user_state(False)
    for number in range(3000):
        member = Member(name=f"pod-{number}", address=ASKER, incarnation=1)
        overlay.hear(MemberJoined(member))
        hear(overlay, LeaveIntent(0, member.name))
        overlay.hear(MemberLeft(member))
        overlay.hear(MemberForgotten(member.name))

    assert overlay.user_state(False) == before


def test_what_a_peer_tells_of_a_member_that_we_forgot_is_not_told_on(overlay):
    """Two members would remind each other of it for ever."""
    overlay.hear(UserState(state(status_times=(("pod-1", 8),), left=("pod-1",)), False))

    assert decode_serf(overlay.user_state(False)).status_times == ()


def test_a_time_at_the_end_of_all_times_does_not_make_us_unreadable(overlay):
    hear(overlay, LeaveIntent(TIME_MAX, "other"))
    (action,) = overlay.joined()

    assert decode_serf(action.payload) == JoinIntent(TIME_MAX, "me")
    assert decode_serf(overlay.user_state(False)).time == TIME_MAX


def test_a_name_that_would_grow_when_mended_is_not_told_on(overlay):
    fields = {b"LTime": 1, b"StatusLTimes": {b"\xff" * 255: 5}}
    overlay.hear(UserState(b"\x02" + pack(fields), False))

    assert overlay.malformed_count == 1


# User events.


def test_a_user_event_is_published_and_passed_on_once(overlay):
    event = UserEvent(3, "deploy", b"v2")

    assert hear(overlay, event) == [
        Publish(SerfUserEvent("deploy", b"v2", 3)),
        Spread(encode_serf(event)),
    ]
    assert hear(overlay, event) == []


def test_two_events_of_one_time_are_two_events(overlay):
    hear(overlay, UserEvent(3, "deploy", b"v2"))

    assert hear(overlay, UserEvent(3, "deploy", b"v3"))


def test_an_event_of_ours_is_heard_by_ourselves(overlay):
    published, spread = overlay.send_event("deploy", b"v2")

    assert published == Publish(SerfUserEvent("deploy", b"v2", 1))
    assert decode_serf(spread.payload) == UserEvent(1, "deploy", b"v2")


def test_an_event_beyond_serfs_limit_is_refused(overlay):
    with pytest.raises(MetadataTooLarge, match="512"):
        overlay.send_event("deploy", b"x" * 510)


def test_an_ancient_event_is_let_drop(overlay):
    hear(overlay, UserEvent(1000, "new", b""))

    assert hear(overlay, UserEvent(400, "old", b"")) == []


def test_what_happened_before_we_joined_is_no_news(overlay):
    old = UserEvent(3, "deploy", b"v1")
    payload = state(event_time=5, events=(old,))

    assert overlay.hear(UserState(payload, True)) == []
    assert hear(overlay, old) == []
    assert hear(overlay, UserEvent(5, "deploy", b"v2"))


def test_an_event_missed_as_a_rumour_comes_with_the_table(overlay):
    payload = state(event_time=4, events=(UserEvent(3, "deploy", b"v2"),))

    published, _ = overlay.hear(UserState(payload, False))

    assert published == Publish(SerfUserEvent("deploy", b"v2", 3))


# Queries.


def test_a_query_is_acknowledged_and_passed_on_once(overlay):
    asked = query("anything", flags=1)
    spread, told = overlay.hear(asked)

    assert spread == Spread(asked.payload)
    assert told.target == ASKER
    (response,) = answers([told])
    assert (response[b"From"], response[b"Flags"], response[b"ID"]) == (b"me", 1, 1)
    assert overlay.hear(asked) == []


def test_a_query_for_others_is_only_passed_on(overlay):
    actions = overlay.hear(query("x", flags=1, filters=[b"\x00" + b"\x91\xa5other"]))

    assert [type(action) for action in actions] == [Spread]


def test_a_query_that_names_us_is_answered(overlay):
    actions = overlay.hear(query("x", flags=1, filters=[b"\x00" + b"\x91\xa2me"]))

    assert len(answers(actions)) == 1


def test_a_key_is_installed_used_and_removed_by_query(overlay):
    request = b"\x07" + pack({b"Key": NEW_KEY})
    for number, name in enumerate(("install", "use")):
        actions = overlay.hear(query(f"_serf_{name}-key", id_=number, payload=request))
        (response,) = answers(actions)
        assert unpack(response[b"Payload"][1:])[b"Result"] is True
    overlay.hear(
        query("_serf_remove-key", id_=9, payload=b"\x07" + pack({b"Key": KEY})),
    )

    (response,) = answers(overlay.hear(query("_serf_list-keys", id_=10)))
    assert unpack(response[b"Payload"][1:])[b"Keys"] == [b64encode(NEW_KEY)]


def test_a_key_that_cannot_be_removed_is_explained(overlay):
    request = b"\x07" + pack({b"Key": KEY})
    (response,) = answers(overlay.hear(query("_serf_remove-key", payload=request)))

    answer = unpack(response[b"Payload"][1:])
    assert answer[b"Result"] is False
    assert b"in use" in answer[b"Message"]


def test_a_member_without_keys_says_so():
    (response,) = answers(SerfOverlay("me").hear(query("_serf_list-keys")))

    assert b"not in use" in unpack(response[b"Payload"][1:])[b"Message"]


# Any bytes.


@settings(max_examples=300, deadline=None)
@given(st.integers(0, 9), st.binary(max_size=120))
def test_any_message_is_read_or_counted(kind, data):
    overlay = SerfOverlay("me")

    assert isinstance(overlay.hear(UserMessage(bytes((kind,)) + data)), list)
    assert isinstance(overlay.hear(UserState(bytes((kind,)) + data, False)), list)


def test_a_name_that_is_no_text_with_a_time_that_is_none_is_malformed():
    overlay = SerfOverlay("me")
    fields = {b"LTime": 1, b"StatusLTimes": {b"\x80": None}}

    assert overlay.hear(UserState(b"\x02" + pack(fields), False)) == []
    assert overlay.malformed_count == 1


fields_of_any_kind = st.dictionaries(
    st.sampled_from(
        [b"LTime", b"Node", b"Name", b"Payload", b"Events", b"StatusLTimes", b"LeftMembers",
         b"Addr", b"Port", b"ID", b"Flags", b"Filters", b"EventLTime", b"QueryLTime"]
    ),
    st.recursive(
        st.none() | st.integers(-5, 2**64 - 1) | st.binary(max_size=17) | st.booleans(),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.binary(max_size=4), inner),
        max_leaves=6,
    ),
    max_size=8,
)  # fmt: skip


@settings(max_examples=300, deadline=None)
@given(st.integers(0, 9), fields_of_any_kind)
def test_any_fields_are_read_or_counted(kind, fields):
    message = bytes((kind,)) + pack(fields)
    overlay = SerfOverlay("me")
    overlay.hear(UserMessage(message))
    overlay.hear(UserState(message, True))
    try:
        decode_serf(message)
    except MalformedPacket:
        return
