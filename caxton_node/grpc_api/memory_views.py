"""Memories as REST shows them, for the wire; and what callers tell, as REST takes it."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final

import msgspec
from google.protobuf.timestamp_pb2 import Timestamp

from caxton.v1 import memory_pb2
from caxton_node.documents.strict_json import decode_json
from caxton_node.domain.errors import Place, Rejected
from caxton_node.grpc_api.wire import Spellings, show_instant

__all__ = [
    "SCOPES",
    "broken",
    "entity_path",
    "fact_records",
    "instant_text",
    "relation_body",
    "show_entity",
    "show_history",
    "show_match",
    "show_relation",
    "whose",
]

SCOPES: Final = Spellings(memory_pb2.MemoryScope.DESCRIPTOR, "MEMORY_SCOPE_")

_FIRST_S: Final = -62_135_596_800
_LAST_S: Final = 253_402_300_799
"""What Timestamp allows: the years 1 to 9999."""


def broken(field: str, what: str) -> Rejected:
    """Return the error for a field that breaks a rule."""
    place = Place(f"`{field}` {what}", field=field, rule="form")
    return Rejected("invalid_request", "the request breaks a rule", places=[place])


def whose(space: memory_pb2.MemorySpace) -> dict[str, str]:
    """Return the memory that is meant, as REST is told it."""
    found = {}
    if space.agent:
        found["agent"] = space.agent
    if space.scope:
        found["scope"] = SCOPES.word(space.scope) or str(space.scope)
    return found


def entity_path(collection: str, name: str) -> str:
    """Return where REST has an entity. A name with a slash is none that REST could tell of."""
    return f"/memory/{collection}/{name.replace('/', chr(0))}"


def instant_text(at: Timestamp, *, field: str) -> str:
    """Return an instant as REST reads it.

    Raises:
        Rejected: `invalid_request`: it is none of the years 1 to 9999.
    """
    if not (_FIRST_S <= at.seconds <= _LAST_S and 0 <= at.nanos < 10**9):
        raise broken(field, "is no instant of the years 1 to 9999")
    whole = datetime.fromtimestamp(at.seconds, UTC).replace(tzinfo=None).isoformat()
    return f"{whole}.{at.nanos // 1_000_000:03d}Z"


def fact_records(
    name: str,
    observations: Sequence[memory_pb2.Observation],
    *,
    type_name: str = "",
    metadata: bytes = b"",
    within: str,
) -> list[dict[str, Any]]:
    """Return observations as records of an import.

    Args:
        name: Of the entity.
        observations: Of it.
        type_name: Of it; empty leaves it as it is known.
        metadata: Of it, JSON.
        within: Where they stand in the request, such as `entities[2].`.

    Raises:
        Rejected: `invalid_request`; `malformed_body`.
    """
    if not observations:
        raise broken(f"{within}observations", "needs at least one")
    given = decode_json(metadata, what=f"`{within}metadata`") if metadata else {}
    return [
        _fact_record(one, f"{within}observations[{place}].")
        | {"entity": name, "metadata": given}
        | ({"entity_type": type_name} if type_name else {})
        for place, one in enumerate(observations)
    ]


def _fact_record(one: memory_pb2.Observation, within: str) -> dict[str, Any]:
    record: dict[str, Any] = {
        "type": "fact",
        "text": one.text,
        "kind": one.kind or "note",
        "attribute": one.attribute,
        "pinned": one.is_pinned,
    }
    return record | _shares_and_times(one, within)


def _shares_and_times(
    one: memory_pb2.Observation | memory_pb2.Relation, within: str
) -> dict[str, Any]:
    found: dict[str, Any] = {}
    if one.HasField("confidence"):
        found["confidence"] = one.confidence
    if one.HasField("strength"):
        found["strength"] = one.strength
    if one.HasField("valid_from"):
        found["valid_from"] = instant_text(one.valid_from, field=f"{within}valid_from")
    if one.HasField("valid_to"):
        found["valid_to"] = instant_text(one.valid_to, field=f"{within}valid_to")
    return found


def relation_body(one: memory_pb2.Relation, *, within: str) -> dict[str, Any]:
    """Return a relation as REST takes it."""
    return {
        "source": one.source,
        "target": one.target,
        "type": one.relation_type,
        "bidirectional": one.is_bidirectional,
    } | _shares_and_times(one, within)


def show_observation(view: Mapping[str, Any]) -> memory_pb2.Observation:
    """Return an observation for the wire."""
    return memory_pb2.Observation(
        text=view["text"],
        id=view["id"],
        entity=view["entity"],
        kind=view["kind"],
        attribute=view["attribute"],
        confidence=view["confidence"],
        strength=view["strength"],
        is_pinned=view["pinned"],
        created_at=show_instant(view["created_at"]),
        valid_from=show_instant(view["valid_from"]),
        valid_to=show_instant(view["valid_to"]),
        expires_at=show_instant(view["expires_at"]),
        conversation_id=view["source"]["conversation_id"],
        message_id=view["source"]["message_id"],
    )


def show_entity(view: Mapping[str, Any]) -> memory_pb2.Entity:
    """Return an entity for the wire, with its observations where the view has them."""
    return memory_pb2.Entity(
        id=view["id"],
        name=view["name"],
        entity_type=view["type"],
        observations=map(show_observation, view.get("observations", ())),
        scope=view["scope"],
        version=view["version"],
        metadata=_json(view["metadata"]),
        created_at=show_instant(view["created_at"]),
        updated_at=show_instant(view["updated_at"]),
    )


def show_history(view: Mapping[str, Any]) -> memory_pb2.EntityHistory:
    """Return an entity with its past for the wire."""
    return memory_pb2.EntityHistory(
        entity=show_entity(view),
        versions=[
            memory_pb2.EntityVersion(
                version=one["version"],
                entity_type=one["type"],
                metadata=_json(one["metadata"]),
                valid_from=show_instant(one["valid_from"]),
                valid_to=show_instant(one["valid_to"]),
            )
            for one in view["versions"]
        ],
    )


def show_relation(view: Mapping[str, Any]) -> memory_pb2.Relation:
    """Return a relation for the wire."""
    return memory_pb2.Relation(
        id=view["id"],
        source=view["source"],
        target=view["target"],
        relation_type=view["type"],
        strength=view["strength"],
        confidence=view["confidence"],
        valid_from=show_instant(view["valid_from"]),
        valid_to=show_instant(view["valid_to"]),
    )


def show_match(view: Mapping[str, Any]) -> memory_pb2.MemoryMatch:
    """Return something found for the wire."""
    why = view["reasons"]
    return memory_pb2.MemoryMatch(
        observation=show_observation(view["observation"]),
        score=view["score"],
        similarity=why["similarity"],
        keyword_score=why["keyword_score"],
        graph_via=why["graph_via"] or "",
    )


def _json(value: Mapping[str, Any]) -> bytes:
    return msgspec.json.encode(value) if value else b""
