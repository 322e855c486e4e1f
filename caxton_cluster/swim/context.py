"""What the parts of one machine have in common. Plumbing only."""

from dataclasses import dataclass, field
from itertools import count

from caxton_cluster.config import SwimConfig
from caxton_cluster.swim.awareness import Awareness
from caxton_cluster.swim.members import MemberTable
from caxton_cluster.swim.outbox import Outbox
from caxton_cluster.swim.statistics import Statistics
from caxton_cluster.swim.timers import Timers
from caxton_cluster.swim.wire.messages import Ping
from caxton_cluster.types import Randomness

__all__ = ["Context"]

_SEQUENCE_MASK = 2**16 - 1
"""Small numbers are short on the wire. One is used anew after 65,536 pings, when the answers to the
last ping of that number are long over."""


@dataclass(frozen=True, slots=True)
class Context:
    """Handed to every part by the machine that owns them all."""

    config: SwimConfig
    table: MemberTable
    random: Randomness
    awareness: Awareness
    statistics: Statistics
    names_source: bool = False
    """Whether pings say where the answer goes."""
    timers: Timers = field(default_factory=Timers)
    outbox: Outbox = field(default_factory=Outbox)
    sequences: "count[int]" = field(default_factory=count)

    def next_sequence(self) -> int:
        """Return a number for a ping of ours."""
        return next(self.sequences) & _SEQUENCE_MASK

    def ping(self, sequence: int, node: str) -> Ping:
        """Return a ping of ours by datagram."""
        own = self.table.own
        return Ping(sequence, node, own.address if self.names_source else None, own.name)
