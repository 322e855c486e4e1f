"""What reads ask of the rows: by words, by vector, by id. For readers' threads.

Every statement here takes the scopes that the caller may see and has them in its condition; there
is no way to read a row of another scope, whatever the arena or an index proposed.
"""

import sqlite3
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

import msgspec

from caxton_node.memory.records import Interval, Observation, Scope, Source
from caxton_node.memory.wording import match_expression, terms_of

__all__ = [
    "NO_FILTERS",
    "Filters",
    "TermCounts",
    "all_observations",
    "allowed",
    "by_keywords",
    "newest_about",
    "observation_of",
    "observations",
    "observations_of_conversation",
    "scope_rows",
    "subjects",
]

TERMS_ASKED_MAX: Final = 8
"""The rarest words of a question that are asked for."""

MATCHES_MAX: Final = 1_500
"""How many rows the words of one question may match together: ranking takes more than a
microsecond each. Beyond it the commonest words are left out; where one word alone matches more,
the newest rows are ranked."""

COUNTS_KEPT_MAX: Final = 50_000

WIDENING: Final = 8
"""How many times more is looked at where a filter leaves too little."""

_RANKED: Final = """
SELECT id, score FROM (
    SELECT rowid AS id, bm25(words, 2.0, 1.0, 0.5) AS score FROM words WHERE words MATCH :match
    ORDER BY rowid DESC LIMIT :most)
ORDER BY score LIMIT :limit
"""
"""The weights are those of subject, text and context."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Filters:
    """Which of the visible observations are wanted."""

    types: tuple[str, ...] = ()
    """Of entities; empty is any."""
    kinds: tuple[str, ...] = ()
    at: int | None = None
    """What was true at this instant; None is now."""
    is_historic: bool = False
    """Also what is no longer true."""
    created_from: int | None = None
    created_to: int | None = None
    metadata: tuple[tuple[str, str | int | float | bool], ...] = ()
    """Of entities: keys with these values."""

    @property
    def needs_history(self) -> bool:
        """Whether observations may be wanted that are not current."""
        return self.is_historic or self.at is not None

    @property
    def is_plain(self) -> bool:
        """Whether all that is true now is wanted, whatever it is about."""
        return self == NO_FILTERS

    @property
    def needs_entity(self) -> bool:
        """Whether the condition looks at the entity `e` of the observation `o`."""
        return bool(self.types or self.metadata)

    def condition(self) -> str:
        """Return the condition on an observation `o`: scope and time always, others if asked."""
        parts = [_VISIBLE]
        if not self.is_historic:
            parts.append("o.valid_from <= :at AND (o.valid_to IS NULL OR o.valid_to > :at)")
        if self.types:
            parts.append("e.type IN (SELECT value FROM json_each(:types))")
        if self.kinds:
            parts.append("o.kind IN (SELECT value FROM json_each(:kinds))")
        if self.created_from is not None:
            parts.append("o.created_at >= :from")
        if self.created_to is not None:
            parts.append("o.created_at < :to")
        if self.metadata:
            parts.append(_HAS_METADATA)
        return " AND ".join(parts)

    def parameters(self, now: int) -> dict[str, Any]:
        """Return the parameters of the condition, its scopes excepted."""
        return {
            "types": _json(self.types),
            "kinds": _json(self.kinds),
            "at": now if self.at is None else self.at,
            "now": now,
            "from": self.created_from,
            "to": self.created_to,
            "metadata": _json(dict(self.metadata)),
        }


NO_FILTERS: Final = Filters()
"""All that is true now."""

_VISIBLE: Final = (
    "o.scope IN (SELECT value FROM json_each(:scopes)) "
    "AND (o.expires_at IS NULL OR o.expires_at > :now)"
)

_HAS_METADATA: Final = (
    "NOT EXISTS (SELECT 1 FROM json_each(:metadata) AS asked "
    """WHERE json_extract(e.metadata, '$."' || asked.key || '"') IS NOT asked.value)"""
)

_COLUMNS: Final = """
o.id, o.scope, o.entity, e.name, e.type, o.kind, o.attribute, o.text, o.context, o.confidence,
o.strength, o.created_at, o.valid_from, o.valid_to, o.expires_at, o.is_pinned, o.use_count,
o.used_at, o.agent, o.conversation, o.message, o.model
"""


class TermCounts:
    """How many rows of some scopes have a word, remembered until the store has grown by a fifth.

    A word that is common with others may be rare here, so what others say does not count.
    """

    def __init__(self) -> None:
        self._counts: OrderedDict[tuple[str, tuple[int, ...]], int] = OrderedDict()
        self._row_count = 0

    def of(
        self, connection: sqlite3.Connection, term: str, scopes: Sequence[int], row_count: int
    ) -> int:
        """Return the count of rows with a word, a little more than `MATCHES_MAX` at most."""
        if not 0.8 * self._row_count <= row_count <= 1.2 * self._row_count:
            self._counts.clear()
            self._row_count = row_count
        key = (term, tuple(scopes))
        count = self._counts.get(key)
        if count is None:
            (count,) = connection.execute(
                "SELECT count(*) FROM (SELECT 1 FROM words WHERE words MATCH ? LIMIT ?)",
                (match_expression((term,), scopes), MATCHES_MAX + 1),
            ).fetchone()
            self._counts[key] = count
            if len(self._counts) > COUNTS_KEPT_MAX:
                self._counts.popitem(last=False)
        return count


def scope_rows(connection: sqlite3.Connection, scopes: Sequence[Scope]) -> dict[int, Scope]:
    """Return the rows of those scopes that hold anything."""
    found: dict[int, Scope] = {}
    for scope in scopes:
        row = connection.execute(
            "SELECT id FROM scopes WHERE kind = ? AND workspace = ? AND agent = ?",
            (scope.kind, scope.workspace, scope.agent),
        ).fetchone()
        if row is not None:
            found[int(row[0])] = scope
    return found


def by_keywords(
    connection: sqlite3.Connection,
    question: str,
    *,
    scopes: Sequence[int],
    filters: Filters,
    counts: TermCounts,
    limit: int,
    now: int,
) -> list[tuple[int, float]]:
    """Return observations that have words of the question, best first, with their BM25."""
    asked = terms_of(question)
    if not scopes or not asked:
        return []
    terms = _telling(connection, asked, scopes, counts)
    if not terms:
        return []
    match, wanted, most = match_expression(terms, scopes), limit, MATCHES_MAX
    while True:
        ranked = connection.execute(
            _RANKED, {"match": match, "most": most, "limit": wanted}
        ).fetchall()
        kept = allowed(
            connection, [row for row, _ in ranked], scopes=scopes, filters=filters, now=now
        )
        found = [(int(row), -float(score)) for row, score in ranked if row in kept]
        if len(found) * 2 >= min(limit, wanted) or len(ranked) < wanted:
            return found[:limit]
        wanted *= WIDENING
        most = max(most, wanted)


def allowed(
    connection: sqlite3.Connection,
    ids: Sequence[int],
    *,
    scopes: Sequence[int],
    filters: Filters,
    now: int,
) -> set[int]:
    """Return those of some observations that are visible and wanted."""
    entities = "JOIN entities e ON e.id = o.entity" if filters.needs_entity else ""
    rows = connection.execute(
        f"SELECT o.id FROM json_each(:ids) AS wanted JOIN observations o ON o.id = wanted.value "  # noqa: S608 - constants of this module
        f"{entities} WHERE {filters.condition()}",
        filters.parameters(now) | {"ids": _json(ids), "scopes": _json(scopes)},
    )
    return {row for (row,) in rows}


def _telling(
    connection: sqlite3.Connection,
    terms: Sequence[str],
    scopes: Sequence[int],
    counts: TermCounts,
) -> tuple[str, ...]:
    """Return the rarest words that occur, as many as can be ranked in time; one at least."""
    (row_count,) = connection.execute("SELECT coalesce(max(id), 0) FROM observations").fetchone()
    counted = sorted((counts.of(connection, term, scopes, row_count), term) for term in terms)
    chosen: list[str] = []
    total = 0
    for count, term in counted:
        total += count
        if not count:
            continue
        if len(chosen) == TERMS_ASKED_MAX or (chosen and total > MATCHES_MAX):
            break
        chosen.append(term)
    return tuple(chosen)


def observations(
    connection: sqlite3.Connection,
    *,
    scopes: dict[int, Scope],
    filters: Filters,
    now: int,
    ids: Sequence[int] | None = None,
    entities: Sequence[int] | None = None,
    limit: int = 1_000,
) -> list[Observation]:
    """Return observations: by id, or those of entities, newest first."""
    assert (ids is None) is not (entities is None), "by id or by entity"
    column, chosen = ("o.id", ids) if ids is not None else ("o.entity", entities)
    rows = connection.execute(
        f"SELECT {_COLUMNS} FROM json_each(:chosen) AS wanted "  # noqa: S608 - constants of this module
        f"JOIN observations o ON {column} = wanted.value JOIN entities e ON e.id = o.entity "
        f"WHERE {filters.condition()} ORDER BY o.valid_from DESC, o.id DESC LIMIT :limit",
        filters.parameters(now)
        | {"chosen": _json(chosen or ()), "scopes": _json(list(scopes)), "limit": limit},
    )
    return [observation_of(row, scopes) for row in rows]


def subjects(
    connection: sqlite3.Connection, ids: Sequence[int], scopes: Sequence[int]
) -> dict[int, str]:
    """Return the entities that some observations are about, with their names, in their order."""
    rows = connection.execute(
        "SELECT e.id, e.name FROM json_each(:ids) AS wanted "
        "JOIN observations o ON o.id = wanted.value JOIN entities e ON e.id = o.entity "
        "WHERE o.scope IN (SELECT value FROM json_each(:scopes)) ORDER BY wanted.key",
        {"ids": _json(ids), "scopes": _json(scopes)},
    )
    return dict(rows.fetchall())


def newest_about(
    connection: sqlite3.Connection,
    entities: Sequence[int],
    *,
    scopes: Sequence[int],
    filters: Filters,
    now: int,
    limit: int,
) -> list[tuple[int, int]]:
    """Return the newest observations of some entities, each with its entity.

    In the order of the entities, the strongest of each first.
    """
    rows = connection.execute(
        "SELECT id, entity FROM (SELECT o.id, o.entity, o.strength, wanted.key AS place "  # noqa: S608 - constants of this module
        "FROM json_each(:entities) AS wanted JOIN observations o ON o.entity = wanted.value "
        f"JOIN entities e ON e.id = o.entity WHERE {filters.condition()} "
        "ORDER BY o.valid_from DESC, o.id DESC LIMIT :limit) ORDER BY place, strength DESC, id",
        filters.parameters(now)
        | {"entities": _json(entities), "scopes": _json(scopes), "limit": limit},
    )
    return rows.fetchall()


def all_observations(
    connection: sqlite3.Connection, *, scopes: dict[int, Scope], after: int, limit: int
) -> Iterator[Observation]:
    """Yield the observations of scopes in the order of their ids, history included."""
    rows = connection.execute(
        f"SELECT {_COLUMNS} FROM observations o JOIN entities e ON e.id = o.entity "  # noqa: S608 - constants of this module
        "WHERE o.id > ? AND o.scope IN (SELECT value FROM json_each(?)) ORDER BY o.id LIMIT ?",
        (after, _json(list(scopes)), limit),
    )
    for row in rows:
        yield observation_of(row, scopes)


def observations_of_conversation(
    connection: sqlite3.Connection,
    scopes: dict[int, Scope],
    conversation: str,
    *,
    after: int,
    limit: int,
) -> list[Observation]:
    """Return the episodes of a conversation in the order in which they were stored."""
    rows = connection.execute(
        f"SELECT {_COLUMNS} FROM observations o JOIN entities e ON e.id = o.entity "  # noqa: S608 - constants of this module
        "WHERE o.conversation = ? AND o.kind = 'episode' AND o.id > ? "
        "AND o.scope IN (SELECT value FROM json_each(?)) ORDER BY o.id LIMIT ?",
        (conversation, after, _json(list(scopes)), limit),
    )
    return [observation_of(row, scopes) for row in rows]


def observation_of(row: Sequence[Any], scopes: dict[int, Scope]) -> Observation:
    """Return a row of `_COLUMNS` as a value."""
    (
        observation_id, scope, entity_id, entity, type_name, kind, attribute, text, context,
        confidence, strength, created_at, valid_from, valid_to, expires_at, is_pinned, use_count,
        used_at, agent, conversation, message, model,
    ) = row  # fmt: skip
    return Observation(
        id=observation_id,
        scope=scopes[scope],
        entity_id=entity_id,
        entity=entity,
        type=type_name,
        kind=kind,
        attribute=attribute,
        text=text,
        context=context,
        confidence=confidence,
        strength=strength,
        created_at=created_at,
        valid=Interval(start=valid_from, end=valid_to),
        expires_at=expires_at,
        is_pinned=bool(is_pinned),
        use_count=use_count,
        used_at=used_at,
        source=Source(agent=agent, conversation_id=conversation, message_id=message, model=model),
    )


def _json(value: Any) -> str:
    return msgspec.json.encode(value).decode()
