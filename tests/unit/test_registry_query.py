"""Who is found, in which order, and what is suggested instead."""

import random
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from caxton_cluster.registry import (
    AgentRecord,
    Delta,
    Entry,
    Owner,
    Registry,
    RegistryConfig,
    Strategy,
)
from caxton_cluster.registry.holding import spellings
from caxton_cluster.registry.records import pack_record
from caxton_node.domain.capability import parse_capability
from caxton_node.domain.delivery import RoutingStrategy

NOW = 100.0


class Cluster:
    """What node `n0` knows of itself and of others."""

    def __init__(self):
        self.registry = Registry(RegistryConfig(), Owner("n0", 1), random=random.Random(1), now=NOW)
        self.versions: Counter[str] = Counter()
        self.lookup = self.registry.lookup

    def add(self, node, agent, *capabilities, **fields):
        record = AgentRecord(agent, capabilities or ("echo",), **fields)
        if node == "n0":
            self.registry.put(record, NOW)
            return
        if node not in self.versions:
            self.registry.member_up(node, 1, NOW)
        self.write(node, Entry(agent, self.versions[node] + 1, pack_record(record)))

    def remove(self, node, agent):
        self.write(node, Entry(agent, self.versions[node] + 1, None))

    def write(self, node, entry):
        before, self.versions[node] = self.versions[node], entry.version
        delta = Delta(Owner(node, 1), before, entry.version, 0, (entry,))
        self.registry.receive_delta(delta, NOW)
        assert self.registry.statistics.malformed == 0


@pytest.fixture
def cluster():
    return Cluster()


def chosen(cluster, capability, **how):
    listing = cluster.lookup.choose(capability, **how)
    return None if listing is None else (listing.node, listing.agent)


CAPABILITY = st.from_regex(
    r"[a-z][a-z0-9]{0,2}(-[a-z]{1,2})?(\.[a-z]{1,3}){0,4}(:v[0-9](\.[0-9])?)?", fullmatch=True
)


@given(CAPABILITY)
def test_an_offer_answers_to_what_it_answers_to_within_a_node(text):
    capability = parse_capability(text)

    assert spellings(text) == tuple(capability.answers_to())


def test_strategies_have_the_words_of_messages():
    words = {strategy.value for strategy in RoutingStrategy}

    assert {strategy.value for strategy in Strategy} == words - {"broadcast"}


def test_whoever_asks_for_the_general_gets_the_particular(cluster):
    cluster.add("n1", "a", "data.visual:v2")

    for request in ("data.visual:v2", "data.visual", "data:v2", "data"):
        assert chosen(cluster, request) == ("n1", "a")
    for request in ("data.visual:v1", "visual", "data.other", "dat", ""):
        assert chosen(cluster, request) is None


def test_the_nearest_offer_is_the_best_match_however_loaded(cluster):
    cluster.add("n1", "far", "data.visual.charts", load=0)
    cluster.add("n1", "near", "data.visual", load=7)
    cluster.add("n0", "farther", "data.visual.charts.bars", load=0)

    assert chosen(cluster, "data.visual") == ("n1", "near")


def test_of_equal_offers_the_least_loaded_is_the_best_match(cluster):
    cluster.add("n0", "busy", load=3)
    cluster.add("n1", "idle", load=1)

    assert chosen(cluster, "echo") == ("n1", "idle")


def test_of_equals_ours_is_the_best_match(cluster):
    for node in ("n1", "n0", "n2"):
        cluster.add(node, f"of-{node}")

    assert {chosen(cluster, "echo", turn=turn) for turn in range(9)} == {("n0", "of-n0")}


def test_load_is_balanced_over_all_equals_in_turn(cluster):
    cluster.add("n1", "near", "echo")
    cluster.add("n2", "far", "echo.loud:v3")
    cluster.add("n0", "ours", "echo")
    cluster.add("n2", "busy", "echo", load=1)

    turns = Counter(
        chosen(cluster, "echo", strategy=Strategy.LOAD_BALANCED, turn=turn) for turn in range(9)
    )

    assert turns == {("n1", "near"): 3, ("n2", "far"): 3, ("n0", "ours"): 3}


@pytest.mark.parametrize("strategy", list(Strategy))
def test_a_paused_agent_is_better_than_none(cluster, strategy):
    cluster.add("n0", "paused", "echo", state="suspended")
    assert chosen(cluster, "echo", strategy=strategy) == ("n0", "paused")

    cluster.add("n1", "running", "echo.far", load=7)

    assert chosen(cluster, "echo", strategy=strategy) == ("n1", "running")


@pytest.mark.parametrize("strategy", list(Strategy))
def test_a_suspect_ranks_below_the_others(cluster, strategy):
    cluster.add("n1", "near", "echo")
    cluster.add("n2", "far", "echo.far", load=7)
    cluster.registry.member_suspect("n1")
    assert chosen(cluster, "echo", strategy=strategy) == ("n2", "far")

    cluster.registry.member_down("n2", NOW)
    assert chosen(cluster, "echo", strategy=strategy) == ("n1", "near")

    cluster.registry.member_up("n2", 1, NOW)
    cluster.registry.member_up("n1", 1, NOW)
    assert chosen(cluster, "echo", strategy=strategy, turn=1) == ("n1", "near")


@pytest.mark.parametrize("strategy", list(Strategy))
def test_who_asks_is_not_the_one_who_answers(cluster, strategy):
    cluster.add("n0", "asker", "echo")
    assert chosen(cluster, "echo", strategy=strategy, without="asker") is None

    cluster.add("n1", "other", "echo.far", load=7)

    assert chosen(cluster, "echo", strategy=strategy, without="asker") == ("n1", "other")


def test_labels_narrow_the_choice(cluster):
    cluster.add("n1", "us", "echo", labels=(("zone", "us"), ("tier", "1")))
    cluster.add("n2", "eu", "echo", labels=(("zone", "eu"), ("tier", "1")), load=5)

    assert chosen(cluster, "echo", labels={"zone": "eu", "tier": "1"}) == ("n2", "eu")
    assert chosen(cluster, "echo", labels={"zone": "asia"}) is None
    assert [one.agent for one in cluster.lookup.providers("echo", labels={"zone": "us"})] == ["us"]


def test_tenants_do_not_see_each_other(cluster):
    cluster.add("n1", "a", "echo", tenant="red")

    assert chosen(cluster, "echo") is None
    assert chosen(cluster, "echo", tenant="red") == ("n1", "a")
    assert cluster.lookup.locate("a") == ()
    assert cluster.lookup.capabilities() == {}
    assert cluster.lookup.suggest_agents("aa") == ()


def test_an_agent_that_changes_its_tenant_moves(cluster):
    cluster.add("n1", "a", "echo", tenant="red")
    cluster.add("n1", "a", "echo", tenant="blue")

    assert cluster.lookup.locate("a", "red") == ()
    assert len(cluster.lookup.locate("a", "blue")) == 1
    assert chosen(cluster, "echo", tenant="red") is None


def test_an_agent_is_found_by_what_it_offers_now(cluster):
    cluster.add("n1", "a", "echo", "old.thing:v1")
    cluster.add("n1", "a", "echo", "new")

    assert chosen(cluster, "old") is None
    assert chosen(cluster, "new") == ("n1", "a")
    cluster.remove("n1", "a")
    assert chosen(cluster, "echo") is None
    assert cluster.lookup.capabilities() == {}


def test_a_broadcast_reaches_each_running_agent_once_the_best_match_first(cluster):
    cluster.add("n2", "far", "echo.far")
    cluster.add("n1", "near", "echo")
    cluster.add("n2", "replica", "echo", load=3)
    cluster.add("n1", "replica", "echo", load=1)
    cluster.add("n1", "paused", "echo", state="stopped")
    cluster.add("n0", "asker", "echo")

    found = cluster.lookup.providers("echo", without="asker")

    assert [(one.node, one.agent) for one in found] == [
        ("n1", "near"), ("n1", "replica"), ("n2", "far"),
    ]  # fmt: skip


def test_a_broadcast_waits_for_the_paused_when_there_are_no_others(cluster):
    cluster.add("n1", "paused", "echo", state="stopped")

    assert [one.agent for one in cluster.lookup.providers("echo")] == ["paused"]


# By name.


def nodes(cluster, agent):
    return [one.node for one in cluster.lookup.locate(agent)]


def test_replicas_are_all_found_the_best_first(cluster):
    cluster.add("n1", "a", load=2)
    cluster.add("n2", "a", load=0, state="suspended")
    cluster.add("n3", "a", load=2)
    cluster.add("n4", "a", load=0)
    assert nodes(cluster, "a") == ["n4", "n3", "n1", "n2"]

    cluster.add("n0", "a", load=5)
    cluster.registry.member_suspect("n4")

    assert nodes(cluster, "a") == ["n0", "n3", "n1", "n4", "n2"]
    assert cluster.lookup.winner("a").node == "n4"


@pytest.mark.parametrize(
    ("lower", "higher"),
    [
        ({"agent_version": "1.9.0", "agent_epoch": 9}, {"agent_version": "1.10.0"}),
        ({"agent_epoch": 1}, {"agent_epoch": 2}),
        ({"agent_version": "1.0.0-rc.1"}, {"agent_version": "1.0.0"}),
    ],
)
def test_a_duplicate_of_lower_version_or_epoch_is_nobody(cluster, lower, higher):
    cluster.add("n9", "a", **lower)
    cluster.add("n1", "a", load=7, **higher)

    assert nodes(cluster, "a") == ["n1"]
    assert cluster.lookup.winner("a").node == "n1"
    for strategy in Strategy:
        for turn in range(4):
            assert chosen(cluster, "echo", strategy=strategy, turn=turn) == ("n1", "a")
    assert [one.node for one in cluster.lookup.providers("echo")] == ["n1"]


def test_when_the_higher_duplicate_is_gone_the_lower_one_counts_again(cluster):
    cluster.add("n9", "a", agent_epoch=1)
    cluster.add("n1", "a", agent_epoch=2)

    cluster.registry.member_down("n1", NOW)

    assert nodes(cluster, "a") == ["n9"]
    assert chosen(cluster, "echo") == ("n9", "a")


def test_nobody_wins_what_nobody_runs(cluster):
    assert cluster.lookup.winner("a") is None


def test_all_agents_are_listed_once_by_name(cluster):
    for node, agent in (("n1", "b"), ("n2", "a"), ("n0", "b")):
        cluster.add(node, agent)

    assert [(one.agent, one.node) for one in cluster.lookup.agents()] == [("a", "n2"), ("b", "n0")]


def test_capabilities_are_listed_as_offered_with_how_many_offer_them(cluster):
    cluster.add("n1", "a", "data.visual:v2", "echo")
    cluster.add("n2", "b", "echo", load=4)
    cluster.add("n2", "c", "data.visual", state="stopped")

    assert cluster.lookup.capabilities() == {"data.visual": 1, "data.visual:v2": 1, "echo": 2}


def test_what_comes_near_is_suggested(cluster):
    cluster.add("n1", "DataAnalyzer", "data-analysis")
    cluster.add("n2", "Translator", "translate:v2")

    assert cluster.lookup.suggest_capabilities("data-analisys") == ("data-analysis",)
    assert cluster.lookup.suggest_capabilities("translat:v2") == ("translate:v2",)
    assert cluster.lookup.suggest_agents("DataAnalyser") == ("DataAnalyzer",)
    assert cluster.lookup.suggest_agents("zzz") == ()
    cluster.registry.member_down("n1", NOW)
    assert cluster.lookup.suggest_agents("DataAnalyser") == ()


# The index against the plain way.


AGENT = st.tuples(
    st.sampled_from(("n0", "n1", "n2")),
    st.sampled_from("abcd"),
    st.lists(st.sampled_from(("x", "x.y", "x.y:v1", "z:v1", "z")), min_size=1, max_size=3),
    st.integers(0, 2),
    st.booleans(),
)


@given(st.lists(AGENT, max_size=12), st.sampled_from(("x", "x:v1", "x.y", "z", "z:v1")))
def test_the_choice_is_the_best_of_all_that_there_are(agents, request):
    cluster = Cluster()
    listed = {}
    for node, agent, capabilities, load, is_running in agents:
        state = "running" if is_running else "stopped"
        cluster.add(node, agent, *capabilities, load=load, state=state)
        listed[node, agent] = (capabilities, load, is_running)

    def rank(key, *, is_balanced):
        capabilities, load, is_running = listed[key]
        distance = min(
            spellings(one).index(request) for one in capabilities if request in spellings(one)
        )
        here = key[0] == "n0"
        return (not is_running, load) if is_balanced else (not is_running, distance, load, not here)

    able = [
        key for key, (offers, *_) in listed.items() if any(request in spellings(o) for o in offers)
    ]
    for strategy, is_balanced in ((Strategy.BEST_MATCH, False), (Strategy.LOAD_BALANCED, True)):
        best = {
            key
            for key in able
            if rank(key, is_balanced=is_balanced)
            == min(rank(other, is_balanced=is_balanced) for other in able)
        }
        found = {chosen(cluster, request, strategy=strategy, turn=turn) for turn in range(30)}
        assert found == (best or {None})
    reached = {one.agent for one in cluster.lookup.providers(request)}
    running = {key[1] for key in able if listed[key][2]}
    assert reached == (running or {key[1] for key in able})
