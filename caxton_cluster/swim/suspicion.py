"""How long a silent member stays *suspect* before it is declared *dead*.

SWIM waits a fixed time. Lifeguard starts long and shortens the wait each time another member
independently reports the same suspicion: one slow observer cannot evict a healthy peer, while a
peer that everybody lost is evicted quickly.

One addition: what we found out ourselves shortens the shortest wait. When the accused's own host
refused a connection, its process is not there and will not object, however large the ring. When
it was silent to us, to every helper and by stream, while all helpers answered *us*, then it is
not our hearing that is at fault. Hearsay leaves the wait as it is.

Arithmetic and state only. The caller supplies the time and acts on the result.

Reference: Dadgar et al., "Lifeguard", DSN 2018, section IV-B.
"""

import math

from caxton_cluster.config import SwimConfig

__all__ = ["Suspicion", "confirmations_wanted", "timeout_bounds_s", "timeout_s", "timeout_scale"]


def timeout_bounds_s(config: SwimConfig, member_count: int) -> tuple[float, float]:
    """Return the shortest and the longest suspicion among `member_count` members, in seconds."""
    shortest_s = config.suspicion_mult * timeout_scale(member_count) * config.probe_interval_s
    return shortest_s, config.suspicion_max_mult * shortest_s


def timeout_scale(member_count: int) -> float:
    """Return by how much suspicions among `member_count` members outlast those of a small ring."""
    assert member_count >= 1, "we are always a member ourselves"
    # A rumour needs O(log n) rounds to reach everyone, so the accused gets that many to refute it.
    # Three decimals, as the reference keeps, so that mixed rings agree.
    return math.floor(max(1.0, math.log10(member_count)) * 1000) / 1000


def confirmations_wanted(config: SwimConfig, member_count: int) -> int:
    """Return how many independent confirmations bring the wait down to its shortest.

    Zero, that is at once, when the ring is too small to have so many witnesses.
    """
    wanted = config.suspicion_mult - 2
    return wanted if member_count - 2 >= wanted else 0


def timeout_s(shortest_s: float, longest_s: float, wanted: int, confirmed: int) -> float:
    """Return the whole wait after `confirmed` of `wanted` confirmations, in seconds."""
    if wanted < 1:
        return shortest_s
    share = math.log(confirmed + 1) / math.log(wanted + 1)
    wait_s = math.floor((longest_s - share * (longest_s - shortest_s)) * 1000) / 1000
    return max(shortest_s, wait_s)


class Suspicion:
    """One accused member and those who accuse it.

    Args:
        accuser: Who accused first.
        incarnation: The life that is accused; a refutation has a higher one.
        started_at: When, on the machine's clock, in seconds.
        bounds_s: Shortest and longest wait.
        wanted: Confirmations that bring the longest down to the shortest.
    """

    __slots__ = (
        "_accusers",
        "_bounds_s",
        "_heard_until",
        "_wanted",
        "hearing_count",
        "incarnation",
        "is_firsthand",
        "patience",
        "started_at",
    )

    def __init__(
        self,
        *,
        accuser: str,
        incarnation: int,
        started_at: float,
        bounds_s: tuple[float, float],
        wanted: int,
    ) -> None:
        self.incarnation = incarnation
        self.started_at = started_at
        self.patience = 1.0
        """Share of the shortest wait that our own evidence leaves."""
        self.is_firsthand = False
        """Whether we ourselves got no answer."""
        self.hearing_count = 0
        """How often the accused was asked before the verdict."""
        self._heard_until = started_at
        self._accusers = {accuser: None}
        self._bounds_s = bounds_s
        self._wanted = wanted

    @property
    def ends_at(self) -> float:
        """When the accused is declared dead, unless it objects."""
        shortest_s, longest_s = self._bounds_s
        confirmed = len(self._accusers) - 1
        wait_s = timeout_s(shortest_s, longest_s, self._wanted, confirmed)
        if wait_s <= shortest_s:
            wait_s *= self.patience
        return max(self.started_at + wait_s, self._heard_until)

    def hear_out(self, until: float) -> None:
        """Wait for the accused's own word."""
        self.hearing_count += 1
        self._heard_until = until

    def confirm(self, accuser: str) -> bool:
        """Count another accuser; return whether it was a new one that still mattered."""
        if accuser in self._accusers or len(self._accusers) > self._wanted:
            return False
        self._accusers[accuser] = None
        return True
