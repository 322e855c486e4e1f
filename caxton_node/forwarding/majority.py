"""Whether a majority is in reach now, found out by asking.

Who is being cut off sees the others die one after the other: until the last but one it counts
itself among a majority that it can no longer reach. What membership believes is of some seconds
ago, so no waiting and no counting of suspects makes it certain. An answer does: each node is asked
on its link, and those that answer what was asked *after* a decision were there after it. Two
majorities of the same number share a node, and that node is on one side only.

The same way a leader of Raft makes sure that it still leads before it answers a read. One echo per
node and decision; decisions that are made while an echo is under way ask for another one.

Reference: Ongaro, "Consensus: bridging theory and practice", 2014, section 6.4.
"""

import asyncio
import math
from collections.abc import Callable, Iterable, Sequence
from typing import Final, Protocol

from caxton_cluster.partition import PartitionView
from caxton_node.forwarding.modes import no_answer, no_majority

__all__ = ["ANSWER_S", "AskedLinks", "Majority", "confirmed_at_s"]

ANSWER_S: Final = 1.0
"""How long the answers before a takeover are waited for. Less than any preset takes to hold a
silent node dead: who has its answers in this time was not given up by those who answered."""


def confirmed_at_s(echoed_at_s: Iterable[float], majority_count: int, now_s: float) -> float:
    """Return until when a majority was surely in reach, this node included; -inf for never.

    Args:
        echoed_at_s: For each other node, when it was asked what it answered last.
        majority_count: How many nodes make a majority.
        now_s: On the same clock.
    """
    assert majority_count >= 1, "a node belongs to every majority that it is with"
    others = sorted(echoed_at_s, reverse=True)
    wanted_count = majority_count - 1
    if wanted_count == 0:
        return now_s
    return others[wanted_count - 1] if wanted_count <= len(others) else -math.inf


class AskedLinks(Protocol):
    """What is asked of the links."""

    on_echo: Callable[[], None]
    """Told when a node has answered."""

    def ping_all(self) -> None:
        """Have every linked node answer at once."""
        ...

    def echoed_at_s(self) -> Sequence[float]:
        """Return, for each other node, when this one asked what that one answered last."""
        ...


class Majority:
    """Asks the other nodes. All methods belong to the event loop.

    Args:
        links: To ask by.
        view: Returns on which side of a partition this node believes to be.
    """

    def __init__(self, links: AskedLinks, view: Callable[[], PartitionView]) -> None:
        self._links = links
        self._view = view
        self._loop = asyncio.get_running_loop()
        self._echo = asyncio.Event()
        links.on_echo = self._echo.set

    async def confirm(self, timeout_s: float) -> None:
        """Return once a majority has answered what it was asked after this call began.

        Args:
            timeout_s: How long to wait for the answers.

        Raises:
            Unavailable: `no_majority`: this node is not with one, or it did not answer in time.
        """
        asked_at_s = self._loop.time()
        self._links.ping_all()
        try:
            async with asyncio.timeout(timeout_s):
                while not self._is_confirmed(asked_at_s):
                    self._echo.clear()
                    await self._echo.wait()
        except TimeoutError:
            raise no_answer(self._view(), timeout_s) from None

    def _is_confirmed(self, asked_at_s: float) -> bool:
        view = self._view()
        if not view.is_writable:
            raise no_majority(view)
        echoes = self._links.echoed_at_s()
        return confirmed_at_s(echoes, view.majority_count, self._loop.time()) >= asked_at_s
