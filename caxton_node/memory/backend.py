"""What keeps memory: one Protocol, one contract test, whatever is behind it.

Every call that reads or changes something of somebody's takes an `Access`; a backend has no other
way in. Vectors are made outside: a backend keeps and compares them.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from caxton_node.memory.finding import NO_FILTERS, Filters
from caxton_node.memory.forgetting import ForgetProof, Selection
from caxton_node.memory.fusion import MEASURED, FusionWeights
from caxton_node.memory.graph import GraphView, Walk
from caxton_node.memory.records import (
    Access,
    Entity,
    Hit,
    NewFact,
    NewRelation,
    Observation,
    Relation,
    Scope,
)
from caxton_node.memory.writing import Remembered

__all__ = [
    "EntityView",
    "Exported",
    "MemoryBackend",
    "MemoryStats",
    "Search",
    "Unconsolidated",
    "Unembedded",
    "Vector",
    "Words",
]

Vector = bytes
"""Little-endian 32-bit numbers, of length one together."""

Words = Sequence[tuple[int, float]]
"""Observations that have words of a question, best first, with their score."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Search:
    """What is looked for."""

    question: str
    vector: Vector | None = None
    """Of the question; None finds by words and graph only."""
    words: Words | None = None
    """From `find_words`, when that was done already."""
    limit: int = 10
    filters: Filters = NO_FILTERS
    similarity_min: float = -1.0
    """Below it, being near is no reason to be found."""
    weights: FusionWeights = MEASURED
    has_graph: bool = True
    """Also propose what is known of the neighbours of what was found."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EntityView:
    """An entity with what is known of it."""

    entity: Entity
    observations: tuple[Observation, ...]
    versions: tuple[dict[str, Any], ...] = ()
    """What it was before, oldest first."""


@dataclass(frozen=True, slots=True)
class Unembedded:
    """An observation without a vector of the current model."""

    observation_id: int
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Unconsolidated:
    """A conversation of which nobody has drawn conclusions yet."""

    scope: Scope
    conversation_id: str
    episodes: tuple[Observation, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Exported:
    """A page of an export."""

    observations: tuple[Observation, ...] = ()
    relations: tuple[Relation, ...] = ()
    entities: tuple[Entity, ...] = ()
    vectors: tuple[tuple[int, bytes], ...] = ()
    next_after: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class MemoryStats:
    """How much there is."""

    entities: int
    observations: int
    current: int
    relations: int
    vectors: int
    """Of the current model."""
    in_arena: int
    arena_bytes: int
    file_bytes: int
    by_scope: dict[str, int]
    """Observations."""


class MemoryBackend(Protocol):
    """Keeps entities, observations and relations."""

    @property
    def trouble(self) -> str | None:
        """What is wrong with it; None when nothing is."""
        ...

    @property
    def needs_check(self) -> bool:
        """Whether something that is derived from the rows may differ from them."""
        ...

    async def open(self) -> None:
        """Make ready."""
        ...

    async def close(self) -> None:
        """Finish what is being written, then release everything."""
        ...

    async def use_model(self, identity: str, dimensions: int) -> None:
        """Compare vectors of this model from now on; those of others are made anew."""
        ...

    async def remember(
        self, access: Access, scope: Scope, facts: Sequence[NewFact], *, now: int
    ) -> list[Remembered]:
        """Write facts, all or none.

        Raises:
            Denied: `denied`: the scope may not be changed.
            Unavailable: `storage_unavailable`.
        """
        ...

    async def relate(
        self, access: Access, scope: Scope, relations: Sequence[NewRelation], *, now: int
    ) -> list[int]:
        """Write relations, all or none; entities that are missing are made."""
        ...

    async def close_fact(self, access: Access, observation_id: int, *, now: int) -> None:
        """End the truth of an observation; its history stays.

        Raises:
            NotFound: `memory_not_found`.
        """
        ...

    async def forget(self, access: Access, selection: Selection) -> ForgetProof:
        """Delete for good what is selected in all scopes that may be changed."""
        ...

    async def put_vectors(self, vectors: Sequence[tuple[int, bytes]], *, now: int) -> int:
        """Keep vectors of the current model; return for how many observations there are."""
        ...

    async def unembedded(self, *, limit: int) -> list[Unembedded]:
        """Return observations without a vector of the current model, newest first."""
        ...

    async def find_words(
        self, access: Access, question: str, filters: Filters, *, limit: int, now: int
    ) -> Words:
        """Return what has words of the question."""
        ...

    async def search(self, access: Access, search: Search, *, now: int) -> list[Hit]:
        """Return what fits best, with scores and reasons."""
        ...

    async def entity(
        self, access: Access, name: str, filters: Filters, *, now: int
    ) -> list[EntityView]:
        """Return the entities of a name, one a scope at most, with their history."""
        ...

    async def entities(
        self, access: Access, *, type_name: str | None, after: int, limit: int
    ) -> list[Entity]:
        """Return a page of entities in the order of their ids."""
        ...

    async def walk(self, access: Access, name: str, plan: Walk) -> GraphView:
        """Walk the relations from the entities of a name."""
        ...

    async def use(self, ids: Sequence[int], *, now: int) -> None:
        """Note that observations were of use."""
        ...

    async def export(
        self, access: Access, *, after: int, limit: int, has_vectors: bool
    ) -> Exported:
        """Return a page of observations with their entities, history included."""
        ...

    async def export_relations(self, access: Access, *, after: int, limit: int) -> Exported:
        """Return a page of relations."""
        ...

    async def unconsolidated(self, *, idle_before: int, limit: int) -> list[Unconsolidated]:
        """Return conversations with episodes to draw conclusions from, idle for a while."""
        ...

    async def mark_consolidated(self, scope: Scope, conversation_id: str, *, up_to: int) -> None:
        """Note how far a conversation is consolidated."""
        ...

    async def expire(self, *, now: int, half_life_ms: float, entity_count_max: int) -> int:
        """Delete what has outlived itself; return how much, 0 when nothing is left to do."""
        ...

    async def scopes(self) -> list[Scope]:
        """Return the scopes that hold anything. For whoever looks after the whole."""
        ...

    async def stats(self, access: Access | None) -> MemoryStats:
        """Count what there is in the scopes that may be read; None counts all."""
        ...

    async def check(self) -> list[str]:
        """Compare index, vectors and arena with the rows; mend what can be; return findings."""
        ...

    async def back_up(self, target: Path, *, now: int) -> int:
        """Copy everything to a file while work goes on; return its bytes."""
        ...
