"""Noticing that the time of day was set, by a person or after a machine slept.

Deadlines of turns are instants of the day, as they are shared with messages and stored. When the
clock is put forward by an hour, every turn under way would be an hour overdue; put back, none
would end. Whoever asks this learns by how much the day moved against the time that passed.
"""

from typing import Final

__all__ = ["JUMP_MS_MIN", "ClockJumps"]

JUMP_MS_MIN: Final = 1_000
"""Less is how clocks are kept right: by going a little faster or slower."""


class ClockJumps:
    """Compares the time of day with the time that passes.

    Args:
        now_ms: The time of day, in milliseconds since 1970, UTC.
        passed_s: Of a clock that only goes forward, evenly.
    """

    def __init__(self, now_ms: int, passed_s: float) -> None:
        self._now_ms = now_ms
        self._passed_s = passed_s

    def since(self, now_ms: int, passed_s: float) -> int:
        """Return by how many milliseconds the clock was set since this was asked last; mostly 0."""
        expected_ms = self._now_ms + round((passed_s - self._passed_s) * 1000)
        jump_ms = now_ms - expected_ms
        self._now_ms, self._passed_s = now_ms, passed_s
        return jump_ms if abs(jump_ms) >= JUMP_MS_MIN else 0
