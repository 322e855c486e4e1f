"""What a client may tell, ask and delete of what agents remember.

Every call takes whose memory is meant: `agent` is an agent's, without it what all share; `scope`
(`agent`, `workspace`, `global`) narrows it, and says where to when something is written.
"""

import json
from collections.abc import AsyncGenerator, Iterable, Mapping, Sequence
from contextlib import aclosing
from datetime import datetime
from typing import Any, Final

from caxton import memory_models as models
from caxton import memory_wire as seen
from caxton import wire
from caxton.connection import Connection
from caxton.v1 import memory_pb2
from caxton.v1.memory_pb2_grpc import MemoryStub

__all__ = ["MemoryCalls"]

RECORDS_AT_ONCE: Final = 200
"""Records of one chunk of an import."""


class MemoryCalls:
    """The calls of a client that concern memory."""

    _connection: Connection

    async def remember(  # noqa: PLR0913 - each is a choice of the caller's
        self,
        entity: str,
        *texts: str,
        agent: str | None = None,
        scope: str | None = None,
        type: str = "",  # noqa: A002 - what users call it
        kind: str = "note",
        attribute: str = "",
        metadata: Mapping[str, Any] | None = None,
        confidence: float = 1.0,
        strength: float = 1.0,
        is_pinned: bool = False,
        valid_from: datetime | None = None,
        valid_to: datetime | None = None,
    ) -> models.Told:
        """Remember sentences about an entity, all or none.

        Args:
            entity: Its name; it is made when it is new.
            texts: One observation each.
            agent: Whose memory.
            scope: Where to.
            type: Of the entity, such as `person`.
            kind: `fact`, `preference`, `solution`, `error`, `episode` or `note`.
            attribute: What they say of the entity; a newer text for the same one ends the older.
            metadata: Of the entity, JSON values.
            confidence: 0 to 1.
            strength: 0 to 1.
            is_pinned: Neither decays nor is cleaned up.
            valid_from: Since when it is true; now when None.
            valid_to: Until when it was; None while it is.

        Raises:
            Rejected: `invalid_request`: empty, too long, or it looks like a secret.
            Unavailable: `storage_unavailable`.
            ValueError: There is no such scope, or an instant has no time zone.
        """
        told = [
            memory_pb2.Observation(
                text=text,
                kind=kind,
                attribute=attribute,
                confidence=confidence,
                strength=strength,
                is_pinned=is_pinned,
                valid_from=None if valid_from is None else wire.timestamp(valid_from),
                valid_to=None if valid_to is None else wire.timestamp(valid_to),
            )
            for text in texts
        ]
        request = memory_pb2.MemoryAddEntitiesRequest(
            space=seen.space(agent, scope),
            entities=[
                memory_pb2.Entity(
                    name=entity,
                    entity_type=type,
                    observations=told,
                    metadata=json.dumps(dict(metadata)).encode() if metadata else b"",
                )
            ],
        )
        answer = await self._connection.call(lambda to: MemoryStub(to).AddEntities, request)
        return models.Told(
            entity=seen.entity(answer.entities[0]), new_count=answer.new_observation_count
        )

    async def relate(
        self,
        source: str,
        relation: str,
        target: str,
        *,
        agent: str | None = None,
        scope: str | None = None,
        strength: float = 0.5,
        confidence: float = 1.0,
        is_bidirectional: bool = False,
    ) -> list[int]:
        """Remember how two entities are related; return the ids of what was written."""
        one = memory_pb2.Relation(
            source=source,
            target=target,
            relation_type=relation,
            strength=strength,
            confidence=confidence,
            is_bidirectional=is_bidirectional,
        )
        request = memory_pb2.MemoryAddRelationsRequest(
            space=seen.space(agent, scope), relations=[one]
        )
        answer = await self._connection.call(lambda to: MemoryStub(to).AddRelations, request)
        return list(answer.ids)

    async def recall(  # noqa: PLR0913 - each is a choice of the caller's
        self,
        question: str,
        *,
        agent: str | None = None,
        scope: str | None = None,
        type: str = "",  # noqa: A002 - what users call it
        kind: str = "",
        limit: int = 10,
        similarity_min: float | None = None,
        is_with_history: bool = False,
        at: datetime | None = None,
    ) -> models.Found:
        """Find what fits a question, by meaning, by words and by relations.

        Args:
            question: In words.
            agent: Whose memory.
            scope: Only this part of it.
            type: Only of this kind of entities.
            kind: Only this kind of knowledge.
            limit: 1 to 100.
            similarity_min: Below it, nearness is no reason to be found.
            is_with_history: Also what is no longer true.
            at: What was true then; now when None.

        Raises:
            Unavailable: `storage_unavailable`: the memory is away.
        """
        request = memory_pb2.MemorySearchRequest(
            space=seen.space(agent, scope),
            query=question,
            entity_type=type,
            kind=kind,
            page_size=limit,
            similarity_min=similarity_min,
            is_with_history=is_with_history,
            at=None if at is None else wire.timestamp(at),
        )
        answer = await self._connection.read(lambda to: MemoryStub(to).Search, request)
        return models.Found(
            matches=tuple(map(seen.match, answer.matches)),
            is_semantic=answer.is_semantic,
            note=answer.note,
        )

    async def entities(
        self, names: Sequence[str], *, agent: str | None = None, scope: str | None = None
    ) -> models.Graph:
        """Return entities by name, those that exist, and the relations among them."""
        request = memory_pb2.MemoryOpenNodesRequest(space=seen.space(agent, scope), names=names)
        answer = await self._connection.read(lambda to: MemoryStub(to).OpenNodes, request)
        return models.Graph(
            entities=tuple((seen.entity(one), 0) for one in answer.entities),
            relations=tuple(map(seen.relation, answer.relations)),
        )

    async def walk(
        self,
        root: str,
        *,
        agent: str | None = None,
        scope: str | None = None,
        depth: int = 3,
        relation: str = "",
        strength_min: float | None = None,
    ) -> models.Graph:
        """Walk the relations from an entity, nearest and strongest first.

        Args:
            root: Name of the entity.
            agent: Whose memory.
            scope: Only this part of it.
            depth: Relations in a row, 1 to 10.
            relation: Only this kind of them.
            strength_min: Only those that are as strong; 0.1 when None.

        Raises:
            NotFound: `memory_not_found`.
        """
        request = memory_pb2.MemoryGraphRequest(
            space=seen.space(agent, scope),
            root=root,
            depth_max=depth,
            relation_type=relation,
            strength_min=strength_min,
        )
        return seen.graph(await self._connection.read(lambda to: MemoryStub(to).Graph, request))

    async def entity_history(
        self, name: str, *, agent: str | None = None, scope: str | None = None
    ) -> list[models.EntityHistory]:
        """Return the entities of a name, one a scope, with all that was ever true of them.

        Raises:
            NotFound: `memory_not_found`.
        """
        request = memory_pb2.MemoryHistoryRequest(space=seen.space(agent, scope), name=name)
        answer = await self._connection.read(lambda to: MemoryStub(to).History, request)
        return [seen.history(one) for one in answer.histories]

    async def forget(
        self,
        entity: str | None = None,
        *,
        observation_id: int | None = None,
        conversation_id: str | None = None,
        is_everything: bool = False,
        agent: str | None = None,
        scope: str | None = None,
    ) -> models.Forgotten:
        """Delete for good one of: an entity, an observation, a conversation, or everything.

        Raises:
            Failed: `memory_failed`: something is left of it.
            ValueError: Not exactly one of them was named.
        """
        chosen = [entity is not None, observation_id is not None, conversation_id is not None]
        if sum([*chosen, is_everything]) != 1:
            raise ValueError("name one of entity, observation_id, conversation_id, is_everything")
        request = memory_pb2.MemoryForgetRequest(space=seen.space(agent, scope))
        if entity is not None:
            request.entity = entity
        elif observation_id is not None:
            request.observation_id = observation_id
        elif conversation_id is not None:
            request.conversation_id = conversation_id
        else:
            request.everything = True
        proof = await self._connection.call(lambda to: MemoryStub(to).Forget, request)
        return seen.forgotten(proof)

    async def export_memory(
        self,
        *,
        agent: str | None = None,
        scope: str | None = None,
        is_with_embeddings: bool = False,
    ) -> AsyncGenerator[dict[str, Any]]:
        """Yield all that may be read as records: facts with their history, then relations."""
        request = memory_pb2.MemoryExportRequest(
            space=seen.space(agent, scope), is_with_embeddings=is_with_embeddings
        )
        stream = self._connection.stream(lambda to: MemoryStub(to).Export, request)
        async with aclosing(stream) as answers:
            async for answer in answers:
                for record in answer.records:
                    yield json.loads(record)

    async def import_memory(
        self,
        records: Iterable[Mapping[str, Any]],
        *,
        agent: str | None = None,
        scope: str | None = None,
    ) -> models.Imported:
        """Remember records: of an export, of the MCP memory server, or blocks.

        Each two hundred are kept or refused as a whole; what is known already changes nothing.

        Raises:
            Rejected: `invalid_request`: records that cannot be understood, with their numbers.
        """
        parts: list[memory_pb2.MemoryImportRequest] = []
        for record in records:
            if not parts or len(parts[-1].records) == RECORDS_AT_ONCE:
                parts.append(memory_pb2.MemoryImportRequest(space=seen.space(agent, scope)))
            parts[-1].records.append(json.dumps(dict(record)).encode())
        totals = dict.fromkeys(_COUNTS, 0)
        for part in parts:
            answer = await self._connection.call(_import_one, part)
            for name in totals:
                totals[name] += getattr(answer, name)
        return models.Imported(**totals)

    async def memory_stats(self) -> models.MemoryStats:
        """Return how much the answering node remembers."""
        request = memory_pb2.MemoryStatsRequest()
        return seen.stats(await self._connection.read(lambda to: MemoryStub(to).Stats, request))


_COUNTS: Final = ("fact_count", "new_fact_count", "relation_count", "vector_count")


def _import_one(channel: Any) -> Any:
    """Return a call of Import with one chunk, as calls with one request are made."""
    method = MemoryStub(channel).Import

    def call(request: memory_pb2.MemoryImportRequest, **options: Any) -> Any:
        return method(iter([request]), **options)

    return call
