"""Whose slice is next, where many guests want the one thread.

Guests that use up their slice stand in line, and the event loop goes round once between two of
them: it looks at clocks and sockets every slice, not every slice of everybody. So a limit of time
is kept, and a short call is answered, however many guests compute besides.

Who just came does not wait for those that have been at it: of the two lines, the one of newcomers
and the one of the others, each gives every second slice.
"""

import asyncio
from collections import deque
from typing import Final

__all__ = ["SLICE_S", "Slices"]

SLICE_S: Final = 0.0025
"""How long a guest runs before others get their turn."""


class Slices:
    """The two lines. Belongs to one event loop."""

    def __init__(self) -> None:
        self.is_spent = False
        """Whether guests have used up what they may have of this round of the event loop."""
        self._newcomers: deque[asyncio.Future[None]] = deque()
        self._others: deque[asyncio.Future[None]] = deque()
        self._is_coming_round = False
        self._was_newcomer = False

    def __len__(self) -> int:
        return len(self._newcomers) + len(self._others)

    def note_spent(self) -> None:
        """Note that a guest used up a slice: no more in this round."""
        self.is_spent = True
        self._come_round()

    async def wait(self, *, is_newcomer: bool = False) -> None:
        """Wait for a slice.

        Args:
            is_newcomer: The call has not run at all yet.
        """
        turn = asyncio.get_running_loop().create_future()
        (self._newcomers if is_newcomer else self._others).append(turn)
        self._come_round()
        await turn

    def _come_round(self) -> None:
        if not self._is_coming_round:
            self._is_coming_round = True
            asyncio.get_running_loop().call_soon(self._next_round)

    def _next_round(self) -> None:
        """Begin a round: called once by the event loop, before whatever else is ready then."""
        self._is_coming_round = self.is_spent = False
        turn = self._next()
        if turn is not None:
            turn.set_result(None)
            self._come_round()

    def _next(self) -> "asyncio.Future[None] | None":
        """Take the next of a line who still waits; None when nobody does."""
        lines = (self._newcomers, self._others)
        for line in reversed(lines) if self._was_newcomer else lines:
            while line:
                turn = line.popleft()
                if not turn.done():
                    self._was_newcomer = line is self._newcomers
                    return turn
        return None
