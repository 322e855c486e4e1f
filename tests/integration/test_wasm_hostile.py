"""Every guest of the hostile corpus, in a process of its own, is contained or refused."""

import subprocess
import sys

import pytest

from tests.wasm_hostile import CASES

QUICK = {
    "loop",
    "flood_of_host_calls",
    "sleep_by_wasi",
    "memory_grows",
    "result_beyond_memory",
    "open_a_file",
    "native_code",
    "two_hundred_thousand_functions",
}
"""One of each sort, for every push."""


def test_the_corpus_has_at_least_sixty_cases():
    assert len(CASES) >= 60


@pytest.mark.parametrize(
    "name",
    [name if name in QUICK else pytest.param(name, marks=pytest.mark.slow) for name in CASES],
)
def test_a_hostile_guest_is_contained_or_refused(name):
    done = subprocess.run(
        [sys.executable, "-m", "tests.wasm_hostile", name],
        capture_output=True,
        text=True,
        timeout=55,
        check=False,
    )
    assert done.returncode == 0, f"{CASES[name].wanted} was wanted: {done.stdout} {done.stderr}"
