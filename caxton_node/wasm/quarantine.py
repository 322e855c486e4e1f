"""When a guest is not run any more: it was stopped at a limit again and again.

Arithmetic and state only. The caller supplies the time.
"""

from collections import deque
from typing import Final

__all__ = ["VIOLATIONS_MAX", "VIOLATIONS_WITHIN_S", "Quarantine"]

VIOLATIONS_MAX: Final = 5
VIOLATIONS_WITHIN_S: Final = 60.0


class Quarantine:
    """Counts the violations of one guest."""

    def __init__(self) -> None:
        self._at_s: deque[float] = deque(maxlen=VIOLATIONS_MAX)
        self.is_closed = False
        """Whether the guest is in quarantine. It stays there until it is deployed or restarted."""

    def note(self, now_s: float) -> bool:
        """Count a violation; return whether this one put the guest into quarantine."""
        self._at_s.append(now_s)
        is_too_often = (
            len(self._at_s) == VIOLATIONS_MAX and now_s - self._at_s[0] <= VIOLATIONS_WITHIN_S
        )
        if is_too_often and not self.is_closed:
            self.is_closed = True
            return True
        return False
