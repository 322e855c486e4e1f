"""A bounded stream of events for one listener.

A listener that does not keep up loses the oldest events, and is told how many: the member table
is the truth, and reading it anew is the cure.
"""

import asyncio
from collections import deque
from types import TracebackType
from typing import Final, Self

__all__ = ["Subscription"]

EVENTS_MAX: Final = 4096


class Subscription:
    """Events in order, by `async for`, until it is closed."""

    def __init__(self) -> None:
        self._waiting: deque[object] = deque()
        self._bell = asyncio.Event()
        self.is_closed = False
        self.dropped_count = 0
        """Events lost because this listener was slow."""

    def put(self, event: object) -> None:
        """Add an event; the oldest gives way when there are too many."""
        if self.is_closed:
            return
        if len(self._waiting) >= EVENTS_MAX:
            self._waiting.popleft()
            self.dropped_count += 1
        self._waiting.append(event)
        self._bell.set()

    def close(self) -> None:
        """End the stream after the events that are waiting."""
        self.is_closed = True
        self._bell.set()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> object:
        while not self._waiting:
            if self.is_closed:
                raise StopAsyncIteration
            self._bell.clear()
            await self._bell.wait()
        return self._waiting.popleft()
