"""Many seeds of whole clusters. A failure prints the command that replays it."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.sim.scenario import run_seed

SEEDS_A_CHUNK = 100
CHUNKS = range(20)

SEEDS_A_SLOW_CHUNK = 500
SLOW_CHUNKS = range(96)


@pytest.mark.parametrize("chunk", CHUNKS)
def test_a_cluster_keeps_its_promises_under_faults(chunk):
    for seed in range(chunk * SEEDS_A_CHUNK, (chunk + 1) * SEEDS_A_CHUNK):
        run_seed(seed)


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize("chunk", SLOW_CHUNKS)
def test_a_cluster_keeps_its_promises_under_faults_for_long(chunk):
    first = 2000 + chunk * SEEDS_A_SLOW_CHUNK
    for seed in range(first, first + SEEDS_A_SLOW_CHUNK):
        run_seed(seed)


def test_a_seed_replays_exactly():
    first, second = (run_seed(11, hashes=True) for _ in range(2))

    assert first == second
    assert first.trace != run_seed(12, hashes=True).trace


def test_a_seed_replays_exactly_whatever_the_hash_seed():
    program = "from tests.sim.scenario import run_seed; print(run_seed(11, hashes=True))"
    root = Path(__file__).parents[2]
    outputs = {
        subprocess.run(
            [sys.executable, "-c", program],
            cwd=root,
            env={**os.environ, "PYTHONHASHSEED": hash_seed},
            capture_output=True,
            text=True,
            check=True,
            timeout=50,
        ).stdout
        for hash_seed in ("0", "1")
    }

    assert len(outputs) == 1
