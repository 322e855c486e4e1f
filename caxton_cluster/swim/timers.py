"""Timers as values: what falls due, and when.

A timer carries what identifies its purpose (a sequence number, an incarnation), so that one
whose purpose has passed is recognised and ignored. Those that mostly lose their purpose are
cancelled: an idle member would wake for nothing once a second.
"""

import heapq
from dataclasses import dataclass
from itertools import count

__all__ = [
    "AckOverdue",
    "EarlySyncDue",
    "GossipDue",
    "HealthDue",
    "LeaveOver",
    "NackDue",
    "ProbeDue",
    "RejoinDue",
    "RelayOver",
    "RoundOver",
    "SuspicionOver",
    "SyncDue",
    "Timer",
    "Timers",
]


@dataclass(frozen=True, slots=True)
class ProbeDue:
    """Probe the next member."""


@dataclass(frozen=True, slots=True)
class AckOverdue:
    """The direct ping was not answered in time: ask helpers."""

    sequence: int


@dataclass(frozen=True, slots=True)
class RoundOver:
    """Neither ping nor helpers brought an answer: suspect."""

    sequence: int


@dataclass(frozen=True, slots=True)
class HealthDue:
    """Late nacks had their chance: draw the conclusion for our own health."""

    sequence: int


@dataclass(frozen=True, slots=True)
class NackDue:
    """As a helper: say that the target has not answered."""

    sequence: int


@dataclass(frozen=True, slots=True)
class RelayOver:
    """As a helper: stop waiting for the target."""

    sequence: int


@dataclass(frozen=True, slots=True)
class SuspicionOver:
    """A suspicion may have run out; it is void if the incarnation moved on."""

    name: str
    incarnation: int


@dataclass(frozen=True, slots=True)
class GossipDue:
    """Send rumours."""


@dataclass(frozen=True, slots=True)
class SyncDue:
    """Exchange the whole table with somebody."""


@dataclass(frozen=True, slots=True)
class EarlySyncDue:
    """One of the extra exchanges after a join."""


@dataclass(frozen=True, slots=True)
class RejoinDue:
    """Try an address that should be a member and is not."""


@dataclass(frozen=True, slots=True)
class LeaveOver:
    """The longest wait for the news of our leaving ends."""


Timer = (
    ProbeDue
    | AckOverdue
    | RoundOver
    | HealthDue
    | NackDue
    | RelayOver
    | SuspicionOver
    | GossipDue
    | SyncDue
    | EarlySyncDue
    | RejoinDue
    | LeaveOver
)


class Timers:
    """A heap of timers. Equal times fall due in the order they were set."""

    def __init__(self) -> None:
        self._heap: list[tuple[float, int]] = []
        self._pending: dict[int, Timer] = {}
        self._order = count()

    def __len__(self) -> int:
        return len(self._heap)

    def set(self, at: float, timer: Timer) -> int:
        """Let `timer` fall due at `at`, in seconds on the machine's clock; return its number."""
        number = next(self._order)
        self._pending[number] = timer
        heapq.heappush(self._heap, (at, number))
        return number

    def cancel(self, number: int) -> None:
        """Let a timer not fall due; nothing happens if it has."""
        self._pending.pop(number, None)

    def next_at(self) -> float | None:
        """Return when the earliest falls due, or None."""
        heap, pending = self._heap, self._pending
        # The cancelled stay in the heap until they are its head.
        while heap and heap[0][1] not in pending:
            heapq.heappop(heap)
        return heap[0][0] if heap else None

    def pop_due(self, now: float) -> tuple[float, Timer] | None:
        """Remove and return the earliest timer that is due, and when it was, or None."""
        at = self.next_at()
        if at is None or at > now:
            return None
        _, number = heapq.heappop(self._heap)
        return at, self._pending.pop(number)
