"""Which engine keeps the memory, by the settings: part of the composition root.

Only what is chosen is imported, and the libraries of an engine when it is first called.
"""

import asyncio
import importlib
import logging
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Final

from caxton_node.config import Settings
from caxton_node.domain.errors import CaxtonError
from caxton_node.memory.backend import MemoryBackend
from caxton_node.memory.sqlite import SqliteMemory

__all__ = ["BACKENDS", "EMBEDDED", "MEMORY_FILE", "keep_reached", "memory_backend"]

EMBEDDED: Final = "sqlite"
BACKENDS: Final = (EMBEDDED, "qdrant", "neo4j", "qdrant+neo4j")

MEMORY_FILE: Final = "memory.db"
"""In the data directory."""

REACHED_EVERY_S: Final = 5.0
"""How often an engine that is away is tried."""

_log = logging.getLogger("caxton.memory")

_SHARED: Final = "caxton_node.memory.shared"


def memory_backend(name: str, settings: Settings, *, is_awaited: bool = False) -> MemoryBackend:
    """Return a backend by name, closed.

    Args:
        name: One of `BACKENDS`.
        settings: Where it is.
        is_awaited: Opening it waits for an engine. A node does not: it starts without.
    """
    if name == EMBEDDED:
        return SqliteMemory(settings.node.data_dir / MEMORY_FILE, is_synced=settings.node.is_synced)
    shelves = [_shelf(part, settings) for part in name.split("+")]
    shelf = shelves[0]
    if len(shelves) == 2:
        shelf = importlib.import_module(f"{_SHARED}.hybrid").HybridShelf(*shelves)
    shared = importlib.import_module(f"{_SHARED}.memory")
    memory: MemoryBackend = shared.SharedMemory(
        shelf, teller=settings.node.name, is_awaited=is_awaited
    )
    return memory


async def keep_reached(backend_of: Callable[[], MemoryBackend]) -> None:
    """Try again to reach an engine that is away, for ever: nobody may ask for it for hours."""
    told: str | None = None
    while True:
        backend = backend_of()
        if backend.trouble is not None and not isinstance(backend, SqliteMemory):
            with suppress(CaxtonError):  # `trouble` says it
                await backend.check()
        if backend.trouble != told:
            told = backend.trouble
            if told is None:
                _log.info("the shared memory answers")
            else:
                _log.warning("agents answer without their memory: %s", told)
        await asyncio.sleep(REACHED_EVERY_S)


def _shelf(name: str, settings: Settings) -> Any:
    module = importlib.import_module(f"{_SHARED}.{name}")
    if name == "neo4j":
        graph = settings.neo4j
        return module.Neo4jShelf(
            graph.uri,
            user=graph.user,
            password=graph.secret(),
            database=graph.database,
            timeout_s=graph.timeout_s,
        )
    engine = settings.qdrant
    connect = module.connect_qdrant(engine.url, api_key=engine.secret(), timeout_s=engine.timeout_s)
    return module.QdrantShelf(
        connect,
        collection=engine.collection,
        timeout_s=engine.timeout_s,
        address=f"Qdrant at {engine.url}",
    )
