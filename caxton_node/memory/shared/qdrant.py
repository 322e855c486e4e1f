"""A shelf in Qdrant: one collection, whose points are items.

Words are a sparse vector whose rareness the server knows; meaning is a dense vector a model, added
to the collection when a model is first used, so that a change of model loses nothing. Points that
are found by filters alone have neither.

Needs a server of version 1.18 or later.
"""

import asyncio
import hashlib
import importlib
import struct
import warnings
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Any, Final, TypeVar

from caxton_node.domain.errors import Unavailable
from caxton_node.memory.shared.calls import Calls, Fault
from caxton_node.memory.shared.shelf import (
    AllOf,
    AnyOf,
    Changes,
    Item,
    Order,
    Side,
    Sort,
    Span,
    Where,
    is_impossible,
)
from caxton_node.memory.shared.terms import query_vector, text_vector

__all__ = ["QdrantShelf", "connect_qdrant"]

WORDS: Final = "words"
"""Name of the sparse vector."""

SEARCHED: Final = 128
"""Candidates that a search of the index keeps: more than is asked for, for recall."""

PAGE_MAX: Final = 1_000
SCOPES_MAX: Final = 100_000

_KEYWORDS: Final = (
    "sort", "kind", "type", "marks", "attribute", "digest", "conversation", "agent",
    "vector_model", "teller",
)  # fmt: skip
_NUMBERS: Final = (
    "entity", "source", "target", "valid_from", "valid_to", "expires_at", "created_at", "used_at",
    "seq", "last_at", "taken_at", "is_pinned",
)  # fmt: skip

T = TypeVar("T")

Connect = Callable[[], Any]


def connect_qdrant(url: str, *, api_key: str | None, timeout_s: float) -> Connect:
    """Return what connects to a server. Nothing is imported before it is called.

    Raises:
        Unavailable: `storage_unavailable`, when called: the client is not installed.
    """

    def connect() -> Any:
        with warnings.catch_warnings():
            # That a key travels unencrypted is the operator's choice, who wrote http://.
            warnings.simplefilter("ignore")
            return _library("qdrant_client").AsyncQdrantClient(
                url=url,
                api_key=api_key,
                timeout=max(1, round(timeout_s)),
                check_compatibility=False,
            )

    return connect


def _library(name: str) -> Any:
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise Unavailable(
            "storage_unavailable",
            "The client of Qdrant is not installed.",
            hint="Install it with: pip install 'caxton[qdrant]'",
        ) from error


class QdrantShelf:
    """A `Shelf` in Qdrant.

    Args:
        connect: Makes the client.
        collection: Where everything is.
        timeout_s: For one call, all attempts together.
        address: For messages to people.
    """

    name = "qdrant"

    def __init__(
        self,
        connect: Connect,
        *,
        collection: str = "caxton_memory",
        timeout_s: float = 5.0,
        address: str = "Qdrant",
    ) -> None:
        self._connect = connect
        self._collection = collection
        self._client: Any = None
        self._model = ""
        self._vector = ""
        self._calls = Calls(address, timeout_s=timeout_s, read=_read_fault)

    @property
    def trouble(self) -> str | None:
        """Why the last call failed; None when it did not."""
        return self._calls.trouble

    @property
    def _models(self) -> Any:
        return _library("qdrant_client").models

    async def _call(self, do: Callable[[Any], Awaitable[T]]) -> T:
        async def call() -> T:
            if self._client is None:
                # The import takes seconds.
                await asyncio.to_thread(_library, "qdrant_client")
                self._client = self._connect()
            return await do(self._client)

        return await self._calls.make(call)

    async def open(self) -> None:
        """Make the collection and its indexes, as far as they are missing."""
        await self._call(self._create)
        known = (await self._call(self._described)).payload_schema
        for field, schema in self._indexes():
            if field not in known:
                await self._call(partial(self._index, field=field, schema=schema))

    async def _create(self, client: Any) -> None:
        if await client.collection_exists(self._collection):
            return
        models = self._models
        sparse = {WORDS: models.SparseVectorParams(modifier=models.Modifier.IDF)}
        try:
            await client.create_collection(
                self._collection, vectors_config={}, sparse_vectors_config=sparse
            )
        except Exception:
            # Two nodes may begin at once, and an attempt may succeed without our knowing.
            if not await client.collection_exists(self._collection):
                raise

    async def _index(self, client: Any, *, field: str, schema: Any) -> None:
        await client.create_payload_index(self._collection, field, field_schema=schema, wait=True)

    async def _described(self, client: Any) -> Any:
        return await client.get_collection(self._collection)

    def _indexes(self) -> list[tuple[str, Any]]:
        models = self._models
        tenant = models.KeywordIndexParams(type=models.KeywordIndexType.KEYWORD, is_tenant=True)
        kinds = models.PayloadSchemaType
        return [
            ("scope", tenant),
            *((field, kinds.KEYWORD) for field in _KEYWORDS),
            *((field, kinds.INTEGER) for field in _NUMBERS),
            ("strength", kinds.FLOAT),
        ]

    async def close(self) -> None:
        """Close the connection."""
        client, self._client = self._client, None
        if client is not None:
            await client.close()

    async def use_model(self, identity: str, dimensions: int) -> None:
        """Add a vector for a model, where it is missing, and compare it from now on."""
        models = self._models
        name = f"m_{hashlib.sha256(identity.encode()).hexdigest()[:16]}"
        dense = models.DenseVectorConfig(size=dimensions, distance=models.Distance.COSINE)
        config = models.DenseVectorNameConfig(dense=dense)

        async def add(client: Any) -> None:
            found = await client.get_collection(self._collection)
            if name not in (found.config.params.vectors or {}):
                await client.create_vector_name(self._collection, name, config)

        await self._call(add)
        self._model, self._vector = identity, name

    async def write(self, changes: Changes) -> None:
        """Apply changes, in one request."""
        if changes.is_empty:
            return
        models = self._models
        operations: list[Any] = []
        if changes.puts:
            points = models.PointsList(points=[self._point(item) for item in changes.puts])
            operations.append(models.UpsertOperation(upsert=points))
        operations += [
            models.SetPayloadOperation(
                set_payload=models.SetPayload(payload=dict(patch.fields), points=[patch.id])
            )
            for patch in changes.patches
        ]
        operations += [
            models.SetPayloadOperation(
                set_payload=models.SetPayload(
                    payload=dict(sweep.fields), filter=self._filter(sweep.sort, sweep.where)
                )
            )
            for sweep in changes.sweeps
        ]
        await self._update(operations)

    async def _update(self, operations: list[Any]) -> None:
        await self._call(
            lambda client: client.batch_update_points(self._collection, operations, wait=True)
        )

    def _point(self, item: Item) -> Any:
        models = self._models
        vectors = {}
        if item.sort is Sort.FACT:
            found = item.fields
            numbers, weights = text_vector(found["subject"], found["text"], found["context"])
            if numbers:
                vectors[WORDS] = models.SparseVector(indices=numbers, values=weights)
        payload = {"sort": str(item.sort), **item.fields}
        return models.PointStruct(id=item.id, vector=vectors, payload=payload)

    async def put_vectors(self, vectors: Sequence[tuple[int, bytes]]) -> None:
        """Keep vectors of facts that exist, of the model in use."""
        models = self._models
        points = [
            models.PointVectors(id=number, vector={self._vector: _numbers(data)})
            for number, data in vectors
        ]
        noted = models.SetPayload(
            payload={"vector_model": self._model}, points=[number for number, _ in vectors]
        )
        await self._update(
            [
                models.UpdateVectorsOperation(update_vectors=models.UpdateVectors(points=points)),
                models.SetPayloadOperation(set_payload=noted),
            ]
        )

    async def vectors(self, ids: Sequence[int]) -> dict[int, bytes]:
        """Return the vectors of facts, of the model in use."""
        if not ids or not self._vector:
            return {}
        found = await self._call(
            lambda client: client.retrieve(
                self._collection, list(ids), with_payload=False, with_vectors=[self._vector]
            )
        )
        return {
            int(point.id): _bytes(point.vector[self._vector])
            for point in found
            if point.vector and point.vector.get(self._vector) is not None
        }

    async def delete(self, sort: Sort, where: Where) -> None:
        """Delete for good what meets conditions, with its vectors and words."""
        if is_impossible(where):
            return
        selector = self._models.FilterSelector(filter=self._filter(sort, where))
        await self._call(lambda client: client.delete(self._collection, selector, wait=True))

    async def find(
        self, sort: Sort, where: Where, *, limit: int, after: int = 0, order: Order | None = None
    ) -> list[Item]:
        """Return items: in the order of their ids, from after one; or in another order."""
        if is_impossible(where) or limit <= 0:
            return []
        chosen = self._filter(sort, where)
        found: list[Item] = []
        while len(found) < limit:
            size = min(PAGE_MAX, limit - len(found)) if order is None else limit
            start = {"offset": after + 1} if order is None else {"order_by": self._order(order)}
            points, _ = await self._call(
                lambda client, size=size, start=start: client.scroll(  # type: ignore[misc]  # a lambda's defaults have no types
                    self._collection, scroll_filter=chosen, limit=size, with_payload=True, **start
                )
            )
            found += [_item(point) for point in points]
            if len(points) < size:
                break
            after = found[-1].id
        return found

    def _order(self, order: Order) -> Any:
        models = self._models
        way = models.Direction.DESC if order.is_descending else models.Direction.ASC
        return models.OrderBy(key=order.field, direction=way)

    async def count(self, sort: Sort, where: Where) -> int:
        """Return how many items meet conditions."""
        if is_impossible(where):
            return 0
        chosen = self._filter(sort, where)
        found = await self._call(
            lambda client: client.count(self._collection, count_filter=chosen, exact=True)
        )
        return int(found.count)

    async def count_by_scope(self, sort: Sort) -> dict[str, int]:
        """Return how many items each scope has."""
        found = await self._call(
            lambda client: client.facet(
                self._collection, "scope", facet_filter=self._filter(sort, ()), limit=SCOPES_MAX,
                exact=True,
            )
        )  # fmt: skip
        return {str(hit.value): int(hit.count) for hit in found.hits}

    async def nearest(self, vector: bytes, where: Where, *, limit: int) -> list[tuple[int, float]]:
        """Return the nearest facts that meet conditions, with their cosines."""
        if is_impossible(where) or not self._vector:
            return []
        return await self._query(_numbers(vector), self._vector, where, limit)

    async def by_words(
        self, terms: Sequence[str], where: Where, *, limit: int
    ) -> list[tuple[int, float]]:
        """Return facts that have any of the words and meet conditions, with their BM25."""
        numbers, weights = query_vector(terms)
        if is_impossible(where) or not numbers:
            return []
        asked = self._models.SparseVector(indices=numbers, values=weights)
        return await self._query(asked, WORDS, where, limit)

    async def _query(
        self, asked: Any, using: str, where: Where, limit: int
    ) -> list[tuple[int, float]]:
        chosen = self._filter(Sort.FACT, where)
        found = await self._call(
            lambda client: client.query_points(
                self._collection, query=asked, using=using, query_filter=chosen, limit=limit,
                with_payload=False,
                search_params=self._models.SearchParams(hnsw_ef=max(SEARCHED, limit)),
            )
        )  # fmt: skip
        return [(int(point.id), float(point.score)) for point in found.points]

    async def relations_of(
        self, entities: Sequence[int], side: Side, where: Where, *, fan_out: int
    ) -> list[Item]:
        """Return the strongest relations that have each entity on one side, in one request."""
        if is_impossible(where) or not entities:
            return []
        models = self._models
        strongest = models.OrderByQuery(order_by=self._order(Order("strength", is_descending=True)))
        asked = [
            models.QueryRequest(
                query=strongest,
                filter=self._filter(Sort.RELATION, (*where, AnyOf(side, (entity,)))),
                limit=fan_out,
                with_payload=True,
            )
            for entity in entities
        ]
        answers = await self._call(
            lambda client: client.query_batch_points(self._collection, asked)
        )
        return [_item(point) for answer in answers for point in answer.points]

    def _filter(self, sort: Sort, where: Where) -> Any:
        models = self._models
        must: list[Any] = [
            models.FieldCondition(key="sort", match=models.MatchValue(value=str(sort)))
        ]
        must_not: list[Any] = []
        for condition in where:
            match condition:
                case AnyOf(field="id", values=values):
                    must.append(models.HasIdCondition(has_id=list(values)))
                case AnyOf(field=field, values=values, is_negated=is_negated):
                    (must_not if is_negated else must).append(self._any_of(field, values))
                case AllOf(field=field, values=values):
                    must += [
                        models.FieldCondition(key=field, match=models.MatchValue(value=value))
                        for value in values
                    ]
                case Span(field=field, low=low, below=below):
                    span = models.Range(gte=low, lt=below)
                    must.append(models.FieldCondition(key=field, range=span))
        return models.Filter(must=must, must_not=must_not or None)

    def _any_of(self, field: str, values: Sequence[str | int]) -> Any:
        models = self._models
        if len(values) == 1:
            match = models.MatchValue(value=values[0])
        else:
            match = models.MatchAny(any=list(values))
        return models.FieldCondition(key=field, match=match)


def _item(point: Any) -> Item:
    fields = dict(point.payload)
    return Item(Sort(fields.pop("sort")), int(point.id), fields)


def _numbers(data: bytes) -> list[float]:
    return list(struct.unpack(f"<{len(data) // 4}f", data))


def _bytes(numbers: Sequence[float]) -> bytes:
    return struct.pack(f"<{len(numbers)}f", *numbers)


def _read_fault(error: Exception) -> Fault | None:
    """Return what an exception of the client means."""
    kind = type(error).__name__
    if kind == "ResponseHandlingException":
        cause = error.__cause__ or (error.args[0] if error.args else error)
        return Fault(f"no answer ({cause or type(cause).__name__})", is_transient=True)
    if kind == "UnexpectedResponse":
        status = int(getattr(error, "status_code", 0) or 0)
        if status in (401, 403):
            return Fault(
                "it refuses the key",
                is_transient=False,
                hint="Set qdrant.api_key_file to a file with a key that it accepts.",
            )
        content = getattr(error, "content", b"")[:300].decode(errors="replace")
        return Fault(f"status {status}: {content}", is_transient=status >= 500 or status == 429)
    if kind == "ResourceExhaustedResponse":
        return Fault("it is busy", is_transient=True)
    if isinstance(error, OSError):
        return Fault(str(error), is_transient=True)
    return None
