# ruff: noqa: N802 -- methods are called as the contract calls them
"""`caxton.v1.Memory`: what agents remember, asked as REST is asked."""

from collections.abc import AsyncIterator
from typing import Any, Final

import grpc
import msgspec

from caxton.v1 import memory_pb2
from caxton.v1.memory_pb2_grpc import MemoryServicer
from caxton_node.documents.strict_json import decode_json
from caxton_node.domain.errors import NotFound
from caxton_node.grpc_api.asking import Asking
from caxton_node.grpc_api.memory_views import (
    broken,
    entity_path,
    fact_records,
    instant_text,
    relation_body,
    show_entity,
    show_history,
    show_match,
    show_relation,
    whose,
)

__all__ = ["Memory"]

AT_ONCE_MAX: Final = 100
"""Entities, relations or names of one call."""

EXPORT_PAGE: Final = 200

_Context = grpc.aio.ServicerContext[Any, Any]


class Memory(MemoryServicer):
    """The service.

    Args:
        asking: For what REST answers too.
    """

    def __init__(self, asking: Asking) -> None:
        self._asking = asking

    async def AddEntities(self, request: Any, _: _Context) -> memory_pb2.MemoryAddEntitiesResponse:
        """Add observations to entities, all or none."""
        _check_count("entities", len(request.entities))
        records = [
            record
            for place, one in enumerate(request.entities)
            for record in fact_records(
                one.name, one.observations, type_name=one.entity_type, metadata=one.metadata,
                within=f"entities[{place}].",
            )
        ]  # fmt: skip
        space = whose(request.space)
        done = await self._asking.post("/memory/import", {"records": records, **space})
        entities = [await self._written(one.name, done["scope"]) for one in request.entities]
        return memory_pb2.MemoryAddEntitiesResponse(
            entities=entities, new_observation_count=done["new"]
        )

    async def _written(self, name: str, scope: str) -> memory_pb2.Entity:
        """Return an entity of the scope that was written to."""
        kind, _, rest = scope.partition("/")
        query = {"scope": kind}
        if kind == "agent":
            query["agent"] = rest.partition("/")[2]
        view = await self._asking.get(entity_path("entities", name), query)
        return show_entity(view["items"][0])

    async def AddRelations(
        self, request: Any, _: _Context
    ) -> memory_pb2.MemoryAddRelationsResponse:
        """Add relations, one after the other."""
        _check_count("relations", len(request.relations))
        space = whose(request.space)
        bodies = [
            relation_body(one, within=f"relations[{place}].") | space
            for place, one in enumerate(request.relations)
        ]
        ids: list[int] = []
        for body in bodies:
            ids += (await self._asking.post("/memory/relations", body))["ids"]
        return memory_pb2.MemoryAddRelationsResponse(ids=ids)

    async def AddObservations(
        self, request: Any, _: _Context
    ) -> memory_pb2.MemoryAddObservationsResponse:
        """Add observations to one entity that exists."""
        space = whose(request.space)
        records = fact_records(request.name, request.observations, within="")
        await self._asking.get(entity_path("entities", request.name), space)
        done = await self._asking.post("/memory/import", {"records": records, **space})
        entity = await self._written(request.name, done["scope"])
        return memory_pb2.MemoryAddObservationsResponse(entity=entity)

    async def Search(self, request: Any, _: _Context) -> memory_pb2.MemorySearchResponse:
        """Find what fits a question."""
        query = whose(request.space) | {"query": request.query}
        if request.entity_type:
            query["type"] = request.entity_type
        if request.kind:
            query["kind"] = request.kind
        if request.page_size:
            query["limit"] = str(request.page_size)
        if request.HasField("similarity_min"):
            query["min_similarity"] = str(request.similarity_min)
        if request.is_with_history:
            query["history"] = "true"
        if request.HasField("at"):
            query["at"] = instant_text(request.at, field="at")
        view = await self._asking.get("/memory/search", query)
        return memory_pb2.MemorySearchResponse(
            matches=map(show_match, view["items"]),
            is_semantic=view["semantic"],
            note=view["note"],
        )

    async def OpenNodes(self, request: Any, _: _Context) -> memory_pb2.MemoryOpenNodesResponse:
        """Return entities by name, with the relations among them."""
        _check_count("names", len(request.names))
        space = whose(request.space)
        entities: list[memory_pb2.Entity] = []
        relations: dict[int, memory_pb2.Relation] = {}
        for name in dict.fromkeys(request.names):
            try:
                view = await self._asking.get(entity_path("entities", name), space)
                near = await self._asking.get(
                    entity_path("graph", name), space | {"depth": "1", "min_strength": "0"}
                )
            except NotFound:
                continue
            entities += map(show_entity, view["items"])
            relations |= {one["id"]: show_relation(one) for one in near["relations"]}
        known = {one.name for one in entities}
        among = [one for one in relations.values() if {one.source, one.target} <= known]
        return memory_pb2.MemoryOpenNodesResponse(entities=entities, relations=among)

    async def Graph(self, request: Any, _: _Context) -> memory_pb2.MemoryGraphResponse:
        """Walk the relations from one entity."""
        query = whose(request.space)
        if request.depth_max:
            query["depth"] = str(request.depth_max)
        if request.relation_type:
            query["type"] = request.relation_type
        if request.HasField("strength_min"):
            query["min_strength"] = str(request.strength_min)
        if request.node_count_max:
            query["limit"] = str(request.node_count_max)
        if request.HasField("at"):
            query["at"] = instant_text(request.at, field="at")
        view = await self._asking.get(entity_path("graph", request.root), query)
        return memory_pb2.MemoryGraphResponse(
            nodes=[
                memory_pb2.GraphNode(entity=show_entity(one), depth=one["depth"])
                for one in view["entities"]
            ],
            relations=map(show_relation, view["relations"]),
            is_truncated=view["cut"],
        )

    async def History(self, request: Any, _: _Context) -> memory_pb2.MemoryHistoryResponse:
        """Return one entity with all that was ever true of it."""
        query = whose(request.space) | {"history": "true"}
        view = await self._asking.get(entity_path("entities", request.name), query)
        return memory_pb2.MemoryHistoryResponse(histories=map(show_history, view["items"]))

    async def Forget(self, request: Any, _: _Context) -> memory_pb2.MemoryForgetResponse:
        """Delete for good, and prove it."""
        body: dict[str, Any] = dict(whose(request.space))
        match request.WhichOneof("what"):
            case "entity":
                body["entity"] = request.entity
            case "observation_id":
                body["observation"] = request.observation_id
            case "conversation_id":
                body["conversation_id"] = request.conversation_id
            case "everything":
                body["confirm"] = request.everything
            case _:
                raise broken("what", "is missing")
        proof = await self._asking.post("/memory/forget", body)
        return memory_pb2.MemoryForgetResponse(
            entity_count=proof["entities"],
            observation_count=proof["observations"],
            relation_count=proof["relations"],
            vector_count=proof["vectors"],
            remaining_count=proof["remaining"],
            is_index_clean=proof["index_is_clean"],
            backups=proof["backups"],
        )

    async def Export(
        self, request: Any, _: _Context
    ) -> AsyncIterator[memory_pb2.MemoryExportResponse]:
        """Return all that may be read: facts, then relations."""
        query = whose(request.space) | {"limit": str(EXPORT_PAGE)}
        if request.is_with_embeddings:
            query["embeddings"] = "true"
        for part in ("facts", "relations"):
            cursor: str | None = ""
            while cursor is not None:
                page = query | {"part": part} | ({"cursor": cursor} if cursor else {})
                view = await self._asking.get("/memory/export", page)
                yield memory_pb2.MemoryExportResponse(
                    version=view["version"], records=map(msgspec.json.encode, view["items"])
                )
                cursor = view["next_cursor"]

    async def Import(
        self, request_iterator: AsyncIterator[Any], _: _Context
    ) -> memory_pb2.MemoryImportResponse:
        """Take records, each chunk as a whole."""
        space: dict[str, str] | None = None
        total = memory_pb2.MemoryImportResponse()
        async for request in request_iterator:
            if space is None:
                space = whose(request.space)
            if not request.records:
                continue
            records = [
                decode_json(one, what=f"`records[{place}]`")
                for place, one in enumerate(request.records)
            ]
            done = await self._asking.post("/memory/import", {"records": records, **space})
            total.fact_count += done["facts"]
            total.new_fact_count += done["new"]
            total.relation_count += done["relations"]
            total.vector_count += done["vectors"]
        return total

    async def Stats(self, _: Any, __: _Context) -> memory_pb2.MemoryStatsResponse:
        """Return how much is remembered on the node."""
        view = await self._asking.get("/memory/stats")
        return memory_pb2.MemoryStatsResponse(
            state=view["state"],
            entity_count=view["entities"],
            observation_count=view["observations"],
            current_count=view["current"],
            relation_count=view["relations"],
            vector_count=view["vectors"],
            embedding_model=view["model"] or "",
            size_bytes=view["file_bytes"],
            by_scope=view["by_scope"],
            warnings=view["warnings"],
        )


def _check_count(field: str, count: int) -> None:
    if not 1 <= count <= AT_ONCE_MAX:
        raise broken(field, f"has 1 to {AT_ONCE_MAX}, not {count}")
