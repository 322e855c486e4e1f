"""Says in time that a memory fills up: before its limit deletes what was least of use."""

import asyncio
import logging
from typing import Final

from caxton_node.domain.errors import CaxtonError
from caxton_node.memory.backend import MemoryStats
from caxton_node.memory.service import Memory

__all__ = ["WARN_AT", "keep_warning", "nearly_full"]

WARN_AT: Final = 0.8
"""The share of its limit at which a scope is said to be nearly full."""

LOOKED_EVERY_S: Final = 3_600.0

_log = logging.getLogger("caxton.memory")


def nearly_full(stats: MemoryStats, entities_per_scope: int) -> list[str]:
    """Return a sentence for each scope that is nearly full. Pure."""
    return [
        f"{scope} is nearly full: {count} of {entities_per_scope}"
        for scope, count in stats.by_scope.items()
        if count >= WARN_AT * entities_per_scope
    ]


async def keep_warning(memory: Memory) -> None:
    """Write to the log which scopes are nearly full, for ever, every so often."""
    while True:
        await asyncio.sleep(LOOKED_EVERY_S)
        try:
            stats = await memory.backend.stats(None)
        except CaxtonError as problem:
            _log.warning("memory could not be counted: %s", problem)
            continue
        for warning in nearly_full(stats, memory.limits.entities_per_scope):
            _log.warning("%s; what is least of use is deleted when it is full", warning)
