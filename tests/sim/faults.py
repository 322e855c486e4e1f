"""What can go wrong, as values, and a seeded schedule of it.

Every fault says whom it disturbs and for how long, so that the checkers know of whom to expect
what: a node is *well* when nothing disturbed it or its links lately.
"""

import random
from collections.abc import Callable
from dataclasses import dataclass

from caxton_cluster.transport.memory import LinkQuality
from tests.sim.world import Node, World, address_of

FIRST_AT_S = 8.0
LAST_AT_S = 38.0


@dataclass(frozen=True, slots=True)
class Disturbance:
    """`name` was not well from `start_at` to `end_at`."""

    name: str
    start_at: float
    end_at: float


class Schedule:
    """Faults drawn from a seed, applied to a world as its time comes."""

    def __init__(self, world: World, seed: int) -> None:
        self.world = world
        self.random = random.Random(seed)
        self.disturbances: list[Disturbance] = []
        self.crashed_at: dict[tuple[str, int], float] = {}
        self.next_number = len(world.nodes)
        self._kinds: list[tuple[str, Callable[[], None]]] = [
            ("crash", self.crash),
            ("crash and restart", self.restart),
            ("pause", self.pause),
            ("partition", self.partition),
            ("one-way cut", self.one_way),
            ("clock jump", self.clock_jump),
            ("slow member", self.slow),
            ("leave", self.leave),
            ("bad weather", self.weather),
            ("newcomer", self.newcomer),
            ("update", self.update),
        ]
        self.plan: list[tuple[float, str]] = []

    def draw(self, count: int) -> None:
        """Plan `count` faults."""
        for _ in range(count):
            at = self.random.uniform(FIRST_AT_S, LAST_AT_S)
            name, action = self._kinds[self.random.randrange(len(self._kinds))]
            self.plan.append((at, name))
            self.world.after(at - self.world.now, action)

    def disturb(self, name: str, duration_s: float) -> None:
        now = self.world.now
        self.disturbances.append(Disturbance(name, now, now + duration_s))

    def _pick(self) -> Node | None:
        running = [node for node in self.world.running() if not node.is_paused]
        # Two stay, so that there is a ring to speak of.
        return running[self.random.randrange(len(running))] if len(running) > 2 else None

    def _seeds(self, besides: str) -> list:
        running = [node.address for node in self.world.running() if node.name != besides]
        return self.random.sample(running, min(2, len(running)))

    def crash(self) -> Node | None:
        node = self._pick()
        if node is not None:
            self.crashed_at[node.name, node.life] = self.world.now
            self.world.crash(node)
        return node

    def restart(self) -> None:
        node = self.crash()
        if node is None:
            return
        is_moving = self.random.random() < 0.5
        address = self._new_address() if is_moving else node.address
        self.disturb(node.name, 20.0)
        self.world.after(
            self.random.uniform(1.2, 12.0),
            lambda: self.world.start(node.name, address, seeds=self._seeds(node.name)),
        )

    def newcomer(self) -> None:
        address = self._new_address()
        self.world.start(f"n{self.next_number - 1}", address, seeds=self._seeds(""))

    def _new_address(self):
        self.next_number += 1
        return address_of(self.next_number + 100)

    def pause(self) -> None:
        node = self._pick()
        if node is None:
            return
        duration_s = self.random.uniform(0.2, 12.0)
        self.disturb(node.name, duration_s)
        self.world.pause(node)
        self.world.after(duration_s, lambda: self.world.resume(node))

    def partition(self) -> None:
        names = sorted(node.name for node in self.world.running())
        self.random.shuffle(names)
        left = set(names[: self.random.randint(1, max(1, len(names) // 2))])
        sides: tuple[list, list] = ([], [])
        for node in self.world.running():
            sides[node.name in left].append(node.address)
        duration_s = self.random.uniform(1.0, 30.0)
        for name in names:
            self.disturb(name, duration_s)
        self.world.network.cut_between(*sides)
        self.world.after(duration_s, lambda: self.world.network.mend_between(*sides))

    def one_way(self) -> None:
        running = self.world.running()
        if len(running) < 2:
            return
        source, target = self.random.sample(running, 2)
        duration_s = self.random.uniform(1.0, 25.0)
        self.disturb(source.name, duration_s)
        self.disturb(target.name, duration_s)
        self.world.network.cut(source.address, target.address)
        self.world.after(
            duration_s, lambda: self.world.network.mend(source.address, target.address)
        )

    def clock_jump(self) -> None:
        node = self._pick()
        if node is not None:
            node.clock_offset_s += self.random.choice((-30.0, -1.0, 0.5, 5.0, 60.0))
            self.world.resume(node)  # its alarm rings by the new clock

    def slow(self) -> None:
        node = self._pick()
        if node is None:
            return
        duration_s = self.random.uniform(2.0, 15.0)
        self.disturb(node.name, duration_s)
        node.input_delay_s = self.random.uniform(0.2, 3.0)

        def recover() -> None:
            node.input_delay_s = 0.0

        self.world.after(duration_s, recover)

    def leave(self) -> None:
        node = self._pick()
        if node is not None:
            self.world.leave(node)

    def weather(self) -> None:
        duration_s = self.random.uniform(2.0, 20.0)
        loss = self.random.choice((0.02, 0.05, 0.1, 0.25))
        fair = LinkQuality()
        self.world.network.quality = LinkQuality(
            loss=loss, duplication=0.05, straggling=0.05, delay_max_s=0.01
        )
        if loss > 0.1:
            for node in self.world.running():
                self.disturb(node.name, duration_s)

        def clear() -> None:
            self.world.network.quality = fair

        self.world.after(duration_s, clear)

    def update(self) -> None:
        node = self._pick()
        if node is not None:
            node.machine.update_meta(
                bytes((self.random.randrange(256),)) * 20, self.world.now + node.clock_offset_s
            )
            self.world.settle(node)
