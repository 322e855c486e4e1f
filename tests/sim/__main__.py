"""Replay one seed, or run a range of them: `python -m tests.sim --seed 7 --trace`."""

import argparse
import sys
import time

from caxton_cluster import config
from tests.sim.checkers import Violation
from tests.sim.scenario import run_seed

PRESETS = {"lan": config.lan, "wan": config.wan, "local": config.local, "fast": config.fast}


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.sim", description=__doc__)
    parser.add_argument("--seed", type=int, default=0, help="the (first) seed")
    parser.add_argument("--count", type=int, default=1, help="how many seeds to run")
    parser.add_argument("--preset", choices=sorted(PRESETS), default="lan")
    parser.add_argument("--trace", action="store_true", help="print every event")
    arguments = parser.parse_args()
    started, failures, slowest = time.perf_counter(), 0, (0.0, 0)
    for seed in range(arguments.seed, arguments.seed + arguments.count):
        try:
            outcome = run_seed(seed, config=PRESETS[arguments.preset](), is_tracing=arguments.trace)
        except Violation as violation:
            failures += 1
            print(violation)
            continue
        slowest = max(slowest, (outcome.converged_after_s, seed))
        if arguments.count == 1:
            print(outcome)
    took = time.perf_counter() - started
    print(
        f"{arguments.count} seeds, {failures} failures, {took:.1f} s; "
        f"longest to agree after the calm: {slowest[0]:.0f} s (seed {slowest[1]})"
    )
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
