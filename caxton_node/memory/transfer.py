"""Memories as lines of JSON: what leaves a node and what comes in. Pure.

One record a line: a fact with its entity, interval and source, or a relation. Reading is generous:
what the memory server of the Model Context Protocol writes (`entity` and `relation` lines) and the
blocks of a Letta agent file are understood as well. What cannot be understood is refused with its
number, and nothing is guessed.
"""

import base64
import binascii
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any, Final

from caxton_node.domain.errors import Place, Rejected
from caxton_node.memory.backend import Exported
from caxton_node.memory.records import (
    NAME_LENGTH_MAX,
    TEXT_LENGTH_MAX,
    Kind,
    Lived,
    NewFact,
    NewRelation,
    Observation,
    Relation,
    Scope,
    Source,
)

__all__ = [
    "FORMAT_VERSION",
    "Imported",
    "by_scope",
    "fact_record",
    "header_record",
    "read_records",
    "records_of",
]

FORMAT_VERSION: Final = "1.0"

Record = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Imported:
    """What records say."""

    facts: tuple[NewFact, ...]
    relations: tuple[NewRelation, ...]
    vectors: tuple[tuple[int, str, bytes], ...]
    """Place among the facts, identity of the model, data."""


def records_of(page: Exported, *, model: str | None) -> list[dict[str, Any]]:
    """Return a page of an export as records."""
    metadata = {entity.id: entity.metadata for entity in page.entities}
    vectors = dict(page.vectors)
    records = []
    for one in page.observations:
        record = fact_record(one, metadata.get(one.entity_id, {}))
        if one.id in vectors and model is not None:
            record["embedding"] = base64.b64encode(vectors[one.id]).decode()
            record["embedding_model"] = model
        records.append(record)
    return [*records, *(_relation_record(one) for one in page.relations)]


def header_record(at_ms: int) -> dict[str, Any]:
    """Return the record that a file begins with: what it is, and when it was begun."""
    return {"type": "caxton-memory", "version": FORMAT_VERSION, "exported_at": _instant(at_ms)}


def by_scope(records: Sequence[Record], default: Scope) -> dict[Scope, list[Record]]:
    """Return records by the scope that each names; those that name none go to the default.

    Raises:
        Rejected: `invalid_request`, with every record that names what is no scope.
    """
    found: dict[Scope, list[Record]] = {}
    places = []
    for number, record in enumerate(records):
        scope = _scope_of(record) if "scope" in record else default
        if scope is None:
            text = f"{record['scope']!r} is no scope"
            places.append(Place(text, field=f"records[{number}].scope", rule="record"))
        else:
            found.setdefault(scope, []).append(record)
    if places:
        raise Rejected("invalid_request", "Some records cannot be understood", places=places)
    return found


def _scope_of(record: Record) -> Scope | None:
    text = record["scope"]
    try:
        return Scope(*text.split("/", 2)) if isinstance(text, str) else None
    except (AssertionError, TypeError):
        return None


def fact_record(one: Observation, metadata: Mapping[str, Any]) -> dict[str, Any]:
    """Return an observation as a record."""
    return {
        "type": "fact",
        "scope": str(one.scope),
        "entity": one.entity,
        "entity_type": one.type,
        "metadata": dict(metadata),
        "text": one.text,
        "kind": one.kind,
        "attribute": one.attribute,
        "context": one.context,
        "confidence": one.confidence,
        "strength": one.strength,
        "pinned": one.is_pinned,
        "valid_from": _instant(one.valid.start),
        "valid_to": None if one.valid.end is None else _instant(one.valid.end),
        "created_at": _instant(one.created_at),
        "used_at": _instant(one.used_at),
        "use_count": one.use_count,
        "expires_at": None if one.expires_at is None else _instant(one.expires_at),
        "source": _source_record(one.source),
    }


def _relation_record(one: Relation) -> dict[str, Any]:
    return {
        "type": "relation",
        "scope": str(one.scope),
        "from": one.source_entity,
        "to": one.target_entity,
        "relation_type": one.type,
        "strength": one.strength,
        "confidence": one.confidence,
        "valid_from": _instant(one.valid.start),
        "valid_to": None if one.valid.end is None else _instant(one.valid.end),
        "source": _source_record(one.source),
    }


def _source_record(source: Source) -> dict[str, str]:
    return {
        "agent": source.agent,
        "conversation_id": source.conversation_id,
        "message_id": source.message_id,
        "model": source.model,
    }


def read_records(records: Sequence[Any]) -> Imported:
    """Return what records say.

    Raises:
        Rejected: `invalid_request`, with every record that cannot be understood.
    """
    facts: list[NewFact] = []
    relations: list[NewRelation] = []
    vectors: list[tuple[int, str, bytes]] = []
    places: list[Place] = []
    for number, record in enumerate(records):
        try:
            match _kind_of(record):
                case "fact":
                    vector = _vector(record)
                    if vector is not None:
                        vectors.append((len(facts), *vector))
                    facts.append(_fact(record))
                case "entity":
                    facts += _entity(record)
                case "relation":
                    relations.append(_relation(record))
                case "caxton-memory":
                    _check_version(record)
                case _:
                    facts += _block(record)
        except (ValueError, binascii.Error) as error:
            places.append(Place(str(error), field=f"records[{number}]", rule="record"))
    if places:
        raise Rejected("invalid_request", "Some records cannot be understood", places=places)
    return Imported(tuple(facts), tuple(relations), tuple(vectors))


def _kind_of(record: Any) -> str:
    if not isinstance(record, dict):
        raise ValueError("a record is a JSON object")  # noqa: TRY004 - one type for all that is wrong
    kind = record.get("type")
    if kind in ("fact", "entity", "relation", "caxton-memory"):
        return str(kind)
    if "label" in record and "value" in record:
        return "block"
    raise ValueError('a record has the type "fact", "entity" or "relation"')


def _check_version(record: Record) -> None:
    version = record.get("version")
    if not isinstance(version, str) or version.split(".")[0] != FORMAT_VERSION.split(".")[0]:
        raise ValueError(f"this server reads version {FORMAT_VERSION}; the file has {version!r}")


def _fact(record: Record) -> NewFact:
    kind = record.get("kind", Kind.FACT)
    if kind not in list(Kind):
        raise ValueError(f"kind must be one of {', '.join(Kind)}")
    metadata = record.get("metadata") or {}
    if not isinstance(metadata, dict):
        raise ValueError("metadata must be an object")  # noqa: TRY004 - one type for all that is wrong
    return NewFact(
        entity=_text(record, "entity", NAME_LENGTH_MAX),
        text=_text(record, "text", TEXT_LENGTH_MAX),
        type=_text(record, "entity_type", NAME_LENGTH_MAX, default="thing"),
        kind=Kind(kind),
        attribute=_text(record, "attribute", NAME_LENGTH_MAX, default=""),
        context=_text(record, "context", TEXT_LENGTH_MAX, default=""),
        confidence=_share(record, "confidence", 1.0),
        strength=_share(record, "strength", 1.0),
        valid_from=_moment(record, "valid_from"),
        valid_to=_moment(record, "valid_to"),
        is_pinned=record.get("pinned") is True,
        metadata=metadata,
        source=_source(record),
        lived=_lived(record),
    )


def _lived(record: Record) -> Lived | None:
    created_at = _moment(record, "created_at")
    if created_at is None:
        return None
    use_count = record.get("use_count", 0)
    if isinstance(use_count, bool) or not isinstance(use_count, int) or use_count < 0:
        raise ValueError("use_count must be a whole number")
    return Lived(
        created_at=created_at,
        used_at=_moment(record, "used_at") or created_at,
        use_count=use_count,
        expires_at=_moment(record, "expires_at"),
    )


def _entity(record: Record) -> Iterable[NewFact]:
    """Return the observations of an entity, as the memory server of MCP writes it."""
    observations = record.get("observations")
    if not isinstance(observations, list):
        raise ValueError("observations must be a list of texts")  # noqa: TRY004 - one type for all that is wrong
    name = _text(record, "name", NAME_LENGTH_MAX)
    type_name = _text(record, "entityType", NAME_LENGTH_MAX, default="thing")
    pattern = NewFact(entity=name, type=type_name, text="", kind=Kind.NOTE)
    return [
        replace(pattern, text=_text({"observation": one}, "observation", TEXT_LENGTH_MAX))
        for one in observations
    ]


def _relation(record: Record) -> NewRelation:
    key = "relationType" if "relationType" in record else "relation_type"
    return NewRelation(
        source_entity=_text(record, "from", NAME_LENGTH_MAX),
        target_entity=_text(record, "to", NAME_LENGTH_MAX),
        type=_text(record, key, NAME_LENGTH_MAX),
        strength=_share(record, "strength", 0.5),
        confidence=_share(record, "confidence", 1.0),
        valid_from=_moment(record, "valid_from"),
        valid_to=_moment(record, "valid_to"),
        source=_source(record),
    )


def _block(record: Record) -> Iterable[NewFact]:
    """Return a block of core memory, as a Letta agent file has it; an empty one says nothing."""
    if record["value"] == "":
        return []
    return [
        NewFact(
            entity=_text(record, "label", NAME_LENGTH_MAX),
            type="block",
            text=_text(record, "value", TEXT_LENGTH_MAX),
            kind=Kind.NOTE,
            is_pinned=True,
        )
    ]


def _source(record: Record) -> Source:
    found = record.get("source") or {}
    if not isinstance(found, dict):
        raise ValueError("source must be an object")  # noqa: TRY004 - one type for all that is wrong
    return Source(
        agent=_text(found, "agent", NAME_LENGTH_MAX, default=""),
        conversation_id=_text(found, "conversation_id", 512, default=""),
        message_id=_text(found, "message_id", 512, default=""),
        model=_text(found, "model", NAME_LENGTH_MAX, default=""),
    )


def _vector(record: Record) -> tuple[str, bytes] | None:
    if "embedding" not in record:
        return None
    data = base64.b64decode(_text(record, "embedding", 100_000), validate=True)
    if not data or len(data) % 4:
        raise ValueError("embedding must be 32-bit numbers in base64")
    return _text(record, "embedding_model", NAME_LENGTH_MAX), data


def _text(record: Record, name: str, length_max: int, *, default: str | None = None) -> str:
    value = record.get(name, default)
    if not isinstance(value, str) or (default is None and not value.strip()):
        raise ValueError(f"{name} must be a text")
    if len(value) > length_max:
        raise ValueError(f"{name} has {len(value)} characters; the limit is {length_max}")
    return value


def _share(record: Record, name: str, default: float) -> float:
    value = record.get(name, default)
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 1:
        raise ValueError(f"{name} must be a number from 0 to 1")
    return float(value)


def _moment(record: Record, name: str) -> int | None:
    value = record.get(name)
    if value is None:
        return None
    if not isinstance(value, str):
        raise ValueError(f"{name} must be an instant such as 2026-01-31T10:00:00Z")  # noqa: TRY004 - one type for all that is wrong
    try:
        at = datetime.fromisoformat(value)
    except ValueError:
        raise ValueError(f"{name} must be an instant such as 2026-01-31T10:00:00Z") from None
    if at.tzinfo is None:
        raise ValueError(f"{name} needs a time zone, such as Z")
    return round(at.timestamp() * 1000)


def _instant(at_ms: int) -> str:
    seconds, rest_ms = divmod(at_ms, 1000)
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S}.{rest_ms:03d}Z"
