"""Items as memories, memories as items, and what may be seen as conditions. Pure."""

from collections.abc import Mapping
from typing import Any, Final

import msgspec

from caxton_node.memory.finding import Filters
from caxton_node.memory.records import (
    Access,
    Entity,
    Interval,
    Observation,
    Relation,
    Scope,
    Source,
)
from caxton_node.memory.shared.shelf import FOREVER, AllOf, AnyOf, Item, Span, Where

__all__ = [
    "OPEN",
    "as_entity",
    "as_observation",
    "as_relation",
    "finite",
    "marks_of",
    "read_scope",
    "seen",
    "wanted",
    "within",
]

OPEN: Final = AnyOf("valid_to", (FOREVER,))
"""What is true until somebody says otherwise."""


def read_scope(text: str) -> Scope:
    """Return a scope as `str` wrote it."""
    return Scope(*text.split("/", 2))


def within(scopes: frozenset[Scope]) -> AnyOf:
    """Return the condition that an item belongs to one of these scopes."""
    return AnyOf("scope", tuple(sorted(map(str, scopes))))


def seen(access: Access) -> Where:
    """Return the condition that an item may be read."""
    return (within(access.reads),)


def wanted(access: Access, filters: Filters, now: int) -> Where:
    """Return the conditions for facts that may be seen, live, and are asked for."""
    where: list[Any] = [within(access.reads), Span("expires_at", low=now + 1)]
    if not filters.is_historic:
        at = now if filters.at is None else filters.at
        where += [Span("valid_from", below=at + 1), Span("valid_to", low=at + 1)]
    if filters.types:
        where.append(AnyOf("type", filters.types))
    if filters.kinds:
        where.append(AnyOf("kind", tuple(map(str, filters.kinds))))
    if filters.created_from is not None or filters.created_to is not None:
        where.append(Span("created_at", filters.created_from, filters.created_to))
    if filters.metadata:
        where.append(AllOf("marks", tuple(_mark(key, value) for key, value in filters.metadata)))
    return tuple(where)


def marks_of(metadata: Mapping[str, Any]) -> list[str]:
    """Return what of an entity's metadata can be asked for: its plain values, with their keys."""
    return [
        _mark(key, value)
        for key, value in metadata.items()
        if isinstance(value, str | int | float | bool)
    ]


def _mark(key: str, value: Any) -> str:
    # 3 and 3.0 and true and 1 are equal, as they are where the database compares them.
    plain = value if isinstance(value, str) else float(value)
    return f"{key}={msgspec.json.encode(plain).decode()}"


def finite(at: int) -> int | None:
    """Return an instant; None where it never comes."""
    return None if at >= FOREVER else at


def as_entity(item: Item) -> Entity:
    """Return an item as an entity."""
    found = item.fields
    return Entity(
        id=item.id,
        scope=read_scope(found["scope"]),
        name=found["name"],
        type=found["type"],
        metadata=msgspec.json.decode(found["metadata"]),
        version=found["version"],
        created_at=found["created_at"],
        updated_at=found["updated_at"],
    )


def as_observation(item: Item) -> Observation:
    """Return an item as an observation."""
    found = item.fields
    return Observation(
        id=item.id,
        scope=read_scope(found["scope"]),
        entity_id=found["entity"],
        entity=found["subject"],
        type=found["type"],
        kind=found["kind"],
        attribute=found["attribute"],
        text=found["text"],
        context=found["context"],
        confidence=found["confidence"],
        strength=found["strength"],
        created_at=found["created_at"],
        valid=Interval(start=found["valid_from"], end=finite(found["valid_to"])),
        expires_at=finite(found["expires_at"]),
        is_pinned=bool(found["is_pinned"]),
        use_count=found["use_count"],
        used_at=found["used_at"],
        source=_source(found),
    )


def as_relation(item: Item, names: Mapping[int, str]) -> Relation:
    """Return an item as a relation.

    Args:
        item: The item.
        names: Of entities by id, its ends among them.
    """
    found = item.fields
    return Relation(
        id=item.id,
        scope=read_scope(found["scope"]),
        source_entity=names[found["source"]],
        target_entity=names[found["target"]],
        source_id=found["source"],
        target_id=found["target"],
        type=found["type"],
        strength=found["strength"],
        confidence=found["confidence"],
        valid=Interval(start=found["valid_from"], end=finite(found["valid_to"])),
        source=_source(found),
    )


def _source(found: Mapping[str, Any]) -> Source:
    return Source(
        agent=found["agent"],
        conversation_id=found["conversation"],
        message_id=found["message"],
        model=found["model"],
    )
