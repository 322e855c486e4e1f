"""What the client gives back about memory: plain frozen values with Python's own types."""

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

__all__ = [
    "Entity",
    "EntityHistory",
    "EntityVersion",
    "Forgotten",
    "Found",
    "Graph",
    "Imported",
    "Match",
    "MemoryStats",
    "Observation",
    "Relation",
    "Told",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Observation:
    """One sentence that is known of an entity."""

    id: int
    entity: str
    text: str
    kind: str
    attribute: str
    confidence: float
    """0 to 1."""
    strength: float
    """0 to 1."""
    is_pinned: bool
    created_at: datetime
    valid_from: datetime
    valid_to: datetime | None
    """None while it is true."""
    expires_at: datetime | None
    """When it is deleted; None for never."""
    conversation_id: str
    message_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Entity:
    """Something one can name."""

    id: int
    name: str
    type: str
    scope: str
    """Such as `agent/default/Ada`, `workspace/default` or `global`."""
    version: int
    metadata: dict[str, Any]
    created_at: datetime
    updated_at: datetime
    observations: tuple[Observation, ...] = ()
    """Where they were asked for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EntityVersion:
    """What an entity was before."""

    version: int
    type: str
    metadata: dict[str, Any]
    valid_from: datetime
    valid_to: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class EntityHistory:
    """An entity with all that was ever true of it."""

    entity: Entity
    versions: tuple[EntityVersion, ...]
    """Oldest first, without the one in force."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Relation:
    """A typed, weighted connection, read from source to target."""

    id: int
    source: str
    target: str
    type: str
    strength: float
    confidence: float
    valid_from: datetime
    valid_to: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """What became of what was told."""

    entity: Entity
    """As it is now."""
    new_count: int
    """Observations that were not known before."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Match:
    """Something found, and why."""

    observation: Observation
    score: float
    """0 to 1."""
    similarity: float | None
    """Cosine of the vectors; None when nearness did not find it."""
    keyword_score: float | None
    """BM25; None when words did not find it."""
    graph_via: str
    """The entity whose relation leads to it; empty when none did."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """What a search found, best first."""

    matches: tuple[Match, ...]
    is_semantic: bool
    """Whether meaning was compared, or words only."""
    note: str
    """Why it was not."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Graph:
    """What a walk reached."""

    entities: tuple[tuple[Entity, int], ...]
    """With their distance from the start, nearest first."""
    relations: tuple[Relation, ...] = ()
    is_truncated: bool = False
    """A limit cut it short."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Forgotten:
    """What was deleted, and what is left of it."""

    entity_count: int
    observation_count: int
    relation_count: int
    vector_count: int
    remaining_count: int
    """0, or the call fails."""
    is_index_clean: bool
    backups: tuple[str, ...]
    """Copies made before, which still hold it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Imported:
    """What became of records."""

    fact_count: int
    new_fact_count: int
    relation_count: int
    vector_count: int


@dataclass(frozen=True, slots=True, kw_only=True)
class MemoryStats:
    """How much a node remembers."""

    state: str
    entity_count: int
    observation_count: int
    current_count: int
    """Observations that are true now."""
    relation_count: int
    vector_count: int
    embedding_model: str
    """Empty while it is not loaded."""
    size_bytes: int
    by_scope: dict[str, int] = field(default_factory=dict)
    """Observations."""
    warnings: tuple[str, ...] = ()
