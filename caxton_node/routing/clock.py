"""Time, as the shells of routing and runtime get it: from outside, so that tests can turn it."""

from collections.abc import Callable
from typing import Protocol

__all__ = ["Clock"]


class Clock(Protocol):
    """The time of day and a way to be woken."""

    def now_ms(self) -> int:
        """Return milliseconds since 1970, UTC."""
        ...

    def call_later(self, delay_s: float, callback: Callable[[], None]) -> object:
        """Call back on the event loop after `delay_s` seconds."""
        ...
