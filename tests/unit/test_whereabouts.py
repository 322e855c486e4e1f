"""Who runs what, on nodes alive and gone, as told by the registry's events."""

from random import Random

from caxton_cluster.registry import AgentRecord, Owner, Registry, RegistryConfig
from caxton_node.domain.agent import AgentKind, AgentSpec, AgentState, DeploymentSettings
from caxton_node.domain.capability import Capability
from caxton_node.domain.placement import read_placement
from caxton_node.forwarding.agent_records import (
    author_version,
    copy_of,
    number_of,
    record_of,
    state_of,
)
from caxton_node.forwarding.whereabouts import Whereabouts
from caxton_node.runtime.claim import Claim

DIGEST = "ab" * 32


class Cluster:
    """Registries of several nodes in one place; what one says, all hear at once."""

    def __init__(self, *names):
        self.now = 0.0
        self.nodes = {}
        for name in names:
            self.start(name, 1)

    def start(self, name, epoch):
        registry = Registry(RegistryConfig(), Owner(name, epoch), random=Random(1), now=self.now)
        self.nodes[name] = (registry, Whereabouts(registry))
        for other, (theirs, _) in self.nodes.items():
            if other != name:
                theirs.member_up(name, epoch, self.now)
                registry.member_up(other, theirs.owner.epoch, self.now)
        self.settle()

    def settle(self):
        for _ in range(4):
            self.now += 0.5
            for name, (registry, _) in self.nodes.items():
                registry.tick(self.now)
                for delta in registry.take_deltas():
                    for other, (theirs, _) in self.nodes.items():
                        if other != name:
                            theirs.receive_delta(delta, self.now)
                registry.take_digests()
                for pull in registry.take_pulls():
                    theirs = self.nodes[pull.peer][0]
                    for delta in theirs.serve_pull(pull.owner, pull.after_version):
                        registry.receive_chunk(pull.id, delta, self.now)
                    registry.pull_ended(pull.id, self.now, is_complete=True)
        return {name: w.follow(r.take_events()) for name, (r, w) in self.nodes.items()}

    def put(self, node, agent, **more):
        record = AgentRecord(agent, ("test.more",), **more)
        self.nodes[node][0].put(record, self.now)

    def whereabouts(self, node):
        return self.nodes[node][1]


def nodes_of(listings):
    return [listing.node for listing in listings]


def test_an_agent_is_known_on_every_node_that_runs_it():
    cluster = Cluster("n1", "n2", "n3")
    cluster.put("n1", "a")
    cluster.put("n2", "a")
    changed = cluster.settle()
    assert changed["n3"] == {"a"}
    assert nodes_of(cluster.whereabouts("n3").listings("a")) == ["n1", "n2"]
    assert nodes_of(cluster.whereabouts("n1").listings("a")) == ["n1", "n2"]


def test_a_gone_nodes_agents_are_found_by_placement_and_by_nobody_else():
    cluster = Cluster("n1", "n2")
    cluster.put("n1", "a", agent_epoch=4)
    cluster.settle()
    registry, whereabouts = cluster.nodes["n2"]
    registry.member_down("n1", cluster.now)
    assert whereabouts.follow(registry.take_events()) == {"a"}
    assert whereabouts.listings("a") == []
    [copy] = whereabouts.copies("a")
    assert (copy.node, copy.epoch) == ("n1", 4)
    assert whereabouts.was_known("a")
    assert whereabouts.was_offered("test")
    assert not whereabouts.was_offered("else")


def test_what_a_later_life_does_not_run_any_more_is_forgotten():
    cluster = Cluster("n1", "n2")
    cluster.put("n1", "a")
    cluster.put("n1", "b")
    cluster.settle()
    del cluster.nodes["n1"]
    cluster.start("n1", 2)
    cluster.put("n1", "b")
    cluster.settle()
    whereabouts = cluster.whereabouts("n2")
    assert not whereabouts.was_known("a")
    assert nodes_of(whereabouts.listings("b")) == ["n1"]


def test_a_removed_agent_is_forgotten_and_a_changed_one_read_anew():
    cluster = Cluster("n1", "n2")
    cluster.put("n1", "a")
    cluster.put("n1", "b")
    cluster.settle()
    whereabouts = cluster.whereabouts("n2")
    assert whereabouts.copies("b")[0].epoch == 0
    cluster.nodes["n1"][0].remove("a", cluster.now)
    cluster.put("n1", "b", agent_epoch=7)
    assert cluster.settle()["n2"] == {"a", "b"}
    assert list(whereabouts.agents()) == ["b"]
    assert whereabouts.agents_of("n1") == {"b"}
    assert whereabouts.copies("b")[0].epoch == 7


def test_records_of_the_gone_are_dropped_with_the_registrys_own():
    cluster = Cluster("n1", "n2")
    cluster.put("n1", "a")
    cluster.settle()
    registry, whereabouts = cluster.nodes["n2"]
    registry.member_down("n1", cluster.now)
    whereabouts.follow(registry.take_events())
    whereabouts.forget_gone({"n2"})
    assert whereabouts.was_known("a")
    registry.tick(cluster.now + RegistryConfig().keep_gone_s + 10)
    whereabouts.forget_gone({"n2"})
    assert not whereabouts.was_known("a")
    assert len(whereabouts) == 0


def spec(**more):
    fields = {"name": "a", "capabilities": (Capability("test"),), "version": "1.4.0-rc.1"} | more
    return AgentSpec(**fields)


def listed(spec, claim, state=AgentState.RUNNING, number=3):
    registry = Registry(RegistryConfig(), Owner("n1", 1), random=Random(1), now=0.0)
    registry.put(record_of(spec, claim, state=state, number=number), 0.0)
    [listing] = registry.listings("n1")
    return listing


def test_what_placement_needs_comes_back_out_of_a_record():
    claim = Claim(revision=12, epoch=5, digest=DIGEST, replicas=3, placement="node=n2, zone=eu")
    handler = "m." * 30 + "m:C"
    listing = listed(spec(kind=AgentKind.PYTHON, handler=handler), claim, AgentState.SUSPENDED)
    copy = copy_of(listing)
    assert (copy.revision, copy.epoch, copy.digest, copy.replicas) == (12, 5, DIGEST, 3)
    assert (copy.rule, copy.handler) == (read_placement("node=n2, zone=eu"), handler)
    record = listing.record
    assert (author_version(record), number_of(record)) == ("1.4.0-rc.1", 3)
    assert state_of(record) is AgentState.SUSPENDED
    assert not listing.is_running


def test_a_long_placement_and_a_long_handler_do_not_keep_an_agent_out_of_the_registry():
    placement = ", ".join(f"key{n}={'v' * 40}{n}" for n in range(8))
    long_spec = spec(
        kind=AgentKind.PYTHON,
        handler="m." * 90 + "m:C",
        description="d" * 500,
        deployment=DeploymentSettings(replicas=2, placement=placement),
        version="1.0.0-" + "x" * 58,
    )
    copy = copy_of(listed(long_spec, Claim(revision=10**9, digest=DIGEST)))
    assert copy.rule == read_placement(placement)
    assert (copy.replicas, copy.handler) == (2, "")


def test_a_rollback_ranks_above_what_it_undoes():
    newer = listed(spec(version="2.0.0"), Claim(revision=9, digest=DIGEST))
    undone = listed(spec(version="1.0.0"), Claim(revision=10, digest=DIGEST))
    assert undone.precedence > newer.precedence
    assert copy_of(undone).rank > copy_of(newer).rank


def test_a_record_of_another_program_counts_as_one_copy_anywhere():
    registry = Registry(RegistryConfig(), Owner("n1", 1), random=Random(1), now=0.0)
    labels = (("replicas", "many"), ("placement", "on the moon"), ("number", "-1"))
    record = AgentRecord("a", ("test",), agent_version="one", state="dancing", labels=labels)
    registry.put(record, 0.0)
    [listing] = registry.listings("n1")
    copy = copy_of(listing)
    assert (copy.replicas, str(copy.rule), copy.revision) == (1, "spread", 0)
    assert number_of(listing.record) == 1
    assert state_of(listing.record) is AgentState.STOPPED
