"""Keeps the graphs that are walked in memory, for whatever backend the node has just now."""

import asyncio
import logging
from collections.abc import Callable
from typing import Final

from caxton_node.domain.errors import CaxtonError
from caxton_node.memory.backend import MemoryBackend
from caxton_node.memory.sqlite import SqliteMemory

__all__ = ["keep_graphs"]

LOOKED_EVERY_S: Final = 60.0
"""How often it is looked which backend there is: a move may have put another in its place."""

_log = logging.getLogger("caxton.memory")


async def keep_graphs(backend: Callable[[], MemoryBackend]) -> None:
    """Read what walks have asked for, for ever. Engines outside keep graphs of their own."""
    while True:
        current = backend()
        if not isinstance(current, SqliteMemory):
            await asyncio.sleep(LOOKED_EVERY_S)
            continue
        try:
            await current.read_wanted_graphs(timeout_s=LOOKED_EVERY_S)
        except CaxtonError as problem:
            _log.warning("a graph could not be read into memory: %s", problem)
            await asyncio.sleep(LOOKED_EVERY_S)
