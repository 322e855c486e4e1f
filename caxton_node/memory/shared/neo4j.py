"""A shelf in Neo4j: entities are nodes, relations are relationships, facts hang on entities.

Words are a full-text index and meaning a vector index, one a model. Lucene's vector index knows no
conditions: its candidates are filtered afterwards, and where too few are left, the facts that meet
the conditions are compared one by one, which is exact and quick where conditions are narrow.

Relationships have one type, `RELATES`, and say in a property what they mean: types come from
agents, and the engine's are few and never deleted.

Needs Neo4j 5.26 or later, of any edition.
"""

import asyncio
import hashlib
import importlib
import struct
from collections.abc import Sequence
from typing import Any, Final

from caxton_node.domain.errors import Unavailable
from caxton_node.memory.shared.calls import Calls, Fault
from caxton_node.memory.shared.shelf import (
    FIELDS,
    AllOf,
    AnyOf,
    Changes,
    Item,
    Order,
    Patch,
    Side,
    Sort,
    Span,
    Where,
    is_impossible,
)

__all__ = ["Neo4jShelf"]

LABELS: Final = {
    Sort.ENTITY: "CaxtonEntity",
    Sort.FACT: "CaxtonFact",
    Sort.TALK: "CaxtonTalk",
    Sort.BACKUP: "CaxtonBackup",
}
"""Names that nobody else uses: a database may hold other things, too."""

RELATES: Final = "RELATES"
WORDS_INDEX: Final = "caxton_words"

INDEX_WAIT_S: Final = 30
CANDIDATES_FACTOR: Final = 4
"""How many times what is asked for the vector index proposes, before conditions."""

DELETED_AT_ONCE: Final = 1_000
POOL_MAX: Final = 10

_INDEXED: Final = {
    Sort.ENTITY: ("scope",),
    Sort.FACT: ("scope", "entity", "digest", "conversation", "expires_at", "vector_model", "seq"),
    Sort.TALK: ("last_at",),
}

_WORD_FIELDS: Final = (("subject", 2.0), ("text", 1.0), ("context", 0.5))


class Neo4jShelf:
    """A `Shelf` in Neo4j.

    Args:
        uri: Such as `neo4j://host:7687` or `bolt+s://host:7687`.
        user: Who it is; None where the server asks nobody.
        password: Of the user.
        database: Where everything is; None is the user's own.
        timeout_s: For one call, all attempts together.
    """

    name = "neo4j"

    def __init__(
        self,
        uri: str,
        *,
        user: str | None = None,
        password: str = "",
        database: str | None = None,
        timeout_s: float = 5.0,
    ) -> None:
        self._uri = uri
        self._auth = None if user is None else (user, password)
        self._database = database
        self._timeout_s = timeout_s
        self._driver: Any = None
        self._model = ""
        self._vector = ""
        self._calls = Calls(f"Neo4j at {uri}", timeout_s=timeout_s, read=_read_fault)

    @property
    def trouble(self) -> str | None:
        """Why the last call failed; None when it did not."""
        return self._calls.trouble

    def _connect(self) -> Any:
        return _library().AsyncGraphDatabase.driver(
            self._uri,
            auth=self._auth,
            connection_timeout=self._timeout_s,
            connection_acquisition_timeout=self._timeout_s,
            max_transaction_retry_time=self._timeout_s,
            max_connection_pool_size=POOL_MAX,
            notifications_min_severity="OFF",
        )

    async def _run(self, *statements: tuple[str, dict[str, Any]]) -> list[Any]:
        """Run statements in one transaction and return the records of the last."""

        async def work(transaction: Any) -> list[Any]:
            records: list[Any] = []
            for statement, parameters in statements:
                result = await transaction.run(statement, parameters)
                records = [record async for record in result]
            return records

        async def call() -> list[Any]:
            if self._driver is None:
                await asyncio.to_thread(_library)  # the import takes most of a second
                self._driver = self._connect()
            async with self._driver.session(database=self._database) as session:
                found: list[Any] = await session.execute_write(work)
                return found

        return await self._calls.make(call)

    async def open(self) -> None:
        """Make indexes and rules, where they are missing."""
        schema = [
            *(
                f"CREATE CONSTRAINT {label.lower()}_id IF NOT EXISTS "
                f"FOR (n:{label}) REQUIRE n.id IS UNIQUE"
                for label in LABELS.values()
            ),
            (
                f"CREATE CONSTRAINT caxton_relates_id IF NOT EXISTS "
                f"FOR ()-[n:{RELATES}]-() REQUIRE n.id IS UNIQUE"
            ),
            *(
                f"CREATE INDEX {LABELS[sort].lower()}_{field} IF NOT EXISTS "
                f"FOR (n:{LABELS[sort]}) ON (n.{field})"
                for sort, fields in _INDEXED.items()
                for field in fields
            ),
            (
                f"CREATE FULLTEXT INDEX {WORDS_INDEX} IF NOT EXISTS FOR (n:{LABELS[Sort.FACT]}) "
                "ON EACH [n.shelf, n.subject, n.text, n.context] "
                "OPTIONS {indexConfig: {`fulltext.analyzer`: 'english'}}"
            ),
        ]
        for statement in schema:
            await self._run((statement, {}))
        await self._await_indexes()

    async def _await_indexes(self) -> None:
        await self._run(("CALL db.awaitIndexes($wait)", {"wait": INDEX_WAIT_S}))

    async def close(self) -> None:
        """Close the connections."""
        driver, self._driver = self._driver, None
        if driver is not None:
            await driver.close()

    async def use_model(self, identity: str, dimensions: int) -> None:
        """Add a vector index for a model, where it is missing, and search it from now on."""
        vector = f"v_{hashlib.sha256(identity.encode()).hexdigest()[:16]}"
        statement = (
            f"CREATE VECTOR INDEX caxton_{vector} IF NOT EXISTS "
            f"FOR (n:{LABELS[Sort.FACT]}) ON n.{vector} OPTIONS {{indexConfig: "
            f"{{`vector.dimensions`: {int(dimensions)}, `vector.similarity_function`: 'cosine'}}}}"
        )
        await self._run((statement, {}))
        await self._await_indexes()
        self._model, self._vector = identity, vector

    async def write(self, changes: Changes) -> None:
        """Apply changes, in one transaction."""
        statements = [
            *_put_statements(changes.puts),
            *_patch_statements(changes.patches),
        ]
        for sweep in changes.sweeps:
            condition, parameters = _condition(sweep.where)
            statements.append(
                (
                    f"MATCH {_pattern(sweep.sort)} WHERE {condition} SET n += $fields",
                    parameters | {"fields": dict(sweep.fields)},
                )
            )
        if statements:
            await self._run(*statements)

    async def put_vectors(self, vectors: Sequence[tuple[int, bytes]]) -> None:
        """Keep vectors of facts that exist, of the model in use."""
        rows = [{"id": number, "vector": _numbers(data)} for number, data in vectors]
        await self._run(
            (
                (
                    f"UNWIND $rows AS row MATCH (n:{LABELS[Sort.FACT]} {{id: row.id}}) "
                    f"SET n.{self._vector} = row.vector, n.vector_model = $model"
                ),
                {"rows": rows, "model": self._model},
            )
        )

    async def vectors(self, ids: Sequence[int]) -> dict[int, bytes]:
        """Return the vectors of facts, of the model in use."""
        if not ids or not self._vector:
            return {}
        found = await self._run(
            (
                (
                    f"MATCH (n:{LABELS[Sort.FACT]}) WHERE n.id IN $ids "
                    f"AND n.{self._vector} IS NOT NULL "
                    f"RETURN n.id AS id, n.{self._vector} AS vector"
                ),
                {"ids": list(ids)},
            )
        )
        return {record["id"]: _bytes(record["vector"]) for record in found}

    async def delete(self, sort: Sort, where: Where) -> None:
        """Delete for good what meets conditions, with its vectors and words."""
        if is_impossible(where):
            return
        condition, parameters = _condition(where)
        detach = "DELETE" if sort is Sort.RELATION else "DETACH DELETE"
        statement = (
            f"MATCH {_pattern(sort)} WHERE {condition} WITH n LIMIT {DELETED_AT_ONCE} "
            f"{detach} n RETURN count(*) AS count"
        )
        while True:
            (record,) = await self._run((statement, parameters))
            if record["count"] < DELETED_AT_ONCE:
                return

    async def find(
        self, sort: Sort, where: Where, *, limit: int, after: int = 0, order: Order | None = None
    ) -> list[Item]:
        """Return items: in the order of their ids, from after one; or in another order."""
        if is_impossible(where) or limit <= 0:
            return []
        condition, parameters = _condition(where)
        if order is None:
            condition += " AND n.id > $after"
            by = "n.id"
        else:
            by = f"n.{order.field}{' DESC' if order.is_descending else ''}"
        found = await self._run(
            (
                (
                    f"MATCH {_pattern(sort)} WHERE {condition} "
                    f"RETURN {_shown(sort)} ORDER BY {by} LIMIT $limit"
                ),
                parameters | {"after": after, "limit": limit},
            )
        )
        return [_item(sort, record["item"]) for record in found]

    async def count(self, sort: Sort, where: Where) -> int:
        """Return how many items meet conditions."""
        if is_impossible(where):
            return 0
        condition, parameters = _condition(where)
        statement = f"MATCH {_pattern(sort)} WHERE {condition} RETURN count(n) AS count"
        (record,) = await self._run((statement, parameters))
        return int(record["count"])

    async def count_by_scope(self, sort: Sort) -> dict[str, int]:
        """Return how many items each scope has."""
        statement = f"MATCH {_pattern(sort)} RETURN n.scope AS scope, count(n) AS count"
        return {record["scope"]: record["count"] for record in await self._run((statement, {}))}

    async def nearest(self, vector: bytes, where: Where, *, limit: int) -> list[tuple[int, float]]:
        """Return the nearest facts that meet conditions, with their cosines."""
        if is_impossible(where) or not self._vector:
            return []
        condition, parameters = _condition(where)
        parameters |= {
            "index": f"caxton_{self._vector}",
            "candidates": limit * CANDIDATES_FACTOR,
            "vector": _numbers(vector),
            "limit": limit,
        }
        found = await self._run(
            (
                (
                    "CALL db.index.vector.queryNodes($index, $candidates, $vector) "
                    f"YIELD node AS n WHERE {condition} RETURN n.id AS id, "
                    # The index compares eight bits a number; these are exact.
                    f"vector.similarity.cosine(n.{self._vector}, $vector) AS score "
                    "ORDER BY score DESC, id LIMIT $limit"
                ),
                parameters,
            )
        )
        if len(found) < limit:
            found = await self._run(
                (
                    (
                        f"MATCH (n:{LABELS[Sort.FACT]}) WHERE {condition} "
                        f"AND n.{self._vector} IS NOT NULL RETURN n.id AS id, "
                        f"vector.similarity.cosine(n.{self._vector}, $vector) AS score "
                        "ORDER BY score DESC, id LIMIT $limit"
                    ),
                    parameters,
                )
            )
        # The engine shifts cosines to the range from 0 to 1.
        return [(record["id"], 2 * record["score"] - 1) for record in found]

    async def by_words(
        self, terms: Sequence[str], where: Where, *, limit: int
    ) -> list[tuple[int, float]]:
        """Return facts that have any of the words and meet conditions, with their BM25."""
        if is_impossible(where) or not terms:
            return []
        condition, parameters = _condition(where)
        # The index answers best first, so that what is asked for ends the query.
        found = await self._run(
            (
                (
                    "CALL db.index.fulltext.queryNodes($index, $words) YIELD node AS n, score "
                    f"WHERE {condition} RETURN n.id AS id, score LIMIT $limit"
                ),
                parameters | {"index": WORDS_INDEX, "words": _lucene(terms, where), "limit": limit},
            )
        )
        return [(record["id"], record["score"]) for record in found]

    async def relations_of(
        self, entities: Sequence[int], side: Side, where: Where, *, fan_out: int
    ) -> list[Item]:
        """Return the strongest relations that have each entity on one side."""
        if is_impossible(where) or not entities:
            return []
        condition, parameters = _condition(where)
        label = LABELS[Sort.ENTITY]
        arrow = f"-[n:{RELATES}]->()" if side is Side.OUT else f"<-[n:{RELATES}]-()"
        found = await self._run(
            (
                (
                    f"UNWIND $entities AS number MATCH (near:{label} {{id: number}}) "
                    f"CALL {{ WITH near MATCH (near){arrow} WHERE {condition} "
                    "RETURN n ORDER BY n.strength DESC, n.id LIMIT $fan_out } "
                    f"RETURN {_shown(Sort.RELATION)}"
                ),
                parameters | {"entities": list(entities), "fan_out": fan_out},
            )
        )
        return [_item(Sort.RELATION, record["item"]) for record in found]


def _library() -> Any:
    try:
        return importlib.import_module("neo4j")
    except ImportError as error:
        raise Unavailable(
            "storage_unavailable",
            "The driver of Neo4j is not installed.",
            hint="Install it with: pip install 'caxton[neo4j]'",
        ) from error


def _pattern(sort: Sort) -> str:
    return f"()-[n:{RELATES}]->()" if sort is Sort.RELATION else f"(n:{LABELS[sort]})"


def _shown(sort: Sort) -> str:
    return f"n {{.id, {', '.join('.' + name for name in FIELDS[sort])}}} AS item"


def _item(sort: Sort, found: dict[str, Any]) -> Item:
    fields = dict(found)
    return Item(sort, fields.pop("id"), fields)


def _put_statements(items: Sequence[Item]) -> list[tuple[str, dict[str, Any]]]:
    """Return what puts items, each sort in the order in which they come."""
    entity = LABELS[Sort.ENTITY]
    statements = []
    for sort in dict.fromkeys(item.sort for item in items):
        rows = [{"id": item.id, "fields": _kept(item)} for item in items if item.sort is sort]
        if sort is Sort.RELATION:
            statement = (
                f"UNWIND $rows AS row MATCH (a:{entity} {{id: row.fields.source}}) "
                f"MATCH (b:{entity} {{id: row.fields.target}}) "
                f"MERGE (a)-[n:{RELATES} {{id: row.id}}]->(b) SET n += row.fields"
            )
        else:
            statement = (
                f"UNWIND $rows AS row MERGE (n:{LABELS[sort]} {{id: row.id}}) SET n += row.fields"
            )
            if sort is Sort.FACT:
                statement += (
                    f" WITH n, row MATCH (about:{entity} {{id: row.fields.entity}}) "
                    "MERGE (n)-[:ABOUT]->(about)"
                )
        statements.append((statement, {"rows": rows}))
    return statements


def _kept(item: Item) -> dict[str, Any]:
    if item.sort is not Sort.FACT:
        return item.fields
    return item.fields | {"shelf": _shelf_word(item.fields["scope"])}


def _patch_statements(patches: Sequence[Patch]) -> list[tuple[str, dict[str, Any]]]:
    statements = []
    for sort in dict.fromkeys(patch.sort for patch in patches):
        rows = [
            {"id": patch.id, "fields": dict(patch.fields)}
            for patch in patches
            if patch.sort is sort
        ]
        pattern = _pattern(sort)
        statements.append(
            (
                f"UNWIND $rows AS row MATCH {pattern} WHERE n.id = row.id SET n += row.fields",
                {"rows": rows},
            )
        )
    return statements


def _condition(where: Where) -> tuple[str, dict[str, Any]]:
    """Return conditions as Cypher, and its parameters. Field names are our own."""
    parts: list[str] = ["true"]
    parameters: dict[str, Any] = {}
    for place, condition in enumerate(where):
        name = f"c{place}"
        match condition:
            case AnyOf(field=field, values=values, is_negated=is_negated):
                parts.append(f"{'NOT ' if is_negated else ''}n.{field} IN ${name}")
                parameters[name] = list(values)
            case AllOf(field=field, values=values):
                parts.append(f"all(one IN ${name} WHERE one IN n.{field})")
                parameters[name] = list(values)
            case Span(field=field, low=low, below=below):
                for sign, bound, end in ((">=", low, "low"), ("<", below, "below")):
                    if bound is not None:
                        parts.append(f"n.{field} {sign} ${name}_{end}")
                        parameters[f"{name}_{end}"] = bound
    return " AND ".join(parts), parameters


def _shelf_word(scope: str) -> str:
    """Return the word that stands for a scope in the index of words."""
    return f"s{hashlib.sha256(scope.encode()).hexdigest()[:20]}x"


def _lucene(terms: Sequence[str], where: Where) -> str:
    """Return the query: any term, on one of the scopes. In quotes no word is an operator."""
    words = " ".join(f'"{term}"' for term in terms)
    fields = " ".join(f"{name}:({words})^{weight:g}" for name, weight in _WORD_FIELDS)
    scopes = [
        str(value)
        for one in where
        if isinstance(one, AnyOf) and one.field == "scope"
        for value in one.values
    ]
    shelves = " ".join(_shelf_word(scope) for scope in scopes)
    return f"+shelf:({shelves}) +({fields})" if scopes else f"+({fields})"


def _numbers(data: bytes) -> list[float]:
    return list(struct.unpack(f"<{len(data) // 4}f", data))


def _bytes(numbers: Sequence[float]) -> bytes:
    return struct.pack(f"<{len(numbers)}f", *numbers)


def _read_fault(error: Exception) -> Fault | None:
    """Return what an exception of the driver means."""
    kinds = {one.__name__ for one in type(error).__mro__}
    if kinds & {"AuthError", "Forbidden", "TokenExpired"}:
        return Fault(
            "it refuses the user or the password",
            is_transient=False,
            hint="Set neo4j.user, and neo4j.password_file to a file with the password.",
        )
    if kinds & {
        "ServiceUnavailable",
        "SessionExpired",
        "TransientError",
        "ConnectionAcquisitionTimeoutError",
    }:
        return Fault(str(error), is_transient=True)
    if kinds & {"ConfigurationError", "ClientError"}:
        return Fault(str(error), is_transient=False)
    if kinds & {"DriverError", "Neo4jError"} or isinstance(error, OSError):
        return Fault(str(error), is_transient=True)
    return None
