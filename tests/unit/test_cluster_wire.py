"""The memberlist wire: every layer both ways, and nothing but `MalformedPacket` on any bytes."""

import gc
import random
import tracemalloc
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from caxton_cluster.errors import KeyRejected, MalformedPacket, NotForUs, PacketTooLarge
from caxton_cluster.swim.secrecy import KeyRing
from caxton_cluster.swim.wire import compound, lzw
from caxton_cluster.swim.wire.codec import decode, encode
from caxton_cluster.swim.wire.compression import squeeze
from caxton_cluster.swim.wire.messages import (
    Ack,
    Alive,
    Dead,
    ErrorReply,
    IndirectPing,
    Message,
    Nack,
    Ping,
    PushPull,
    Record,
    Suspect,
    User,
)
from caxton_cluster.swim.wire.packet import PacketCodec
from caxton_cluster.swim.wire.packing import pack
from caxton_cluster.swim.wire.stream import StreamCodec
from caxton_cluster.types import INCARNATION_MAX, Address, MemberState, Versions

KEY = b"0123456789abcdef"
OTHER_KEY = b"fedcba9876543210fedcba9876543210"

uint32 = st.integers(0, 2**32 - 1)
incarnations = st.integers(0, INCARNATION_MAX)
names = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=60).filter(
    lambda name: len(name.encode()) <= 255
)
addresses = st.builds(
    Address,
    st.one_of(st.binary(min_size=4, max_size=4), st.binary(min_size=16, max_size=16)),
    st.integers(0, 65_535),
)
metas = st.binary(max_size=512)
versions = st.one_of(st.none(), st.builds(Versions, *([st.integers(0, 255)] * 6)))
sources = st.one_of(st.none(), addresses)
leaves = st.one_of(
    st.builds(Ping, uint32, names, sources, names),
    st.builds(IndirectPing, uint32, addresses, names, st.booleans(), sources, names),
    st.builds(Ack, uint32, st.binary(max_size=200)),
    st.builds(Nack, uint32),
    st.builds(Suspect, incarnations, names, names),
    st.builds(Alive, incarnations, names, addresses, metas, versions),
    st.builds(Dead, incarnations, names, names),
    st.builds(User, st.binary(max_size=200)),
    st.builds(ErrorReply, st.text(st.characters(codec="utf-8"), max_size=50)),
)
records = st.builds(
    Record, names, addresses, incarnations, st.sampled_from(MemberState), metas, versions
)
push_pulls = st.builds(
    PushPull, st.lists(records, max_size=5).map(tuple), st.booleans(), st.binary(max_size=300)
)
stream_messages = st.one_of(
    push_pulls,
    st.builds(User, st.binary(max_size=2000)),
    st.builds(Ping, uint32, names, sources, names),
    st.builds(ErrorReply, st.text(st.characters(codec="utf-8"), max_size=50)),
)


def key_ring(*keys: bytes, seed: int = 1) -> KeyRing:
    return KeyRing(keys or (KEY,), random.Random(seed).randbytes)


LAYERINGS = [
    pytest.param(label, is_secret, compresses, id=f"{label or 'plain'}-{is_secret}-{compresses}")
    for label in ("", "prod")
    for is_secret in (False, True)
    for compresses in (False, True)
]


@settings(deadline=None)
@given(leaves)
def test_a_leaf_message_survives_the_wire(message: Message):
    assert decode(encode(message)) == message


@pytest.mark.parametrize(("label", "is_secret", "compresses"), LAYERINGS)
@settings(max_examples=25, deadline=None)
@given(messages=st.lists(leaves, min_size=1, max_size=8), with_crc=st.booleans())
def test_a_datagram_survives_every_layering(label, is_secret, compresses, messages, with_crc):
    codec = PacketCodec(
        label=label, key_ring=key_ring() if is_secret else None, compresses=compresses
    )

    decoded = codec.decode(codec.encode([encode(m) for m in messages], with_crc=with_crc))

    assert decoded.messages == messages
    assert decoded.malformed_count == 0


@pytest.mark.parametrize(("label", "is_secret", "compresses"), LAYERINGS)
@settings(max_examples=25, deadline=None)
@given(message=stream_messages, cuts=st.lists(st.integers(1, 40), min_size=1, max_size=20))
def test_a_stream_is_understood_however_it_is_cut(label, is_secret, compresses, message, cuts):
    codec = StreamCodec(
        label=label, key_ring=key_ring() if is_secret else None, compresses=compresses
    )
    for data, decoder in (
        (codec.encode_request(message), codec.request_decoder()),
        (codec.encode_reply(message), codec.reply_decoder()),
    ):
        answers = []
        position = 0
        for cut in cuts:
            if position + cut < len(data):
                answers.append(decoder.feed(data[position : position + cut]))
                position += cut
        assert answers == [None] * len(answers)
        assert decoder.feed(data[position:]) == message


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=300), st.sampled_from([b"", b"\x07", b"\x09", b"\x0c", b"\x04", b"\x00"]))
def test_any_datagram_is_read_or_refused_as_malformed(data, start):
    for codec in (PacketCodec(), PacketCodec(label="prod"), PacketCodec(key_ring=key_ring())):
        try:
            codec.decode(start + data)
        except MalformedPacket:
            continue


@settings(max_examples=300, deadline=None)
@given(messages=st.lists(leaves, min_size=1, max_size=4), data=st.data())
def test_a_damaged_datagram_is_read_or_refused_as_malformed(messages, data):
    codec = PacketCodec(compresses=data.draw(st.booleans()))
    packet = bytearray(codec.encode([encode(message) for message in messages]))
    for _ in range(data.draw(st.integers(1, 4))):
        packet[data.draw(st.integers(0, len(packet) - 1))] = data.draw(st.integers(0, 255))
    try:
        codec.decode(bytes(packet))
    except MalformedPacket:
        return


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=300), st.sampled_from([b"", b"\x06", b"\x08", b"\x09", b"\x0a", b"\x0d"]))
def test_any_stream_is_read_or_refused_as_malformed(data, start):
    for codec in (StreamCodec(), StreamCodec(label="prod"), StreamCodec(key_ring=key_ring())):
        decoder = codec.request_decoder()
        try:
            decoder.feed(start + data[:100])
            decoder.feed(data[100:])
        except MalformedPacket:
            continue


@settings(deadline=None)
@given(st.binary(max_size=3000))
def test_compression_is_undone_exactly(data):
    assert lzw.decompress(lzw.compress(data), size_bytes_max=3000) == data


def test_compression_survives_a_full_code_table():
    data = random.Random(3).randbytes(20_000) + b"ab" * 20_000

    assert lzw.decompress(lzw.compress(data), size_bytes_max=len(data)) == data


def test_a_compression_bomb_stops_at_its_limit():
    with pytest.raises(PacketTooLarge):
        lzw.decompress(lzw.compress(bytes(100_000)), size_bytes_max=99_999)


def squeezed(state: bytes) -> bytes:
    """Return an empty table and `state`, squeezed, as on a stream."""
    return squeeze(StreamCodec().encode_reply(PushPull((), False, state)))


def unfolded(stream: bytes) -> PushPull:
    return StreamCodec().request_decoder().feed(stream)


def test_a_stream_that_unfolds_to_much_is_read_and_not_kept():
    size_bytes = 100_000
    streams = [squeezed(bytes((number,)) * size_bytes) for number in range(5)]
    gc.collect()
    tracemalloc.start()
    try:
        assert {len(unfolded(stream).user_state) for stream in streams} == {size_bytes}
        kept_bytes, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert kept_bytes < size_bytes


def test_a_stream_that_is_heard_again_says_the_same():
    stream = squeezed(b"state")

    assert unfolded(stream) == unfolded(stream) == PushPull((), False, b"state")


def test_many_small_bombs_in_one_datagram_share_one_limit():
    bomb = squeeze(bytes(60_000))

    decoded = PacketCodec().decode(
        compound.join([bomb, bomb, encode(Nack(1))]),
    )

    assert decoded.messages == [Nack(1)]
    assert decoded.malformed_count == 2


def test_compressed_data_without_an_end_is_malformed():
    with pytest.raises(MalformedPacket, match="end code"):
        lzw.decompress(lzw.compress(b"hello")[:-1], size_bytes_max=100)


def test_envelopes_nest_only_so_deep():
    packet = encode(Nack(1))
    for _ in range(6):
        packet = compound.join([packet])

    with pytest.raises(MalformedPacket, match="within each other"):
        PacketCodec().decode(packet)


def test_a_compound_cut_short_delivers_its_whole_parts():
    packet = compound.join([encode(Nack(1)), encode(Nack(2))])

    decoded = PacketCodec().decode(packet[:-1])

    assert decoded.messages == [Nack(1)]
    assert decoded.malformed_count == 1


def test_a_malformed_part_does_not_spoil_its_neighbours():
    packet = compound.join([encode(Nack(1)), b"\xf0", encode(Nack(2))])

    decoded = PacketCodec().decode(packet)

    assert decoded.messages == [Nack(1), Nack(2)]
    assert decoded.malformed_count == 1


def test_the_parts_of_a_compound_keep_their_order():
    parts = [compound.join([encode(Nack(1)), encode(Nack(2))]), encode(Nack(3))]

    decoded = PacketCodec().decode(compound.join(parts))

    assert decoded.messages == [Nack(1), Nack(2), Nack(3)]


def test_a_wrong_checksum_is_malformed():
    packet = bytearray(PacketCodec().encode([encode(Nack(1))], with_crc=True))
    packet[-1] ^= 1

    with pytest.raises(MalformedPacket, match="checksum"):
        PacketCodec().decode(bytes(packet))


def test_another_clusters_label_is_not_for_us():
    packet = PacketCodec(label="staging").encode([encode(Nack(1))])

    for codec in (PacketCodec(label="prod"), PacketCodec()):
        with pytest.raises(NotForUs):
            codec.decode(packet)


def test_a_packet_without_a_label_is_refused_where_one_is_required():
    with pytest.raises(NotForUs):
        PacketCodec(label="prod").decode(encode(Nack(1)))


def test_the_label_is_authenticated_under_encryption():
    sealed = PacketCodec(label="a", key_ring=key_ring()).encode([encode(Nack(1))])

    with pytest.raises(NotForUs):
        PacketCodec(label="b", key_ring=key_ring()).decode(b"\xf4\x01b" + sealed[3:])


def test_a_reply_stream_has_no_label_but_authenticates_it():
    codec = StreamCodec(label="prod", key_ring=key_ring())
    reply = codec.encode_reply(User(b"x"))

    assert reply[0] == 10
    assert codec.reply_decoder().feed(reply) == User(b"x")
    with pytest.raises(NotForUs):
        StreamCodec(label="dev", key_ring=key_ring()).reply_decoder().feed(reply)


def test_plaintext_is_refused_by_a_member_with_keys():
    codec = StreamCodec(key_ring=key_ring())

    with pytest.raises(NotForUs, match="not encrypted"):
        codec.request_decoder().feed(StreamCodec().encode_request(User(b"x")))


def test_an_encrypted_stream_is_refused_by_a_member_without_keys():
    with pytest.raises(NotForUs, match="no keys"):
        StreamCodec().request_decoder().feed(
            StreamCodec(key_ring=key_ring()).encode_request(User(b"x"))
        )


def test_a_stream_that_announces_too_much_is_refused_at_once():
    with pytest.raises(PacketTooLarge):
        StreamCodec(key_ring=key_ring()).request_decoder().feed(b"\x0a\xff\xff\xff\xff")
    with pytest.raises(MalformedPacket):
        StreamCodec().request_decoder().feed(b"\x06" + pack({b"Nodes": 2**31}))


def test_a_message_that_only_travels_by_stream_is_refused_in_a_datagram():
    with pytest.raises(MalformedPacket):
        PacketCodec().decode(StreamCodec().encode_request(PushPull(())))


def test_both_encryption_versions_are_read():
    ring = key_ring()
    for version in (0, 1):
        assert ring.open(ring.seal(b"text", b"ad", version=version), b"ad") == b"text"


def test_bad_padding_inside_a_valid_seal_is_malformed():
    ring = key_ring()
    for garbage in (b"", b"x" * 15 + b"\x11", b"x" * 15 + b"\x00", b"\x03"):
        sealed = b"\x00" + ring.seal(garbage, b"")[1:]
        with pytest.raises(MalformedPacket, match="padding"):
            ring.open(sealed, b"")


def test_a_key_rotates_without_a_moment_of_deafness():
    mine, theirs = key_ring(KEY, seed=1), key_ring(KEY, seed=2)

    mine.install(OTHER_KEY)
    assert theirs.open(mine.seal(b"1", b""), b"") == b"1"
    theirs.install(OTHER_KEY)
    mine.use(OTHER_KEY)
    assert theirs.open(mine.seal(b"2", b""), b"") == b"2"
    assert mine.open(theirs.seal(b"3", b""), b"") == b"3"
    theirs.use(OTHER_KEY)
    mine.remove(KEY)
    assert mine.open(theirs.seal(b"4", b""), b"") == b"4"
    assert mine.keys == (OTHER_KEY,)


def test_the_key_in_use_cannot_be_removed():
    with pytest.raises(KeyRejected, match="in use"):
        key_ring(KEY, OTHER_KEY).remove(KEY)


@pytest.mark.parametrize("key", [b"", b"short", b"x" * 33])
def test_a_key_of_a_wrong_size_is_rejected(key):
    with pytest.raises(KeyRejected, match="16, 24 or 32"):
        key_ring(key)


def test_an_unknown_key_cannot_be_used():
    with pytest.raises(KeyRejected, match="not installed"):
        key_ring(KEY).use(OTHER_KEY)


def test_unknown_fields_are_ignored_and_missing_ones_are_zero():
    assert decode(b"\x00" + pack({b"SeqNo": 7, b"Future": [1, {b"x": 2}]})) == Ping(7)


def test_bytes_after_the_message_are_ignored():
    assert decode(encode(Nack(5)) + b"rest") == Nack(5)


def test_newer_msgpack_types_from_other_libraries_are_read():
    assert decode(b"\x0d\x81\xd9\x05Error\xc4\x02no") == ErrorReply("no")


def test_strings_are_written_in_the_old_form_that_every_peer_reads():
    packed = encode(Ping(1, "n" * 40))

    assert b"\xda\x00\x28" + b"n" * 40 in packed
    assert b"\xd9" not in packed


def test_a_mapped_ipv4_address_is_sent_as_four_bytes():
    mapped = Address(bytes(10) + b"\xff\xff" + b"\x7f\x00\x00\x01", 7946)

    assert mapped == Address.of("127.0.0.1", 7946)
    assert len(mapped.ip) == 4


def test_an_incarnation_that_could_not_be_refuted_is_malformed():
    beyond = replace(Suspect(1, "a", "b"), incarnation=INCARNATION_MAX + 1)

    with pytest.raises(MalformedPacket, match="Incarnation"):
        decode(encode(beyond))


@pytest.mark.parametrize("size", [0, 1, 3, 5, 7])
def test_version_bytes_of_another_length_are_read_as_none(size):
    alive = Alive(1, "a", Address.of("::1", 1))

    packed = encode(alive).replace(b"\xa3Vsn\xa0", b"\xa3Vsn" + bytes((0xA0 | size,)) + b"1" * size)

    assert decode(packed) == alive


def test_metadata_over_the_limit_is_refused():
    with pytest.raises(PacketTooLarge, match="Meta"):
        decode(encode(Alive(1, "a", Address.of("::1", 1), b"x" * 513)))


def test_the_room_of_a_datagram_covers_every_layer():
    codec = PacketCodec(label="prod", key_ring=key_ring())
    parts = [encode(User(b"x" * (codec.room_bytes(1400) - 1)))]

    assert len(codec.encode(parts, with_crc=True)) == 1400
