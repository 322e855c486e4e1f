"""Peers that say anything at all, in well-formed frames: a registry never raises, nor grows."""

import random

from hypothesis import given, settings
from hypothesis import strategies as st

from caxton_cluster.registry import (
    AgentRecord,
    Delta,
    Digest,
    Entry,
    Owner,
    OwnerDigest,
    Registry,
    RegistryConfig,
)
from caxton_cluster.registry.records import COUNT_MAX, pack_record

NAMES = st.sampled_from(("own", "p", "q", "r"))
EPOCHS = st.sampled_from((0, 1, 2, 3, COUNT_MAX))
VERSIONS = st.sampled_from((0, 1, 2, 3, 4, 9, COUNT_MAX))
OWNERS = st.builds(Owner, NAMES, EPOCHS)
AGENTS = st.sampled_from("abc")
VALUES = st.one_of(
    st.none(),
    st.just(b"\x90"),
    st.builds(
        lambda agent, load, tenant: pack_record(
            AgentRecord(agent, ("x.y", "z:v1"), load=load, tenant=tenant)
        ),
        AGENTS,
        st.integers(0, 7),
        st.sampled_from(("", "t")),
    ),
)


def whole(owner, after, through, collected, chosen, is_partial):
    """Return a delta that makes sense more often than not."""
    entries, version = [], after
    for agent, value in chosen:
        version += 1
        entries.append(Entry(agent, min(version, COUNT_MAX), value))
    return Delta(owner, after, max(through, version), collected, tuple(entries), is_partial)


CHOSEN = st.lists(st.tuples(AGENTS, VALUES), max_size=3)
DELTAS = st.builds(whole, OWNERS, VERSIONS, VERSIONS, VERSIONS, CHOSEN, st.booleans())
LINES = st.builds(OwnerDigest, OWNERS, VERSIONS, VERSIONS, VERSIONS, st.integers(0, 3))
DIGESTS = st.builds(
    Digest, st.integers(0, 1), st.booleans(), st.lists(LINES, max_size=4).map(tuple)
)
STEPS = st.one_of(
    st.tuples(st.just("delta"), DELTAS),
    st.tuples(st.just("chunk"), DELTAS),
    st.tuples(st.just("digest"), NAMES, DIGESTS),
    st.tuples(st.just("up"), OWNERS),
    st.tuples(st.just("suspect"), NAMES),
    st.tuples(st.just("down"), NAMES),
    st.tuples(st.just("end"), st.booleans()),
    st.tuples(st.just("serve"), OWNERS, VERSIONS),
    st.tuples(st.just("time"), st.sampled_from((0.05, 3.0, 700.0, 90_000.0))),
    st.tuples(st.just("put"), AGENTS, st.integers(0, 7)),
    st.tuples(st.just("remove"), AGENTS),
)


@given(st.lists(STEPS, max_size=40))
@settings(max_examples=150, deadline=None)
def test_whatever_peers_say_a_registry_stays_sound(steps):  # noqa: C901 - one arm a step
    config = RegistryConfig(owners_max=3, records_per_owner_max=5, pulls_max=2)
    node = Registry(config, Owner("own", 1), random=random.Random(1), now=0.0)
    now, pulls = 0.0, []
    for step in steps:
        match step:
            case "delta", delta:
                node.receive_delta(delta, now)
            case "chunk", delta:
                node.receive_chunk(pulls[-1].id if pulls else 7, delta, now)
            case "digest", peer, digest:
                node.receive_digest(peer, digest, now)
            case "up", owner:
                node.member_up(owner.node, owner.epoch, now)
            case "suspect", name:
                node.member_suspect(name)
            case "down", name:
                node.member_down(name, now)
            case "end", is_complete:
                if pulls:
                    node.pull_ended(pulls.pop().id, now, is_complete=is_complete)
            case "serve", owner, after:
                served = node.serve_pull(owner, after)
                assert all(one.after_version < one.through_version for one in served)
            case "time", duration_s:
                now += duration_s
                node.tick(now)
            case "put", agent, load:
                node.put(AgentRecord(agent, ("x",), load=load), now)
            case "remove", agent:
                node.remove(agent, now)
        pulls += node.take_pulls()
        node.take_deltas()
        assert len(node.take_digests()) <= 2
        node.take_events()
        sound(node, config)


def sound(node, config):
    lines = node.lines()
    assert len(lines) <= config.owners_max + 1
    assert len({line.owner.node for line in lines}) == len(lines)
    listed = {}
    for line in lines:
        listings = node.listings(line.owner.node)
        assert line.record_count == len(listings) <= config.records_per_owner_max
        assert line.collected_version <= line.version
        assert [one.version for one in listings] == sorted(one.version for one in listings)
        for one in listings:
            if one.holder.is_visible:
                listed.setdefault((one.record.tenant, one.agent), []).append(one)
    for tenant in ("", "t"):
        found = {one.agent for one in node.lookup.agents(tenant)}
        assert found == {agent for of_tenant, agent in listed if of_tenant == tenant}
        for capability in ("x", "x.y", "z", "z:v1"):
            for one in node.lookup.providers(capability, tenant=tenant):
                assert one in listed[tenant, one.agent]
                assert node.lookup.choose(capability, tenant=tenant) is not None
