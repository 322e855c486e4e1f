"""Rings whose members carry a registry: the same world, network and faults, and agents on top.

Deltas and digests travel as the network's datagrams do, lost, doubled and overtaking each other:
worse than the links that carry them. Pulls travel as its streams do. Membership is the real
machine, so that registries hear of deaths late, wrongly and in different order.

    python -m tests.sim.registry_ring --seed 7
"""

import argparse
import random
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from caxton_cluster.config import SwimConfig, fast
from caxton_cluster.registry import (
    AgentRecord,
    Delta,
    Owner,
    Pull,
    Registry,
    RegistryConfig,
    decode,
    encode,
)
from caxton_cluster.swim.events import (
    Event,
    MemberFailed,
    MemberJoined,
    MemberLeft,
    MemberRecovered,
    MemberSuspected,
    MemberUpdated,
    SeedAnswered,
)
from caxton_cluster.types import Address
from tests.registry_mesh import Watcher
from tests.sim.checkers import Violation
from tests.sim.faults import LAST_AT_S, Schedule
from tests.sim.world import Node, World

CALM_AT_S = LAST_AT_S + 32.0
CONVERGENCE_BOUND_S = 60.0
"""From calm to equal registries, membership's own healing included."""

CAPABILITIES = tuple(f"skill-{number}.special" for number in range(50))


@dataclass(slots=True)
class Keeper:
    """One registry, and what its shell knows."""

    node: str
    life: int
    registry: Registry
    chance: random.Random
    watcher: Watcher = field(default_factory=Watcher)
    armed_at: float = float("inf")


class RegistryWorld(World):
    """A world in which every node has a registry.

    Args:
        seed: Decides everything that chance decides.
        agents: How many agents each node lists at its start.
        is_watching: Whether the order of all events is checked; it takes time.
    """

    def __init__(
        self,
        seed: int,
        config: SwimConfig,
        registry_config: RegistryConfig,
        *,
        agents: int,
        is_watching: bool = True,
    ) -> None:
        super().__init__(seed, config)
        self.registry_config = registry_config
        self.agents = agents
        self.is_watching = is_watching
        self.keepers: dict[str, Keeper] = {}
        self.sent_bytes = 0
        self._epochs = 0
        self.watchers.append(self._hear)

    def start(
        self,
        name: str,
        address: Address,
        *,
        seeds: list[Address] | None = None,
        incarnation: int | None = None,
        meta: bytes = b"",
    ) -> Node:
        self._epochs += 1
        chance = random.Random(f"{self.seed} {name} {self._epochs}")
        owner = Owner(name, self._epochs)
        registry = Registry(self.registry_config, owner, random=chance, now=self.now)
        keeper = self.keepers[name] = Keeper(name, self._epochs, registry, chance)
        for number in range(self.agents):
            registry.put(self.new_record(keeper, number), self.now)
        if not seeds:
            registry.joined()
        node = super().start(
            name,
            address,
            seeds=seeds,
            incarnation=incarnation,
            meta=self._epochs.to_bytes(8, "big"),
        )
        self.settle_registry(keeper)
        return node

    def crash(self, node: Node) -> None:
        super().crash(node)
        self.keepers.pop(node.name, None)

    def new_record(self, keeper: Keeper, number: int) -> AgentRecord:
        return AgentRecord(
            f"Agent-{keeper.node}-{number}",
            tuple(keeper.chance.sample(CAPABILITIES, 2)),
            agent_version=f"1.{keeper.chance.randrange(9)}.0",
            definition_digest=keeper.chance.randbytes(32),
            description="An agent that is made up, and that others look for in vain",
        )

    # Membership.

    def _hear(self, now: float, node: Node, event: Event) -> None:
        keeper = self.keepers.get(node.name)
        if keeper is None:
            return
        registry = keeper.registry
        match event:
            case MemberJoined(member) | MemberUpdated(member) | MemberRecovered(member):
                registry.member_up(member.name, int.from_bytes(member.meta, "big"), now)
                registry.joined()
            case MemberSuspected(member):
                registry.member_suspect(member.name)
            case MemberFailed(member) | MemberLeft(member):
                registry.member_down(member.name, now)
            case SeedAnswered():
                registry.joined()
        self.settle_registry(keeper)

    # The shell around one registry.

    def settle_registry(self, keeper: Keeper) -> None:
        registry = keeper.registry
        for delta in registry.take_deltas():
            data = encode(delta)
            for name in sorted(self.keepers):
                if name != keeper.node:
                    self._post(keeper, name, data)
        for digest in registry.take_digests():
            self._post(keeper, digest.peer, encode(digest.digest))
        for pull in registry.take_pulls():
            self._pull(keeper, pull)
        if self.is_watching:
            keeper.watcher.look(registry)
        else:
            registry.take_events()
        at = registry.wakeup_at()
        if at < keeper.armed_at:
            keeper.armed_at = at
            self.after(max(0.0, at - self.now), lambda: self._ring(keeper, at))

    def _ring(self, keeper: Keeper, at: float) -> None:
        node = self.nodes[keeper.node]
        if keeper.armed_at != at or self.keepers.get(keeper.node) is not keeper:
            return
        if node.is_paused:
            self.after(0.1, lambda: self._ring(keeper, at))
            return
        keeper.armed_at = float("inf")
        keeper.registry.tick(self.now)
        self.settle_registry(keeper)

    def _post(self, keeper: Keeper, target: str, data: bytes) -> None:
        source, to = self.nodes[keeper.node].address, self.nodes[target].address
        self.sent_bytes += len(data)
        for delay_s in self.network.datagram_delays_s(source, to):
            self.after(delay_s, lambda: self._arrive_at(keeper.node, target, data))

    def _arrive_at(self, source: str, target: str, data: bytes) -> None:
        keeper = self.keepers.get(target)
        if keeper is None:
            return

        def read() -> None:
            frame = decode(data)
            if isinstance(frame, Delta):
                keeper.registry.receive_delta(frame, self.now)
            else:
                keeper.registry.receive_digest(source, frame, self.now)
            self.settle_registry(keeper)

        self.when_reading(self.nodes[target], lambda: self._if_there(keeper, read))

    def _if_there(self, keeper: Keeper, action: Callable[[], None]) -> None:
        if self.keepers.get(keeper.node) is keeper:
            action()

    def _pull(self, keeper: Keeper, pull: Pull) -> None:
        """Ask a peer; chunks come one after the other, and any may be the last to come through."""

        def end(*, is_complete: bool) -> None:
            keeper.registry.pull_ended(pull.id, self.now, is_complete=is_complete)
            self.settle_registry(keeper)

        def give_up() -> None:
            self._if_there(keeper, lambda: end(is_complete=False))

        def travel(source: str, target: str, action: Callable[[], None]) -> None:
            delay_s = self.network.stream_delay_s(
                self.nodes[source].address, self.nodes[target].address
            )
            if delay_s is None:
                self.after(2.0, give_up)
            else:
                self.after(delay_s, action)

        def serve() -> None:
            server = self.keepers.get(pull.peer)
            if server is None:
                self._if_there(keeper, lambda: end(is_complete=False))
                return
            deltas = server.registry.serve_pull(pull.owner, pull.after_version)
            answer([encode(delta) for delta in deltas])

        def answer(chunks: list[bytes]) -> None:
            self.sent_bytes += sum(map(len, chunks))
            travel(pull.peer, keeper.node, lambda: self._if_there(keeper, lambda: read(chunks)))

        def read(chunks: list[bytes]) -> None:
            if not chunks:
                end(is_complete=True)
                return
            keeper.registry.receive_chunk(pull.id, decode(chunks[0]), self.now)
            self.settle_registry(keeper)
            answer(chunks[1:])

        travel(keeper.node, pull.peer, serve)

    # What agents do.

    def churn(self, keeper: Keeper) -> None:
        """Change one agent of a node: deployed, redeployed, removed, or loaded."""
        what, number = keeper.chance.random(), keeper.chance.randrange(self.agents + 2)
        if what < 0.4:
            keeper.registry.put(self.new_record(keeper, number), self.now)
        elif what < 0.7:
            keeper.registry.remove(f"Agent-{keeper.node}-{number}", self.now)
        else:
            count = keeper.chance.randrange(100)
            keeper.registry.report_load(f"Agent-{keeper.node}-{number}", count, self.now)
        self.settle_registry(keeper)

    def churn_for(self, duration_s: float, interval_s: float) -> None:
        """Let every node churn now and then from here on."""
        end_at = self.now + duration_s

        def again() -> None:
            for name in sorted(self.keepers):
                if not self.nodes[name].is_paused:
                    self.churn(self.keepers[name])
            if self.now < end_at:
                self.after(interval_s * (0.5 + self.random.random()), again)

        again()

    # Looking.

    def disagreement(self) -> str | None:
        """Return who does not know what there is, or None."""
        running = {node.name for node in self.running()}
        keepers = [self.keepers[name] for name in sorted(running)]
        truth = {one.node: contents(one.registry, one.node) for one in keepers}
        roots = {one.registry.digest().root for one in keepers}
        for keeper in keepers:
            registry = keeper.registry
            if not registry.is_ready:
                return f"{keeper.node} waits for {registry.waiting_for()}"
            for name, expected in truth.items():
                if contents(registry, name) != expected:
                    return f"{keeper.node} does not know what {name} lists"
            visible = {one.node for one in registry.lookup.agents()}
            if not visible <= running:
                return f"{keeper.node} finds agents of {visible - running}"
        for keeper in keepers:
            statistics = keeper.registry.statistics
            if statistics.mismatches or statistics.malformed or statistics.refused:
                raise Violation(f"{keeper.node} found something wrong: {statistics}")
        return None if len(roots) == 1 else "the digests differ"


def contents(registry: Registry, name: str) -> dict[str, tuple[int, int, bytes]]:
    return {one.agent: (one.owner.epoch, one.version, one.value) for one in registry.listings(name)}


class RegistrySchedule(Schedule):
    """The faults of membership. Metadata stay as they are: they tell the epoch."""

    def update(self) -> None:
        node = self._pick()
        if node is not None:
            for _ in range(20):
                self.world.churn(self.world.keepers[node.name])


@dataclass(frozen=True, slots=True)
class RegistryOutcome:
    seed: int
    plan: tuple[str, ...]
    joined_after_s: float
    converged_after_s: float
    sent_bytes: int


def run_registry_seed(seed: int, *, size: int = 6, agents: int = 12) -> RegistryOutcome:
    """Run one seed.

    Raises:
        Violation: Something happened that must not; the text begins with the seed.
    """
    try:
        return _run(seed, size, agents)
    except AssertionError as error:
        raise Violation(
            f"seed={seed}: {error}\nreplay with: python -m tests.sim.registry_ring --seed {seed} "
            f"--size {size} --agents {agents}"
        ) from error


def _run(seed: int, size: int, agents: int) -> RegistryOutcome:
    chance = random.Random(seed)
    is_small = agents < 100
    config = RegistryConfig(
        # Small enough that pulls have several chunks, quick enough that tombstones go.
        chunk_size_bytes=1024 if is_small else 256 * 1024,
        tombstone_age_min_s=chance.choice((0.0, 5.0, 60.0)),
        tombstone_age_max_s=chance.choice((10.0, 3600.0)),
        keep_gone_s=chance.choice((5.0, 600.0)),
        vector_owners_max=chance.choice((2, 40)),
        rotating_owners=2,
    )
    world = RegistryWorld(seed, fast(), config, agents=agents, is_watching=is_small)
    world.start_ring(size)
    joined_after_s = world.run_until_true(lambda: world.disagreement() is None, 30.0)
    if joined_after_s > 8.0:
        raise Violation(f"no agreement after the start: {world.disagreement()}")
    schedule = RegistrySchedule(world, seed)
    schedule.draw(chance.randint(1, 5))
    world.churn_for(LAST_AT_S, chance.choice((0.3, 1.5)))
    world.run_until(CALM_AT_S)
    deadline_at = world.now + CONVERGENCE_BOUND_S
    while (problem := world.disagreement()) is not None:
        if world.now > deadline_at:
            raise Violation(f"no agreement: {problem}")
        world.run_for(0.5)
    for keeper in world.keepers.values():
        bounds(world, keeper)
    return RegistryOutcome(
        seed,
        tuple(name for _, name in sorted(schedule.plan)),
        joined_after_s,
        world.now - CALM_AT_S,
        world.sent_bytes,
    )


def bounds(world: RegistryWorld, keeper: Keeper) -> None:
    """Hold that nothing grew without limit."""
    lines = keeper.registry.lines()
    if len(lines) > len(world.nodes) + 1:
        raise Violation(f"{keeper.node} keeps {len(lines)} owners")
    if any(line.record_count > world.agents + 2 for line in lines):
        raise Violation(f"{keeper.node} keeps records of nobody")


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.sim.registry_ring", description=__doc__)
    parser.add_argument("--seed", type=int, default=0, help="the (first) seed")
    parser.add_argument("--count", type=int, default=1, help="how many seeds to run")
    parser.add_argument("--size", type=int, default=6, help="nodes at the start")
    parser.add_argument("--agents", type=int, default=12, help="agents of each node")
    arguments = parser.parse_args()
    started, failures, slowest = time.perf_counter(), 0, (0.0, 0)
    for seed in range(arguments.seed, arguments.seed + arguments.count):
        try:
            outcome = run_registry_seed(seed, size=arguments.size, agents=arguments.agents)
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
        f"longest to agree after the calm: {slowest[0]:.1f} s (seed {slowest[1]})"
    )
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
