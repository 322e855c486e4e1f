"""Who waits for which answer: the meeting point of a reply and whoever asked.

An edge that holds a client's request open, or an agent's tool that asked another agent, registers
under what the answer will carry as `in_reply_to`. Bounded; a waiter always has a deadline.
"""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from caxton_node.domain.errors import TimedOut, Unavailable
from caxton_node.domain.message import Message

__all__ = ["ASK_MARK", "WAITING_MAX", "Answers", "answer_within", "is_ask"]

ASK_MARK: Final = "#"
"""Parts a message's id from the number of a step in its turn: the id of a question that the turn
asked. It is the same for every attempt, so a question is asked once. No other id holds it."""

WAITING_MAX: Final = 100_000


class Answers:
    """Futures of answers, by the `in_reply_to` that they will carry and who gets them."""

    def __init__(self) -> None:
        self._futures: dict[tuple[str, str], asyncio.Future[Message]] = {}

    def __len__(self) -> int:
        return len(self._futures)

    @contextmanager
    def expect(self, asker: str, in_reply_to: str) -> Iterator[asyncio.Future[Message]]:
        """Register before sending the question; the future holds the answer.

        Raises:
            Unavailable: `node_busy`, when too many wait already.
        """
        if len(self._futures) >= WAITING_MAX:
            raise Unavailable("node_busy", f"{WAITING_MAX:,} answers are being waited for")
        key = (asker, in_reply_to)
        future = asyncio.get_running_loop().create_future()
        self._futures[key] = future
        try:
            yield future
        finally:
            if self._futures.get(key) is future:
                del self._futures[key]
            future.cancel()

    def is_expected(self, message: Message) -> bool:
        """Whether somebody waits for this answer."""
        if message.in_reply_to is None or not self._futures:
            return False
        return (message.receiver, message.in_reply_to) in self._futures

    def give(self, message: Message) -> bool:
        """Hand an answer to whoever waits; False if nobody does (any more)."""
        if message.in_reply_to is None or not self._futures:
            return False
        future = self._futures.pop((message.receiver, message.in_reply_to), None)
        if future is None or future.done():
            return False
        future.set_result(message)
        return True


def is_ask(in_reply_to: str | None) -> bool:
    """Return whether an answer is to a question that an agent asked within a turn."""
    return in_reply_to is not None and ASK_MARK in in_reply_to


async def answer_within(future: asyncio.Future[Message], timeout_s: float) -> Message:
    """Wait for an answer.

    Raises:
        TimedOut: `timed_out`.
    """
    try:
        async with asyncio.timeout(timeout_s):
            return await future
    except TimeoutError:
        raise TimedOut(
            "timed_out",
            f"no answer within {timeout_s:g} s",
            hint="The message stays in its conversation; its answer can be read there later.",
        ) from None
