"""Deleting for good in an engine, and proving it.

The proof asks the engine again: how many of the doomed there are, and whether words or nearness
still lead to a sample of them. What a server keeps besides (its logs, snapshots that its operator
made) is out of reach from here; copies that were made by a node are named.
"""

from dataclasses import dataclass, field
from typing import Final

from caxton_node.domain.errors import Failed
from caxton_node.memory.forgetting import EXPIRED_AT_ONCE, ForgetProof, Selection
from caxton_node.memory.records import Access
from caxton_node.memory.shared.identity import entity_id, talk_id
from caxton_node.memory.shared.shelf import AnyOf, Condition, Item, Order, Shelf, Sort, Span, Where
from caxton_node.memory.shared.values import within
from caxton_node.memory.wording import fold, terms_of

__all__ = ["expire", "forget"]

PAGE: Final = 1_000
SAMPLE_MAX: Final = 20
"""Doomed facts of which it is tried to find them by their words."""

PROOF_CANDIDATES: Final = 100
BACKUPS_SHOWN_MAX: Final = 1_000

DECAYED_AFTER: Final = 4.322
"""Half-lives until a strength of 1 falls below 0.05."""


async def forget(shelf: Shelf, access: Access, selection: Selection) -> ForgetProof:
    """Delete what is selected in all scopes that may be changed.

    Raises:
        Failed: `memory_failed`: something is left, or came back meanwhile.
    """
    home = within(access.writes)
    entities = _entities_named(access, selection.entity)
    where = _doomed(home, selection, entities)
    doomed = await _delete_facts(shelf, where)
    await _forget_talks(shelf, doomed.talks)
    relations = await _forget_relations(shelf, home, selection, entities)
    count = await _forget_entities(shelf, home, selection, entities, doomed.entities)
    remaining = await shelf.count(Sort.FACT, where)
    is_clean = await _is_unfindable(shelf, home, doomed.sample)
    if remaining or not is_clean:
        raise Failed("memory_failed", "something of what was to be forgotten is left")
    copies = await shelf.find(Sort.BACKUP, (), limit=BACKUPS_SHOWN_MAX, order=Order("taken_at"))
    return ForgetProof(
        entities=count,
        observations=doomed.count,
        relations=relations,
        vectors=doomed.vectors,
        remaining=0,
        is_index_clean=True,
        backups=tuple(item.fields["path"] for item in copies),
    )


def _entities_named(access: Access, name: str | None) -> AnyOf | None:
    if name is None:
        return None
    key = fold(name)
    return AnyOf("id", tuple(entity_id(str(scope), key) for scope in access.writes))


def _doomed(home: AnyOf, selection: Selection, entities: AnyOf | None) -> Where:
    where: list[Condition] = [home]
    if entities is not None:
        where.append(AnyOf("entity", entities.values))
    if selection.observation_id is not None:
        where.append(AnyOf("id", (selection.observation_id,)))
    if selection.conversation_id is not None:
        where.append(AnyOf("conversation", (selection.conversation_id,)))
    if selection.agent is not None:
        where.append(AnyOf("agent", (selection.agent,)))
    return tuple(where)


@dataclass(slots=True)
class _Doomed:
    """What was deleted, as far as it matters afterwards."""

    count: int = 0
    vectors: int = 0
    entities: set[int] = field(default_factory=set)
    talks: set[tuple[str, str]] = field(default_factory=set)
    """Scopes and conversations of episodes."""
    sample: list[Item] = field(default_factory=list)

    def take(self, item: Item) -> None:
        """Note a fact that is deleted."""
        found = item.fields
        self.count += 1
        self.vectors += bool(found["vector_model"])
        self.entities.add(found["entity"])
        if found["kind"] == "episode" and found["conversation"]:
            self.talks.add((found["scope"], found["conversation"]))
        if len(self.sample) < SAMPLE_MAX:
            self.sample.append(item)


async def _delete_facts(shelf: Shelf, where: Where) -> _Doomed:
    """Delete what meets conditions, a page at a time."""
    doomed = _Doomed()
    while page := await shelf.find(Sort.FACT, where, limit=PAGE):
        await shelf.delete(Sort.FACT, (AnyOf("id", tuple(item.id for item in page)),))
        for item in page:
            doomed.take(item)
        if len(page) < PAGE:
            break
    return doomed


async def _forget_talks(shelf: Shelf, talks: set[tuple[str, str]]) -> None:
    """Await no conclusions from conversations of which nothing is left."""
    ended = []
    for scope, conversation in sorted(talks):
        left = (
            AnyOf("scope", (scope,)),
            AnyOf("conversation", (conversation,)),
            AnyOf("kind", ("episode",)),
        )
        if not await shelf.count(Sort.FACT, left):
            ended.append(talk_id(scope, conversation))
    if ended:
        await shelf.delete(Sort.TALK, (AnyOf("id", tuple(ended)),))


async def _forget_relations(
    shelf: Shelf, home: AnyOf, selection: Selection, entities: AnyOf | None
) -> int:
    """Delete the relations that are selected: of an entity, or learnt in a conversation."""
    if selection.observation_id is not None:
        return 0
    where: list[Condition] = [home]
    if selection.conversation_id is not None:
        where.append(AnyOf("conversation", (selection.conversation_id,)))
    if selection.agent is not None:
        where.append(AnyOf("agent", (selection.agent,)))
    ends: list[Where] = [()]
    if entities is not None:
        ends = [(AnyOf(side, entities.values),) for side in ("source", "target")]
    count = 0
    for end in ends:
        count += await shelf.count(Sort.RELATION, (*where, *end))
        await shelf.delete(Sort.RELATION, (*where, *end))
    return count


async def _forget_entities(
    shelf: Shelf, home: AnyOf, selection: Selection, entities: AnyOf | None, doomed: set[int]
) -> int:
    """Delete entities of which nothing is left that anybody said."""
    if selection in (Selection(), Selection(entity=selection.entity)):
        where: Where = (home,) if entities is None else (home, entities)
    else:
        bare = await _bare(shelf, doomed)
        where = (home, AnyOf("id", tuple(bare)))
        if not bare:
            return 0
    count = await shelf.count(Sort.ENTITY, where)
    await shelf.delete(Sort.ENTITY, where)
    return count


async def _bare(shelf: Shelf, entities: set[int]) -> list[int]:
    """Return those entities that have neither facts nor relations."""
    bare = []
    for entity in sorted(entities):
        held = 0
        for sort, role in (
            (Sort.FACT, "entity"),
            (Sort.RELATION, "source"),
            (Sort.RELATION, "target"),
        ):
            held = held or await shelf.count(sort, (AnyOf(role, (entity,)),))
        if not held:
            bare.append(entity)
    return bare


async def _is_unfindable(shelf: Shelf, home: AnyOf, sample: list[Item]) -> bool:
    """Whether neither ids nor words lead to what was deleted."""
    ids = {item.id for item in sample}
    if ids and await shelf.count(Sort.FACT, (AnyOf("id", tuple(ids)),)):
        return False
    for item in sample:
        terms = terms_of(item.fields["text"])
        found = await shelf.by_words(terms, (home,), limit=PROOF_CANDIDATES)
        if any(number in ids for number, _ in found):
            return False
    return True


async def expire(shelf: Shelf, *, now: int, half_life_ms: float, entity_count_max: int) -> int:
    """Delete what has outlived itself, at most a thousand; return how many observations.

    In this order: past its `expires_at`; decayed to nothing; the least recently used of a scope
    that holds too many. What is pinned stays.
    """
    weak_before = now - int(half_life_ms * DECAYED_AFTER)
    loose = AnyOf("is_pinned", (0,))
    outlived: list[Where] = [
        (Span("expires_at", below=now + 1),),
        (Span("used_at", below=weak_before), AnyOf("kind", ("episode",)), loose),
    ]
    chosen: dict[int, Item] = {}
    for where in outlived:
        for item in await shelf.find(Sort.FACT, where, limit=EXPIRED_AT_ONCE - len(chosen)):
            chosen[item.id] = item
        if len(chosen) >= EXPIRED_AT_ONCE:
            break
    for scope, entity_count in (await shelf.count_by_scope(Sort.ENTITY)).items():
        room = EXPIRED_AT_ONCE - len(chosen)
        if entity_count <= entity_count_max or room <= 0:
            continue
        here = AnyOf("scope", (scope,))
        surplus = await shelf.count(Sort.FACT, (here,)) - entity_count_max
        if surplus > 0:
            least = await shelf.find(
                Sort.FACT, (here, loose), limit=min(room, surplus), order=Order("used_at")
            )
            chosen |= {item.id: item for item in least}
    if chosen:
        await shelf.delete(Sort.FACT, (AnyOf("id", tuple(chosen)),))
        gone = _Doomed()
        for item in chosen.values():
            gone.take(item)
        await _forget_talks(shelf, gone.talks)
        bare = await _bare(shelf, gone.entities)
        if bare:
            await shelf.delete(Sort.ENTITY, (AnyOf("id", tuple(bare)),))
    return len(chosen)
