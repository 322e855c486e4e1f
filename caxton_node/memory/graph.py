"""Walking the relations: breadth first, strongest first, bounded at every step.

A hub with thousands of relations costs as much as its `fan_out_max` strongest; a walk ends at
its limit of entities whatever the graph looks like. Each step is one statement for a whole
layer, and the scopes stand in its condition for the relation and for the entity it leads to.
"""

import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import msgspec

from caxton_node.memory.records import Entity, Interval, Relation, Scope, Source

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
]

DEPTH_MAX: Final = 10
ENTITIES_MAX: Final = 1_000
FAN_OUT_MAX: Final = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class Walk:
    """How far to go."""

    depth: int = 3
    fan_out: int = 20
    """Strongest relations followed from one entity, in each direction."""
    entity_count: int = 200
    strength_min: float = 0.1
    types: tuple[str, ...] = ()
    """Of relations; empty is any."""
    at: int | None = None
    """What was true at this instant; None is now."""

    def __post_init__(self) -> None:
        assert 0 <= self.depth <= DEPTH_MAX, "the edge checks the depth"
        assert 1 <= self.fan_out <= FAN_OUT_MAX, "the edge checks the fan-out"
        assert 1 <= self.entity_count <= ENTITIES_MAX, "the edge checks the count"


@dataclass(frozen=True, slots=True, kw_only=True)
class GraphView:
    """What a walk found."""

    entities: tuple[tuple[Entity, int], ...]
    """With their distance from the start, nearest first."""
    relations: tuple[Relation, ...]
    is_cut: bool
    """A bound other than the depth ended it: there is more."""


_STEP: Final = """
SELECT r.id, r.scope, r.source, r.target, r.type, r.strength, r.confidence,
    r.valid_from, r.valid_to, r.agent, r.conversation, r.message, r.model
FROM (
    SELECT id FROM relations INDEXED BY relations_{side}
    WHERE {near} = :entity AND valid_to IS NULL AND strength >= :strength
    AND scope IN (SELECT value FROM json_each(:scopes))
    AND (:types IS NULL OR type IN (SELECT value FROM json_each(:types)))
    ORDER BY strength DESC LIMIT :fan_out
) AS chosen JOIN relations r ON r.id = chosen.id
JOIN entities far ON far.id = r.{far} AND far.scope IN (SELECT value FROM json_each(:scopes))
"""

_OUT: Final = _STEP.format(side="out", near="source", far="target")
_IN: Final = _STEP.format(side="in", near="target", far="source")

_STEP_THEN: Final = """
SELECT r.id, r.scope, r.source, r.target, r.type, r.strength, r.confidence,
    r.valid_from, r.valid_to, r.agent, r.conversation, r.message, r.model
FROM relations r JOIN entities far ON far.id = r.{far}
    AND far.scope IN (SELECT value FROM json_each(:scopes))
WHERE r.{near} = :entity AND r.strength >= :strength
AND r.valid_from <= :at AND (r.valid_to IS NULL OR r.valid_to > :at)
AND r.scope IN (SELECT value FROM json_each(:scopes))
AND (:types IS NULL OR r.type IN (SELECT value FROM json_each(:types)))
ORDER BY r.strength DESC LIMIT :fan_out
"""

_OUT_THEN: Final = _STEP_THEN.format(near="source", far="target")
_IN_THEN: Final = _STEP_THEN.format(near="target", far="source")


def walk(
    connection: sqlite3.Connection, starts: Sequence[int], plan: Walk, scopes: dict[int, Scope]
) -> GraphView:
    """Walk from entities along relations in both directions.

    Args:
        connection: To read with.
        starts: Entities; those that may not be seen are ignored.
        plan: The bounds.
        scopes: What may be seen.
    """
    parameters: dict[str, Any] = {
        "scopes": _json(list(scopes)),
        "strength": plan.strength_min,
        "types": _json(plan.types) if plan.types else None,
        "fan_out": plan.fan_out,
        "at": plan.at,
    }
    statements = (_OUT, _IN) if plan.at is None else (_OUT_THEN, _IN_THEN)
    known = {entity.id: entity for entity in entities_by_id(connection, starts, scopes)}
    depths = dict.fromkeys(known, 0)
    relations: dict[int, Sequence[Any]] = {}
    layer, is_cut = list(known), len(known) > plan.entity_count
    for depth in range(1, plan.depth + 1):
        following: dict[int, float] = {}
        for entity in layer:
            for statement in statements:
                rows = connection.execute(statement, parameters | {"entity": entity}).fetchall()
                is_cut = is_cut or len(rows) == plan.fan_out
                for row in rows:
                    relations[row[0]] = row
                    far = row[3] if row[2] == entity else row[2]
                    if far not in depths:
                        following[far] = max(following.get(far, 0.0), row[5])
        room = plan.entity_count - len(depths)
        best = sorted(following, key=lambda one: (-following[one], one))
        is_cut = is_cut or len(best) > room
        layer = best[: max(0, room)]
        depths.update(dict.fromkeys(layer, depth))
        if not layer or len(depths) >= plan.entity_count:
            break
    found = entities_by_id(connection, list(depths), scopes)
    by_id = {entity.id: entity for entity in found}
    return GraphView(
        entities=tuple((by_id[one], depth) for one, depth in depths.items() if one in by_id),
        relations=tuple(
            relation_of(row, by_id, scopes)
            for row in relations.values()
            if row[2] in by_id and row[3] in by_id
        ),
        is_cut=is_cut,
    )


def neighbours(
    connection: sqlite3.Connection,
    starts: Sequence[int],
    *,
    scopes: Sequence[int],
    strength_min: float,
    fan_out: int,
) -> list[tuple[int, int]]:
    """Return entities one step away, strongest first, each with the start that leads to it."""
    parameters = {
        "scopes": _json(scopes),
        "strength": strength_min,
        "types": None,
        "fan_out": fan_out,
    }
    found: dict[int, tuple[float, int]] = {}
    for start in starts:
        for statement, far in ((_OUT, 3), (_IN, 2)):
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
