"""Whether a majority is in reach, and by what right agents are taken over."""

import math
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from caxton_cluster.metadata import Connection
from caxton_node.forwarding.majority import confirmed_at_s
from caxton_node.forwarding.takeover_rules import (
    CLAIM_S,
    Claimed,
    Right,
    SeenClaim,
    granted_epoch,
    read_claimed,
    right_of,
)
from caxton_node.runtime.placement import Copy, leader

instants = st.floats(0, 1_000, allow_nan=False)

# The majority.


def test_two_of_five_never_make_a_majority_however_recently_they_spoke():
    cut_at = 100.0
    echoes = [cut_at - 0.1, cut_at - 0.2, cut_at - 0.3, 1_000.0]
    assert confirmed_at_s(echoes, 3, 1_000.0) < cut_at


def test_a_majority_of_one_is_always_in_reach():
    assert confirmed_at_s([], 1, 7.0) == 7.0


def test_who_was_never_heard_confirms_nothing():
    assert confirmed_at_s([-math.inf], 2, 7.0) == -math.inf
    assert confirmed_at_s([], 2, 7.0) == -math.inf


@given(st.lists(instants, max_size=9), st.integers(1, 12), instants)
def test_enough_nodes_answered_what_was_asked_by_the_time_that_is_confirmed(
    echoes, majority_count, decided_at
):
    confirmed = confirmed_at_s(echoes, majority_count, 2_000.0)
    answered_count = 1 + sum(echo >= decided_at for echo in echoes)
    assert (confirmed >= decided_at) == (answered_count >= majority_count)


@given(st.integers(1, 9), st.data())
def test_two_sides_of_a_partition_are_never_both_confirmed_after_it(count, data):
    cut_at = 100.0
    sides = data.draw(st.lists(st.booleans(), min_size=count, max_size=count))
    majority_count = count // 2 + 1
    confirmed = []
    for side in (True, False):
        members = sum(one is side for one in sides)
        if members:
            echoes = [200.0] * (members - 1) + [cut_at - 0.001] * (count - members)
            confirmed.append(confirmed_at_s(echoes, majority_count, 200.0) >= cut_at)
    assert confirmed.count(True) <= 1


# The right.


@pytest.mark.parametrize(
    ("own", "others", "right"),
    [
        (Connection.OFF, ["off", ""], Right.MAJORITY),
        (Connection.OFF, [], Right.MAJORITY),
        (Connection.OFF, ["connected"], Right.WITHHELD),
        (Connection.CONNECTED, ["degraded", "off"], Right.LEASE),
        (Connection.CONNECTED, ["connected"], Right.LEASE),
        (Connection.DEGRADED, ["degraded", "connected"], Right.WITHHELD),
        (Connection.DEGRADED, ["degraded", "off", ""], Right.DEGRADED),
        (Connection.DEGRADED, [], Right.DEGRADED),
    ],
)
def test_only_who_reaches_etcd_takes_over_while_anybody_does(own, others, right):
    assert right_of(own, others) is right


# Claims.

LIKE = Copy(agent="Echo", node="dead", revision=3, epoch=5, digest="d")


def seen(node="other", revision=3, epoch=6, is_live=True, age_s=0.0):
    claimed = Claimed(node, revision, epoch, token=epoch)
    return SeenClaim(claimed=claimed, is_live=is_live, age_s=age_s)


def granted(claim, epoch=6, token=1, own="me"):
    return granted_epoch(LIKE, epoch, claim, own=own, token=token)


def test_the_fencing_token_is_the_epoch_once_it_is_higher():
    assert granted(None, token=40) == 40
    assert granted(None, token=2) == 6


def test_what_a_live_node_has_just_claimed_is_left_to_it():
    assert granted(seen()) is None


def test_a_claim_that_leads_to_nothing_is_overtaken_by_a_higher_epoch():
    assert granted(seen(epoch=9, age_s=CLAIM_S)) == 10
    assert granted(seen(epoch=9, is_live=False)) == 10


def test_a_claim_of_our_own_stops_nobody():
    assert granted(seen(node="me", epoch=8)) == 9


def test_a_claim_that_the_registry_shows_already_is_no_obstacle():
    assert granted(seen(epoch=5)) == 6
    assert granted(seen(revision=2, epoch=99)) == 6


def test_what_this_version_did_not_write_is_no_claim():
    assert read_claimed(b"not json") is None
    assert read_claimed(b'{"node": 1}') is None


@given(st.integers(1, 9), st.integers(1, 50), st.integers(1, 50), st.integers(1, 50))
def test_of_two_holders_the_later_one_always_ranks_first(revision, epoch, first, more):
    """A holder that was stopped after its turn, and starts its copy late, gives up."""
    like = replace(LIKE, revision=revision, epoch=epoch)
    stale = granted_epoch(like, epoch + 1, None, own="a", token=first)
    later_token = first + more
    claim = SeenClaim(claimed=Claimed("a", revision, stale, first), is_live=False, age_s=0.0)
    later = granted_epoch(like, epoch + 1, claim, own="b", token=later_token)
    copies = [replace(like, node="a", epoch=stale), replace(like, node="b", epoch=later)]
    assert leader(copies).node == "b"
