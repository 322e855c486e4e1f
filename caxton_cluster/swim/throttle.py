"""The same thing about the same member, once an interval at most.

Rumours arrive many times over; an answer or an alarm for each copy would be a storm.
"""

from collections import OrderedDict
from typing import Final

__all__ = ["Throttle"]

KEYS_MAX: Final = 1024
"""Most members remembered; the one not spoken of for longest is forgotten."""


class Throttle:
    """Remembers when each thing was last said.

    Args:
        interval_s: How long it is not to be said again.
    """

    def __init__(self, interval_s: float) -> None:
        self._interval_s = interval_s
        self._said_at: OrderedDict[str, float] = OrderedDict()

    def allows(self, key: str, now: float) -> bool:
        """Return whether it is time to say `key` again; if so, it counts as said."""
        last = self._said_at.get(key)
        if last is not None and now - last < self._interval_s:
            return False
        self._said_at[key] = now
        self._said_at.move_to_end(key)
        if len(self._said_at) > KEYS_MAX:
            self._said_at.popitem(last=False)
        return True
