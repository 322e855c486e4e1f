"""Makes a memory like another one, however often it is interrupted, and says whether it is."""

from collections.abc import Callable
from dataclasses import replace
from typing import Final

from caxton_node.domain.errors import Failed
from caxton_node.memory.moving.book import Move, MoveBook
from caxton_node.memory.moving.both import BothMemories
from caxton_node.memory.moving.comparing import compare
from caxton_node.memory.moving.copier import Copier

__all__ = ["Mover"]

PASSES_MAX: Final = 10
"""Passes for writes that reached one side only, before it is given up: the target is too ill."""


def _untold(_: Move) -> None:
    """Nobody wants to know."""


class Mover:
    """Brings the follower of two memories up to the leader.

    Args:
        both: The two.
        book: Of the move.
        now: Milliseconds since 1970, UTC.
    """

    def __init__(self, both: BothMemories, book: MoveBook, *, now: Callable[[], int]) -> None:
        self._both = both
        self._book = book
        self._now = now

    async def bring_alike(self, move: Move, told: Callable[[Move], None] | None = None) -> Move:
        """Go through everything until nothing is missed, and compare.

        Args:
            move: How far it is.
            told: Gets it again after each page.

        Returns:
            The move with the phase `copied`, or `failed` where the two are not alike.

        Raises:
            Unavailable: `storage_unavailable`: one of the two is away; say it again later.
            Failed: `memory_failed`: one of the two misses writes again and again.
        """
        both = self._both
        copier = Copier(both.first, both.second, self._book, both.side, both.turn, self._now)
        # What was begun before may have been changed since, behind the pass.
        is_first = (move.part, move.after, move.passes) == ("facts", 0, 0)
        for _ in range(PASSES_MAX):
            await self._book.set_behind(is_behind=False)
            move = await copier.finish_pass(move, told or _untold)
            if is_first and not await self._book.is_behind():
                break
            is_first = True
        else:
            raise Failed("memory_failed", f"{both.second.trouble or 'writes'}: not kept up with")
        async with both.turn:
            found = await compare(
                both.first, both.second, self._book, side=both.side, now=self._now()
            )
        phase = "copied" if found.is_good else "failed"
        return await self._book.note(replace(move, phase=phase, report=found.document()))
