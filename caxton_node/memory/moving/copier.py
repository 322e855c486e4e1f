"""One pass from a memory to another.

What is missing is told, what has ended is ended, what is gone goes.

A pass changes nothing where the two are alike, so that it both copies and mends. Each page is read
and written while nobody else writes, so that nothing that is forgotten meanwhile comes back.
"""

import asyncio
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Final

from caxton_node.domain.errors import NotFound
from caxton_node.memory.backend import Exported, MemoryBackend
from caxton_node.memory.forgetting import Selection
from caxton_node.memory.moving.book import Move, MoveBook, Pair
from caxton_node.memory.records import (
    Access,
    Entity,
    Kind,
    Lived,
    NewFact,
    NewRelation,
    Observation,
    Scope,
)

__all__ = ["PAGE", "Copier", "fact_of"]

PAGE: Final = 200
"""Observations of one page: others wait to write for as long as it takes."""


def fact_of(one: Observation, entity: Entity | None) -> NewFact:
    """Return an observation as it is told to another memory, with its age."""
    return NewFact(
        entity=one.entity,
        text=one.text,
        type=one.type,
        kind=Kind(one.kind),
        attribute=one.attribute,
        context=one.context,
        confidence=one.confidence,
        strength=one.strength,
        valid_from=one.valid.start,
        valid_to=one.valid.end,
        is_pinned=one.is_pinned,
        metadata={} if entity is None else entity.metadata,
        source=one.source,
        lived=Lived(
            created_at=one.created_at,
            used_at=one.used_at,
            use_count=one.use_count,
            expires_at=one.expires_at,
        ),
    )


@dataclass(frozen=True, slots=True)
class Copier:
    """Makes passes.

    Args:
        source: What is copied.
        target: What becomes like it.
        book: Says what was done, and learns of it.
        side: Of the source in the book: `old`, or `new` on the way back.
        turn: Held for each page; whoever writes to either holds it, too.
        now: Milliseconds since 1970, UTC.
    """

    source: MemoryBackend
    target: MemoryBackend
    book: MoveBook
    side: str
    turn: asyncio.Lock
    now: Callable[[], int]

    async def finish_pass(self, move: Move, told: Callable[[Move], None]) -> Move:
        """Go on with a pass to its end.

        Args:
            move: How far it is.
            told: Gets it again after each page.

        Raises:
            Unavailable: `storage_unavailable`: one of the two is away; go on later.
        """
        stats = await self.source.stats(None)
        move = replace(move, total_facts=stats.observations)
        scopes = await self.source.scopes()
        access = Access.only(*scopes)
        while move.part != "done":
            async with self.turn:
                step = self._facts if move.part == "facts" else self._relations
                move = await step(move, access)
            told(move)
        done = replace(move, part="facts", after=0, passes=move.passes + 1)
        return await self.book.note(done)

    async def _facts(self, move: Move, access: Access) -> Move:
        page = await self.source.export(access, after=move.after, limit=PAGE, has_vectors=True)
        found = page.observations
        twins = await self.book.twins([one.id for one in found], side=self.side)
        last = page.next_after
        gone = await self._gone(move.after, last, {one.id for one in found}, access)
        fresh = await self._tell(page, [one for one in found if one.id not in twins])
        await self._end(access, [(one, twins[one.id]) for one in found if one.id in twins])
        copied = replace(
            move,
            part="facts" if last is not None else "relations",
            after=last or 0,
            facts=move.facts + len(fresh),
        )
        return await self.book.note(copied, pairs=fresh, gone=gone)

    async def _gone(
        self, after: int, up_to: int | None, there: set[int], access: Access
    ) -> list[Pair]:
        """Forget in the target what is in the source no more; return it."""
        listed = await self.book.between(after, up_to, side=self.side)
        gone = [pair for pair in listed if getattr(pair, self.side) not in there]
        for pair in gone:
            number = pair.new if self.side == "old" else pair.old
            await self.target.forget(access, Selection(observation_id=number))
        return gone

    async def _tell(self, page: Exported, fresh: Sequence[Observation]) -> list[Pair]:
        entities = {one.id: one for one in page.entities}
        pairs: list[Pair] = []
        for scope in dict.fromkeys(one.scope for one in fresh):
            here = [one for one in fresh if one.scope == scope]
            facts = [fact_of(one, entities.get(one.entity_id)) for one in here]
            done = await self.target.remember(Access.only(scope), scope, facts, now=self.now())
            pairs += [
                self._pair(one.id, told.observation_id)
                for one, told in zip(here, done, strict=True)
            ]
        await self._take_vectors(page, pairs)
        return pairs

    def _pair(self, source: int, target: int) -> Pair:
        return Pair(source, target) if self.side == "old" else Pair(target, source)

    async def _take_vectors(self, page: Exported, pairs: Sequence[Pair]) -> None:
        ids = {getattr(one, self.side): one for one in pairs}
        vectors = [
            (ids[number].new if self.side == "old" else ids[number].old, data)
            for number, data in page.vectors
            if number in ids
        ]
        if vectors:
            await self.target.put_vectors(vectors, now=self.now())

    async def _end(self, access: Access, known: Iterable[tuple[Observation, int]]) -> None:
        """End in the target what has ended in the source since it was copied."""
        ended = [(one, twin) for one, twin in known if one.valid.end is not None]
        for one, twin in ended:
            assert one.valid.end is not None, "it was chosen for its end"
            try:
                await self.target.close_fact(access, twin, now=one.valid.end)
            except NotFound:
                continue  # it ended there, too

    async def _relations(self, move: Move, access: Access) -> Move:
        page = await self.source.export_relations(access, after=move.after, limit=PAGE)
        for scope in dict.fromkeys(one.scope for one in page.relations):
            await self._relate(scope, page)
        copied = replace(
            move,
            part="relations" if page.next_after is not None else "done",
            after=page.next_after or 0,
            relations=move.relations + len(page.relations),
        )
        return await self.book.note(copied)

    async def _relate(self, scope: Scope, page: Exported) -> None:
        relations = [
            NewRelation(
                source_entity=one.source_entity,
                target_entity=one.target_entity,
                type=one.type,
                strength=one.strength,
                confidence=one.confidence,
                valid_from=one.valid.start,
                valid_to=one.valid.end,
                source=one.source,
            )
            for one in page.relations
            if one.scope == scope
        ]
        await self.target.relate(Access.only(scope), scope, relations, now=self.now())
