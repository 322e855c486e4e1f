"""A memory that several nodes share: a `MemoryBackend` on any `Shelf`.

Reading, deciding and writing are three steps, and another node may write between them. Ids are
made of what they name, so that both then write the same items; two values of one attribute that
were told at the same instant stand side by side until the next one ends both.

An engine that is away fails calls and not the node: opening never does, and every call tries what
opening could not do.
"""

import asyncio
from collections.abc import Sequence
from itertools import count
from pathlib import Path
from typing import Final

import msgspec

from caxton_node.domain.errors import CaxtonError, NotFound, Unavailable
from caxton_node.memory.backend import (
    EntityView,
    Exported,
    MemoryStats,
    Search,
    Unconsolidated,
    Unembedded,
    Words,
)
from caxton_node.memory.finding import Filters
from caxton_node.memory.forgetting import ForgetProof, Selection
from caxton_node.memory.graph import GraphView, Walk
from caxton_node.memory.records import (
    Access,
    Entity,
    Hit,
    NewFact,
    NewRelation,
    Scope,
)
from caxton_node.memory.shared import erasing, reading
from caxton_node.memory.shared.copying import write_copy
from caxton_node.memory.shared.desk import Desk, Mentioned, mentioned
from caxton_node.memory.shared.identity import entity_id, named_id, talk_id
from caxton_node.memory.shared.shelf import (
    FOREVER,
    AnyOf,
    Changes,
    Item,
    Order,
    Patch,
    Shelf,
    Sort,
    Span,
)
from caxton_node.memory.shared.values import (
    OPEN,
    as_entity,
    as_observation,
    as_relation,
    read_scope,
    seen,
    wanted,
    within,
)
from caxton_node.memory.upkeep import EPISODES_MAX, embedding_text
from caxton_node.memory.wording import fold, terms_of
from caxton_node.memory.writing import Remembered

__all__ = ["SharedMemory"]

OPEN_DEADLINE_S: Final = 5.0
"""How long a node waits for the engine when it starts."""

KNOWN_MAX: Final = 20_000
"""Items that one write may concern."""

ENTITY_OBSERVATIONS_MAX: Final = 1_000

SEQ_SHIFT: Final = 2_048
"""Things that one node may tell within a millisecond before their order is lost."""

TAKE_OVER_AFTER_MS: Final = 3_600_000
"""After so long, another node draws conclusions from a conversation that its own did not."""


class SharedMemory:
    """A `MemoryBackend` in an engine that other nodes may use, too.

    Args:
        shelf: The engine.
        teller: The name of this node.
        is_awaited: Opening waits for the engine; else only the first call does.
    """

    def __init__(self, shelf: Shelf, *, teller: str = "", is_awaited: bool = True) -> None:
        self._shelf = shelf
        self._teller = teller
        self._is_awaited = is_awaited
        self._model: tuple[str, int] | None = None
        self._is_ready = False
        self._readying = asyncio.Lock()
        self._told = count()

    @property
    def name(self) -> str:
        """Which engine it is."""
        return self._shelf.name

    @property
    def trouble(self) -> str | None:
        """What is wrong with it; None when nothing is."""
        if self._shelf.trouble is None and not self._is_ready:
            return f"{self._shelf.name} has not answered yet"
        return self._shelf.trouble

    @property
    def needs_check(self) -> bool:
        """Nothing is derived from the items outside of the engine."""
        return False

    async def open(self) -> None:
        """Connect; an engine that is away is tried again by every call."""
        if not self._is_awaited:
            return
        try:
            async with asyncio.timeout(OPEN_DEADLINE_S):
                await self._ready()
        except (Unavailable, TimeoutError):
            return  # `trouble` says it, and so does the node

    async def close(self) -> None:
        """Release everything."""
        await self._shelf.close()

    async def _ready(self) -> Shelf:
        """Return the engine, prepared."""
        if not self._is_ready:
            async with self._readying:
                if not self._is_ready:
                    await self._shelf.open()
                    if self._model is not None:
                        await self._shelf.use_model(*self._model)
                    self._is_ready = True
        return self._shelf

    async def use_model(self, identity: str, dimensions: int) -> None:
        """Compare vectors of this model from now on; those of others are made anew."""
        self._model, self._is_ready = (identity, dimensions), False
        try:
            await self._ready()
        except Unavailable:
            return  # the next call makes up for it

    # Writing.

    async def remember(
        self, access: Access, scope: Scope, facts: Sequence[NewFact], *, now: int
    ) -> list[Remembered]:
        """Write facts, all or none."""
        access.check_write(scope)
        shelf = await self._ready()
        desk = await self._desk(shelf, scope, mentioned(scope, facts=facts), now)
        done = [desk.remember(fact) for fact in facts]
        await shelf.write(desk.changes())
        return done

    async def relate(
        self, access: Access, scope: Scope, relations: Sequence[NewRelation], *, now: int
    ) -> list[int]:
        """Write relations, all or none; entities that are missing are made."""
        access.check_write(scope)
        shelf = await self._ready()
        desk = await self._desk(shelf, scope, mentioned(scope, relations=relations), now)
        ids = [desk.relate(one) for one in relations]
        await shelf.write(desk.changes())
        return ids

    async def _desk(self, shelf: Shelf, scope: Scope, named: Mentioned, now: int) -> Desk:
        known: list[Item] = []
        entities = AnyOf("entity", named.entities)
        for sort, where in (
            (Sort.ENTITY, (AnyOf("id", named.entities),)),
            (Sort.FACT, (entities, AnyOf("digest", named.digests))),
            (Sort.FACT, (entities, OPEN, AnyOf("attribute", named.attributes))),
            (Sort.TALK, (AnyOf("id", named.talks),)),
            (Sort.RELATION, (AnyOf("id", named.relations),)),
        ):
            if all(one.values for one in where):
                known += await shelf.find(sort, where, limit=KNOWN_MAX)
        return Desk(
            scope, known, now=now, next_seq=lambda: self._next_seq(now), teller=self._teller
        )

    def _next_seq(self, now: int) -> int:
        return now * SEQ_SHIFT + next(self._told) % SEQ_SHIFT

    async def close_fact(self, access: Access, observation_id: int, *, now: int) -> None:
        """End the truth of an observation; its history stays."""
        shelf = await self._ready()
        where = (within(access.writes), OPEN, AnyOf("id", (observation_id,)))
        found = await shelf.find(Sort.FACT, where, limit=1)
        if not found:
            raise NotFound("memory_not_found", f"there is no current observation {observation_id}")
        ended = {"valid_to": max(now, found[0].fields["valid_from"])}
        await shelf.write(Changes(patches=[Patch(Sort.FACT, observation_id, ended)]))

    async def forget(self, access: Access, selection: Selection) -> ForgetProof:
        """Delete for good what is selected in all scopes that may be changed."""
        return await erasing.forget(await self._ready(), access, selection)

    async def put_vectors(self, vectors: Sequence[tuple[int, bytes]], *, now: int) -> int:
        """Keep vectors of the current model; return for how many observations there are."""
        del now
        shelf = await self._ready()
        if self._model is None:
            return 0  # there is nothing to keep them by
        found = await shelf.find(
            Sort.FACT, (AnyOf("id", tuple(number for number, _ in vectors)),), limit=len(vectors)
        )
        there = {item.id for item in found}
        kept = [(number, data) for number, data in vectors if number in there]
        if kept:
            await shelf.put_vectors(kept)
        return len(kept)

    async def use(self, ids: Sequence[int], *, now: int) -> None:
        """Note that observations were of use."""
        shelf = await self._ready()
        if not ids:
            return
        found = await shelf.find(Sort.FACT, (AnyOf("id", tuple(ids)),), limit=len(ids))
        changes = Changes()
        for item in found:
            used = {
                "use_count": item.fields["use_count"] + 1,
                "used_at": max(item.fields["used_at"], now),
            }
            changes.patches.append(Patch(Sort.FACT, item.id, used))
        await shelf.write(changes)

    async def expire(self, *, now: int, half_life_ms: float, entity_count_max: int) -> int:
        """Delete what has outlived itself; return how much, 0 when nothing is left to do."""
        return await erasing.expire(
            await self._ready(),
            now=now,
            half_life_ms=half_life_ms,
            entity_count_max=entity_count_max,
        )

    # Reading.

    async def find_words(
        self, access: Access, question: str, filters: Filters, *, limit: int, now: int
    ) -> Words:
        """Return what has words of the question."""
        shelf = await self._ready()
        terms = terms_of(question)
        return await shelf.by_words(terms, wanted(access, filters, now), limit=limit)

    async def search(self, access: Access, search: Search, *, now: int) -> list[Hit]:
        """Return what fits best, with scores and reasons."""
        return await reading.search(await self._ready(), access, search, now)

    async def walk(self, access: Access, name: str, plan: Walk) -> GraphView:
        """Walk the relations from the entities of a name."""
        return await reading.walk(await self._ready(), access, name, plan)

    async def entity(
        self, access: Access, name: str, filters: Filters, *, now: int
    ) -> list[EntityView]:
        """Return the entities of a name, one a scope at most, with their history."""
        shelf = await self._ready()
        views = []
        for item in await shelf.find(Sort.ENTITY, _named(access, name), limit=len(access.reads)):
            told = await shelf.find(
                Sort.FACT,
                (*wanted(access, filters, now), AnyOf("entity", (item.id,))),
                limit=ENTITY_OBSERVATIONS_MAX,
                order=Order("valid_from", is_descending=True),
            )
            told.sort(key=lambda one: (-one.fields["valid_from"], -one.fields["seq"]))
            views.append(
                EntityView(
                    entity=as_entity(item),
                    observations=tuple(map(as_observation, told)),
                    versions=tuple(msgspec.json.decode(item.fields["versions"])),
                )
            )
        return views

    async def entities(
        self, access: Access, *, type_name: str | None, after: int, limit: int
    ) -> list[Entity]:
        """Return a page of entities in the order of their ids."""
        shelf = await self._ready()
        where = seen(access)
        if type_name is not None:
            where += (AnyOf("type", (type_name,)),)
        return [
            as_entity(o) for o in await shelf.find(Sort.ENTITY, where, after=after, limit=limit)
        ]

    async def export(
        self, access: Access, *, after: int, limit: int, has_vectors: bool
    ) -> Exported:
        """Return a page of observations with their entities, history included."""
        shelf = await self._ready()
        found = await shelf.find(Sort.FACT, seen(access), after=after, limit=limit)
        owners = AnyOf("id", tuple(dict.fromkeys(item.fields["entity"] for item in found)))
        entities = await shelf.find(Sort.ENTITY, (owners,), limit=limit) if found else []
        vectors = await shelf.vectors([item.id for item in found]) if has_vectors else {}
        return Exported(
            observations=tuple(map(as_observation, found)),
            entities=tuple(map(as_entity, entities)),
            vectors=tuple(vectors.items()),
            next_after=found[-1].id if len(found) == limit else None,
        )

    async def export_relations(self, access: Access, *, after: int, limit: int) -> Exported:
        """Return a page of relations."""
        shelf = await self._ready()
        found = await shelf.find(Sort.RELATION, seen(access), after=after, limit=limit)
        names = await reading.names_of(shelf, found)
        return Exported(
            relations=tuple(
                as_relation(item, names)
                for item in found
                if item.fields["source"] in names and item.fields["target"] in names
            ),
            next_after=found[-1].id if len(found) == limit else None,
        )

    async def unembedded(self, *, limit: int) -> list[Unembedded]:
        """Return observations without a vector of the current model, newest first."""
        shelf = await self._ready()
        current = "" if self._model is None else self._model[0]
        where = (AnyOf("vector_model", (current,), is_negated=bool(current)),)
        found = await shelf.find(
            Sort.FACT, where, limit=limit, order=Order("seq", is_descending=True)
        )
        return [
            Unembedded(item.id, embedding_text(*(item.fields[f] for f in _EMBEDDED)))
            for item in found
        ]

    async def unconsolidated(self, *, idle_before: int, limit: int) -> list[Unconsolidated]:
        """Return conversations with episodes to draw conclusions from, idle for a while.

        Those of this node; and those that another node has left lying.
        """
        shelf = await self._ready()
        mine = (Span("last_at", below=idle_before), AnyOf("teller", (self._teller,)))
        left = (Span("last_at", below=idle_before - TAKE_OVER_AFTER_MS),)
        talks = {
            item.id: item
            for where in (mine, left)
            for item in await shelf.find(Sort.TALK, where, limit=limit, order=Order("last_at"))
        }
        found = []
        for talk in list(talks.values())[:limit]:
            episodes = await self._episodes(shelf, talk.fields)
            if episodes:
                found.append(
                    Unconsolidated(
                        scope=read_scope(talk.fields["scope"]),
                        conversation_id=talk.fields["conversation"],
                        episodes=tuple(map(as_observation, episodes)),
                    )
                )
        return found

    @staticmethod
    async def _episodes(shelf: Shelf, talk: dict[str, object]) -> list[Item]:
        after = talk["after"]
        assert isinstance(after, int), "numbers are kept as such"
        where = (
            AnyOf("scope", (str(talk["scope"]),)),
            AnyOf("conversation", (str(talk["conversation"]),)),
            AnyOf("kind", ("episode",)),
            Span("seq", low=after + 1),
        )
        return await shelf.find(Sort.FACT, where, limit=EPISODES_MAX, order=Order("seq"))

    async def mark_consolidated(self, scope: Scope, conversation_id: str, *, up_to: int) -> None:
        """Note how far a conversation is consolidated."""
        shelf = await self._ready()
        number = talk_id(str(scope), conversation_id)
        talks = await shelf.find(Sort.TALK, (AnyOf("id", (number,)),), limit=1)
        last = await shelf.find(Sort.FACT, (AnyOf("id", (up_to,)),), limit=1)
        if not talks or not last:
            return
        after = {"after": last[0].fields["seq"]}
        if await self._episodes(shelf, talks[0].fields | after):
            await shelf.write(Changes(patches=[Patch(Sort.TALK, number, after)]))
        else:
            await shelf.delete(Sort.TALK, (AnyOf("id", (number,)),))

    async def scopes(self) -> list[Scope]:
        """Return the scopes that hold anything."""
        shelf = await self._ready()
        return [read_scope(one) for one in sorted(await shelf.count_by_scope(Sort.ENTITY))]

    async def stats(self, access: Access | None) -> MemoryStats:
        """Count what there is in the scopes that may be read; None counts all."""
        shelf = await self._ready()
        where = () if access is None else seen(access)
        by_scope = await shelf.count_by_scope(Sort.FACT)
        if access is not None:
            readable = {str(one) for one in access.reads}
            by_scope = {name: number for name, number in by_scope.items() if name in readable}
        current = "" if self._model is None else self._model[0]
        return MemoryStats(
            entities=await shelf.count(Sort.ENTITY, where),
            observations=sum(by_scope.values()),
            current=await shelf.count(Sort.FACT, (*where, OPEN)),
            relations=await shelf.count(Sort.RELATION, where),
            vectors=await shelf.count(Sort.FACT, (*where, AnyOf("vector_model", (current,))))
            if current
            else 0,
            in_arena=0,
            arena_bytes=0,
            file_bytes=0,
            by_scope=by_scope,
        )

    async def check(self) -> list[str]:
        """Make sure that the engine answers and has what it needs; return findings."""
        self._is_ready = False
        try:
            await self._ready()
        except CaxtonError as problem:
            return [problem.detail]
        return []

    async def back_up(self, target: Path, *, now: int) -> int:
        """Copy everything to a file of records while work goes on; return its bytes."""
        shelf = await self._ready()
        scopes = await self.scopes()
        model = None if self._model is None else self._model[0]
        size_bytes = await write_copy(self, Access.only(*scopes), target, model=model, now=now)
        number = named_id("backup", f"{self._teller}:{target}")
        where = f"{self._teller}:{target}" if self._teller else str(target)
        copy = Item(Sort.BACKUP, number, {"path": where, "taken_at": now})
        await shelf.delete(Sort.BACKUP, (AnyOf("id", (number,)),))
        await shelf.write(Changes(puts=[copy]))
        return size_bytes


_EMBEDDED: Final = ("subject", "text", "context")


def _named(access: Access, name: str) -> tuple[AnyOf, ...]:
    key = fold(name)
    return (AnyOf("id", tuple(entity_id(str(scope), key) for scope in access.reads)),)


assert FOREVER > SEQ_SHIFT * 4_000_000_000_000, "numbered in order until the year 2096"
