"""What writes do to the rows: remembered, related, closed, embedded. For the writer's thread.

Nothing is overwritten. The same sentence about the same entity is one observation that grows
stronger; another text for the same attribute closes the interval of the one before; a changed
entity leaves its former version behind.
"""

import importlib
import sqlite3
from collections.abc import Mapping, Sequence
from dataclasses import astuple, dataclass
from functools import partial
from typing import Any, Final

import msgspec

from caxton_node.domain.errors import NotFound
from caxton_node.memory.adjacency import NewEdge
from caxton_node.memory.bulk import AT_ONCE, UNNAMED_TYPE, Fresh, in_bulk, observation_row
from caxton_node.memory.keeper import ArenaKeeper
from caxton_node.memory.records import Entity, Kind, NewFact, NewRelation, Scope, Source
from caxton_node.memory.wording import digest_of, fold, shelved
from caxton_node.memory.writer import Change

__all__ = [
    "Remembered",
    "close_fact",
    "mark_consolidated",
    "put_vectors",
    "relate",
    "remember",
    "scope_row",
    "touch",
]

_MERGING: Final = "caxton_node.memory.merging"
"""Imported when there are vectors: numbers in bulk take as much memory as a quarter of the node."""

_SAID_BEFORE: Final = """
UPDATE observations SET use_count = use_count + 1, used_at = max(used_at, :now),
    strength = 1.0 - (1.0 - strength) * 0.5
WHERE valid_to IS NULL AND id = (
    SELECT merged_into FROM observations
    WHERE entity = :entity AND digest = :digest AND merged_into IS NOT NULL LIMIT 1)
RETURNING id
"""

_INSERT: Final = """
INSERT INTO observations (
    scope, entity, kind, attribute, subject, text, context, digest, confidence, strength,
    created_at, valid_from, valid_to, expires_at, is_pinned, use_count, used_at,
    agent, conversation, message, model
) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, 0, ?, ?, ?, ?, ?)
ON CONFLICT (entity, digest) WHERE valid_to IS NULL DO UPDATE SET
    use_count = use_count + 1,
    used_at = max(used_at, excluded.used_at),
    strength = 1.0 - (1.0 - strength) * 0.5,
    confidence = max(confidence, excluded.confidence),
    is_pinned = max(is_pinned, excluded.is_pinned),
    expires_at = CASE WHEN excluded.expires_at IS NULL THEN NULL
        ELSE max(coalesce(expires_at, excluded.expires_at), excluded.expires_at) END
RETURNING id, use_count
"""

_AGE: Final = """
UPDATE observations SET created_at = ?, used_at = ?, use_count = ?, expires_at = ? WHERE id = ?
"""

_LACKS_VECTOR: Final = "INSERT INTO unembedded VALUES (?)"

_INDEX_WORDS: Final = "INSERT INTO words (rowid, subject, text, context) VALUES (?, ?, ?, ?)"

_RELATE: Final = """
INSERT INTO relations (
    scope, source, target, type, strength, confidence, created_at, valid_from, valid_to,
    agent, conversation, message, model
) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (source, target, type) WHERE valid_to IS NULL DO UPDATE SET
    strength = max(strength, excluded.strength),
    confidence = max(confidence, excluded.confidence)
RETURNING id, type, strength, confidence, valid_from, agent, conversation, message, model
"""

_UPSERT_ENTITY: Final = """
INSERT INTO entities (scope, name, name_key, type, metadata, version, created_at, updated_at)
VALUES (?, ?, ?, ?, ?, 1, ?, ?)
ON CONFLICT (scope, name_key) DO UPDATE SET updated_at = max(updated_at, excluded.updated_at)
RETURNING id, name, type, metadata, version, created_at, updated_at
"""


@dataclass(frozen=True, slots=True)
class Remembered:
    """What became of a fact."""

    observation_id: int
    entity_id: int
    is_new: bool
    """False where it was known already and has become stronger."""
    replaced_id: int | None
    """The observation whose truth it ended."""


def scope_row(connection: sqlite3.Connection, scope: Scope) -> int:
    """Return the row of a scope, made when missing."""
    key = (scope.kind, scope.workspace, scope.agent)
    found = connection.execute(
        "SELECT id FROM scopes WHERE kind = ? AND workspace = ? AND agent = ?", key
    ).fetchone()
    if found is None:
        found = connection.execute(
            "INSERT INTO scopes (kind, workspace, agent) VALUES (?, ?, ?) RETURNING id", key
        ).fetchone()
    return int(found[0])


@dataclass(frozen=True, slots=True)
class _Place:
    """Where a call writes."""

    connection: sqlite3.Connection
    change: Change
    keeper: ArenaKeeper
    scope: Scope
    row: int
    """Of the scope."""
    now: int
    has_merged: bool = False
    """Whether anything was ever merged; if not, nothing has to be looked up."""


def remember(
    connection: sqlite3.Connection,
    change: Change,
    *,
    keeper: ArenaKeeper,
    scope: Scope,
    facts: Sequence[NewFact],
    now: int,
) -> list[Remembered]:
    """Write facts to a scope, in order."""
    row = scope_row(connection, scope)
    (has_merged,) = connection.execute(
        "SELECT EXISTS (SELECT 1 FROM observations WHERE merged_into IS NOT NULL)"
    ).fetchone()
    place = _Place(connection, change, keeper, scope, row, now, bool(has_merged))
    names: dict[int, str] = {}
    done: list[Remembered] = []
    for start in range(0, len(facts), AT_ONCE):
        some = facts[start : start + AT_ONCE]
        fresh = in_bulk(connection, scope=row, facts=some, now=now)
        if fresh is None:
            done += [_remember_one(place, fact, names) for fact in some]
        else:
            done += _as_remembered(place, fresh, names)
    new = [(one, fact) for one, fact in zip(done, facts, strict=True) if one.is_new]
    connection.executemany(_LACKS_VECTOR, [(one.observation_id,) for one, _ in new])
    # All at once at the end: between other statements the index would write a segment a row.
    connection.executemany(
        _INDEX_WORDS,
        [
            (
                one.observation_id,
                shelved(row, names[one.entity_id]),
                shelved(row, fact.text),
                shelved(row, fact.context),
            )
            for one, fact in new
        ],
    )
    return done


def _as_remembered(place: _Place, fresh: Fresh, names: dict[int, str]) -> list[Remembered]:
    names |= {one.id: one.name for one in fresh.subjects}
    if place.keeper.graphs.has(place.row):
        for entity in fresh.entities(place.scope):
            place.change.steps.append(partial(place.keeper.graphs.put, place.row, entity))
    pairs = zip(fresh.observation_ids, fresh.subjects, strict=True)
    return [Remembered(number, subject.id, True, None) for number, subject in pairs]


def _remember_one(place: _Place, fact: NewFact, names: dict[int, str]) -> Remembered:
    connection, now = place.connection, place.now
    entity_id, name = _put_entity(place, fact.entity, fact.type, fact.metadata)
    names[entity_id] = name
    digest = digest_of(fact.text)
    start = now if fact.valid_from is None else fact.valid_from
    known = _known_interval(connection, entity_id, digest, start, fact.valid_to)
    if known is None and fact.lived is not None and fact.valid_to is None:
        known = _known_open(connection, entity_id, digest)
    if known is not None:
        return Remembered(known, entity_id, False, None)
    if fact.valid_to is None and place.has_merged:
        said = connection.execute(
            _SAID_BEFORE, {"now": now, "entity": entity_id, "digest": digest}
        ).fetchone()
        if said is not None:
            return Remembered(said[0], entity_id, False, None)
    end, older = fact.valid_to, None
    if fact.attribute and end is None:
        older, end = _conflict(connection, entity_id, fact.attribute, digest, start)
    values = (place.row, entity_id, *observation_row(fact, name, digest, now, end))
    observation_id, use_count = connection.execute(_INSERT, values).fetchone()
    if fact.lived is not None and use_count == 0:
        connection.execute(_AGE, (*astuple(fact.lived), observation_id))
    if older is not None:
        _close(connection, place.change, place.keeper, place.row, older, start, observation_id)
    if fact.kind is Kind.EPISODE and fact.source.conversation_id:
        connection.execute(
            "INSERT INTO unconsolidated VALUES (?, ?, ?, ?) "
            "ON CONFLICT DO UPDATE SET last_at = max(last_at, excluded.last_at)",
            (place.row, fact.source.conversation_id, observation_id - 1, now),
        )
    return Remembered(observation_id, entity_id, use_count == 0, older)


def _known_interval(
    connection: sqlite3.Connection, entity: int, digest: bytes, start: int, end: int | None
) -> int | None:
    """Return the observation that says this of the same closed interval, if there is one."""
    if end is None:
        return None
    found = connection.execute(
        "SELECT id FROM observations WHERE entity = ? AND valid_from = ? AND digest = ? "
        "AND valid_to = ?",
        (entity, start, digest, end),
    ).fetchone()
    return None if found is None else int(found[0])


def _known_open(connection: sqlite3.Connection, entity: int, digest: bytes) -> int | None:
    """Return the observation that says this now: one that is copied again says nothing anew."""
    found = connection.execute(
        "SELECT id FROM observations WHERE entity = ? AND digest = ? AND valid_to IS NULL",
        (entity, digest),
    ).fetchone()
    return None if found is None else int(found[0])


def _conflict(
    connection: sqlite3.Connection, entity: int, attribute: str, digest: bytes, start: int
) -> tuple[int | None, int | None]:
    """Return the observation that a new value ends, and the end of the new value itself.

    What became true later stays true, also when it was learnt earlier.
    """
    found = connection.execute(
        "SELECT id, valid_from FROM observations "
        "WHERE entity = ? AND attribute = ? AND valid_to IS NULL AND digest <> ? "
        "ORDER BY valid_from DESC LIMIT 1",
        (entity, attribute, digest),
    ).fetchone()
    if found is None:
        return None, None
    older, since = found
    return (None, since) if since > start else (older, None)


def _put_entity(
    place: _Place, name: str, type_name: str, metadata: Mapping[str, Any]
) -> tuple[int, str]:
    """Return an entity's id and name; it is made, or versioned, where need be."""
    connection, now = place.connection, place.now
    given = msgspec.json.encode(dict(metadata)).decode() if metadata else "{}"
    row = connection.execute(
        _UPSERT_ENTITY, (place.row, name, fold(name), type_name, given, now, now)
    ).fetchone()
    entity_id, known_name, known_type, known_metadata, version, created_at, updated_at = row
    wanted_type = known_type if type_name == UNNAMED_TYPE else type_name
    wanted = known_metadata
    if metadata and known_metadata != given:
        merged = msgspec.json.decode(known_metadata) | dict(metadata)
        wanted = msgspec.json.encode(merged).decode()
    if (wanted_type, wanted) != (known_type, known_metadata):
        (since,) = connection.execute(
            "SELECT coalesce(max(valid_to), ?) FROM entity_versions WHERE entity = ?",
            (created_at, entity_id),
        ).fetchone()
        connection.execute(
            "INSERT INTO entity_versions VALUES (?, ?, ?, ?, ?, ?)",
            (entity_id, version, known_type, known_metadata, since, now),
        )
        connection.execute(
            "UPDATE entities SET type = ?, metadata = ?, version = version + 1 WHERE id = ?",
            (wanted_type, wanted, entity_id),
        )
        version += 1
    if place.keeper.graphs.has(place.row):
        entity = Entity(
            id=entity_id,
            scope=place.scope,
            name=known_name,
            type=wanted_type,
            metadata=msgspec.json.decode(wanted),
            version=version,
            created_at=created_at,
            updated_at=updated_at,
        )
        place.change.steps.append(partial(place.keeper.graphs.put, place.row, entity))
    return entity_id, known_name


def _close(
    connection: sqlite3.Connection,
    change: Change,
    keeper: ArenaKeeper,
    scope: int,
    observation_id: int,
    at: int,
    replaced_by: int | None,
) -> None:
    connection.execute(
        "UPDATE observations SET valid_to = max(?, valid_from), replaced_by = ? WHERE id = ?",
        (at, replaced_by, observation_id),
    )
    change.steps.append(lambda: keeper.remove(scope, [observation_id]))


def close_fact(
    connection: sqlite3.Connection,
    change: Change,
    *,
    keeper: ArenaKeeper,
    scopes: Sequence[int],
    observation_id: int,
    at: int,
    replaced_by: int | None = None,
) -> None:
    """End the truth of an observation in one of these scopes; its history stays.

    Raises:
        NotFound: `memory_not_found`.
    """
    found = connection.execute(
        "SELECT scope FROM observations WHERE id = ? AND valid_to IS NULL "
        "AND scope IN (SELECT value FROM json_each(?))",
        (observation_id, msgspec.json.encode(scopes).decode()),
    ).fetchone()
    if found is None:
        raise NotFound("memory_not_found", f"there is no current observation {observation_id}")
    _close(connection, change, keeper, found[0], observation_id, at, replaced_by)


def relate(
    connection: sqlite3.Connection,
    change: Change,
    *,
    keeper: ArenaKeeper,
    scope: Scope,
    relations: Sequence[NewRelation],
    now: int,
) -> list[int]:
    """Write relations between entities of a scope; return their ids. Entities are made."""
    place = _Place(connection, change, keeper, scope, scope_row(connection, scope), now)
    return [_relate_one(place, one) for one in relations]


def _relate_one(place: _Place, one: NewRelation) -> int:
    source, _ = _put_entity(place, one.source_entity, UNNAMED_TYPE, {})
    target, _ = _put_entity(place, one.target_entity, UNNAMED_TYPE, {})
    row = place.connection.execute(
        _RELATE,
        (
            place.row, source, target, fold(one.type), one.strength, one.confidence, place.now,
            place.now if one.valid_from is None else one.valid_from, one.valid_to,
            one.source.agent, one.source.conversation_id, one.source.message_id,
            one.source.model,
        ),
    ).fetchone()  # fmt: skip
    relation_id, type_name, strength, confidence, since, agent, conversation, message, model = row
    if one.valid_to is None and place.keeper.graphs.has(place.row):
        edge = NewEdge(
            id=relation_id,
            source=source,
            target=target,
            type=type_name,
            strength=strength,
            confidence=confidence,
            since=since,
            origin=Source(
                agent=agent, conversation_id=conversation, message_id=message, model=model
            ),
        )
        place.change.steps.append(partial(place.keeper.graphs.put, place.row, edge))
    return int(relation_id)


def put_vectors(
    connection: sqlite3.Connection,
    change: Change,
    *,
    keeper: ArenaKeeper,
    model: int,
    vectors: Sequence[tuple[int, bytes]],
    now: int,
) -> int:
    """Write the vectors of observations that are still there; return how many.

    One that says the same as an older one is merged into it.
    """
    merging = importlib.import_module(_MERGING)
    added: list[tuple[int, int, bytes]] = []
    merged: list[tuple[int, int]] = []
    count = 0
    for observation_id, data in vectors:
        found = connection.execute(
            "SELECT scope, valid_to FROM observations WHERE id = ?", (observation_id,)
        ).fetchone()
        if found is None:
            continue  # forgotten while its vector was made
        count += 1
        connection.execute(
            "INSERT INTO vectors VALUES (?, ?, ?) ON CONFLICT (observation) DO UPDATE SET "
            "model = excluded.model, data = excluded.data",
            (observation_id, model, data),
        )
        connection.execute("DELETE FROM unembedded WHERE observation = ?", (observation_id,))
        if found[1] is None or found[1] > now:
            added.append((int(found[0]), observation_id, data))
        gone = merging.merge(
            connection, observation_id=observation_id, vector=data, model=model, now=now
        )
        if gone is not None:
            merged.append((int(found[0]), gone))
    if added:
        change.steps.append(lambda: keeper.add(model, added))
    change.steps += [partial(keeper.remove, scope, [gone]) for scope, gone in merged]
    return count


def mark_consolidated(
    connection: sqlite3.Connection, *, scope: int, conversation: str, up_to: int
) -> None:
    """Note that conclusions were drawn from a conversation up to an episode."""
    key = {"scope": scope, "conversation": conversation, "up_to": up_to}
    (is_more,) = connection.execute(
        "SELECT EXISTS (SELECT 1 FROM observations WHERE conversation = :conversation "
        "AND scope = :scope AND kind = 'episode' AND id > :up_to)",
        key,
    ).fetchone()
    connection.execute(
        "UPDATE unconsolidated SET after = :up_to "
        "WHERE scope = :scope AND conversation = :conversation"
        if is_more
        else "DELETE FROM unconsolidated WHERE scope = :scope AND conversation = :conversation",
        key,
    )


def touch(connection: sqlite3.Connection, ids: Sequence[int], now: int) -> None:
    """Note that observations were of use: what is used decays later."""
    connection.execute(
        "UPDATE observations SET use_count = use_count + 1, used_at = max(used_at, ?) "
        "WHERE id IN (SELECT value FROM json_each(?))",
        (now, msgspec.json.encode(ids).decode()),
    )
