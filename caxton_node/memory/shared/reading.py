"""One search, and one walk, in an engine."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from caxton_node.domain.errors import NotFound
from caxton_node.memory.backend import Search
from caxton_node.memory.fusion import Proposals, fuse, ranked
from caxton_node.memory.graph import GraphView, Walk
from caxton_node.memory.records import Access, Hit
from caxton_node.memory.searching import (
    CANDIDATES_MIN,
    GRAPH_FAN_OUT,
    GRAPH_PROPOSALS_MAX,
    GRAPH_SEEDS,
    GRAPH_STRENGTH_MIN,
)
from caxton_node.memory.shared.identity import entity_id
from caxton_node.memory.shared.shelf import (
    AnyOf,
    Condition,
    Item,
    Order,
    Shelf,
    Side,
    Sort,
    Span,
    Where,
)
from caxton_node.memory.shared.values import (
    OPEN,
    as_entity,
    as_observation,
    as_relation,
    seen,
    wanted,
)
from caxton_node.memory.wording import fold, terms_of

__all__ = ["names_of", "search", "walk"]

_FAR = {Side.OUT: "target", Side.IN: "source"}


async def search(shelf: Shelf, access: Access, question: Search, now: int) -> list[Hit]:
    """Return what fits best, with scores and reasons."""
    where = wanted(access, question.filters, now)
    limit = max(CANDIDATES_MIN, question.limit)
    near: list[tuple[int, float]] = []
    if question.vector is not None:
        found = await shelf.nearest(question.vector, where, limit=limit)
        near = [one for one in found if one[1] >= question.similarity_min]
    words = question.words
    if words is None:
        words = await shelf.by_words(terms_of(question.question), where, limit=limit)
    proposals = Proposals(similarity=near, keywords=words)
    fused = fuse(proposals, question.weights)
    if question.has_graph and fused and not question.filters.needs_history:
        linked = await _linked(shelf, access, fused, where)
        proposals = replace(proposals, graph=linked)
        fused = fuse(proposals, question.weights)
    best = _best(fused, 2 * question.limit + 10)
    facts = await _facts(shelf, where, best)
    return ranked(
        fused,
        [as_observation(item) for item in facts],
        proposals=proposals,
        weights=question.weights,
        now=now,
        limit=question.limit,
    )


def _best(fused: Mapping[int, float], count: int) -> list[int]:
    return sorted(fused, key=lambda one: (-fused[one], one))[:count]


async def _facts(shelf: Shelf, where: Where, ids: Sequence[int]) -> list[Item]:
    if not ids:
        return []
    return await shelf.find(Sort.FACT, (*where, AnyOf("id", tuple(ids))), limit=len(ids))


async def _linked(
    shelf: Shelf, access: Access, fused: Mapping[int, float], where: Where
) -> list[tuple[int, str]]:
    """Return what is known of the neighbours of the best finds."""
    seeds = await _facts(shelf, where, _best(fused, GRAPH_SEEDS))
    names = {item.fields["entity"]: item.fields["subject"] for item in seeds}
    strong: tuple[Condition, ...] = (*seen(access), OPEN, Span("strength", low=GRAPH_STRENGTH_MIN))
    reached: dict[int, tuple[float, int]] = {}
    for side, far in _FAR.items():
        for one in await shelf.relations_of(list(names), side, strong, fan_out=GRAPH_FAN_OUT):
            end, start, strength = one.fields[far], one.fields[side], one.fields["strength"]
            if end not in names and strength > reached.get(end, (0.0, 0))[0]:
                reached[end] = (strength, start)
    nearest = sorted(reached, key=lambda one: (-reached[one][0], one))[:GRAPH_PROPOSALS_MAX]
    if not nearest:
        return []
    known = await shelf.find(
        Sort.FACT,
        (*where, AnyOf("entity", tuple(nearest))),
        limit=GRAPH_PROPOSALS_MAX,
        order=Order("valid_from", is_descending=True),
    )
    place = {entity: rank for rank, entity in enumerate(nearest)}
    known.sort(key=lambda one: (place[one.fields["entity"]], -one.fields["strength"], one.id))
    return [(one.id, names[reached[one.fields["entity"]][1]]) for one in known]


async def walk(shelf: Shelf, access: Access, name: str, plan: Walk) -> GraphView:
    """Walk breadth first and strongest first, within the bounds of the plan.

    Raises:
        NotFound: `memory_not_found`.
    """
    key = fold(name)
    starts = AnyOf("id", tuple(entity_id(str(scope), key) for scope in access.reads))
    known = await shelf.find(Sort.ENTITY, (*seen(access), starts), limit=len(access.reads) or 1)
    if not known:
        raise NotFound("memory_not_found", f"nothing is known of {name!r}")
    depths = {item.id: 0 for item in sorted(known, key=lambda one: one.id)}
    relations: dict[int, Item] = {}
    layer, is_cut = list(depths), len(depths) > plan.entity_count
    where = _walked(access, plan)
    for depth in range(1, plan.depth + 1):
        following, is_full = await _step(shelf, layer, where, plan, depths, relations)
        room = plan.entity_count - len(depths)
        best = sorted(following, key=lambda one: (-following[one], one))
        is_cut = is_cut or is_full or len(best) > room
        layer = best[: max(0, room)]
        depths |= dict.fromkeys(layer, depth)
        if not layer or len(depths) >= plan.entity_count:
            break
    ids = AnyOf("id", tuple(depths))
    reached = await shelf.find(Sort.ENTITY, (*seen(access), ids), limit=len(depths))
    entities = {item.id: as_entity(item) for item in reached}
    names = {number: entity.name for number, entity in entities.items()}
    return GraphView(
        entities=tuple((entities[one], depth) for one, depth in depths.items() if one in entities),
        relations=tuple(
            as_relation(item, names)
            for item in relations.values()
            if item.fields["source"] in names and item.fields["target"] in names
        ),
        is_cut=is_cut,
    )


def _walked(access: Access, plan: Walk) -> Where:
    where: list[Condition] = [*seen(access), Span("strength", low=plan.strength_min)]
    if plan.at is None:
        where.append(OPEN)
    else:
        where += [Span("valid_from", below=plan.at + 1), Span("valid_to", low=plan.at + 1)]
    if plan.types:
        where.append(AnyOf("type", plan.types))
    return tuple(where)


async def _step(
    shelf: Shelf,
    layer: Sequence[int],
    where: Where,
    plan: Walk,
    depths: Mapping[int, int],
    relations: dict[int, Item],
) -> tuple[dict[int, float], bool]:
    """Return what a layer leads to with the strength of the way, and whether some has more."""
    following: dict[int, float] = {}
    is_full = False
    for side, far in _FAR.items():
        counts: dict[int, int] = {}
        for item in await shelf.relations_of(layer, side, where, fan_out=plan.fan_out):
            relations[item.id] = item
            near, end = item.fields[side], item.fields[far]
            counts[near] = counts.get(near, 0) + 1
            if end not in depths:
                following[end] = max(following.get(end, 0.0), item.fields["strength"])
        is_full = is_full or plan.fan_out in counts.values()
    return following, is_full


async def names_of(shelf: Shelf, relations: Sequence[Item]) -> dict[int, str]:
    """Return the names of the ends of relations."""
    ends = {item.fields[side] for item in relations for side in Side}
    if not ends:
        return {}
    where = (AnyOf("id", tuple(sorted(ends))),)
    found = await shelf.find(Sort.ENTITY, where, limit=len(ends))
    return {item.id: item.fields["name"] for item in found}
