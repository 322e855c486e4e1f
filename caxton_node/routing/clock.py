"""Time, as the shells of routing and runtime get it: from outside, so that tests can turn it."""

from collections.abc import Callable
from typing import Protocol

__all__ = ["Alarm", "Clock"]


class Alarm(Protocol):
    """A call that is due later."""

    def cancel(self) -> None:
        """Forget it."""
        ...


class Clock(Protocol):
    """The time of day and a way to be woken."""

    def now_ms(self) -> int:
        """Return milliseconds since 1970, UTC."""
        ...

    def call_later(self, delay_s: float, callback: Callable[[], None]) -> Alarm:
        """Call back on the event loop after `delay_s` seconds, unless the node has closed."""
        ...
