"""Moving the memory of a node that is stopped: the same passes, in a process of their own."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace

from caxton_node.config import Settings
from caxton_node.domain.errors import Conflict, Failed, Rejected
from caxton_node.memory.backend import MemoryBackend
from caxton_node.memory.moving.book import BOOK_FILE, Move, MoveBook
from caxton_node.memory.moving.both import BothMemories
from caxton_node.memory.moving.live import MODEL_WAIT_S, chosen_backend
from caxton_node.memory.moving.mover import Mover
from caxton_node.memory_engines import memory_backend
from caxton_node.node_memory import embedder_of

__all__ = ["move_offline"]


async def move_offline(settings: Settings, target: str, told: Callable[[Move], None]) -> Move:
    """Move the memory in a data directory to another backend, from where an earlier try ended.

    Args:
        settings: Of the node.
        target: Name of the backend.
        told: Gets the move after each page.

    Returns:
        The move: `finished`, after which the node opens the target.

    Raises:
        Conflict: `state_conflict`: a node has the memory open, or is moving it itself.
        Rejected: `invalid_request`: it is there already.
        Unavailable: `storage_unavailable`: one of the two cannot be reached.
        Failed: `memory_failed`: the two are not alike; nothing is switched.
    """
    folder = settings.node.data_dir
    name, known = chosen_backend(settings.memory.backend, folder)
    if known is not None and known.is_open and known.is_live:
        raise Conflict(
            "state_conflict",
            "The node is moving this memory itself.",
            hint="Start it, and finish the move or take it back.",
        )
    if name == target:
        raise Rejected("invalid_request", f"The memory is in {target} already.")
    async with AsyncExitStack() as stack:
        source = await stack.enter_async_context(_opened(name, settings))
        goal = await stack.enter_async_context(_opened(target, settings))
        await goal.scopes()  # it answers
        book = MoveBook(folder / BOOK_FILE)
        stack.callback(book.close)
        both = BothMemories(source, goal, book, is_switched=False)
        await _use_model(settings, both)
        move = book.move()
        if move is None or (move.source, move.target, move.is_open) != (name, target, True):
            move = book.begin(Move(source=name, target=target, is_live=False))
        mover = Mover(both, book, now=lambda: time.time_ns() // 1_000_000)
        move = await mover.bring_alike(replace(move, phase="copying"), told)
        if move.phase != "copied":
            raise Failed("memory_failed", _unlike(move))
        return await book.note(replace(move, phase="finished"))


@asynccontextmanager
async def _opened(name: str, settings: Settings) -> AsyncIterator[MemoryBackend]:
    backend = memory_backend(name, settings, is_awaited=True)
    await backend.open()
    try:
        yield backend
    finally:
        await backend.close()


async def _use_model(settings: Settings, both: BothMemories) -> None:
    """Let vectors move, too, where the model that made them is there."""
    embedder = embedder_of(settings)
    try:
        await asyncio.to_thread(embedder.start)
        if await embedder.loaded(timeout_s=MODEL_WAIT_S) and embedder.identity is not None:
            await both.use_model(embedder.identity, embedder.dimensions)
    finally:
        await embedder.close()


def _unlike(move: Move) -> str:
    found = move.report
    return (
        f"The copy in {move.target} is not like the memory in {move.source}: "
        f"{found['alike']} of {found['sampled']} sampled facts are alike, "
        f"the consistency of searches is {found['consistency']}"
    )
