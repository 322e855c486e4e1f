"""Walking the relations, in memory where their graph is there, in the database where it is not.

In the database each entity takes two statements, and the scopes stand in their condition for the
relation and for the entity it leads to. That is how the past is walked, and a scope that is too
large to be kept in memory.
"""

import importlib
import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import msgspec

from caxton_node.domain.errors import NotFound
from caxton_node.memory.adjacency import FRONTIER, Graphs, ScopeGraph
from caxton_node.memory.records import Entity, Interval, Relation, Scope, Source
from caxton_node.memory.walking import (
    DEPTH_MAX,
    ENTITIES_MAX,
    FAN_OUT_MAX,
    Step,
    Walk,
    breadth_first,
)
from caxton_node.memory.wording import fold

__all__ = [
    "DEPTH_MAX",
    "ENTITIES_MAX",
    "FAN_OUT_MAX",
    "GraphView",
    "Walk",
    "entities_by_id",
    "entities_named",
    "entity_of",
    "neighbours",
    "relation_of",
    "walk",
    "walk_in_memory",
    "walk_named",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class GraphView:
    """What a walk found."""

    entities: tuple[tuple[Entity, int], ...]
    """With their distance from the start, nearest first."""
    relations: tuple[Relation, ...]
    is_cut: bool
    """A bound other than the depth ended it: there is more."""


_COLUMNS: Final = """
r.id, r.scope, r.source, r.target, r.type, r.strength, r.confidence,
r.valid_from, r.valid_to, r.agent, r.conversation, r.message, r.model
"""

_STEP: Final = """
SELECT {columns} FROM relations r INDEXED BY relations_{side}
JOIN entities far ON far.id = r.{far} AND far.scope IN (SELECT value FROM json_each(:scopes))
WHERE r.{near} = :entity AND r.strength >= :strength AND {time}
AND r.scope IN (SELECT value FROM json_each(:scopes)) {types}
ORDER BY r.strength DESC, r.id LIMIT :fan_out
"""

_NOW: Final = "r.valid_to IS NULL"
_THEN: Final = "r.valid_from <= :at AND (r.valid_to IS NULL OR r.valid_to > :at)"


def _steps(*, is_past: bool, has_types: bool) -> tuple[str, str]:
    """Return the statements for the relations from an entity and to it."""
    types = "AND r.type IN (SELECT value FROM json_each(:types))" if has_types else ""
    out, back = ("out", "source", "target"), ("in", "target", "source")
    one, other = (
        _STEP.format(
            columns=_COLUMNS, side=side, near=near, far=far, types=types,
            time=_THEN if is_past else _NOW,
        )
        for side, near, far in (out, back)
    )  # fmt: skip
    return one, other


def walk_named(
    connection: sqlite3.Connection,
    scopes: dict[int, Scope],
    *,
    graphs: Graphs,
    name: str,
    plan: Walk,
    has_built: bool = False,
) -> GraphView | dict[int, Scope]:
    """Walk from the entities of a name, or return the scopes whose graphs are to be built.

    Args:
        connection: To read with.
        scopes: What may be seen.
        graphs: Those in memory.
        name: In any case.
        plan: The bounds.
        has_built: What is not in memory now is to be walked in the database.

    Raises:
        NotFound: `memory_not_found`.
    """
    starts = entities_named(connection, fold(name), scopes)
    if not starts:
        raise NotFound("memory_not_found", f"nothing is known of {name!r}")
    ids = [one.id for one in starts]
    if plan.at is None:
        rows = {scope: row for row, scope in scopes.items()}
        wanted = {rows[one.scope]: one.scope for one in starts}
        found = [graph for row in wanted if (graph := graphs.get(row)) is not None]
        if len(found) == len(wanted):
            return walk_in_memory(found, ids, plan)
        if not has_built:
            return wanted
    return walk(connection, ids, plan, scopes)


def walk(
    connection: sqlite3.Connection, starts: Sequence[int], plan: Walk, scopes: dict[int, Scope]
) -> GraphView:
    """Walk from entities along relations in both directions, in the database.

    Args:
        connection: To read with.
        starts: Entities; those that may not be seen are ignored.
        plan: The bounds.
        scopes: What may be seen.
    """
    parameters: dict[str, Any] = {
        "scopes": _json(list(scopes)),
        "strength": plan.strength_min,
        "types": _json(plan.types),
        "fan_out": plan.fan_out,
        "at": plan.at,
    }
    out, back = _steps(is_past=plan.at is not None, has_types=bool(plan.types))
    rows: dict[int, Sequence[Any]] = {}

    def step(layer: Sequence[int]) -> Step:
        edges, is_full = [], False
        for entity in layer:
            for statement, far in ((out, 3), (back, 2)):
                found = connection.execute(statement, parameters | {"entity": entity}).fetchall()
                rows.update((row[0], row) for row in found)
                edges += [(-row[5], row[far], row[0]) for row in found]
                is_full = is_full or len(found) == plan.fan_out
        edges.sort()
        return Step([one for *_, one in edges], [far for _, far, _ in edges], is_full)

    allowed = [entity.id for entity in entities_by_id(connection, starts, scopes)]
    reach = breadth_first(allowed, plan, step)
    by_id = {one.id: one for one in entities_by_id(connection, list(reach.depths), scopes)}
    return GraphView(
        entities=tuple((by_id[one], depth) for one, depth in reach.depths.items() if one in by_id),
        relations=tuple(
            relation_of(rows[one], by_id, scopes)
            for one in reach.relations
            if rows[one][2] in by_id and rows[one][3] in by_id
        ),
        is_cut=reach.is_cut,
    )


def walk_in_memory(graphs: Sequence[ScopeGraph], starts: Sequence[int], plan: Walk) -> GraphView:
    """Walk what is true now from entities of scopes whose graphs are given."""
    stride, stepped = len(graphs), importlib.import_module(FRONTIER).stepped

    def step(layer: Sequence[int]) -> Step:
        # A relation's number is its slot; of several graphs it tells the graph too.
        found = [graph.edges_of(layer, plan) for graph in graphs]
        taken: Step = stepped(
            [pieces for pieces, _ in found],
            strength_min=plan.strength_min,
            stride=stride,
            is_full=any(is_full for _, is_full in found),
        )
        return taken

    known = [one for one in starts if any(one in graph for graph in graphs)]
    reach = breadth_first(known, plan, step)
    found = [
        (entity, depth)
        for one, depth in reach.depths.items()
        for graph in graphs
        if (entity := graph.entity(one)) is not None
    ]
    relations: list[Relation] = []
    for place, graph in enumerate(graphs):
        slots = [one // stride for one in reach.relations if one % stride == place]
        relations += graph.relations(slots)
    return GraphView(entities=tuple(found), relations=tuple(relations), is_cut=reach.is_cut)


def neighbours(
    connection: sqlite3.Connection,
    starts: Sequence[int],
    *,
    scopes: Sequence[int],
    strength_min: float,
    fan_out: int,
) -> list[tuple[int, int]]:
    """Return entities one step away, strongest first, each with the start that leads to it."""
    parameters = {"scopes": _json(scopes), "strength": strength_min, "fan_out": fan_out}
    out, back = _steps(is_past=False, has_types=False)
    found: dict[int, tuple[float, int]] = {}
    for start in starts:
        for statement, far in ((out, 3), (back, 2)):
            for row in connection.execute(statement, parameters | {"entity": start}):
                if row[far] not in starts and row[5] > found.get(row[far], (0.0, 0))[0]:
                    found[row[far]] = (row[5], start)
    return [(one, start) for one, (_, start) in sorted(found.items(), key=lambda f: -f[1][0])]


def entities_named(
    connection: sqlite3.Connection, key: str, scopes: dict[int, Scope]
) -> list[Entity]:
    """Return the entities of a folded name, one a scope at most."""
    rows = connection.execute(
        "SELECT id, scope, name, type, metadata, version, created_at, updated_at FROM entities "
        "WHERE name_key = ? AND scope IN (SELECT value FROM json_each(?)) ORDER BY id",
        (key, _json(list(scopes))),
    )
    return [entity_of(row, scopes) for row in rows]


def entities_by_id(
    connection: sqlite3.Connection, ids: Sequence[int], scopes: dict[int, Scope]
) -> list[Entity]:
    """Return entities that may be seen, in the order of `ids`."""
    rows = connection.execute(
        "SELECT e.id, e.scope, e.name, e.type, e.metadata, e.version, e.created_at, e.updated_at "
        "FROM json_each(?) AS wanted JOIN entities e ON e.id = wanted.value "
        "WHERE e.scope IN (SELECT value FROM json_each(?)) ORDER BY wanted.key",
        (_json(ids), _json(list(scopes))),
    )
    return [entity_of(row, scopes) for row in rows]


def entity_of(row: Sequence[Any], scopes: dict[int, Scope]) -> Entity:
    """Return a row of `entities` as a value."""
    entity_id, scope, name, type_name, metadata, version, created_at, updated_at = row
    return Entity(
        id=entity_id,
        scope=scopes[scope],
        name=name,
        type=type_name,
        metadata=msgspec.json.decode(metadata),
        version=version,
        created_at=created_at,
        updated_at=updated_at,
    )


def relation_of(
    row: Sequence[Any], entities: dict[int, Entity], scopes: dict[int, Scope]
) -> Relation:
    """Return a row of a step as a value."""
    (
        relation_id, scope, source, target, type_name, strength, confidence, valid_from, valid_to,
        agent, conversation, message, model,
    ) = row  # fmt: skip
    return Relation(
        id=relation_id,
        scope=scopes[scope],
        source_entity=entities[source].name,
        target_entity=entities[target].name,
        source_id=source,
        target_id=target,
        type=type_name,
        strength=strength,
        confidence=confidence,
        valid=Interval(start=valid_from, end=valid_to),
        source=Source(agent=agent, conversation_id=conversation, message_id=message, model=model),
    )


def _json(value: Any) -> str:
    return msgspec.json.encode(value).decode()
