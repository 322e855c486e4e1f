"""Machines that behave like memberlist's, as far as the two differ in how they detect and spread.

The same code with what it adds switched off, so that a comparison in virtual time compares ideas
and not programs: the same network, the same faults, the same seeds.
"""

from caxton_cluster.config import SwimConfig
from caxton_cluster.swim.machine import Machine
from caxton_cluster.swim.rotation import Rotation
from caxton_cluster.types import Randomness
from tests.sim.world import World

__all__ = ["ReferenceWorld", "reference_lan"]


def reference_lan() -> SwimConfig:
    """Return memberlist's `DefaultLANConfig`."""
    return SwimConfig(nack_fraction=1.0, retransmit_floor=1)


class _AnyOrder(Rotation):
    """Targets of gossip as memberlist picks them: at random each time."""

    def __init__(self, random: Randomness, names: list[str]) -> None:
        super().__init__(random)
        for name in names:
            self.add(name)

    def take(self, count, is_wanted):
        wanted = [name for name in self._names if is_wanted(name)]
        return self._random.sample(wanted, min(count, len(wanted)))


class ReferenceWorld(World):
    """A world of such machines."""

    def make(self, *arguments, **options) -> Machine:
        machine = super().make(*arguments, **options)
        table, beliefs, prober = machine.table, machine.beliefs, machine._prober
        table.gossip_order = _AnyOrder(self.random, [row.name for row in table])
        table.circle.after = lambda _: None
        beliefs._dispute = lambda _: None
        prober._conclude_if_hopeless = lambda *_: None
        # A refused connection is silence like any other.
        stream_failed = prober.stream_failed
        prober.stream_failed = lambda number, now, **_: stream_failed(number, now, is_refused=False)
        prober._patience = lambda _: 1.0
        machine._syncer._plan_early_syncs = lambda *_: None
        return machine
