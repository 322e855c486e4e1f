"""Whatever is lost, doubled or overtaken: once digests arrive again, all hold the same."""

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from caxton_cluster.registry import RegistryConfig
from tests.registry_mesh import Mesh

PHASES = (Phase.explicit, Phase.reuse, Phase.generate)
"""A failure prints its steps as they were: making them fewer takes minutes here."""

AGENTS = ("a", "b", "c", "d", "e")
CONFIG = RegistryConfig(
    chunk_size_bytes=256,  # a chunk or two a record, so that a pull can break anywhere
    tombstone_age_min_s=0.0,
    tombstone_age_max_s=15.0,
    keep_gone_s=20.0,
    pull_timeout_s=3.0,
)


class AnyOrder(RuleBasedStateMachine):
    """Three nodes write, and everything that can befall what they send does."""

    @initialize()
    def begin(self):
        self.mesh = Mesh(CONFIG)
        for name in ("x", "y", "z"):
            self.mesh.start(name)

    @rule(
        name=st.sampled_from("xy"),
        agent=st.sampled_from(AGENTS),
        load=st.integers(0, 7),
        size=st.sampled_from((0, 90, 200)),
    )
    def put(self, name, agent, load, size):
        self.mesh.put(name, agent, load=load, description="x" * size)

    @rule(name=st.sampled_from("xy"), agent=st.sampled_from(AGENTS))
    def remove(self, name, agent):
        self.mesh.remove(name, agent)

    @rule(duration_s=st.sampled_from((0.03, 0.5, 2.5, 7.0, 31.0)))
    def pass_time(self, duration_s):
        self.mesh.pass_time(duration_s)

    @rule()
    def calm_for_a_moment(self):
        self.mesh.calm_down(6.0)

    @rule(pick=st.integers(0, 999), is_kept=st.booleans())
    def arrive(self, pick, is_kept):
        if self.mesh.parcels:
            self.mesh.arrive(pick % len(self.mesh.parcels), is_kept=is_kept)

    @rule(pick=st.integers(0, 999), count=st.integers(1, 8))
    def lose(self, pick, count):
        for _ in range(min(count, len(self.mesh.parcels))):
            del self.mesh.parcels[pick % len(self.mesh.parcels)]

    @rule(pick=st.integers(0, 999), count=st.integers(1, 4))
    def move(self, pick, count):
        for _ in range(count):
            if self.mesh.transfers:
                self.mesh.move(pick % len(self.mesh.transfers))

    @rule(pick=st.integers(0, 999))
    def break_off(self, pick):
        if self.mesh.transfers:
            self.mesh.break_off(pick % len(self.mesh.transfers))

    @rule(is_noticed=st.booleans())
    def restart(self, is_noticed):
        self.mesh.crash("y")
        if is_noticed:
            self.mesh.hear_death("y")
        self.mesh.start("y")

    @rule(name=st.sampled_from("xy"))
    def seem_dead(self, name):
        """A death that is refuted: `z` alone sees it."""
        self.mesh.nodes["z"].member_down(name, self.mesh.now)
        self.mesh.settle()

    @rule()
    def come_back(self):
        for name in "xy":
            self.mesh.nodes["z"].member_up(name, self.mesh.epochs[name], self.mesh.now)
        self.mesh.settle()

    @invariant()
    def nothing_is_found_wrong(self):
        for node in getattr(self, "mesh", Mesh(CONFIG)).nodes.values():
            assert node.statistics.mismatches == 0
            assert node.statistics.malformed == 0

    def teardown(self):
        if not hasattr(self, "mesh"):
            return
        self.come_back()
        self.mesh.calm_down()
        assert self.mesh.disagreement() is None
        for node in self.mesh.nodes.values():
            assert node.is_ready
            assert node.statistics.mismatches == 0


AnyOrder.TestCase.settings = settings(
    max_examples=60,
    stateful_step_count=60,
    deadline=None,
    phases=PHASES,
    suppress_health_check=[HealthCheck.too_slow],
)
test_in_any_order_all_come_to_hold_the_same = AnyOrder.TestCase


class AnyOrderForLong(AnyOrder):
    """The same, for longer."""


AnyOrderForLong.TestCase.settings = settings(
    max_examples=500,
    stateful_step_count=120,
    deadline=None,
    phases=PHASES,
    suppress_health_check=[HealthCheck.too_slow],
)


@pytest.mark.slow
@pytest.mark.timeout(900)
class TestForLong(AnyOrderForLong.TestCase):
    pass
