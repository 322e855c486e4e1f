"""Many seeds of whole rings with registries. A failure prints the command that replays it."""

import pytest

from tests.sim.registry_ring import run_registry_seed

SEEDS_A_CHUNK = 5
CHUNKS = range(3)

SLOW_SEEDS_A_CHUNK = 100
SLOW_CHUNKS = range(20)

LARGE_SEEDS = range(20)


@pytest.mark.parametrize("chunk", CHUNKS)
def test_registries_agree_after_whatever_befell_them(chunk):
    for seed in range(chunk * SEEDS_A_CHUNK, (chunk + 1) * SEEDS_A_CHUNK):
        run_registry_seed(seed)


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("chunk", SLOW_CHUNKS)
def test_registries_agree_after_whatever_befell_them_for_long(chunk):
    for seed in range(1000 + chunk * SLOW_SEEDS_A_CHUNK, 1000 + (chunk + 1) * SLOW_SEEDS_A_CHUNK):
        run_registry_seed(seed)


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize("seed", LARGE_SEEDS)
def test_ten_nodes_with_two_thousand_agents_each_agree(seed):
    run_registry_seed(seed, size=10, agents=2000)


def test_a_seed_of_registries_replays_exactly():
    assert run_registry_seed(3, size=4) == run_registry_seed(3, size=4)
