"""One registry and what it makes of what it is told."""

import random

import pytest

from caxton_cluster.errors import InvalidSetting, RecordInvalid, RegistryFull
from caxton_cluster.registry import (
    AgentAppeared,
    AgentChanged,
    AgentRecord,
    AgentVanished,
    Delta,
    Digest,
    Entry,
    Owner,
    OwnerAppeared,
    OwnerDigest,
    OwnerVanished,
    Registry,
    RegistryConfig,
    Superseded,
    encode,
    load_bucket,
)
from caxton_cluster.registry.records import COUNT_MAX, pack_record

OWN = Owner("own", 1)
PEER = Owner("peer", 5)
START = 100.0


def registry(owner=OWN, **settings):
    return Registry(RegistryConfig(**settings), owner, random=random.Random(1), now=START)


def set_of(agent, version, **fields):
    record = AgentRecord(agent, **({"capabilities": ("echo",)} | fields))
    return Entry(agent, version, pack_record(record))


def gone(agent, version):
    return Entry(agent, version, None)


def delta(after, *entries, through=None, collected=0, owner=PEER, is_partial=False):
    through = through if through is not None else entries[-1].version
    return Delta(owner, after, through, collected, entries, is_partial)


@pytest.fixture
def node():
    """A node that knows of one live peer."""
    made = registry()
    made.member_up("peer", 5, START)
    made.take_events()
    made.take_digests()
    return made


def version(node, name="peer"):
    return next(line.version for line in node.lines() if line.owner.node == name)


def names(node, owner="peer"):
    return [listing.agent for listing in node.listings(owner)]


def wanted_pull(node, now=START + 1):
    """Let the jitter pass and return the one pull that is made."""
    node.tick(now)
    (pull,) = node.take_pulls()
    return pull


# What of ours is told.


def test_changes_of_a_moment_leave_as_one_delta(node):
    for load in (0, 1, 2):
        node.put(AgentRecord("a", ("echo",), load=load), START)
    node.put(AgentRecord("b", ("echo",)), START + 0.01)
    node.tick(START + 0.02)
    assert node.take_deltas() == []

    node.tick(START + 0.03)

    (told,) = node.take_deltas()
    assert (told.after_version, told.through_version) == (0, 4)
    assert [(entry.agent, entry.version) for entry in told.entries] == [("a", 3), ("b", 4)]


def test_changes_that_somebody_waits_for_leave_at_once(node):
    node.flush()
    assert node.take_deltas() == []
    node.put(AgentRecord("a", ("echo",)), START)
    node.flush()
    (told,) = node.take_deltas()
    assert [entry.agent for entry in told.entries] == ["a"]
    node.tick(START + 1)
    assert node.take_deltas() == []


def test_a_delta_begins_where_the_last_one_ended(node):
    node.put(AgentRecord("a", ("echo",)), START)
    node.tick(START + 1)
    node.remove("a", START + 1)
    node.tick(START + 2)

    first, second = node.take_deltas()

    assert (second.after_version, second.through_version) == (first.through_version, 2)
    assert second.entries == (gone("a", 2),)


def test_a_record_that_is_put_again_is_no_change(node):
    node.put(AgentRecord("a", ("echo",)), START)
    node.put(AgentRecord("a", ("echo",)), START)

    assert version(node, "own") == 1


def test_removing_what_is_not_there_is_no_change(node):
    node.remove("a", START)

    assert version(node, "own") == 0
    assert node.wakeup_at() > START + 0.03


@pytest.mark.parametrize(
    "record",
    [
        AgentRecord("", ("echo",)),
        AgentRecord("a" * 65, ("echo",)),
        AgentRecord("a", ()),
        AgentRecord("a", ("x" * 101,)),
        AgentRecord("a", ("echo",), load=8),
        AgentRecord("a", ("echo",), agent_epoch=-1),
        AgentRecord("a", ("echo",), agent_epoch=2**64),
        AgentRecord("a", ("echo",), description="\ud800"),
        AgentRecord("a", ("echo",), definition_digest=bytes(33)),
        AgentRecord("a", tuple("x" * 100 for _ in range(64)), labels=(("é" * 99, "é" * 99),) * 32),
    ],
)
def test_a_record_that_peers_would_refuse_is_refused_here(node, record):
    with pytest.raises(RecordInvalid):
        node.put(record, START)
    assert version(node, "own") == 0


def test_a_node_lists_no_more_than_it_may():
    node = registry(records_per_owner_max=2)
    for agent in "ab":
        node.put(AgentRecord(agent, ("echo",)), START)

    with pytest.raises(RegistryFull):
        node.put(AgentRecord("c", ("echo",)), START)
    node.put(AgentRecord("a", ("else",)), START)


def test_a_large_change_leaves_in_chunks_that_follow_each_other():
    node = registry(Owner("own" * 50, COUNT_MAX), chunk_size_bytes=1000)
    for number in range(20):
        node.put(AgentRecord(f"a{number}", ("echo",), description="x" * 200), START)

    node.tick(START + 1)

    told = node.take_deltas()
    assert len(told) > 3
    assert all(len(encode(one)) <= 1000 for one in told)
    assert [one.after_version for one in told] == [0, *(one.through_version for one in told[:-1])]


# The rule of acceptance.


def test_a_delta_that_continues_is_applied(node):
    node.receive_delta(delta(0, set_of("a", 1), set_of("b", 2)), START)
    node.receive_delta(delta(2, gone("a", 3)), START)

    assert (names(node), version(node)) == (["b"], 3)


def test_a_delta_that_overlaps_is_applied_where_it_is_new(node):
    node.receive_delta(delta(0, set_of("a", 1), set_of("b", 2)), START)
    node.receive_delta(delta(0, set_of("a", 1), set_of("b", 3, load=1)), START)

    assert version(node) == 3
    assert [type(event) for event in node.take_events()] == [
        AgentAppeared,
        AgentAppeared,
        AgentChanged,
    ]
    assert [(one.agent, one.version) for one in node.listings("peer")] == [("a", 1), ("b", 3)]


def test_a_delta_heard_twice_changes_nothing(node):
    told = delta(0, set_of("a", 1))
    node.receive_delta(told, START)
    node.take_events()

    node.receive_delta(told, START)

    assert node.take_events() == []
    assert node.statistics.duplicates == 1


def test_a_gap_is_pulled_from_where_we_are(node):
    node.receive_delta(delta(0, set_of("a", 1)), START)
    node.receive_delta(delta(3, set_of("d", 4)), START)

    pull = wanted_pull(node)

    assert (pull.peer, pull.owner, pull.after_version) == ("peer", PEER, 1)
    assert names(node) == ["a"]


def test_what_arrives_late_makes_a_pull_unnecessary(node):
    node.receive_delta(delta(1, set_of("b", 2)), START)
    node.receive_delta(delta(0, set_of("a", 1), set_of("b", 2)), START)

    node.tick(START + 1)

    assert node.take_pulls() == []


def test_an_earlier_life_is_not_heard(node):
    node.receive_delta(delta(0, set_of("a", 1), owner=Owner("peer", 4)), START)

    assert (names(node), node.statistics.stale) == ([], 1)


def test_a_later_life_begins_with_nothing_of_the_earlier_one(node):
    node.receive_delta(delta(0, set_of("a", 1), set_of("b", 2)), START)
    node.receive_delta(delta(0, set_of("c", 1), owner=Owner("peer", 6)), START)

    assert names(node) == ["c"]
    assert node.lookup.locate("a") == ()


def test_a_later_life_is_found_once_membership_knows_it(node):
    node.receive_delta(delta(0, set_of("c", 1), owner=Owner("peer", 6)), START)
    assert node.lookup.locate("c") == ()

    node.member_up("peer", 6, START)

    assert [one.owner for one in node.lookup.locate("c")] == [Owner("peer", 6)]


def test_missed_tombstones_that_are_forgotten_start_the_state_over(node):
    node.receive_delta(delta(0, set_of("a", 1), set_of("b", 2)), START)
    # `a` was removed at 3, which is collected: who only reached 2 cannot tell from deltas.
    node.receive_delta(delta(2, set_of("c", 4), collected=3), START)
    pull = wanted_pull(node)

    node.receive_chunk(pull.id, delta(0, set_of("b", 2), collected=3, through=2), START + 1)
    assert sorted(names(node)) == ["a", "b"], "the new state is built aside"
    node.receive_chunk(pull.id, delta(2, set_of("c", 4), collected=3), START + 1)
    node.pull_ended(pull.id, START + 1, is_complete=True)

    assert (sorted(names(node)), version(node)) == (["b", "c"], 4)
    assert node.lookup.locate("a") == ()


def test_a_state_that_is_built_aside_is_dropped_when_the_pull_breaks(node):
    node.receive_delta(delta(0, set_of("a", 1), set_of("b", 2)), START)
    node.receive_delta(delta(2, set_of("c", 4), collected=3), START)
    pull = wanted_pull(node)
    node.receive_chunk(pull.id, delta(0, set_of("b", 2), collected=3, through=2), START + 1)

    node.pull_ended(pull.id, START + 1, is_complete=False)

    assert sorted(names(node)) == ["a", "b"]
    assert wanted_pull(node, START + 3).after_version == 0


def test_what_is_written_while_a_state_is_built_aside_stays(node):
    node.receive_delta(delta(0, set_of("a", 1)), START)
    broken = OwnerDigest(PEER, 1, 0, 1, 12345)
    node.receive_digest("peer", Digest(1, True, (broken,)), START)
    pull = wanted_pull(node)
    node.receive_chunk(pull.id, delta(0, set_of("b", 1)), START + 1)
    node.receive_delta(delta(1, set_of("c", 2)), START + 1)

    node.pull_ended(pull.id, START + 1, is_complete=True)

    assert (names(node), version(node)) == (["b", "c"], 2)


def test_half_a_change_that_is_written_meanwhile_leaves_half_a_state(node):
    node.receive_delta(delta(0, set_of("a", 1)), START)
    broken = OwnerDigest(PEER, 1, 0, 1, 12345)
    node.receive_digest("peer", Digest(1, True, (broken,)), START)
    pull = wanted_pull(node)
    node.receive_chunk(pull.id, delta(0, set_of("b", 1)), START + 1)
    node.receive_delta(delta(1, set_of("c", 2), is_partial=True), START + 1)

    node.pull_ended(pull.id, START + 1, is_complete=True)

    assert names(node) == ["b", "c"]
    assert node.serve_pull(PEER, 0) == []


def test_a_state_that_was_never_finished_does_not_meet_a_later_pull(node):
    node.receive_delta(delta(0, set_of("a", 1), set_of("b", 2)), START)
    node.receive_delta(delta(2, set_of("c", 4), collected=3), START)
    pull = wanted_pull(node)
    node.receive_chunk(pull.id, delta(0, set_of("b", 2), collected=3, through=2), START + 1)
    node.member_down("peer", START + 1)
    node.tick(START + 3)
    node.member_up("peer", 5, START + 4)
    node.receive_delta(delta(0, set_of("b", 2), set_of("c", 4), collected=3), START + 4)
    node.receive_digest("peer", digest(line(5)), START + 4)
    pull = wanted_pull(node, START + 5)

    node.receive_chunk(pull.id, delta(4, set_of("d", 5), collected=3), START + 5)
    node.pull_ended(pull.id, START + 5, is_complete=True)

    assert (names(node), version(node)) == (["b", "c", "d"], 5)


def test_a_pull_of_a_life_that_is_over_is_not_repeated(node):
    node.receive_digest("peer", digest(line(7)), START)
    pull = wanted_pull(node)
    node.receive_delta(delta(0, set_of("a", 1), owner=Owner("peer", 6)), START + 1)
    node.receive_chunk(pull.id, delta(0, set_of("z", 7)), START + 1)
    node.pull_ended(pull.id, START + 1, is_complete=True)

    node.tick(START + 60)

    assert (names(node), node.take_pulls()) == (["a"], [])


def test_a_pull_that_outlives_what_it_is_for_comes_to_nothing():
    node = registry(keep_gone_s=5.0)
    for name in ("peer", "other"):
        node.member_up(name, 5, START)
    node.member_down("peer", START)
    node.receive_digest("other", digest(line(7)), START)
    pull = wanted_pull(node)
    node.tick(START + 6)
    assert names(node) == []

    node.receive_chunk(pull.id, delta(0, set_of("a", 7)), START + 6)
    node.pull_ended(pull.id, START + 6, is_complete=True)
    node.tick(START + 7)

    assert (names(node), node.take_pulls()) == ([], [])


def test_a_tombstone_collected_meanwhile_keeps_an_older_state_out(node):
    node.receive_delta(delta(0, set_of("a", 1)), START)
    broken = OwnerDigest(PEER, 1, 0, 1, 12345)
    node.receive_digest("peer", Digest(1, True, (broken,)), START)
    pull = wanted_pull(node)
    node.receive_chunk(pull.id, delta(0, set_of("a", 1)), START + 1)
    node.receive_delta(delta(1, gone("a", 2)), START + 1)
    node.receive_delta(delta(2, set_of("b", 3), collected=2), START + 1)

    node.pull_ended(pull.id, START + 1, is_complete=True)

    assert names(node) == ["b"]
    assert wanted_pull(node, START + 5).after_version == 0


def test_a_whole_state_in_one_delta_replaces_what_may_be_stale(node):
    node.receive_delta(delta(0, set_of("a", 1), set_of("b", 2)), START)

    node.receive_delta(delta(0, set_of("b", 2), set_of("c", 4), collected=3), START)

    assert sorted(names(node)) == ["b", "c"]


@pytest.mark.parametrize(
    "bad",
    [
        delta(0, set_of("a", 2), set_of("b", 2)),
        delta(0, set_of("a", 2), set_of("b", 1), through=2),
        delta(3, set_of("a", 3)),
        delta(0, set_of("a", 5), through=4),
        delta(0, Entry("a", 1, b"\xc1")),
        delta(0, Entry("a", 1, b"")),
        delta(0, Entry("b", 1, set_of("a", 1).value)),
        delta(0, Entry("a", 1, bytes(9000))),
        delta(0, set_of("ok", 1), Entry("a", 2, b"\x90")),
    ],
)
def test_a_delta_without_sense_is_counted_and_does_nothing(node, bad):
    node.receive_delta(bad, START)

    assert (node.statistics.malformed, version(node), names(node)) == (1, 0, [])


def test_an_owner_with_more_than_the_limit_is_refused():
    node = registry(records_per_owner_max=2)
    node.member_up("peer", 5, START)

    node.receive_delta(delta(0, set_of("a", 1), set_of("b", 2), set_of("c", 3)), START)

    assert (node.statistics.refused, names(node)) == (1, [])


def test_more_owners_than_the_limit_push_out_the_longest_gone():
    node = registry(owners_max=2)
    for number, name in enumerate(("p1", "p2", "p3")):
        node.member_up(name, 1, START + number)
        node.receive_delta(delta(0, set_of(name, 1), owner=Owner(name, 1)), START + number)
        if name != "p3":
            node.member_down(name, START + number)

    assert [line.owner.node for line in node.lines()] == ["own", "p2", "p3"]
    node.member_up("p2", 1, START + 5)
    node.member_up("p4", 1, START + 5)
    assert node.statistics.refused == 1


# Digests and repair.


def line(version, *, owner=PEER, collected=0, count=0, checksum=0):
    return OwnerDigest(owner, version, collected, count, checksum)


def digest(*lines, is_whole=True):
    return Digest(0, is_whole, lines)


def test_a_digest_that_is_ahead_is_pulled(node):
    node.receive_digest("peer", digest(line(7)), START)

    pull = wanted_pull(node)

    assert (pull.peer, pull.after_version) == ("peer", 0)


def test_one_owner_is_pulled_once_at_a_time(node):
    node.receive_digest("peer", digest(line(7)), START)
    pull = wanted_pull(node)
    node.receive_digest("peer", digest(line(9)), START + 1)
    node.tick(START + 2)
    assert node.take_pulls() == []

    node.receive_chunk(pull.id, delta(0, set_of("a", 7)), START + 2)
    node.pull_ended(pull.id, START + 2, is_complete=True)

    assert wanted_pull(node, START + 3).after_version == 7


def test_pulls_have_a_limit_and_the_others_wait():
    node = registry(pulls_max=2)
    for name in ("p1", "p2", "p3"):
        node.member_up(name, 1, START)
        node.receive_digest(name, digest(line(1, owner=Owner(name, 1))), START)

    node.tick(START + 1)
    first, _ = node.take_pulls()
    node.receive_chunk(first.id, delta(0, set_of("a", 1), owner=first.owner), START + 1)
    node.pull_ended(first.id, START + 1, is_complete=True)
    node.tick(START + 1)

    assert len(node.take_pulls()) == 1


def test_a_newcomer_pulls_each_owner_from_another_peer():
    node = registry()
    owners = [Owner(name, 1) for name in ("p1", "p2", "p3")]
    for owner in owners:
        node.member_up(owner.node, 1, START)
    everything = digest(*(line(9, owner=owner) for owner in owners))
    for owner in owners:
        node.receive_digest(owner.node, everything, START)

    node.tick(START + 1)

    assert sorted(pull.peer for pull in node.take_pulls()) == ["p1", "p2", "p3"]


def test_a_pull_that_fails_is_made_again_elsewhere_after_a_wait():
    node = registry()
    for name in ("peer", "other"):
        node.member_up(name, 5, START)
    node.receive_digest("other", digest(line(7)), START)
    first = wanted_pull(node)
    node.pull_ended(first.id, START + 1, is_complete=False)
    node.tick(START + 1.01)
    assert node.take_pulls() == []

    second = wanted_pull(node, START + 1.2)

    assert {first.peer, second.peer} == {"peer", "other"}


def test_a_pull_without_a_sign_of_life_is_given_up(node):
    node.receive_digest("peer", digest(line(7)), START)
    pull = wanted_pull(node)

    node.tick(START + 12)
    node.receive_chunk(pull.id, delta(0, set_of("a", 7)), START + 12)

    assert (names(node), node.statistics.late_chunks) == ([], 1)
    assert wanted_pull(node, START + 13).id != pull.id


def test_a_peer_that_is_gone_is_asked_no_more(node):
    node.receive_digest("peer", digest(line(7)), START)

    node.member_down("peer", START)
    node.tick(START + 1)

    assert node.take_pulls() == []


def test_a_pull_that_brings_nothing_is_not_repeated_at_once(node):
    node.receive_digest("peer", digest(line(7)), START)
    count, now = 0, START
    while now < START + 10:
        now += 0.01
        node.tick(now)
        for pull in node.take_pulls():
            count += 1
            node.pull_ended(pull.id, now, is_complete=True)

    assert 3 <= count <= 12


def test_records_of_an_unknown_owner_are_not_fetched(node):
    node.receive_digest("peer", digest(line(7, owner=Owner("stranger", 1))), START)
    node.tick(START + 1)

    assert node.take_pulls() == []


def test_equal_registries_answer_a_digest_with_nothing():
    nodes = {name: registry(Owner(name, 1)) for name in ("x", "y")}
    nodes["x"].member_up("y", 1, START)
    nodes["y"].member_up("x", 1, START)
    for node in nodes.values():
        node.take_digests()

    nodes["x"].receive_digest("y", nodes["y"].digest(), START)

    assert nodes["x"].take_digests() == []
    assert nodes["x"].wakeup_at() >= START


def test_a_peer_that_is_behind_is_told_and_not_again_at_once(node):
    node.put(AgentRecord("a", ("echo",)), START)
    node.receive_digest("peer", digest(line(0, owner=OWN)), START)
    node.receive_digest("peer", digest(line(0, owner=OWN)), START + 0.1)

    (told,) = node.take_digests()
    assert told.peer == "peer"

    node.receive_digest("peer", digest(line(0, owner=OWN)), START + 2)
    assert len(node.take_digests()) == 1


def test_equal_versions_with_different_checksums_start_the_state_over(node):
    node.receive_delta(delta(0, set_of("a", 1)), START)
    node.receive_digest("peer", digest(line(1, count=1, checksum=99)), START)
    pull = wanted_pull(node)

    node.receive_chunk(pull.id, delta(0, set_of("b", 1)), START + 1)
    node.pull_ended(pull.id, START + 1, is_complete=True)

    assert (names(node), node.statistics.mismatches) == (["b"], 1)


def test_a_checksum_is_taken_from_the_owner_only(node):
    node.member_up("other", 1, START)
    node.receive_delta(delta(0, set_of("a", 1)), START)
    node.receive_digest("other", digest(line(1, count=1, checksum=99)), START)

    assert node.statistics.mismatches == 0


def test_half_a_state_is_not_held_against_the_owner(node):
    node.receive_digest("peer", digest(line(9)), START)
    pull = wanted_pull(node)
    node.receive_chunk(pull.id, delta(0, set_of("a", 4), is_partial=True), START + 1)

    node.receive_digest("peer", digest(line(4, count=3, checksum=99)), START + 1)

    assert node.statistics.mismatches == 0
    assert node.serve_pull(PEER, 0) == [], "nor passed on"


def test_half_a_state_of_a_dead_owner_is_better_than_none(node):
    node.receive_digest("peer", digest(line(9)), START)
    pull = wanted_pull(node)
    node.receive_chunk(pull.id, delta(0, set_of("a", 4), is_partial=True), START + 1)

    node.member_down("peer", START + 1)

    (served,) = node.serve_pull(PEER, 0)
    assert served.is_partial
    assert [entry.agent for entry in served.entries] == ["a"]


def test_a_change_of_the_owner_makes_half_a_state_whole(node):
    node.receive_delta(delta(0, set_of("a", 4), is_partial=True), START)
    assert node.serve_pull(PEER, 0) == []

    node.receive_delta(delta(4, set_of("b", 9)), START)

    (served,) = node.serve_pull(PEER, 0)
    assert not served.is_partial


def test_a_digest_of_many_owners_takes_turns_in_the_room_there_is():
    node = registry(vector_owners_max=5, rotating_owners=2)
    for number in range(20):
        node.member_up(f"p{number}", 1, START)
    seen = set()
    for _ in range(10):
        told = node.digest(512)
        assert not told.is_whole
        assert len(encode(told)) <= 512
        assert told.owners[0].owner == OWN
        seen |= {one.owner.node for one in told.owners}

    assert len(seen) == 21
    assert len({node.digest(512).root for _ in range(5)}) == 1


def test_a_hash_that_differs_is_answered_with_all_lines():
    node = registry(vector_owners_max=2)
    for name in ("p1", "p2", "p3"):
        node.member_up(name, 1, START)
    node.take_digests()

    node.receive_digest("p1", digest(is_whole=False), START)

    (told,) = node.take_digests()
    assert told.digest.is_whole
    assert len(told.digest.owners) == 4


# Tombstones.


def test_who_missed_forgotten_tombstones_is_served_everything(node):
    for agent in "ab":
        node.put(AgentRecord(agent, ("echo",)), START)
    node.remove("a", START)
    node.tick(START + 1)
    told_all(node, START + 2)
    node.tick(START + 61)

    (behind,) = node.serve_pull(OWN, 2)
    assert (behind.after_version, [entry.agent for entry in behind.entries]) == (0, ["b"])
    node.put(AgentRecord("c", ("echo",)), START + 62)
    (level,) = node.serve_pull(OWN, 3)
    assert (level.after_version, [entry.agent for entry in level.entries]) == (3, ["c"])


def told_all(node, now):
    """Let the peer say that it has reached what we have."""
    node.receive_digest("peer", digest(line(version(node, "own"), owner=OWN)), now)


def entry_count(node):
    return sum(len(one.entries) for one in node.serve_pull(OWN, 0))


def test_a_tombstone_goes_when_every_live_peer_has_it_and_it_is_old(node):
    node.put(AgentRecord("a", ("echo",)), START)
    node.remove("a", START)
    node.tick(START + 1)
    told_all(node, START + 2)
    node.tick(START + 30)
    assert entry_count(node) == 1

    node.tick(START + 61)

    assert entry_count(node) == 0
    assert node.lines()[0].collected_version == 2


def test_a_tombstone_that_a_live_peer_lacks_stays(node):
    node.member_up("other", 1, START)
    node.put(AgentRecord("a", ("echo",)), START)
    node.remove("a", START)
    node.tick(START + 1)
    told_all(node, START + 2)

    node.tick(START + 100)

    assert entry_count(node) == 1
    node.tick(START + 3700)
    assert entry_count(node) == 0, "but not for ever"


def test_a_tombstone_is_told_before_it_is_forgotten():
    node = registry(tombstone_age_min_s=0.0)
    node.put(AgentRecord("a", ("echo",)), START + 4.99)
    node.remove("a", START + 4.99)
    node.tick(START + 5)
    assert entry_count(node) == 1

    node.tick(START + 11)

    assert [one.entries for one in node.take_deltas()] == [(gone("a", 2),)]
    assert entry_count(node) == 0


def test_a_new_life_of_a_peer_has_seen_nothing(node):
    node.put(AgentRecord("a", ("echo",)), START)
    node.remove("a", START)
    node.tick(START + 1)
    told_all(node, START + 2)
    node.member_up("peer", 6, START + 3)

    node.tick(START + 100)

    assert entry_count(node) == 1


@pytest.mark.parametrize("is_equal", [False, True])
def test_peers_forget_the_tombstones_that_the_owner_forgot(node, is_equal):
    node.receive_delta(delta(0, set_of("a", 1), gone("b", 2)), START)
    root = node.digest().root
    told = digest(line(2, collected=2))
    node.receive_digest("other", Digest(root, True, told.owners) if is_equal else told, START)

    assert [one.collected_version for one in node.lines()] == [0, 2]
    (served,) = node.serve_pull(PEER, 0)
    assert [entry.agent for entry in served.entries] == ["a"]


# Membership.


def test_a_dead_node_is_hidden_and_comes_back_as_it_was(node):
    node.receive_delta(delta(0, set_of("a", 1)), START)
    node.take_events()
    node.member_down("peer", START)
    assert node.lookup.locate("a") == ()
    assert node.lookup.choose("echo") is None
    assert names(node) == ["a"], "for whoever starts it elsewhere"

    node.member_up("peer", 5, START + 500)

    assert [one.node for one in node.lookup.locate("a")] == ["peer"]
    assert node.take_events() == [OwnerVanished(PEER, 1, False), OwnerAppeared(PEER, 1)]


def test_a_dead_node_is_forgotten_and_kept_out_for_a_day(node):
    node.member_up("other", 1, START)
    node.receive_delta(delta(0, set_of("a", 1)), START)
    node.member_down("peer", START)
    node.tick(START + 601)
    assert names(node) == []

    node.receive_delta(delta(0, set_of("a", 1)), START + 700)
    node.receive_digest("other", digest(line(1)), START + 700)
    node.tick(START + 701)
    assert (node.take_pulls(), names(node), node.statistics.stale) == ([], [], 1)

    node.tick(START + 601 + 86_400)
    node.receive_delta(delta(0, set_of("a", 1)), START + 90_000)
    assert names(node) == ["a"]
    assert node.lookup.locate("a") == (), "though it is found only when it lives"


def test_a_forgotten_node_that_lives_after_all_is_taken_back(node):
    node.receive_delta(delta(0, set_of("a", 1)), START)
    node.member_down("peer", START)
    node.tick(START + 601)

    node.member_up("peer", 5, START + 700)
    node.receive_delta(delta(0, set_of("a", 1)), START + 700)

    assert len(node.lookup.locate("a")) == 1


def test_what_a_node_says_before_membership_knows_it_waits(node):
    early = Owner("early", 1)
    node.receive_delta(delta(0, set_of("e", 1), owner=early), START)
    assert node.lookup.locate("e") == ()

    node.member_up("early", 1, START + 1)

    assert len(node.lookup.locate("e")) == 1


def test_events_tell_of_each_change_of_a_visible_node(node):
    node.receive_delta(delta(0, set_of("a", 1)), START)
    node.receive_delta(delta(1, set_of("a", 2, load=3)), START)
    node.receive_delta(delta(2, gone("a", 3)), START)

    appeared, changed, vanished = node.take_events()

    assert isinstance(appeared, AgentAppeared)
    assert isinstance(changed, AgentChanged)
    assert (changed.before.load, changed.after.load) == (0, 3)
    assert isinstance(vanished, AgentVanished)
    assert vanished.listing is changed.after


def test_somebody_of_our_name_and_a_later_epoch_is_told_of_once(node):
    for _ in range(2):
        node.receive_digest("peer", digest(line(1, owner=Owner("own", 9))), START)

    assert node.take_events() == [Superseded(9)]


def test_a_renewed_node_says_everything_again(node):
    node.put(AgentRecord("a", ("echo",)), START)
    node.remove("a", START)
    node.put(AgentRecord("b", ("echo",), load=2), START)

    node.renew(9, START)
    node.tick(START + 1)

    told = node.take_deltas()[-1]
    assert (told.owner, told.after_version) == (Owner("own", 9), 0)
    assert [entry.agent for entry in told.entries] == ["b"]
    assert [one.owner.epoch for one in node.lookup.locate("b")] == [9]


# Readiness.


def test_a_node_is_not_ready_before_it_knows_who_is_there():
    node = registry()
    assert node.waiting_for() == ("membership",)

    node.joined()

    assert node.is_ready, "there is nobody to hear from"


def test_a_newcomer_is_ready_when_it_has_what_its_peers_had():
    node = registry()
    for name in ("p1", "p2", "p3", "p4"):
        node.member_up(name, 1, START)
    node.joined()
    everything = digest(*(line(2, owner=Owner(name, 1)) for name in ("p1", "p2")))
    for name in ("p1", "p2", "p3"):
        assert not node.is_ready
        node.receive_digest(name, everything, START)
    assert node.waiting_for() == ("records of p1", "records of p2")

    node.receive_delta(delta(0, set_of("a", 2), owner=Owner("p1", 1)), START)
    assert not node.is_ready
    node.member_down("p2", START)
    assert node.is_ready, "the dead are not waited for"

    node.receive_digest("p1", digest(line(99, owner=Owner("p1", 1))), START)
    assert node.is_ready, "and once ready it stays so"


# Load.


@pytest.mark.parametrize(
    ("count", "before", "bucket"),
    [
        (0, 0, 0), (1, 0, 1), (2, 0, 2), (3, 0, 2), (4, 0, 3), (63, 0, 6), (64, 0, 7), (9999, 0, 7),
        (7, 4, 4), (6, 4, 3), (3, 2, 2), (1, 2, 1), (0, 1, 0), (60, 7, 7), (40, 7, 6),
    ],
)  # fmt: skip
def test_load_comes_in_buckets_and_falls_reluctantly(count, before, bucket):
    assert load_bucket(count, before) == bucket


def test_a_load_is_told_at_once_and_then_seldom(node):
    node.put(AgentRecord("a", ("echo",)), START)
    node.report_load("a", 4, START)
    node.report_load("a", 64, START + 1)
    node.tick(START + 4)
    assert node.lookup.locate("a")[0].load == 3

    node.tick(START + 5.1)

    assert node.lookup.locate("a")[0].load == 7


def test_a_record_that_changes_keeps_the_load_that_was_reported(node):
    node.put(AgentRecord("a", ("echo",)), START)
    node.report_load("a", 4, START)
    node.report_load("a", 64, START + 1)

    node.put(AgentRecord("a", ("echo",), state="suspended", load=7), START + 2)
    assert node.lookup.locate("a")[0].load == 3

    node.renew(9, START + 3)
    node.put(AgentRecord("a", ("echo",)), START + 4)
    assert node.lookup.locate("a")[0].load == 3
    node.tick(START + 6)
    assert node.lookup.locate("a")[0].load == 7


def test_a_load_that_went_back_meanwhile_is_not_told(node):
    node.put(AgentRecord("a", ("echo",)), START)
    node.report_load("a", 4, START)
    node.report_load("a", 64, START + 1)
    node.report_load("a", 5, START + 2)
    before = version(node, "own")

    node.tick(START + 60)

    assert version(node, "own") == before


def test_a_load_of_an_agent_that_is_removed_is_let_go(node):
    node.put(AgentRecord("a", ("echo",)), START)
    node.report_load("a", 4, START)
    node.report_load("a", 64, START + 1)
    node.remove("a", START + 2)

    node.tick(START + 60)
    node.report_load("a", 4, START + 61)

    assert names(node, "own") == []


@pytest.mark.parametrize(
    "setting",
    [
        {"coalesce_s": 0},
        {"pull_jitter_s": -1},
        {"pulls_max": 0},
        {"chunk_size_bytes": 300_000},
        {"owners_max": 0},
    ],
)
def test_a_setting_that_cannot_work_is_refused(setting):
    with pytest.raises(InvalidSetting, match=next(iter(setting))):
        RegistryConfig(**setting)
