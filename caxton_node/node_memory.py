"""A node's memory, opened and closed with the node: part of the composition root.

A memory that cannot be opened (a damaged file, a newer schema) does not keep the node from its
work: agents answer without it, and the node says so wherever it says how it does.
"""

import asyncio
import functools
import importlib
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Final

from caxton_node.config import Settings
from caxton_node.domain.errors import CaxtonError, Conflict
from caxton_node.memory.embedding.embedder import Embedder, Encodes
from caxton_node.memory.embedding.model_files import find_model, prepare_model
from caxton_node.memory.exclusion import DEFAULT_PATTERNS, Exclusion
from caxton_node.memory.fullness import keep_warning
from caxton_node.memory.graph_chore import keep_graphs
from caxton_node.memory.knowledge_tool import KnowledgeBase
from caxton_node.memory.moving.live import LiveMoves, chosen_backend
from caxton_node.memory.service import Memory, MemoryLimits, Now
from caxton_node.memory_engines import keep_reached, memory_backend
from caxton_node.runtime.consolidation import consolidate
from caxton_node.runtime.llm_agent import LlmAgent
from caxton_node.runtime.roster import Roster
from caxton_node.runtime.succession import in_force
from caxton_node.tools.tool import Tool

__all__ = ["BACKUPS_FOLDER", "NodeMemory", "embedder_of", "open_memory"]

BACKUPS_FOLDER: Final = "backups"

NO_MODEL: Final = "none"

_log = logging.getLogger("caxton.memory")


@dataclass(frozen=True, slots=True)
class NodeMemory:
    """What became of opening it."""

    memory: Memory | None
    trouble: str = ""
    """Why there is none."""
    moves: LiveMoves | None = None
    configured: str = ""
    """The backend that the settings name."""

    @property
    def state(self) -> str:
        """For the list of components."""
        if self.memory is None:
            return f"degraded: {self.trouble}" if self.trouble else "ready: switched off"
        if self.moves is not None and self.moves.problem:
            return f"degraded: its move waits: {self.moves.problem}"
        state, note = self.memory.state, self._note()
        return f"{state}{'; ' if ':' in state else ': '}{note}" if note else state

    def _note(self) -> str:
        """Return what the operator should know of where it is."""
        if self.moves is None:
            return ""
        move = self.moves.move
        if move is not None and move.is_open:
            return f"it is moving from {move.source} to {move.target}"
        if self.moves.current == self.configured:
            return ""
        return f'it was moved: set memory.backend = "{self.moves.current}" in the settings'

    def tools(self) -> tuple[Tool, ...]:
        """Return the tools that work on it."""
        return () if self.memory is None else (KnowledgeBase(self.memory),)

    def start(self, tasks: asyncio.TaskGroup, roster: Roster) -> list[asyncio.Task[None]]:
        """Begin the chores."""
        if self.memory is None:
            return []
        memory = self.memory
        draws = functools.partial(consolidate, thinker_of=functools.partial(_thinker_of, roster))
        chores = [memory.keep_embedded(), memory.keep_clean(), memory.keep_consolidated(draws)]
        chores.append(keep_warning(memory))
        chores.append(keep_reached(lambda: memory.backend))
        chores.append(keep_graphs(lambda: memory.backend))
        if self.moves is not None:
            chores.append(self.moves.run())
        return [tasks.create_task(chore) for chore in chores]


@asynccontextmanager
async def open_memory(settings: Settings, now: Now) -> AsyncIterator[NodeMemory]:
    """Open the memory in the data directory, and close it at the end.

    Raises:
        Conflict: `state_conflict`: another process has the data directory open.
    """
    if not settings.memory.is_enabled:
        yield NodeMemory(None)
        return
    folder = settings.node.data_dir
    name, move = chosen_backend(settings.memory.backend, folder)
    backend = memory_backend(name, settings)
    try:
        await backend.open()
    except Conflict:
        raise
    except CaxtonError as problem:
        _log.exception("agents answer without their memory")
        yield NodeMemory(None, f"{problem.detail} {problem.hint or ''}".strip())
        return
    embedder = embedder_of(settings)
    memory = Memory(
        backend,
        embedder,
        now=now,
        exclusion=Exclusion((*DEFAULT_PATTERNS, *settings.memory.exclude)),
        limits=MemoryLimits(
            entities_per_scope=settings.memory.entities,
            half_life_s=settings.memory.half_life_s,
            consolidate_after_s=settings.memory.consolidate_after_s,
            recall_tokens=settings.memory.recall_tokens,
        ),
        backups=folder / BACKUPS_FOLDER,
    )
    moves = LiveMoves(
        memory,
        folder,
        backend_named=lambda wanted: memory_backend(wanted, settings, is_awaited=True),
        current=name,
    )
    memory.moves = moves
    if move is not None:
        await moves.resume(move)
    try:
        yield NodeMemory(memory, moves=moves, configured=settings.memory.backend)
    finally:
        moves.close()
        await embedder.close()
        with suppress(CaxtonError):
            await memory.backend.close()


def embedder_of(settings: Settings) -> Embedder:
    """Return what makes vectors by the settings. Nothing is loaded before it is wanted."""
    folder = settings.node.data_dir / "models"
    name = settings.memory.model
    if name == NO_MODEL:
        return Embedder(None, why_absent="switched off")
    is_quantised = settings.memory.precision == "int8"

    def load() -> Encodes:
        model = prepare_model(find_model(name), folder=folder, is_quantised=is_quantised)
        # Imported where it is wanted: the runtime of the model takes as much memory as the node.
        encoder = importlib.import_module("caxton_node.memory.embedding.encoder")
        loaded: Encodes = encoder.Encoder(model)
        return loaded

    return Embedder(load)


def _thinker_of(roster: Roster, agent: str) -> LlmAgent | None:
    seat = roster.find(agent)
    running = None if seat is None else in_force(seat.tenant.agent)
    return running if isinstance(running, LlmAgent) else None
