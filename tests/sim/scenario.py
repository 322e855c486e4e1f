"""One seeded run: a ring forms, things break for half a minute, things calm down, views agree."""

import random
from dataclasses import dataclass

from caxton_cluster.config import SwimConfig, lan
from tests.sim.checkers import (
    Accuracy,
    EventOrder,
    Incarnations,
    Violation,
    bounds,
    completeness,
    detection_bound_s,
    disagreement,
)
from tests.sim.faults import LAST_AT_S, Schedule
from tests.sim.world import World

CALM_AT_S = LAST_AT_S + 32.0
"""By then every fault has ended, the longest partition included."""

CONVERGENCE_BOUND_S = 90.0
"""From calm to equal views; most runs take none of it."""

BANDWIDTH_MAX_BYTES_PER_S = 2500
"""Of one node, over a whole run with faults."""


@dataclass(frozen=True, slots=True)
class Outcome:
    seed: int
    node_count: int
    plan: tuple[str, ...]
    converged_after_s: float
    trace: str


def run_seed(
    seed: int, *, config: SwimConfig | None = None, is_tracing: bool = False, hashes: bool = False
) -> Outcome:
    """Run one seed.

    Raises:
        Violation: Something happened that must not; the text begins with the seed.
    """
    try:
        return _run(seed, config or lan(), is_tracing=is_tracing, hashes=hashes)
    except AssertionError as error:
        raise Violation(
            f"seed={seed}: {error}\nreplay with: python -m tests.sim --seed {seed} --trace"
        ) from error


def _run(seed: int, config: SwimConfig, *, is_tracing: bool, hashes: bool) -> Outcome:
    chance = random.Random(seed)
    world = World(seed, config)
    world.is_tracing, world.is_hashing = is_tracing, hashes
    size = chance.randint(3, 7)
    world.start_ring(size)
    schedule = Schedule(world, seed)
    schedule.draw(chance.randint(1, 4))
    if is_tracing:
        for at, what in sorted(schedule.plan):
            print(f"{at:9.3f} plan  {what}")
    incarnations = Incarnations()
    world.watchers += [EventOrder({}), Accuracy(world, schedule)]

    def look() -> None:
        for node in world.nodes.values():
            if node.is_running:
                incarnations.look(node)
                bounds(world, node)

    while world.now < CALM_AT_S:
        world.run_for(2.0)
        look()
    for problem in completeness(world, schedule):
        raise Violation(problem)
    deadline_at = world.now + max(CONVERGENCE_BOUND_S, detection_bound_s(config, 8))
    while (problem := disagreement(world)) is not None:
        if world.now > deadline_at:
            raise Violation(f"no agreement: {problem}")
        world.run_for(1.0)
        look()
    for node in world.running():
        rate = node.sent_bytes / (world.now - node.started_at + 1)
        if rate > BANDWIDTH_MAX_BYTES_PER_S:
            raise Violation(f"{node.name} sent {rate:.0f} bytes a second")
    return Outcome(
        seed,
        size,
        tuple(name for _, name in sorted(schedule.plan)),
        world.now - CALM_AT_S,
        world.trace_hash.hexdigest(),
    )
