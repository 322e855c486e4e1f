"""Many new facts in a handful of statements. For the writer's thread.

A fact by itself takes four statements, each of which costs more to begin than to carry out. Facts
that alter nothing that is there need not be told one after another: whose entity is new or stays
as it is, that end no other's truth, that nobody has said before. This module decides whether all
of some facts are such, and writes them; of anything else it does nothing, and `writing` tells them
one by one.
"""

import sqlite3
from collections.abc import Iterator, Sequence
from typing import Final

import msgspec

from caxton_node.memory.records import Entity, Kind, NewFact, Scope
from caxton_node.memory.wording import digest_of, fold

__all__ = ["AT_ONCE", "UNNAMED_TYPE", "Fresh", "in_bulk", "is_plain", "observation_row"]

AT_ONCE: Final = 128
"""Facts that are written together, or one by one where one of them is not new."""

BULK_MIN: Final = 4
"""Fewer are not worth looking up together."""

UNNAMED_TYPE: Final = "thing"
"""What an entity is until somebody says it better."""

_KNOWN: Final = """
SELECT e.id, e.name, e.name_key, e.type, e.metadata, e.version, e.created_at, e.updated_at
FROM json_each(:keys) AS wanted CROSS JOIN entities e
WHERE e.scope = :scope AND e.name_key = wanted.value
"""

_SAID: Final = """
SELECT EXISTS (SELECT 1 FROM observations WHERE entity = ? AND digest = ? AND valid_to IS NULL)
OR EXISTS (SELECT 1 FROM observations WHERE entity = ? AND digest = ? AND merged_into IS NOT NULL)
"""

_NEXT: Final = """
SELECT (SELECT coalesce(max(id), 0) + 1 FROM entities),
    max((SELECT coalesce(max(id), 0) FROM observations),
        (SELECT coalesce(max(seq), 0) FROM sqlite_sequence WHERE name = 'observations')) + 1
"""

_ADD_ENTITY: Final = """
INSERT INTO entities (id, scope, name, name_key, type, metadata, version, created_at, updated_at)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)
"""

_TOUCH_ENTITY: Final = "UPDATE entities SET updated_at = ? WHERE id = ?"

_ADD_OBSERVATION: Final = """
INSERT INTO observations (
    id, scope, entity, kind, attribute, subject, text, context, digest, confidence, strength,
    created_at, valid_from, valid_to, expires_at, is_pinned, use_count, used_at,
    agent, conversation, message, model
) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, 0, ?, ?, ?, ?, ?)
"""


class _Subject(msgspec.Struct):
    """An entity that some of the facts are about."""

    id: int
    name: str
    key: str
    type: str
    metadata: str
    version: int
    created_at: int
    updated_at: int
    is_new: bool = False

    def fits(self, fact: NewFact) -> bool:
        """Whether it stays as it is when the fact is told."""
        return fact.type in (UNNAMED_TYPE, self.type) and (
            not fact.metadata or _metadata_of(fact) == self.metadata
        )

    def as_entity(self, scope: Scope) -> Entity:
        return Entity(
            id=self.id,
            scope=scope,
            name=self.name,
            type=self.type,
            metadata=msgspec.json.decode(self.metadata),
            version=self.version,
            created_at=self.created_at,
            updated_at=self.updated_at,
        )


class Fresh(msgspec.Struct, frozen=True):
    """What was written."""

    observation_ids: Sequence[int]
    """One a fact."""
    subjects: Sequence[_Subject]
    """One a fact: what it is about."""

    def entities(self, scope: Scope) -> Iterator[Entity]:
        """Yield what the facts are about, each once."""
        for one in {one.id: one for one in self.subjects}.values():
            yield one.as_entity(scope)


def is_plain(fact: NewFact) -> bool:
    """Whether a fact may be one that alters nothing, for all that it says of itself."""
    return (
        not fact.attribute
        and fact.valid_to is None
        and fact.lived is None
        and not (fact.kind is Kind.EPISODE and fact.source.conversation_id)
    )


def in_bulk(
    connection: sqlite3.Connection, *, scope: int, facts: Sequence[NewFact], now: int
) -> Fresh | None:
    """Write facts to a scope where all of them are new; else None, and nothing is written.

    Their words are left to the caller, who writes those of all facts of a call together.
    """
    if len(facts) < BULK_MIN or not all(map(is_plain, facts)):
        return None
    (entity_id, first_id) = connection.execute(_NEXT).fetchone()
    subjects = _subjects(connection, scope, facts, now, entity_id)
    if subjects is None:
        return None
    digests = [digest_of(fact.text) for fact in facts]
    said = {(one.id, digest) for one, digest in zip(subjects, digests, strict=True)}
    if len(said) < len(facts) or _is_any_known(connection, subjects, digests):
        return None
    mentioned = {one.id: one for one in subjects}.values()
    connection.executemany(
        _ADD_ENTITY,
        [
            (one.id, scope, one.name, one.key, one.type, one.metadata, 1, now, now)
            for one in mentioned
            if one.is_new
        ],
    )
    connection.executemany(
        _TOUCH_ENTITY, [(one.updated_at, one.id) for one in mentioned if not one.is_new]
    )
    ids = range(first_id, first_id + len(facts))
    connection.executemany(
        _ADD_OBSERVATION,
        [
            (number, scope, one.id, *observation_row(fact, one.name, digest, now))
            for number, one, fact, digest in zip(ids, subjects, facts, digests, strict=True)
        ],
    )
    return Fresh(ids, subjects)


def observation_row(
    fact: NewFact, subject: str, digest: bytes, now: int, end: int | None = None
) -> tuple[object, ...]:
    """Return the columns of an observation from its kind on, the count of its uses left out."""
    source = fact.source
    return (
        fact.kind, fact.attribute, subject, fact.text, fact.context, digest,
        fact.confidence, fact.strength, now, now if fact.valid_from is None else fact.valid_from,
        end, None if fact.ttl_s is None else now + int(fact.ttl_s * 1000), fact.is_pinned, now,
        source.agent, source.conversation_id, source.message_id, source.model,
    )  # fmt: skip


def _subjects(
    connection: sqlite3.Connection, scope: int, facts: Sequence[NewFact], now: int, next_id: int
) -> list[_Subject] | None:
    """Return what each fact is about; None where one of the entities would not stay as it is."""
    keys = [fold(fact.entity) for fact in facts]
    found = connection.execute(
        _KNOWN, {"keys": msgspec.json.encode(list(dict.fromkeys(keys))).decode(), "scope": scope}
    )
    known = {row[2]: _Subject(*row) for row in found}
    for one in known.values():
        one.updated_at = max(one.updated_at, now)
    for key, fact in zip(keys, facts, strict=True):
        subject = known.get(key)
        if subject is None:
            known[key] = _Subject(
                next_id, fact.entity, key, fact.type, _metadata_of(fact), 1, now, now, True
            )
            next_id += 1
        elif not subject.fits(fact):
            return None
    return [known[key] for key in keys]


def _is_any_known(
    connection: sqlite3.Connection, subjects: Sequence[_Subject], digests: Sequence[bytes]
) -> bool:
    """Whether anything of this was said of its entity before and is true now."""
    for subject, digest in zip(subjects, digests, strict=True):
        if subject.is_new:
            continue
        (is_known,) = connection.execute(_SAID, (subject.id, digest, subject.id, digest)).fetchone()
        if is_known:
            return True
    return False


def _metadata_of(fact: NewFact) -> str:
    return msgspec.json.encode(dict(fact.metadata)).decode() if fact.metadata else "{}"
