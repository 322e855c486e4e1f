"""What failed waits longer each time, so that it does not keep the rest from its turn. Pure.

A conversation from which no conclusions can be drawn (a model that is away, an answer that makes
no sense) stays the oldest of those that wait. Tried first every time, a few of them would hold up
all others for ever.
"""

from collections import OrderedDict
from collections.abc import Hashable
from dataclasses import dataclass
from typing import Final

__all__ = ["POSTPONED_MAX", "Postponed"]

FIRST_WAIT_MS: Final = 60_000
WAIT_MS_MAX: Final = 3_600_000

POSTPONED_MAX: Final = 256
"""Remembered failures. What failed longest ago is forgotten first, and is tried again sooner."""


@dataclass(frozen=True, slots=True)
class _Failure:
    wait_ms: int
    due_at: int


class Postponed:
    """What failed, and when it is to be tried again. Instants are milliseconds since 1970, UTC."""

    def __init__(self) -> None:
        self._failures: OrderedDict[Hashable, _Failure] = OrderedDict()

    def __len__(self) -> int:
        return len(self._failures)

    def is_due(self, key: Hashable, now: int) -> bool:
        """Whether something may be tried: it has not failed, or long enough ago."""
        failure = self._failures.get(key)
        return failure is None or now >= failure.due_at

    def failed(self, key: Hashable, now: int) -> int:
        """Note a failure; return after how many milliseconds it is tried again."""
        before = self._failures.pop(key, None)
        wait_ms = FIRST_WAIT_MS if before is None else min(before.wait_ms * 2, WAIT_MS_MAX)
        self._failures[key] = _Failure(wait_ms, now + wait_ms)
        if len(self._failures) > POSTPONED_MAX:
            self._failures.popitem(last=False)
        return wait_ms

    def succeeded(self, key: Hashable) -> None:
        """Forget the failures of something."""
        self._failures.pop(key, None)
