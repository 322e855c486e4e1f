"""What is tried on a ring, and what is measured of it: for tests that assert and tables that tell.

Every trial follows from a seed. The kind of world is an argument, so that the same is done to
our machines and to those that behave like memberlist's (`reference`).
"""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

from caxton_cluster.config import SwimConfig, lan
from caxton_cluster.swim.events import MemberFailed
from caxton_cluster.transport.memory import LinkQuality
from tests.sim.world import Node, World, address_of

MakeWorld = Callable[..., World]

OPEN_S = 1.0
"""How long a slowed member's input and output are let go between two times they are held up."""


def ring(seed: int, size: int, config: SwimConfig | None = None, *, make: MakeWorld = World, **kw):
    """Return a world and the nodes of a ring that is about to form."""
    world = make(seed, config or lan(), **kw)
    return world, world.start_ring(size)


def acquainted(seed: int, size: int, config: SwimConfig, *, make: MakeWorld = World, **kw):
    """Return a world and nodes that met long ago: for rings whose joining is not the question."""
    world = make(seed, config, **kw)
    nodes = [world.start(f"n{number}", address_of(number)) for number in range(size)]
    rows = [node.machine.table.own for node in nodes]
    for node in nodes:
        for row in rows:
            if row.name != node.name:
                node.machine.table.put(row)
    return world, nodes


def formed(world: World, nodes: list[Node]) -> float:
    """Return how long it takes until everyone sees everyone, in seconds."""
    return world.run_until_true(lambda: all(len(n.live_view()) == len(nodes) for n in nodes), 60)


def known_dead(world: World, name: str, deadline_s: float = 60.0) -> float:
    """Return how long it takes until all others hold `name` gone, in seconds."""
    others = [node for node in world.running() if node.name != name]
    return world.run_until_true(
        lambda: all(name not in node.live_view() for node in others), deadline_s
    )


def deaths(world: World) -> Counter:
    """Count deaths of members that run, by name, from now on."""
    counted: Counter = Counter()

    def watch(now, node, event):
        if isinstance(event, MemberFailed) and world.nodes[event.member.name].is_running:
            counted[event.member.name] += 1

    world.watchers.append(watch)
    return counted


@dataclass(frozen=True, slots=True)
class Spread:
    """How long three kinds of news took to reach everyone, in seconds."""

    join_s: float
    update_s: float
    leave_s: float


def spread(seed: int, size: int, config: SwimConfig | None = None, *, make=World, **kw) -> Spread:
    """Form a ring at once, change one member's metadata, let one leave."""
    world, nodes = ring(seed, size, config, make=make, **kw)
    join_s = formed(world, nodes)
    world.run_until(6 + world.random.random() * 3)

    nodes[1].machine.update_meta(b"new", world.now)
    world.settle(nodes[1])

    def is_updated() -> bool:
        rows = [node.machine.table.get("n1") for node in nodes]
        return all(row is not None and row.meta == b"new" for row in rows)

    update_s = world.run_until_true(is_updated, 60)
    world.leave(nodes[2])
    return Spread(join_s, update_s, known_dead(world, "n2"))


def deaths_in_loss(
    seed: int, size: int, loss: float, duration_s: float, config: SwimConfig, make: MakeWorld
) -> int:
    """Return how often somebody well was held dead, while datagrams get lost and nobody fails."""
    quality = LinkQuality(loss=loss, delay_max_s=0.002)
    world, _ = acquainted(seed, size, config, make=make, quality=quality)
    counted = deaths(world)
    world.run_for(duration_s)
    return sum(counted.values())


def deaths_beside_blocked(
    seed: int,
    size: int,
    blocked: int,
    config: SwimConfig,
    *,
    blocked_s: float = 8.0,
    duration_s: float = 100.0,
    make: MakeWorld = World,
) -> int:
    """Return how often a healthy member was held dead, while others are slow.

    The input and output of the slow ones wait for `blocked_s` at a time; their timers run.
    """
    world, nodes = acquainted(seed, size, config, make=make)
    world.run_for(3)
    counted = deaths(world)
    slow = nodes[:blocked]

    def block() -> None:
        for node in slow:
            world.block(node)
        world.after(blocked_s, unblock)

    def unblock() -> None:
        for node in slow:
            world.resume(node)
        world.after(OPEN_S, block)

    world.after(0.0, block)
    world.run_for(duration_s)
    return sum(count for name, count in counted.items() if world.nodes[name] not in slow)


def crash_notice_s(seed: int, size: int, config: SwimConfig, make: MakeWorld = World):
    """Return when a crash in a large old ring was first held a death, and last, in seconds."""
    world, nodes = acquainted(seed, size, config, make=make)
    world.run_until(3)
    verdicts: list[float] = []

    def watch(now, _node, event):
        if isinstance(event, MemberFailed):
            verdicts.append(now - crashed_at)

    world.watchers.append(watch)
    crashed_at = world.now
    world.crash(nodes[5])
    known_dead(world, "n5", 90)
    assert len(verdicts) == size - 1, "each of the others says it once"
    return verdicts[0], verdicts[-1]
