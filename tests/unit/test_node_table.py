"""What nodes say of themselves, and which of them placement counts on."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from caxton_cluster.errors import MalformedPacket
from caxton_node.forwarding.node_table import NodeTable
from caxton_node.forwarding.notices import Notice, Removal, Wish, pack_said, unpack_said, view_of


def notice(epoch=1, **more):
    fields = {"labels": {}, "load": 0, "is_draining": False, "handlers": (), "refused": ()} | more
    return Notice(epoch=epoch, **fields)


def test_a_node_counts_once_it_is_alive_and_told_of_itself():
    table = NodeTable("me")
    assert table.heard("n2", notice(epoch=7)) is False
    assert table.up("n2", 1) is True
    assert table.views["n2"].is_silent
    assert table.notice("n2") is None
    assert table.heard("n2", notice(load=3)) is True
    assert table.views["n2"].load == 3
    assert table.heard("n2", notice(load=3)) is False


def test_what_an_earlier_life_said_is_void():
    table = NodeTable("me")
    table.up("n2", 1)
    table.heard("n2", notice(1))
    table.up("n2", 2)
    assert table.views["n2"].is_silent
    assert table.notice("n2") is None
    table.heard("n2", notice(2))
    assert not table.views["n2"].is_silent


def test_a_dead_node_is_expected_back_and_one_that_left_is_not():
    table = NodeTable("me")
    for node in ("n2", "n3"):
        table.up(node, 1)
        table.heard(node, notice())
    assert table.alive_count == 3
    assert table.down("n2", is_expected_back=True) is True
    assert table.down("n3", is_expected_back=False) is True
    assert table.down("n3", is_expected_back=False) is False
    assert (table.unreachable(), table.alive_count, dict(table.views)) == (["n2"], 1, {})


def test_a_dead_node_is_struck_off_once_and_counts_again_when_it_returns():
    table = NodeTable("me")
    table.up("n2", 1)
    assert table.strike_off("n2") is False, "it is alive"
    table.down("n2", is_expected_back=True)
    assert table.strike_off("n2") is True
    assert table.strike_off("n2") is False
    assert table.unreachable() == []
    table.up("n2", 2)
    table.down("n2", is_expected_back=True)
    assert table.strike_off("n2") is True


def test_our_own_notice_needs_no_membership():
    table = NodeTable("me")
    assert table.heard("me", notice(labels={"zone": "eu"})) is True
    assert table.views["me"].labels == {"zone": "eu"}
    assert table.alive_count == 1


@pytest.mark.parametrize(
    "said",
    [
        notice(labels={"zone": "eu"}, handlers=("m:*",), refused=(b"\1" * 32,), mode="minority"),
        Wish(("Ada", "Bob")),
        Removal("n2"),
    ],
)
def test_what_is_said_comes_back(said):
    assert unpack_said(pack_said(said)) == said


def test_a_view_holds_digests_as_the_store_spells_them():
    assert view_of("n2", notice(refused=(b"\xab" * 32,))).refused == {"ab" * 32}


def test_a_frame_of_the_registry_is_not_for_us():
    assert unpack_said(b"\x96\x01") is None
    assert unpack_said(b"") is None


@given(st.binary(max_size=300))
def test_any_bytes_are_something_said_or_malformed_and_nothing_else(data):
    try:
        said = unpack_said(b"\x00" + data)
    except MalformedPacket:
        return
    assert isinstance(said, Notice | Wish | Removal)


def test_more_than_anybody_says_is_refused():
    with pytest.raises(MalformedPacket, match="bytes"):
        unpack_said(b"\x00" + bytes(300_000))
    with pytest.raises(MalformedPacket):
        unpack_said(pack_said(notice(load=8)))


def test_how_etcd_does_is_known_of_live_nodes_that_have_told():
    table = NodeTable("a")
    table.up("b", 1)
    table.up("c", 1)
    table.heard("b", notice(store="connected"))
    table.heard("gone", notice(store="connected"))
    assert table.stores() == ["connected"]
    table.down("b", is_expected_back=True)
    assert table.stores() == []


def test_a_notice_of_an_earlier_version_says_nothing_of_etcd():
    said = pack_said(notice(mode="majority"))
    assert said.endswith(b"\xa0"), "the text that came last, empty"
    earlier = said[:1] + bytes([said[1] - 1]) + said[2:-1]
    read = unpack_said(earlier)
    assert (read.mode, read.store) == ("majority", "")
