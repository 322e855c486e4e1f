"""Who waits for which answer: the meeting point of a reply and whoever asked.

An edge that holds a client's request open, or an agent's tool that asked another agent, registers
under what the answer will carry as `in_reply_to`. Bounded; a waiter always has a deadline.
"""

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

import msgspec

from caxton_node.domain.errors import TimedOut, Unavailable
from caxton_node.domain.message import Message

__all__ = ["ASK_MARK", "WAITING_MAX", "Answers", "answer_within", "is_ask"]

ASK_MARK: Final = "#"
"""Parts a message's id from the number of a step in its turn: the id of a question that the turn
asked. It is the same for every attempt, so a question is asked once. No other id holds it."""

WAITING_MAX: Final = 100_000


class _Waiter(msgspec.Struct, frozen=True, eq=False):
    future: asyncio.Future[Message]
    conversation_id: str | None


class Answers:
    """Futures of answers, by the `in_reply_to` that they will carry and who gets them."""

    def __init__(self) -> None:
        self._waiters: dict[tuple[str, str], list[_Waiter]] = {}
        self._listeners: dict[str, list[Callable[[Message], bool]]] = {}
        self._count = 0

    def __len__(self) -> int:
        return self._count

    @contextmanager
    def expect(
        self, asker: str, in_reply_to: str, conversation_id: str | None = None
    ) -> Iterator[asyncio.Future[Message]]:
        """Register before sending the question; the future holds the answer.

        Several may wait for the same answer; each gets it.

        Args:
            asker: Who gets the answer.
            in_reply_to: What the answer will carry.
            conversation_id: Of the question, where two clients of one name could ask under the
                same `reply_with`.

        Raises:
            Unavailable: `node_busy`, when too many wait already.
        """
        if self._count >= WAITING_MAX:
            raise Unavailable("node_busy", f"{WAITING_MAX:,} answers are being waited for")
        key = (asker, in_reply_to)
        waiter = _Waiter(asyncio.get_running_loop().create_future(), conversation_id)
        self._waiters.setdefault(key, []).append(waiter)
        self._count += 1
        try:
            yield waiter.future
        finally:
            self._count -= 1
            waiters = self._waiters[key]
            waiters.remove(waiter)
            if not waiters:
                del self._waiters[key]
            waiter.future.cancel()

    @contextmanager
    def listen(self, asker: str, offer: Callable[[Message], bool]) -> Iterator[None]:
        """Offer every answer for a client to `offer` as long as the block lasts.

        Args:
            asker: Who gets the answers.
            offer: Takes an answer, or returns False where it has no room for it.

        Raises:
            Unavailable: `node_busy`, when too many wait already.
        """
        if self._count >= WAITING_MAX:
            raise Unavailable("node_busy", f"{WAITING_MAX:,} answers are being waited for")
        self._listeners.setdefault(asker, []).append(offer)
        self._count += 1
        try:
            yield
        finally:
            self._count -= 1
            listeners = self._listeners[asker]
            listeners.remove(offer)
            if not listeners:
                del self._listeners[asker]

    def give(self, message: Message) -> bool:
        """Hand an answer to all who wait for it; False if nobody does (any more)."""
        if message.in_reply_to is None:
            return False
        is_given = False
        if self._listeners:
            for offer in self._listeners.get(message.receiver, ()):
                is_given |= offer(message)
        if not self._waiters:
            return is_given
        for waiter in self._waiters.get((message.receiver, message.in_reply_to), ()):
            is_meant = waiter.conversation_id in (None, message.conversation_id)
            if is_meant and not waiter.future.done():
                waiter.future.set_result(message)
                is_given = True
        return is_given


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
