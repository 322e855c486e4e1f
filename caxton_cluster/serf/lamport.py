"""Lamport's clock: orders what was heard before what is said after.

Reference: Lamport, "Time, Clocks, and the Ordering of Events", CACM 1978.
"""

from typing import Final

__all__ = ["TIME_MAX", "LamportClock"]

TIME_MAX: Final = 2**63 - 1
"""Where a clock stops: nobody reads a later time. Only a forged message brings one so far."""


class LamportClock:
    """A counter that never falls behind anything heard."""

    def __init__(self) -> None:
        self._time = 1

    @property
    def time(self) -> int:
        """The present."""
        return self._time

    def witness(self, seen: int) -> None:
        """Move past a time seen in a message."""
        self._time = min(max(self._time, seen + 1), TIME_MAX)

    def stamp(self) -> int:
        """Return the time for a message of ours, and move on."""
        stamped = self._time
        self.witness(stamped)
        return stamped
