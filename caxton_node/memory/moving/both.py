"""Two memories written as one, while one becomes the other.

The first is asked and decides; the second follows. What the second misses is noted, and a pass
mends it before it may lead; but nothing counts as forgotten until both have forgotten it.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

from caxton_node.domain.errors import CaxtonError, NotFound
from caxton_node.memory.backend import (
    EntityView,
    Exported,
    MemoryBackend,
    MemoryStats,
    Search,
    Unconsolidated,
    Unembedded,
    Words,
)
from caxton_node.memory.finding import Filters
from caxton_node.memory.forgetting import ForgetProof, Selection
from caxton_node.memory.graph import GraphView, Walk
from caxton_node.memory.moving.book import MoveBook, Pair
from caxton_node.memory.records import Access, Entity, Hit, NewFact, NewRelation, Scope
from caxton_node.memory.writing import Remembered

__all__ = ["BothMemories"]

_log = logging.getLogger("caxton.memory")


class BothMemories:
    """A `MemoryBackend` of two.

    Args:
        old: Where the memory was.
        new: Where it is going.
        book: Of the move.
        is_switched: The new one leads.
    """

    def __init__(
        self, old: MemoryBackend, new: MemoryBackend, book: MoveBook, *, is_switched: bool
    ) -> None:
        self.old = old
        self.new = new
        self._book = book
        self.is_switched = is_switched
        self.turn = asyncio.Lock()
        """Held by whoever writes to either."""

    @property
    def first(self) -> MemoryBackend:
        """The one that leads."""
        return self.new if self.is_switched else self.old

    @property
    def second(self) -> MemoryBackend:
        """The one that follows."""
        return self.old if self.is_switched else self.new

    @property
    def side(self) -> str:
        """The leader's name in the book."""
        return "new" if self.is_switched else "old"

    @property
    def trouble(self) -> str | None:
        """What is wrong with the leader."""
        return self.first.trouble

    @property
    def needs_check(self) -> bool:
        """Whether the leader wants to be checked."""
        return self.first.needs_check

    async def open(self) -> None:
        """Both are open."""

    async def close(self) -> None:
        """Close both."""
        try:
            await self.new.close()
        finally:
            await self.old.close()

    async def use_model(self, identity: str, dimensions: int) -> None:
        """Compare vectors of this model from now on."""
        await self.first.use_model(identity, dimensions)
        await self._follow(lambda: self.second.use_model(identity, dimensions))

    async def _follow(self, write: Callable[[], Awaitable[object]]) -> None:
        """Let the second do what the first did; what fails is noted."""
        try:
            await write()
        except CaxtonError as problem:
            _log.warning("a write reached one of the two memories only: %s", problem)
            await self._book.set_behind(is_behind=True)

    def _pairs(self, first: Sequence[int], second: Sequence[int]) -> list[Pair]:
        both = zip(first, second, strict=True)
        return [Pair(b, a) if self.is_switched else Pair(a, b) for a, b in both]

    async def _twin(self, number: int) -> int | None:
        return (await self._book.twins([number], side=self.side)).get(number)

    # Writing.

    async def remember(
        self, access: Access, scope: Scope, facts: Sequence[NewFact], *, now: int
    ) -> list[Remembered]:
        """Write facts to both."""
        async with self.turn:
            done = await self.first.remember(access, scope, facts, now=now)

            async def follow() -> None:
                told = await self.second.remember(access, scope, facts, now=now)
                ids = [[one.observation_id for one in side] for side in (done, told)]
                await self._book.add(self._pairs(*ids))

            await self._follow(follow)
        return done

    async def relate(
        self, access: Access, scope: Scope, relations: Sequence[NewRelation], *, now: int
    ) -> list[int]:
        """Write relations to both."""
        async with self.turn:
            done = await self.first.relate(access, scope, relations, now=now)
            await self._follow(lambda: self.second.relate(access, scope, relations, now=now))
        return done

    async def close_fact(self, access: Access, observation_id: int, *, now: int) -> None:
        """End the truth of an observation in both."""
        async with self.turn:
            await self.first.close_fact(access, observation_id, now=now)
            twin = await self._twin(observation_id)
            if twin is not None:
                await self._follow(lambda: self._close_twin(access, twin, now))

    async def _close_twin(self, access: Access, twin: int, now: int) -> None:
        try:
            await self.second.close_fact(access, twin, now=now)
        except NotFound:
            return  # it had ended there already

    async def forget(self, access: Access, selection: Selection) -> ForgetProof:
        """Delete for good in both; an error means that it is to be said again."""
        async with self.turn:
            number = selection.observation_id
            if number is None:
                await self.second.forget(access, selection)
            else:
                twin = await self._twin(number)
                if twin is not None:
                    await self.second.forget(access, Selection(observation_id=twin))
            return await self.first.forget(access, selection)

    async def put_vectors(self, vectors: Sequence[tuple[int, bytes]], *, now: int) -> int:
        """Keep vectors in both."""
        async with self.turn:
            count = await self.first.put_vectors(vectors, now=now)
            twins = await self._book.twins([number for number, _ in vectors], side=self.side)
            known = [(twins[number], data) for number, data in vectors if number in twins]
            if known:
                await self._follow(lambda: self.second.put_vectors(known, now=now))
        return count

    async def use(self, ids: Sequence[int], *, now: int) -> None:
        """Note that observations were of use."""
        await self.first.use(ids, now=now)

    async def mark_consolidated(self, scope: Scope, conversation_id: str, *, up_to: int) -> None:
        """Note how far a conversation is consolidated."""
        await self.first.mark_consolidated(scope, conversation_id, up_to=up_to)
        twin = await self._twin(up_to)
        if twin is not None:
            await self._follow(
                lambda: self.second.mark_consolidated(scope, conversation_id, up_to=twin)
            )

    async def expire(self, *, now: int, half_life_ms: float, entity_count_max: int) -> int:
        """Delete what has outlived itself: in the leader; a pass tells the other."""
        async with self.turn:
            return await self.first.expire(
                now=now, half_life_ms=half_life_ms, entity_count_max=entity_count_max
            )

    # Reading: from the leader.

    async def unembedded(self, *, limit: int) -> list[Unembedded]:
        """Return observations without a vector of the current model."""
        return await self.first.unembedded(limit=limit)

    async def find_words(
        self, access: Access, question: str, filters: Filters, *, limit: int, now: int
    ) -> Words:
        """Return what has words of the question."""
        return await self.first.find_words(access, question, filters, limit=limit, now=now)

    async def search(self, access: Access, search: Search, *, now: int) -> list[Hit]:
        """Return what fits best."""
        return await self.first.search(access, search, now=now)

    async def entity(
        self, access: Access, name: str, filters: Filters, *, now: int
    ) -> list[EntityView]:
        """Return the entities of a name."""
        return await self.first.entity(access, name, filters, now=now)

    async def entities(
        self, access: Access, *, type_name: str | None, after: int, limit: int
    ) -> list[Entity]:
        """Return a page of entities."""
        return await self.first.entities(access, type_name=type_name, after=after, limit=limit)

    async def walk(self, access: Access, name: str, plan: Walk) -> GraphView:
        """Walk the relations."""
        return await self.first.walk(access, name, plan)

    async def export(
        self, access: Access, *, after: int, limit: int, has_vectors: bool
    ) -> Exported:
        """Return a page of observations."""
        return await self.first.export(access, after=after, limit=limit, has_vectors=has_vectors)

    async def export_relations(self, access: Access, *, after: int, limit: int) -> Exported:
        """Return a page of relations."""
        return await self.first.export_relations(access, after=after, limit=limit)

    async def unconsolidated(self, *, idle_before: int, limit: int) -> list[Unconsolidated]:
        """Return conversations to draw conclusions from."""
        return await self.first.unconsolidated(idle_before=idle_before, limit=limit)

    async def scopes(self) -> list[Scope]:
        """Return the scopes that hold anything."""
        return await self.first.scopes()

    async def stats(self, access: Access | None) -> MemoryStats:
        """Count what there is."""
        return await self.first.stats(access)

    async def check(self) -> list[str]:
        """Check both."""
        return [*await self.first.check(), *await self.second.check()]

    async def back_up(self, target: Path, *, now: int) -> int:
        """Copy everything of the leader to a file."""
        return await self.first.back_up(target, now=now)
