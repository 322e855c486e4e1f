"""The digest of the layer above: how it travels, and who gets to hear it."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from caxton_cluster.config import lan
from caxton_cluster.errors import MetadataTooLarge
from caxton_cluster.serf.overlay import SerfOverlay
from caxton_cluster.swim.digest import DIGEST_SIZE_BYTES_MAX, Digests, from_ack, split_state
from caxton_cluster.swim.events import DigestHeard, UserState
from caxton_cluster.swim.machine import Machine
from caxton_cluster.swim.wire.codec import encode
from caxton_cluster.swim.wire.messages import Ack, Alive, Ping, PushPull
from caxton_cluster.swim.wire.wire import Wire
from caxton_cluster.types import Address, Member, Versions

ME, PEER = Address.of("10.0.0.1", 7946), Address.of("10.0.0.2", 7946)
WIRE = Wire()
LONGEST = bytes(DIGEST_SIZE_BYTES_MAX)


def machine(name: str = "me", peer: str = "peer", **options) -> Machine:
    own = Member(name=name, address=ME, incarnation=10)
    made = Machine(lan(), own, random=random.Random(1), now=0.0, wire=WIRE, **options)
    hear(made, Alive(5, peer, PEER, b"", Versions()))
    made.take_datagrams()
    made.take_events()
    return made


def hear(made: Machine, message) -> None:
    made.receive(WIRE.packets.encode([encode(message)]), PEER, 0.0)


def said(made: Machine, kind: type):
    return [
        message
        for datagram in made.take_datagrams()
        for message in WIRE.packets.decode(datagram.payload).messages
        if isinstance(message, kind)
    ]


def heard(made: Machine) -> list[DigestHeard]:
    return [event for event in made.take_events() if isinstance(event, DigestHeard)]


def pinged_by(made: Machine) -> int:
    """Let the machine ping its peer and return the number of its question."""
    at = made.wakeup_at()
    for _ in range(20):
        made.tick(at)
        pings = said(made, Ping)
        if pings:
            return pings[0].sequence
        at = made.wakeup_at()
    raise AssertionError("it never pinged")


def test_an_ack_to_a_member_carries_the_digest():
    made = machine()
    made.digests.set(b"v7")

    hear(made, Ping(3, "me", PEER, "peer"))

    (ack,) = said(made, Ack)
    assert from_ack("me", ack.payload) == DigestHeard("me", b"v7")


def test_an_ack_to_a_stranger_carries_none():
    made = machine()
    made.digests.set(b"v7")

    hear(made, Ping(3, "me", PEER, "nobody we know"))

    assert said(made, Ack) == [Ack(3)]


def test_an_ack_to_who_cannot_read_digests_carries_none():
    made = machine(is_digest_reader=lambda member: member.name != "peer")
    made.digests.set(b"v7")

    hear(made, Ping(3, "me", PEER, "peer"))

    assert said(made, Ack) == [Ack(3)]


def test_without_a_digest_an_ack_is_as_short_as_ever():
    made = machine()

    hear(made, Ping(3, "me", PEER, "peer"))

    assert said(made, Ack) == [Ack(3)]


def test_the_digest_on_an_ack_is_told_with_the_name_of_whom_we_asked():
    made = machine()

    hear(made, Ack(pinged_by(made), b"\xcdv9"))

    assert heard(made) == [DigestHeard("peer", b"v9")]


@pytest.mark.parametrize("payload", [b"", b"\x01serf's coordinate", b"\xcd" + LONGEST + b"!"])
def test_what_is_no_digest_on_an_ack_is_not_told(payload):
    made = machine()

    hear(made, Ack(pinged_by(made), payload))

    assert heard(made) == []


def test_an_exchange_of_tables_carries_the_digest_behind_the_overlays_state():
    made, peer = machine(), machine("peer", "me", user_state=lambda _: b"overlay")
    peer.digests.set(b"v8")
    peer.join([ME], 0.0)
    (exchange,) = peer.take_exchanges()

    made.serve(made.request_decoder().feed(exchange.request), 0.0)

    events = [event for event in made.take_events() if isinstance(event, UserState | DigestHeard)]
    assert events == [UserState(b"overlay", False), DigestHeard("peer", b"v8")]


def test_a_digest_of_a_stranger_or_of_ourselves_is_not_told():
    made = machine()
    for name in ("stranger", "me"):
        digests = Digests(name, lambda _: True)
        digests.set(b"v8")

        made.serve(PushPull((), False, digests.sign(b"")), 0.0)

    assert heard(made) == []


def test_serf_reads_its_state_as_if_there_were_no_digest():
    overlay = SerfOverlay("me")
    digests = Digests("me", lambda _: True)
    digests.set(LONGEST)

    assert not overlay.hear(UserState(digests.sign(overlay.user_state(False)), False))
    assert overlay.malformed_count == 0


def test_a_longer_digest_is_refused():
    digests = Digests("me", lambda _: True)
    digests.set(LONGEST)

    with pytest.raises(MetadataTooLarge):
        digests.set(LONGEST + b"!")


@given(st.binary(max_size=600), st.text(max_size=60), st.binary(min_size=1, max_size=512))
def test_any_state_comes_back_as_it_was_signed(state, name, digest):
    digests = Digests(name, lambda _: True)
    digests.set(digest)

    assert split_state(digests.sign(state)) == (state, DigestHeard(name, digest))


@given(st.binary(max_size=40))
def test_any_bytes_split_into_a_state_and_at_most_a_digest(data):
    for state in (data, data + b"\xcddg1"):
        rest, found = split_state(state)
        assert state.startswith(rest)
        assert found is not None or rest == state
