"""Deleting for good, and proving it. For the writer's thread.

What is forgotten leaves the rows, the vectors, the word index and the arena. The proof counts
what is left of it, compares the word index with the rows, overwrites the free pages (the file is
opened with `secure_delete`), empties the log, and names the backups that still hold it: those are
files of the operator's, and the proof says so rather than pretend.
"""

import sqlite3
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import msgspec

from caxton_node.domain.errors import Failed
from caxton_node.memory.keeper import ArenaKeeper
from caxton_node.memory.writer import Change

__all__ = ["ForgetProof", "Selection", "expire", "forget", "is_index_clean", "purge_log"]

EXPIRED_AT_ONCE: Final = 1_000

PROVED_EACH_MAX: Final = 1_000
"""Observations of which the word index is asked word by word. Of more the whole index is compared
with the rows, which takes a second at a hundred thousand of them."""

_TERMS_AT_ONCE: Final = 64

WEAK_BELOW: Final = 0.05
"""Effective strength below which an unpinned observation is cleaned up."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """What to forget within the scopes: all conditions must hold; none at all is everything."""

    entity: str | None = None
    observation_id: int | None = None
    conversation_id: str | None = None
    agent: str | None = None
    """That told it."""

    @property
    def is_everything(self) -> bool:
        """Whether it names the scopes as a whole."""
        return self == Selection()


@dataclass(frozen=True, slots=True, kw_only=True)
class ForgetProof:
    """What was deleted and what is left of it."""

    entities: int
    observations: int
    relations: int
    vectors: int
    remaining: int
    """Rows of any table that still belong to what was deleted: 0, or forgetting failed."""
    is_index_clean: bool
    """The word index leads to none of what was deleted by any of its words; of very much it was
    compared with the rows as a whole."""
    backups: tuple[str, ...]
    """Copies made before, which still hold it."""


def forget(
    connection: sqlite3.Connection,
    change: Change,
    *,
    keeper: ArenaKeeper,
    scopes: Sequence[int],
    selection: Selection,
    entity_key: str | None,
) -> ForgetProof:
    """Delete what is selected in these scopes, and prove it.

    Raises:
        Failed: `memory_failed`: something is left; then nothing was deleted.
    """
    connection.execute(
        "CREATE TEMP TABLE IF NOT EXISTS doomed (id INTEGER PRIMARY KEY, scope, entity)"
    )
    connection.execute("DELETE FROM doomed")
    parameters = {
        "scopes": msgspec.json.encode(scopes).decode(),
        "entity": entity_key,
        "observation": selection.observation_id,
        "conversation": selection.conversation_id,
        "agent": selection.agent,
    }
    connection.execute(
        "INSERT INTO doomed SELECT o.id, o.scope, o.entity FROM observations o "
        "JOIN entities e ON e.id = o.entity "
        "WHERE o.scope IN (SELECT value FROM json_each(:scopes)) "
        "AND (:entity IS NULL OR e.name_key = :entity) "
        "AND (:observation IS NULL OR o.id = :observation) "
        "AND (:conversation IS NULL OR o.conversation = :conversation) "
        "AND (:agent IS NULL OR o.agent = :agent)",
        parameters,
    )
    vectors = _count(connection, "vectors", "observation IN (SELECT id FROM doomed)")
    doomed = connection.execute("SELECT scope, id FROM doomed").fetchall()
    words = _words_of_doomed(connection) if len(doomed) <= PROVED_EACH_MAX else None
    connection.execute("DELETE FROM observations WHERE id IN (SELECT id FROM doomed)")
    _forget_conversations(connection, scopes)
    relations = _forget_relations(connection, parameters)
    entities = _forget_entities(connection, selection, parameters)
    # Deleted words stay in old segments of the index until these are merged.
    connection.execute("INSERT INTO words (words) VALUES ('optimize')")
    remaining = _count(connection, "observations", "id IN (SELECT id FROM doomed)") + _count(
        connection, "vectors", "observation IN (SELECT id FROM doomed)"
    )
    is_clean = is_index_clean(connection) if words is None else _leads_nowhere(connection, words)
    if remaining or not is_clean:
        raise Failed("memory_failed", "something of what was to be forgotten is left")
    connection.execute("DELETE FROM doomed")
    change.steps.append(lambda: keeper.graphs.drop(scopes))
    for scope, observation_id in doomed:
        change.steps.append(lambda s=scope, o=observation_id: keeper.remove(s, [o]))  # type: ignore[misc]  # a lambda's defaults have no types
    backups = connection.execute("SELECT path FROM backups ORDER BY taken_at").fetchall()
    return ForgetProof(
        entities=entities,
        observations=len(doomed),
        relations=relations,
        vectors=vectors,
        remaining=0,
        is_index_clean=True,
        backups=tuple(path for (path,) in backups),
    )


def _forget_conversations(connection: sqlite3.Connection, scopes: Sequence[int]) -> None:
    """Await no conclusions from conversations of which nothing is left."""
    connection.execute(
        "DELETE FROM unconsolidated WHERE scope IN (SELECT value FROM json_each(?)) "
        "AND NOT EXISTS (SELECT 1 FROM observations o WHERE o.scope = unconsolidated.scope "
        "AND o.conversation = unconsolidated.conversation AND o.kind = 'episode')",
        (msgspec.json.encode(scopes).decode(),),
    )


def _forget_relations(connection: sqlite3.Connection, parameters: Mapping[str, object]) -> int:
    """Delete the relations that are selected: of an entity, or learnt in a conversation."""
    if parameters["observation"] is not None:
        return 0
    cursor = connection.execute(
        "DELETE FROM relations WHERE scope IN (SELECT value FROM json_each(:scopes)) "
        "AND (:entity IS NULL OR source IN (SELECT id FROM entities WHERE name_key = :entity) "
        "OR target IN (SELECT id FROM entities WHERE name_key = :entity)) "
        "AND (:conversation IS NULL OR conversation = :conversation) "
        "AND (:agent IS NULL OR agent = :agent)",
        parameters,
    )
    return cursor.rowcount


def _forget_entities(
    connection: sqlite3.Connection, selection: Selection, parameters: Mapping[str, object]
) -> int:
    """Delete entities of which nothing is left that anybody said."""
    is_whole = selection in (Selection(), Selection(entity=selection.entity))
    condition = "(:entity IS NULL OR name_key = :entity)"
    if not is_whole:
        condition = (
            "id IN (SELECT entity FROM doomed) "
            "AND NOT EXISTS (SELECT 1 FROM observations o WHERE o.entity = entities.id) "
            "AND NOT EXISTS (SELECT 1 FROM relations r "
            "WHERE r.source = entities.id OR r.target = entities.id)"
        )
    return connection.execute(
        "DELETE FROM entities WHERE scope IN (SELECT value FROM json_each(:scopes)) "  # noqa: S608 - one of two constants
        f"AND {condition}",
        parameters,
    ).rowcount


def _words_of_doomed(connection: sqlite3.Connection) -> dict[int, list[str]]:
    """Return the words by which the index leads to what is about to be deleted."""
    rows = connection.execute(
        "SELECT id, subject || ' ' || text || ' ' || context FROM shelved_observations "
        "WHERE id IN (SELECT id FROM doomed)"
    )
    return {row: list(dict.fromkeys(texts.split())) for row, texts in rows}


def _leads_nowhere(connection: sqlite3.Connection, words: Mapping[int, Sequence[str]]) -> bool:
    """Whether the index neither counts rows any more nor leads to them by any word of theirs."""
    for row, terms in words.items():
        if connection.execute("SELECT 1 FROM words_docsize WHERE id = ?", (row,)).fetchone():
            return False
        for start in range(0, len(terms), _TERMS_AT_ONCE):
            match = " OR ".join(f'"{term}"' for term in terms[start : start + _TERMS_AT_ONCE])
            query = "SELECT 1 FROM words WHERE words MATCH ? AND rowid = ?"
            if connection.execute(query, (match, row)).fetchone():
                return False
    return True


def is_index_clean(connection: sqlite3.Connection) -> bool:
    """Whether the word index holds exactly what the rows say."""
    try:
        connection.execute("INSERT INTO words (words, rank) VALUES ('integrity-check', 1)")
    except sqlite3.DatabaseError:
        return False
    return True


def purge_log(connection: sqlite3.Connection, _: Change) -> None:
    """Empty the write-ahead log, which holds pages as they were. Outside of a transaction."""
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()


def expire(
    connection: sqlite3.Connection,
    change: Change,
    *,
    keeper: ArenaKeeper,
    now: int,
    half_life_ms: float,
    entity_count_max: int,
) -> int:
    """Delete what has outlived itself, at most a thousand; return how many observations.

    In this order: past its `expires_at`; decayed to nothing; the least recently used of a scope
    that holds too many.
    """
    weak_before = now - int(half_life_ms * 4.322)  # log2(1 / WEAK_BELOW)
    rows = connection.execute(
        "SELECT id, scope FROM observations WHERE expires_at <= :now "
        "UNION SELECT id, scope FROM observations WHERE is_pinned = 0 AND kind = 'episode' "
        "AND used_at < :weak "
        "UNION SELECT id, scope FROM (SELECT id, scope, row_number() OVER "
        "(PARTITION BY scope ORDER BY is_pinned DESC, used_at DESC, id DESC) AS place "
        "FROM observations WHERE scope IN (SELECT scope FROM entities GROUP BY scope "
        "HAVING count(*) > :most)) WHERE place > :most LIMIT :limit",
        {"now": now, "weak": weak_before, "most": entity_count_max, "limit": EXPIRED_AT_ONCE},
    ).fetchall()
    for observation_id, scope in rows:
        connection.execute("DELETE FROM observations WHERE id = ?", (observation_id,))
        change.steps.append(lambda s=scope, o=observation_id: keeper.remove(s, [o]))  # type: ignore[misc]  # a lambda's defaults have no types
    if rows:
        scopes = sorted({scope for _, scope in rows})
        _forget_conversations(connection, scopes)
        cursor = connection.execute(
            "DELETE FROM entities WHERE scope IN (SELECT value FROM json_each(?)) "
            "AND NOT EXISTS (SELECT 1 FROM observations o WHERE o.entity = entities.id) "
            "AND NOT EXISTS (SELECT 1 FROM relations r "
            "WHERE r.source = entities.id OR r.target = entities.id)",
            (msgspec.json.encode(scopes).decode(),),
        )
        if cursor.rowcount:
            change.steps.append(lambda: keeper.graphs.drop(scopes))
    return len(rows)


def _count(connection: sqlite3.Connection, table: str, condition: str) -> int:
    query = f"SELECT count(*) FROM {table} WHERE {condition}"  # noqa: S608 - constants of this module
    (count,) = connection.execute(query).fetchone()
    return int(count)
