"""Rings of ours beside rings by memberlist's rules, in virtual time: what no real run has time for.

    python -m loadtests.membership_sim                 everything, about forty minutes of one core
    python -m loadtests.membership_sim --only tails    one of: tails, loss, slow, crash, thousand
    python -m loadtests.membership_sim --share 0.1     a tenth of the runs

The machines are the ones that run in production, driven by the simulator of tests/sim: a clock, a
network and faults that follow from a seed. Memberlist's rules are the same machines with what ours
add switched off (tests/sim/reference.py) and the settings of its `DefaultLANConfig`.

A table is printed, and every sample written to build/bench/membership_sim.json.
"""

import argparse
import json
import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from caxton_cluster.config import SwimConfig, lan
from caxton_cluster.swim.events import MemberSuspected
from tests.sim.reference import ReferenceWorld, reference_lan
from tests.sim.trials import (
    MakeWorld,
    crash_notice_s,
    deaths_beside_blocked,
    deaths_in_loss,
    known_dead,
    ring,
    spread,
)
from tests.sim.world import World

TARGET = Path(__file__).parent.parent / "build" / "bench" / "membership_sim.json"

TAIL_S = 2.0
"""What took longer waited for an exchange of tables, not for a rumour."""

LOSSES = (0.05, 0.10, 0.25)


@dataclass(frozen=True, slots=True)
class Rules:
    """A kind of machines."""

    name: str
    config: SwimConfig
    make: MakeWorld


OURS = Rules("ours", lan(), World)
THEIRS = Rules("memberlist's rules", reference_lan(), ReferenceWorld)
NO_LIFEGUARD = Rules("no Lifeguard", SwimConfig(awareness_max=1, suspicion_max_mult=1), World)


@dataclass(slots=True)
class Row:
    """One figure of one kind of machines."""

    figure: str
    rules: Rules
    samples: list[float] = field(default_factory=list)

    def text(self) -> str:
        """Return the samples as the cells of a table."""
        values = self.samples
        middle, worst = statistics.median(values), max(values)
        return (
            f"| {self.figure} | {self.rules.name} | {len(values)} | {sum(values):.10g} "
            f"| {middle:.4g} | {worst:.4g} |"
        )


def tails(share: float) -> Iterator[Row]:
    """How long news takes to reach everyone, and how often it takes long."""
    for size in (8, 16, 32, 64):
        for rules, count in ((OURS, 1000), (THEIRS, 200)):
            runs = [
                spread(seed, size, rules.config, make=rules.make)
                for seed in range(max(1, round(count * share)))
            ]
            for what in ("join", "update", "leave"):
                took_s = [getattr(run, f"{what}_s") for run in runs]
                yield Row(f"{what}, N = {size}, s", rules, took_s)
                late = [float(value > TAIL_S) for value in took_s]
                yield Row(f"{what}, N = {size}, over {TAIL_S:g} s", rules, late)


def loss(share: float) -> Iterator[Row]:
    """How many well members are held dead while datagrams get lost, 32 members for 300 s."""
    for lost in LOSSES:
        for rules in (OURS, THEIRS):
            yield Row(
                f"false deaths, {lost:.0%} loss, N = 32, 300 s",
                rules,
                [
                    deaths_in_loss(seed, 32, lost, 300.0, rules.config, rules.make)
                    for seed in range(max(1, round(12 * share)))
                ],
            )


def slow(share: float) -> Iterator[Row]:
    """How many well members are held dead while a tenth is slow."""
    for size, blocked_s, duration_s in ((32, 8.0, 150.0), (100, 16.0, 60.0)):
        for rules in (OURS, THEIRS, NO_LIFEGUARD):
            yield Row(
                f"false deaths, {size // 10} of {size} blocked {blocked_s:g} s at a time",
                rules,
                [
                    deaths_beside_blocked(
                        seed,
                        size,
                        size // 10,
                        rules.config,
                        blocked_s=blocked_s,
                        duration_s=duration_s,
                        make=rules.make,
                    )
                    for seed in range(max(1, round(6 * share)))
                ],
            )


def crash(share: float) -> Iterator[Row]:
    """How soon everyone knows of a crash and of a hang."""
    for size in (3, 8, 16, 32, 64):
        count = max(1, round(share * min(400, 3200 // size)))
        for title, end in (("crash", World.crash), ("hang", World.pause)):
            for rules in (OURS, THEIRS):
                pairs = [_end_one(seed, size, rules, end) for seed in range(count)]
                suspected_s, known_s = map(list, zip(*pairs, strict=True))
                yield Row(f"{title} first suspected, N = {size}, s", rules, suspected_s)
                yield Row(f"{title} known to all, N = {size}, s", rules, known_s)


def _end_one(seed: int, size: int, rules: Rules, end: Callable) -> tuple[float, float]:
    """Return when the first suspects a member that ends, and when all hold it dead, in seconds."""
    world, nodes = ring(seed, size, rules.config, make=rules.make)
    world.run_until(10 + world.random.random() * 7)
    victim, ended_at = nodes[seed % size], world.now
    suspected: list[float] = []

    def watch(now, _node, event):
        if isinstance(event, MemberSuspected) and event.member.name == victim.name:
            suspected.append(now - ended_at)

    world.watchers.append(watch)
    end(world, victim)
    known_s = known_dead(world, victim.name)
    return suspected[0], known_s


def thousand(share: float) -> Iterator[Row]:
    """The same at a thousand members: notice of a crash, and false deaths in loss."""
    for rules in (OURS, THEIRS):
        times = [
            crash_notice_s(seed, 1000, rules.config, rules.make)
            for seed in range(max(1, round(5 * share)))
        ]
        yield Row("crash first held dead, N = 1000, s", rules, [first for first, _ in times])
        yield Row("crash known to all, N = 1000, s", rules, [last for _, last in times])
    for lost in LOSSES:
        for rules in (OURS, THEIRS):
            count = deaths_in_loss(1, 1000, lost, max(5.0, 30.0 * share), rules.config, rules.make)
            yield Row(f"false deaths, {lost:.0%} loss, N = 1000, 30 s", rules, [count])


FIGURES = {"tails": tails, "loss": loss, "slow": slow, "crash": crash, "thousand": thousand}


def main() -> None:
    """Run what was asked for and write what it gave."""
    parser = argparse.ArgumentParser(description="Simulated rings beside memberlist's rules.")
    parser.add_argument("--only", choices=sorted(FIGURES), help="one group of figures")
    parser.add_argument("--share", type=float, default=1.0, help="share of the runs")
    arguments = parser.parse_args()
    started = time.perf_counter()
    rows = []
    print("| figure | machines | runs | sum | median | worst |\n|---|---|---|---|---|---|")
    for name, measure in FIGURES.items():
        if arguments.only in {None, name}:
            for row in measure(arguments.share):
                print(row.text(), flush=True)
                rows.append(row)
    print(f"{time.perf_counter() - started:.0f} s")
    TARGET.parent.mkdir(parents=True, exist_ok=True)
    samples = [{"figure": r.figure, "rules": r.rules.name, "samples": r.samples} for r in rows]
    TARGET.write_text(json.dumps(samples, indent=1))


if __name__ == "__main__":
    main()
