"""Moves a node's memory while the node works.

Begun, it copies while every write goes to both; alike, it switches; switched, both are kept alike
until somebody finishes the move or takes it back. A node that dies meanwhile goes on when it
starts: the book says where.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Final

from caxton_node.domain.errors import CaxtonError, Conflict, Rejected
from caxton_node.memory.backend import MemoryBackend
from caxton_node.memory.moving.book import BOOK_FILE, Move, MoveBook
from caxton_node.memory.moving.both import BothMemories
from caxton_node.memory.moving.mover import Mover
from caxton_node.memory.service import Memory

__all__ = ["LiveMoves", "chosen_backend"]

AGAIN_AFTER_S: Final = 5.0
"""When one of the two is away."""

MODEL_WAIT_S: Final = 60.0
"""For the model, whose vectors move, too; without it the other side makes its own."""

_log = logging.getLogger("caxton.memory")


def chosen_backend(configured: str, folder: Path) -> tuple[str, Move | None]:
    """Return the backend to open, and the move that is under way or was finished last.

    A memory that was moved is where it was moved to, whatever the settings still say.
    """
    path = folder / BOOK_FILE
    if not path.exists():
        return configured, None
    book = MoveBook(path)
    try:
        move = book.move()
    finally:
        book.close()
    if move is None or configured not in (move.source, move.target):
        return configured, None
    if move.is_open and move.is_live:
        return move.source, move
    if move.phase == "finished" and configured == move.source:
        return move.target, move
    return configured, None


class _Stopped(Exception):
    """A pass is not wanted any more."""


class LiveMoves:
    """Begins, watches and ends moves of one node's memory. Belongs to the event loop.

    Args:
        memory: Whose backend is changed.
        folder: Where the book lies.
        backend_named: Makes a backend, closed.
        current: Name of the backend that is open.
    """

    def __init__(
        self,
        memory: Memory,
        folder: Path,
        *,
        backend_named: Callable[[str], MemoryBackend],
        current: str,
    ) -> None:
        self._memory = memory
        self._folder = folder
        self._backend_named = backend_named
        self.current = current
        """Name of the backend that leads, or would if no move were under way."""
        self._book: MoveBook | None = None
        self._both: BothMemories | None = None
        self._wanted = asyncio.Event()
        self._turn = asyncio.Lock()
        self._pass = asyncio.Lock()
        """Held while everything is gone through."""
        self._is_stopping = False
        self._problem = ""

    @property
    def problem(self) -> str:
        """Why it does not go on at the moment; empty when it does."""
        return self._problem

    @property
    def move(self) -> Move | None:
        """The move that is under way, or was the last."""
        return None if self._book is None else self._book.move()

    async def begin(self, target: str) -> Move:
        """Begin to move to a backend, or return the move that goes there already.

        Raises:
            Conflict: `state_conflict`: another move is under way.
            Rejected: `invalid_request`: it is there already.
            Unavailable: `storage_unavailable`: the target cannot be reached.
        """
        async with self._turn:
            known = self.move
            if known is not None and known.is_open:
                if known.target == target:
                    self._wanted.set()
                    return known
                raise Conflict("state_conflict", f"the memory is moving to {known.target} already")
            if target == self.current:
                raise Rejected("invalid_request", f"the memory is in {target} already")
            new = self._backend_named(target)
            await new.open()
            try:
                await new.scopes()  # it answers
            except BaseException:
                await new.close()
                raise
            self._book = self._book or MoveBook(self._folder / BOOK_FILE)
            move = self._book.begin(Move(source=self.current, target=target, is_live=True))
            await self._write_both(new, is_switched=False)
            self._wanted.set()
            return move

    async def resume(self, move: Move) -> None:
        """Go on with a move that was under way when the node ended."""
        self._book = MoveBook(self._folder / BOOK_FILE)
        if not move.is_open:
            return
        # The last write before the end may have reached one side only.
        await self._book.set_behind(is_behind=True)
        new = self._backend_named(move.target)
        await new.open()
        await self._write_both(new, is_switched=move.phase == "switched")
        self._wanted.set()

    async def _write_both(self, new: MemoryBackend, *, is_switched: bool) -> None:
        assert self._book is not None, "a move has a book"
        self._both = BothMemories(self._memory.backend, new, self._book, is_switched=is_switched)
        await self._memory.put_backend(self._both)

    async def run(self) -> None:
        """Do what was begun, for ever."""
        while True:
            await self._wanted.wait()
            self._wanted.clear()
            try:
                async with self._pass:
                    await self._go_on()
                self._problem = ""
            except _Stopped:
                continue
            except CaxtonError as problem:
                _log.warning("the memory's move waits: %s", problem)
                await self._wait_for(problem.detail)
            except Exception as bug:
                # A move is no reason for a node to end.
                _log.exception("the memory's move failed; it is tried again")
                await self._wait_for(repr(bug))

    async def _wait_for(self, problem: str) -> None:
        self._problem = problem
        await asyncio.sleep(AGAIN_AFTER_S)
        self._wanted.set()

    async def _go_on(self) -> None:
        move, book, both = self.move, self._book, self._both
        if move is None or book is None or both is None or not move.is_open:
            return
        await self._memory.model_loaded(timeout_s=MODEL_WAIT_S)
        mover = Mover(both, book, now=self._memory.now)
        if move.phase == "switched":
            if await book.is_behind():
                kept = replace(move, part="facts", after=0, passes=0)
                done = await mover.bring_alike(kept, self._heed)
                await book.note(replace(done, phase="switched"))
            return
        move = await mover.bring_alike(replace(move, phase="copying"), self._heed)
        if move.phase == "copied":
            async with both.turn:
                both.is_switched = True
                await book.note(replace(move, phase="switched"))
            _log.info("the memory is in %s now", move.target)

    def _heed(self, _: Move) -> None:
        """Let a pass end where it is, when somebody wants to end the move."""
        if self._is_stopping:
            raise _Stopped

    @asynccontextmanager
    async def _alone(self) -> AsyncIterator[None]:
        """Do something while no pass is made; one under way ends after its page."""
        async with self._turn:
            self._is_stopping = True
            try:
                async with self._pass:
                    yield
            finally:
                self._is_stopping = False
                self._wanted.set()  # what was stopped goes on, unless it ended

    async def take_back(self) -> Move:
        """Let the source lead again, and end the move. What was copied stays in the target.

        Raises:
            Conflict: `state_conflict`: no move is under way.
            Unavailable: `storage_unavailable`: the source has missed writes that only an engine
                has which is away.
        """
        async with self._alone():
            move, book, both = self._under_way()
            if move.phase == "switched":
                if await book.is_behind():
                    mover = Mover(both, book, now=self._memory.now)
                    await mover.bring_alike(replace(move, part="facts", after=0, passes=0))
                async with both.turn:
                    both.is_switched = False
            move = await book.note(replace(move, phase="rolled_back"))
            await self._end(keep=both.old, drop=both.new, name=move.source)
            return move

    async def finish(self) -> Move:
        """Write to the target alone from now on. The source stays as it is.

        Raises:
            Conflict: `state_conflict`: no move is under way, or it is not switched yet.
        """
        async with self._alone():
            move, book, both = self._under_way()
            if move.phase != "switched":
                raise Conflict("state_conflict", f"the move is {move.phase}, not switched yet")
            move = await book.note(replace(move, phase="finished"))
            await self._end(keep=both.new, drop=both.old, name=move.target)
            return move

    def _under_way(self) -> tuple[Move, MoveBook, BothMemories]:
        move, book, both = self.move, self._book, self._both
        if move is None or book is None or both is None or not move.is_open:
            raise Conflict("state_conflict", "the memory is not moving")
        return move, book, both

    async def _end(self, *, keep: MemoryBackend, drop: MemoryBackend, name: str) -> None:
        self._both, self.current = None, name
        await self._memory.put_backend(keep)
        await drop.close()

    def close(self) -> None:
        """Close the book."""
        if self._book is not None:
            self._book.close()
