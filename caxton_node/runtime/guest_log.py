"""What guests write to their log, kept with the agent's own, secrets struck out."""

import asyncio
import logging
from collections.abc import Callable
from typing import Final

from caxton_node.domain.errors import CaxtonError
from caxton_node.routing.clock import Clock
from caxton_node.store.protocol import LogLine, Store

__all__ = ["GuestLog"]

LINES_WAITING_MAX: Final = 1_000
"""Lines that wait for the disk. More are counted and left out."""

_LEVELS: Final = {
    "debug": logging.DEBUG,
    "info": logging.INFO,
    "warning": logging.WARNING,
    "error": logging.ERROR,
}

_log = logging.getLogger("caxton.guest")


class GuestLog:
    """The log of one guest.

    Args:
        agent: Whose it is.
        store: Keeps it.
        clock: Tells the time.
        tasks: Owns the writing.
        redact: Strikes out what nobody may read.
    """

    def __init__(
        self,
        agent: str,
        store: Store,
        clock: Clock,
        tasks: asyncio.TaskGroup,
        redact: Callable[[str], str],
    ) -> None:
        self._agent = agent
        self._store = store
        self._clock = clock
        self._tasks = tasks
        self._redact = redact
        self._waiting: list[LogLine] = []
        self._is_writing = False
        self._lost = 0

    def write(self, level: str, text: str) -> None:
        """Write a line."""
        line = self._redact(text)
        _log.log(_LEVELS.get(level, logging.INFO), "%s: %s", self._agent, line)
        if len(self._waiting) >= LINES_WAITING_MAX:
            self._lost += 1
            return
        self._waiting.append(LogLine(at=self._clock.now_ms(), level=level, text=line))
        if not self._is_writing:
            self._is_writing = True
            self._tasks.create_task(self._flush())

    async def _flush(self) -> None:
        try:
            while self._waiting:
                lines, self._waiting = self._waiting, []
                if self._lost:
                    text = f"({self._lost} lines were left out)"
                    lines.append(LogLine(at=self._clock.now_ms(), level="warning", text=text))
                    self._lost = 0
                await self._store.put_log(self._agent, lines)
        except CaxtonError as problem:
            _log.error("the log of %s is not on disk: %s", self._agent, problem)
        finally:
            self._is_writing = False
