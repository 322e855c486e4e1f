"""Where agents run: the laws that keep a cluster without a leader of one mind."""

import dataclasses
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from caxton_node.domain.placement import ANYWHERE, PlacementRule, Preference, read_placement
from caxton_node.runtime.placement import (
    Copy,
    Follow,
    GiveUp,
    NodeView,
    Start,
    candidates,
    decide,
    fits,
    leader,
    rebalanced,
)

NAMES = ("n1", "n2", "n3", "n4", "n5", "n6")
ROUNDS_MAX = 12


def nodes_of(*names, **more):
    return {name: NodeView(name=name, **more) for name in names}


def copy(agent="a", node="n1", **more):
    fields = {"revision": 1, "epoch": 1, "digest": "d1"} | more
    return Copy(agent=agent, node=node, **fields)


def settled(nodes, agents, may_take=True):
    """Let all live nodes decide and act, with equal views, until none has anything to do."""
    agents = {name: list(copies) for name, copies in agents.items()}
    for _ in range(ROUNDS_MAX):
        decided = {node: decide(nodes, agents, own=node, may_take=may_take) for node in nodes}
        if not any(decided.values()):
            return agents
        for node, actions in decided.items():
            for action in actions:
                apply(agents, node, action)
    raise AssertionError("they do not come to rest")


def apply(agents, node, action):
    match action:
        case Start(like, epoch):
            assert all(one.node != node for one in agents[like.agent]), "one copy a node"
            agents[like.agent].append(dataclasses.replace(like, node=node, epoch=epoch))
        case Follow(like):
            copies = agents[like.agent]
            [mine] = [one for one in copies if one.node == node]
            copies.remove(mine)
            copies.append(dataclasses.replace(like, node=node))
        case GiveUp(agent, successor):
            assert successor != node
            agents[agent] = [one for one in agents[agent] if one.node != node]


def live(copies, nodes):
    return [one for one in copies if one.node in nodes]


@st.composite
def clusters(draw):
    """Nodes, dead ones left out, and agents whose copies may lie on any, older and newer ones."""
    names = draw(st.lists(st.sampled_from(NAMES), min_size=1, unique=True))
    nodes = {
        name: NodeView(
            name=name,
            labels={"zone": draw(st.sampled_from(("eu", "us")))},
            load=draw(st.integers(0, 7)),
            is_draining=draw(st.integers(0, 4)) == 0,
            handlers=draw(st.sampled_from(((), ("m:*",)))),
            refused=frozenset(draw(st.lists(st.sampled_from(("d1", "d2")), max_size=1))),
        )
        for name in names
    }
    agents = {}
    for number in range(draw(st.integers(1, 4))):
        agent = f"agent-{number}"
        rule = draw(
            st.sampled_from(
                ("spread", "pack", "least-loaded", "zone=eu", "node=n1", "pack, zone=us")
            )
        )
        homes = draw(st.lists(st.sampled_from(NAMES), min_size=1, max_size=4, unique=True))
        # The handler is written in the definition that the digest is of, and one claim says one
        # thing: two nodes that deploy under the same one are told apart by their names alone.
        handlers = {digest: draw(st.sampled_from(("", "m:C"))) for digest in ("d1", "d2")}
        meant = {
            (revision, epoch): (draw(st.sampled_from(("d1", "d2"))), draw(st.integers(1, 3)))
            for revision in (1, 2)
            for epoch in (1, 2, 3)
        }
        agents[agent] = []
        for home in homes:
            revision, epoch = draw(st.integers(1, 2)), draw(st.integers(1, 3))
            digest, replicas = meant[revision, epoch]
            agents[agent].append(
                Copy(
                    agent=agent,
                    node=home,
                    revision=revision,
                    epoch=epoch,
                    digest=digest,
                    replicas=replicas,
                    rule=read_placement(rule),
                    handler=handlers[digest],
                )
            )
    return nodes, agents


@given(clusters())
def test_every_agent_comes_to_its_replicas_on_nodes_that_fit(cluster):
    nodes, agents = cluster
    after = settled(nodes, agents)
    for agent, copies in after.items():
        like = leader(agents[agent])
        running = live(copies, nodes)
        fitting = candidates(nodes, like)
        if fitting:
            assert len(running) == min(like.replicas, len(fitting))
            assert {one.node for one in running} <= set(fitting)


@given(clusters())
def test_nobody_stops_the_last_copy(cluster):
    nodes, agents = cluster
    after = settled(nodes, agents)
    for agent, copies in agents.items():
        if live(copies, nodes):
            assert live(after[agent], nodes)


@given(clusters())
def test_all_copies_come_to_agree_with_the_first(cluster):
    nodes, agents = cluster
    for copies in settled(nodes, agents).values():
        first = leader(copies)
        for one in live(copies, nodes):
            if one.node == first.node or fits(nodes[one.node], first):
                assert (one.revision, one.epoch, one.digest, one.replicas) == (
                    first.revision,
                    first.epoch,
                    first.digest,
                    first.replicas,
                )


@given(clusters(), st.randoms(use_true_random=False))
def test_survivors_with_equal_views_never_disagree_whatever_the_order(cluster, random):
    nodes, agents = cluster
    shuffled_nodes = dict(random.sample(list(nodes.items()), len(nodes)))
    shuffled = {name: random.sample(copies, len(copies)) for name, copies in agents.items()}
    starts = Counter()
    for own in nodes:
        one = decide(nodes, agents, own=own, may_take=True)
        other = decide(shuffled_nodes, shuffled, own=own, may_take=True)
        assert one == other
        starts.update(action.like.agent for action in one if isinstance(action, Start))
    for agent, count in starts.items():
        assert count <= leader(agents[agent]).replicas


@given(clusters())
def test_a_join_moves_nothing(cluster):
    nodes, agents = cluster
    before = settled(nodes, agents)
    joined = nodes | nodes_of("n7")
    after = settled(joined, before)
    for agent, copies in before.items():
        stayed = {one.node for one in live(copies, nodes) if fits(nodes[one.node], leader(copies))}
        assert stayed <= {one.node for one in after[agent]}


@given(clusters(), st.data())
def test_a_death_moves_only_what_was_there(cluster, data):
    nodes, agents = cluster
    before = settled(nodes, agents)
    dead = data.draw(st.sampled_from(sorted(nodes)))
    survivors = {name: node for name, node in nodes.items() if name != dead}
    after = settled(survivors, before)
    for agent, copies in before.items():
        homes = {one.node for one in live(copies, survivors)}
        if dead not in {one.node for one in copies} and any(
            fits(nodes[home], leader(copies)) for home in homes
        ):
            assert {one.node for one in live(after[agent], survivors)} == homes


@given(clusters())
def test_a_minority_starts_nothing_and_stops_nothing_that_runs_nowhere_else(cluster):
    nodes, agents = cluster
    for own in nodes:
        for action in decide(nodes, agents, own=own, may_take=False):
            assert not isinstance(action, Start)


def test_a_dead_nodes_agent_starts_on_one_survivor_under_a_higher_epoch():
    nodes = nodes_of("n2", "n3")
    agents = {"a": [copy(node="n1", epoch=4)]}
    decided = [decide(nodes, agents, own=own, may_take=True) for own in nodes]
    [start] = [action for actions in decided for action in actions]
    assert start == Start(agents["a"][0], 5)


def test_of_two_copies_the_one_with_the_lower_epoch_stops():
    nodes = nodes_of("n1", "n2")
    agents = {"a": [copy(node="n1", epoch=2), copy(node="n2", epoch=1)]}
    assert decide(nodes, agents, own="n1", may_take=True) == []
    assert decide(nodes, agents, own="n2", may_take=True) == [GiveUp("a", "n1")]


def test_of_two_copies_of_one_epoch_the_one_of_the_higher_node_stays():
    nodes = nodes_of("n1", "n2")
    agents = {"a": [copy(node="n1"), copy(node="n2")]}
    assert decide(nodes, agents, own="n1", may_take=True) == [GiveUp("a", "n2")]
    assert decide(nodes, agents, own="n2", may_take=True) == []


def test_a_newer_revision_beats_a_higher_epoch():
    nodes = nodes_of("n1", "n2")
    agents = {"a": [copy(node="n1", revision=2), copy(node="n2", epoch=9)]}
    assert decide(nodes, agents, own="n2", may_take=True) == [GiveUp("a", "n1")]


def test_a_replica_follows_the_newer_version_of_the_first():
    nodes = nodes_of("n1", "n2")
    first = copy(node="n1", revision=2, digest="d2", replicas=2)
    agents = {"a": [first, copy(node="n2", replicas=2)]}
    assert decide(nodes, agents, own="n2", may_take=True) == [Follow(first)]


def test_a_node_that_has_not_told_of_itself_keeps_what_it_has_and_gets_nothing():
    nodes = nodes_of("n2", "n3") | nodes_of("n1", is_silent=True)
    agents = {"a": [copy(node="n1")], "b": [copy("b", "n9")]}
    after = settled(nodes, agents)
    assert after["a"] == agents["a"]
    assert [one.node for one in live(after["b"], nodes)] != ["n1"]


def test_a_draining_node_keeps_its_agent_until_another_runs_it():
    nodes = nodes_of("n2") | nodes_of("n1", is_draining=True)
    agents = {"a": [copy(node="n1")]}
    assert decide(nodes, agents, own="n1", may_take=True) == []
    [start] = decide(nodes, agents, own="n2", may_take=True)
    agents["a"].append(copy(node="n2", epoch=start.epoch))
    assert decide(nodes, agents, own="n1", may_take=True) == [GiveUp("a", "n2")]


def test_a_draining_node_keeps_what_nobody_else_may_run():
    nodes = nodes_of("n2") | nodes_of("n1", is_draining=True)
    agents = {"a": [copy(node="n1", rule=read_placement("node=n1"))]}
    assert settled(nodes, agents) == agents


def test_a_python_agent_goes_to_the_next_node_where_its_class_is_not_allowed():
    open_node = NodeView(name="n3", handlers=("agents.*",))
    nodes = nodes_of("n2") | {"n3": open_node}
    assert candidates(nodes, copy(handler="agents.billing:Clerk")) == ["n3"]


def test_a_definition_that_a_node_refused_goes_to_the_next():
    like = copy()
    nodes = nodes_of(*NAMES)
    first, second, *_ = candidates(nodes, like)
    nodes[first] = NodeView(name=first, refused=frozenset({"d1"}))
    assert candidates(nodes, like)[0] == second


def test_a_restarted_minority_may_give_up_what_the_majority_runs():
    nodes = nodes_of("n1", "n2")
    agents = {"a": [copy(node="n1"), copy(node="n2", epoch=2)]}
    assert decide(nodes, agents, own="n1", may_take=False) == [GiveUp("a", "n2")]


def test_where_the_first_candidate_does_nothing_the_next_one_may():
    nodes = nodes_of("n2", "n3", "n4")
    agents = {"a": [copy(node="n1")]}
    order = candidates(nodes, agents["a"][0])
    for passed_count in range(3):
        starting = [
            own
            for own in order
            if decide(nodes, agents, own=own, may_take=True, passed_count=passed_count)
        ]
        assert starting == order[: passed_count + 1]


def test_the_least_loaded_node_comes_first():
    nodes = {
        name: NodeView(name=name, load=load) for name, load in {"n1": 5, "n2": 0, "n3": 3}.items()
    }
    like = copy(rule=PlacementRule(Preference.LEAST_LOADED))
    assert candidates(nodes, like) == ["n2", "n3", "n1"]


def test_packed_agents_gather_and_spread_ones_do_not():
    nodes = nodes_of(*NAMES)
    packed = {candidates(nodes, copy(f"a{n}", rule=read_placement("pack")))[0] for n in range(200)}
    spread = Counter(candidates(nodes, copy(f"a{n}"))[0] for n in range(600))
    assert len(packed) == 1
    assert set(spread) == set(NAMES)
    assert max(spread.values()) < 2 * min(spread.values())


@given(clusters())
def test_rebalancing_evens_out_and_then_rests(cluster):
    nodes, agents = cluster
    agents = settled(nodes, agents)
    for move in rebalanced(nodes, agents):
        copies = agents[move.agent]
        like = leader(copies)
        assert fits(nodes[move.target], like)
        assert all(one.node != move.target for one in live(copies, nodes))
        agents[move.agent] = [one for one in copies if one.node != move.source]
        agents[move.agent].append(dataclasses.replace(like, node=move.target, epoch=like.epoch + 1))
    assert rebalanced(nodes, agents) == []
    homes = {name: {one.node for one in live(copies, nodes)} for name, copies in agents.items()}
    for name, copies in settled(nodes, agents).items():
        assert {one.node for one in live(copies, nodes)} == homes[name]


def test_a_newcomer_gets_its_share_when_asked_for():
    nodes = nodes_of("n1", "n2", "n3")
    agents = {f"a{n}": [copy(f"a{n}", "n1" if n % 2 else "n2")] for n in range(30)}
    moved = rebalanced(nodes, agents)
    assert {move.target for move in moved} == {"n3"}
    assert len(moved) == 10


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("spread", ANYWHERE),
        ("least_loaded", PlacementRule(Preference.LEAST_LOADED)),
        ("node=n1", PlacementRule(node="n1")),
        ("pack, zone=eu", PlacementRule(Preference.PACK, labels={"zone": "eu"})),
    ],
)
def test_a_placement_is_read_and_written(text, rule):
    read = read_placement(text)
    assert (read.preference, read.node, dict(read.labels)) == (
        rule.preference,
        rule.node,
        dict(rule.labels),
    )
    assert read_placement(str(read)) == read


@pytest.mark.parametrize(
    "text", ["", "everywhere", "spread, pack", "zone=", "=eu", "zone=eu, zone=us", "Zone=eu"]
)
def test_a_placement_that_is_none_is_refused(text):
    with pytest.raises(ValueError, match=r"not|twice"):
        read_placement(text)
