"""Local health: how much we doubt ourselves before we doubt others.

A member that gets no acks and no nacks either, or that is accused itself, is probably the one
that is slow. Its score rises and it gives everyone more time. Score 0 is perfect health.

Reference: Dadgar et al., "Lifeguard", DSN 2018, section IV-A.
"""

__all__ = ["Awareness"]


class Awareness:
    """The local health score, in 0..`limit` - 1."""

    def __init__(self, limit: int) -> None:
        assert limit >= 1, "a score needs room for zero"
        self._limit = limit
        self._score = 0

    @property
    def score(self) -> int:
        """How unwell we seem to be; 0 is perfect."""
        return self._score

    def apply(self, delta: int) -> None:
        """Move the score by `delta`, within its bounds."""
        self._score = max(0, min(self._limit - 1, self._score + delta))

    def scale(self, interval_s: float) -> float:
        """Return `interval_s` stretched by how unwell we are."""
        return interval_s * (self._score + 1)
