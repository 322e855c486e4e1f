"""Memories of this package and of the wire, one into the other."""

import json
from datetime import UTC, datetime
from typing import Any, Final

from google.protobuf.message import Message as Wire

from caxton import memory_models as models
from caxton import wire
from caxton.v1 import memory_pb2

__all__ = [
    "SCOPES",
    "entity",
    "forgotten",
    "graph",
    "history",
    "match",
    "relation",
    "space",
    "stats",
]

SCOPES: Final = wire.Spellings(memory_pb2.MemoryScope.DESCRIPTOR, "MEMORY_SCOPE_")


def space(agent: str | None, scope: str | None) -> memory_pb2.MemorySpace:
    """Return the memory that is meant.

    Raises:
        ValueError: There is no such scope.
    """
    return memory_pb2.MemorySpace(agent=agent or "", scope=SCOPES.number(scope))


def _at(one: Wire, field: str) -> datetime:
    found: datetime = getattr(one, field).ToDatetime(UTC)
    return found


def _at_or_none(one: Wire, field: str) -> datetime | None:
    return _at(one, field) if one.HasField(field) else None


def _json(data: bytes) -> dict[str, Any]:
    return json.loads(data) if data else {}


def observation(one: memory_pb2.Observation) -> models.Observation:
    """Return an observation."""
    return models.Observation(
        id=one.id,
        entity=one.entity,
        text=one.text,
        kind=one.kind,
        attribute=one.attribute,
        confidence=one.confidence,
        strength=one.strength,
        is_pinned=one.is_pinned,
        created_at=_at(one, "created_at"),
        valid_from=_at(one, "valid_from"),
        valid_to=_at_or_none(one, "valid_to"),
        expires_at=_at_or_none(one, "expires_at"),
        conversation_id=one.conversation_id,
        message_id=one.message_id,
    )


def entity(one: memory_pb2.Entity) -> models.Entity:
    """Return an entity."""
    return models.Entity(
        id=one.id,
        name=one.name,
        type=one.entity_type,
        scope=one.scope,
        version=one.version,
        metadata=_json(one.metadata),
        created_at=_at(one, "created_at"),
        updated_at=_at(one, "updated_at"),
        observations=tuple(map(observation, one.observations)),
    )


def history(one: memory_pb2.EntityHistory) -> models.EntityHistory:
    """Return an entity with its past."""
    return models.EntityHistory(
        entity=entity(one.entity),
        versions=tuple(
            models.EntityVersion(
                version=each.version,
                type=each.entity_type,
                metadata=_json(each.metadata),
                valid_from=_at(each, "valid_from"),
                valid_to=_at(each, "valid_to"),
            )
            for each in one.versions
        ),
    )


def relation(one: memory_pb2.Relation) -> models.Relation:
    """Return a relation."""
    return models.Relation(
        id=one.id,
        source=one.source,
        target=one.target,
        type=one.relation_type,
        strength=one.strength,
        confidence=one.confidence,
        valid_from=_at(one, "valid_from"),
        valid_to=_at_or_none(one, "valid_to"),
    )


def match(one: memory_pb2.MemoryMatch) -> models.Match:
    """Return something found."""
    return models.Match(
        observation=observation(one.observation),
        score=one.score,
        similarity=one.similarity if one.HasField("similarity") else None,
        keyword_score=one.keyword_score if one.HasField("keyword_score") else None,
        graph_via=one.graph_via,
    )


def graph(answer: memory_pb2.MemoryGraphResponse) -> models.Graph:
    """Return what a walk reached."""
    return models.Graph(
        entities=tuple((entity(one.entity), one.depth) for one in answer.nodes),
        relations=tuple(map(relation, answer.relations)),
        is_truncated=answer.is_truncated,
    )


def forgotten(proof: memory_pb2.MemoryForgetResponse) -> models.Forgotten:
    """Return what was deleted."""
    return models.Forgotten(
        entity_count=proof.entity_count,
        observation_count=proof.observation_count,
        relation_count=proof.relation_count,
        vector_count=proof.vector_count,
        remaining_count=proof.remaining_count,
        is_index_clean=proof.is_index_clean,
        backups=tuple(proof.backups),
    )


def stats(answer: memory_pb2.MemoryStatsResponse) -> models.MemoryStats:
    """Return how much is remembered."""
    return models.MemoryStats(
        state=answer.state,
        entity_count=answer.entity_count,
        observation_count=answer.observation_count,
        current_count=answer.current_count,
        relation_count=answer.relation_count,
        vector_count=answer.vector_count,
        embedding_model=answer.embedding_model,
        size_bytes=answer.size_bytes,
        by_scope=dict(answer.by_scope),
        warnings=tuple(answer.warnings),
    )
