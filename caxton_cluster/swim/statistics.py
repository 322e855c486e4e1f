"""What one member counted since its start, for whoever watches over it. Nothing decides by it."""

from bisect import bisect_left
from dataclasses import dataclass, field, fields
from typing import Final

__all__ = ["ROUND_TRIP_BOUNDS_S", "Statistics"]

ROUND_TRIP_BOUNDS_S: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5)
"""Upper bounds of the classes of round trips; the last class has none."""


@dataclass(slots=True)
class Statistics:
    """Counters since the start."""

    datagrams_received: int = 0
    malformed: int = 0
    """Datagrams, parts and streams that made no sense."""
    not_for_us: int = 0
    """Of another cluster: label or key."""
    lags: int = 0
    """Times that we found ourselves stalled."""
    datagram_bytes_received: int = 0
    datagram_bytes_sent: int = 0
    stream_bytes_received: int = 0
    stream_bytes_sent: int = 0
    probes_answered: int = 0
    """Rounds in which the target was found well, by whatever way."""
    probes_failed: int = 0
    """Rounds after which we accused somebody."""
    suspicions: int = 0
    """Times that a member became suspect to us, by our own finding or another's."""
    refutations: int = 0
    """Times that we had to object to what was said of us."""
    round_trip_counts: list[int] = field(
        default_factory=lambda: [0] * (len(ROUND_TRIP_BOUNDS_S) + 1)
    )
    """Direct answers to our probes by how long they took, one number a class."""
    round_trip_sum_s: float = 0.0

    def go_on_from(self, earlier: "Statistics") -> None:
        """Take over every number of an earlier life."""
        for one in fields(earlier):
            setattr(self, one.name, getattr(earlier, one.name))

    def observe_round_trip(self, duration_s: float) -> None:
        """Count a direct answer."""
        self.round_trip_counts[bisect_left(ROUND_TRIP_BOUNDS_S, duration_s)] += 1
        self.round_trip_sum_s += duration_s
