"""Events for whoever watches: `message.delivered`, `turn.delta`, `agent.state`.

They run beside the path of the messages and carry no state: a watcher that is too slow loses
events, is told how many, and never slows a turn. Without a watcher nothing is built.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final

from caxton_node.domain.errors import Unavailable

__all__ = ["QUEUE_MAX", "WATCHERS_MAX", "Event", "Events", "Watcher"]

QUEUE_MAX: Final = 1_000
"""Events that may wait for one watcher."""

WATCHERS_MAX: Final = 1_000


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened."""

    number: int
    """Rises by one from event to event of this boot; a gap was lost or filtered."""
    at: int
    """Milliseconds since 1970, UTC."""
    kind: str
    """`noun.verb`, listed in `caxton_node.telemetry.names`."""
    data: Mapping[str, Any]
    """JSON values."""


class Watcher:
    """One reader of events, with a queue of its own."""

    def __init__(self, wants: Callable[[Event], bool]) -> None:
        self._wants = wants
        self._queue: deque[Event] = deque()
        self._wakeup: asyncio.Future[None] | None = None
        self.lost_count = 0
        """Events dropped because the queue was full."""

    def offer(self, event: Event) -> None:
        """Queue an event that this watcher wants, or count it as lost."""
        if not self._wants(event):
            return
        if len(self._queue) >= QUEUE_MAX:
            self.lost_count += 1
            return
        self._queue.append(event)
        self.wake()

    def wake(self) -> None:
        """Let whoever waits for an event go on, with None if there is none."""
        if self._wakeup is not None and not self._wakeup.done():
            self._wakeup.set_result(None)

    async def next(self, *, timeout_s: float) -> Event | None:
        """Return the next event, or None when none came in time or before a `wake`."""
        if not self._queue:
            self._wakeup = asyncio.get_running_loop().create_future()
            try:
                async with asyncio.timeout(timeout_s):
                    await self._wakeup
            except TimeoutError:
                return None
            finally:
                self._wakeup = None
        return self._queue.popleft() if self._queue else None

    def drain(self) -> list[Event]:
        """Return all that waits, without waiting."""
        events = list(self._queue)
        self._queue.clear()
        return events


class Events:
    """Where events are published and watched."""

    def __init__(self, clock_ms: Callable[[], int]) -> None:
        self._clock_ms = clock_ms
        self._watchers: list[Watcher] = []
        self._count = 0
        self.has_watchers = False
        """Ask this before building an event on the hot path."""

    def publish(self, kind: str, **data: Any) -> None:
        """Show an event to all who want it."""
        if not self._watchers:
            return
        self._count += 1
        event = Event(self._count, self._clock_ms(), kind, data)
        for watcher in self._watchers:
            watcher.offer(event)

    @contextmanager
    def watch(self, wants: Callable[[Event], bool] = lambda _: True) -> Iterator[Watcher]:
        """Receive events from now on.

        Raises:
            Unavailable: `node_busy`, when too many watch already.
        """
        if len(self._watchers) >= WATCHERS_MAX:
            raise Unavailable("node_busy", f"{WATCHERS_MAX:,} watchers are connected")
        watcher = Watcher(wants)
        self._watchers.append(watcher)
        self.has_watchers = True
        try:
            yield watcher
        finally:
            self._watchers.remove(watcher)
            self.has_watchers = bool(self._watchers)
