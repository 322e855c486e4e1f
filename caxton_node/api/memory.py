"""Memory: what agents know, told, searched and walked."""

from typing import Annotated, Any, Final

from pydantic import Field

from caxton_node.api.memory_rows import memory_row
from caxton_node.api.memory_views import (
    AgentText,
    EntityDetail,
    EntitySummary,
    HitView,
    RelationView,
    ScopeQuery,
    ScopeText,
    access_for,
    memory_of,
    scope_for,
    show_entity,
    show_hit,
    show_relation,
    show_view,
)
from caxton_node.api.table import Answer, Request, Shape
from caxton_node.api.types import (
    READS_INTEGER,
    Body,
    Cursor,
    Limit,
    QueryBool,
    ReplyBy,
    View,
)
from caxton_node.domain.errors import NotFound, Rejected
from caxton_node.memory.finding import Filters
from caxton_node.memory.graph import DEPTH_MAX, ENTITIES_MAX, FAN_OUT_MAX, Walk
from caxton_node.memory.records import (
    NAME_LENGTH_MAX,
    TEXT_LENGTH_MAX,
    Access,
    Kind,
    NewFact,
    NewRelation,
)
from caxton_node.runtime.node import Node

__all__ = ["ENDPOINTS"]

OBSERVATIONS_MAX: Final = 100
"""Observations told at once."""

_NO_CONTROL: Final = r"^[^\u0000-\u001f\u007f]*\S[^\u0000-\u001f\u007f]*$"

Name = Annotated[str, Field(min_length=1, max_length=NAME_LENGTH_MAX, pattern=_NO_CONTROL)]
Share = Annotated[float, Field(ge=0, le=1)]
FactText = Annotated[str, Field(min_length=1, max_length=TEXT_LENGTH_MAX, pattern=r"\S")]


class NewEntity(Body):
    """What is to be remembered of an entity."""

    entity: Name
    type: Name = "thing"
    observations: Annotated[list[FactText], Field(min_length=1, max_length=OBSERVATIONS_MAX)]
    agent: AgentText | None = None
    scope: ScopeText | None = None
    kind: Kind = Field(default=Kind.NOTE, strict=False)
    attribute: Annotated[str, Field(max_length=NAME_LENGTH_MAX)] = Field(
        default="", description="What it says of the entity; a newer text for it replaces this one."
    )
    metadata: dict[str, Any] = Field(default_factory=dict)
    confidence: Share = 1.0
    strength: Share = 1.0
    valid_from: ReplyBy | None = None
    valid_to: ReplyBy | None = None
    ttl_s: Annotated[float, Field(gt=0, le=3_153_600_000)] | None = Field(
        default=None, description="Seconds after which it is deleted."
    )
    pinned: bool = Field(default=False, description="Neither decays nor is cleaned up.")


class ToldView(View):
    """What became of what was told."""

    entity_id: int
    scope: str
    observations: list[int] = Field(description="Their ids.")
    new: int = Field(description="How many were not known before.")
    replaced: list[int] = Field(description="Observations whose truth this ended.")


async def tell_memory(request: Request[Any, NewEntity], node: Node) -> Answer:
    """Remember observations of an entity."""
    body, memory = request.body, memory_of(node)
    scope = scope_for(body.agent, body.scope)
    if body.valid_from is not None and body.valid_to is not None:
        _check_interval(body.valid_from, body.valid_to)
    facts = [
        NewFact(
            entity=body.entity,
            type=body.type,
            text=text,
            kind=body.kind,
            attribute=body.attribute,
            metadata=body.metadata,
            confidence=body.confidence,
            strength=body.strength,
            valid_from=body.valid_from,
            valid_to=body.valid_to,
            ttl_s=body.ttl_s,
            is_pinned=body.pinned,
        )
        for text in body.observations
    ]
    done = await memory.remember(Access.only(scope), scope, facts)
    told = ToldView(
        entity_id=done[0].entity_id,
        scope=str(scope),
        observations=[one.observation_id for one in done],
        new=sum(one.is_new for one in done),
        replaced=[one.replaced_id for one in done if one.replaced_id is not None],
    )
    return Answer(told, status=201)


def _check_interval(start: int, end: int) -> None:
    if end <= start:
        raise Rejected("invalid_request", "valid_to must be later than valid_from")


class EntityListQuery(ScopeQuery):
    """Which entities."""

    type: Name | None = None
    cursor: Cursor | None = None
    limit: Limit = 50


class EntityList(View):
    """Part of the list of entities."""

    items: list[EntitySummary]
    total: int | None = None
    next_cursor: str | None


async def list_entities(request: Request[EntityListQuery, None], node: Node) -> EntityList:
    """List entities in the order in which they were first told of."""
    query = request.query
    found = await memory_of(node).backend.entities(
        access_for(node, query.agent, query.scope),
        type_name=query.type,
        after=after_of(query.cursor),
        limit=query.limit,
    )
    return EntityList(
        items=[show_entity(one) for one in found],
        next_cursor=str(found[-1].id) if len(found) == query.limit else None,
    )


def after_of(cursor: str | None) -> int:
    """Return the id after which a page begins.

    Raises:
        Rejected: `invalid_request`: the cursor is malformed.
    """
    if cursor is None:
        return 0
    if not cursor.isascii() or not cursor.isdigit() or len(cursor) > 18:
        raise Rejected("invalid_request", "the cursor is not one that this server gave")
    return int(cursor)


class EntityQuery(ScopeQuery):
    """Which part of what is known."""

    history: QueryBool = Field(default=False, description="Also what is no longer true.")
    at: ReplyBy | None = Field(default=None, description="What was true at this instant.")


class EntityFound(View):
    """The entities of a name, one a scope at most."""

    items: list[EntityDetail]
    total: int
    next_cursor: None = None


async def get_entity(request: Request[EntityQuery, None], node: Node) -> EntityFound:
    """Read what is known of an entity."""
    query, name = request.query, request.path["entity"]
    memory = memory_of(node)
    views = await memory.backend.entity(
        access_for(node, query.agent, query.scope),
        name,
        Filters(is_historic=query.history, at=query.at),
        now=memory.now(),
    )
    if not views:
        raise NotFound("memory_not_found", f"nothing is known of {name!r}")
    return EntityFound(items=[show_view(one) for one in views], total=len(views))


class SearchQuery(ScopeQuery):
    """What is looked for."""

    query: Annotated[str, Field(max_length=4_000)] = Field(
        default="", description="A question or words. Needed."
    )
    limit: Annotated[int, Field(ge=1, le=100), READS_INTEGER] = 10
    type: Name | None = Field(default=None, description="Of the entity.")
    kind: Kind | None = None
    min_similarity: Annotated[float, Field(ge=-1, le=1)] = Field(
        default=-1.0, description="Below it, being near is no reason to be found."
    )
    history: QueryBool = Field(default=False, description="Also what is no longer true.")
    at: ReplyBy | None = Field(default=None, description="What was true at this instant.")
    created_from: ReplyBy | None = None
    created_to: ReplyBy | None = None


class Found(View):
    """What was found, best first."""

    items: list[HitView]
    total: int
    next_cursor: None = None
    semantic: bool = Field(description="Whether meaning counted, or words only.")
    note: str = Field(description="Why it did not; else empty.")


async def search_memory(request: Request[SearchQuery, None], node: Node) -> Found:
    """Search by meaning, by words and by relations at once."""
    query = request.query
    if not query.query.strip():
        raise Rejected("invalid_request", "say what to look for: `query` is missing")
    found = await memory_of(node).recall(
        access_for(node, query.agent, query.scope),
        query.query,
        limit=query.limit,
        filters=Filters(
            types=() if query.type is None else (query.type,),
            kinds=() if query.kind is None else (query.kind,),
            at=query.at,
            is_historic=query.history,
            created_from=query.created_from,
            created_to=query.created_to,
        ),
        similarity_min=query.min_similarity,
    )
    return Found(
        items=[show_hit(one) for one in found.hits],
        total=len(found.hits),
        semantic=found.is_semantic,
        note=found.note,
    )


class NewRelationBody(Body):
    """Two entities and what joins them. Entities that are not known yet are made."""

    source: Name
    target: Name
    type: Name
    strength: Share = 0.5
    confidence: Share = 1.0
    bidirectional: bool = Field(default=False, description="Also the other way round.")
    valid_from: ReplyBy | None = None
    valid_to: ReplyBy | None = None
    agent: AgentText | None = None
    scope: ScopeText | None = None


class RelatedView(View):
    """What was written."""

    ids: list[int]
    scope: str


async def relate_entities(request: Request[Any, NewRelationBody], node: Node) -> Answer:
    """Remember a relation between two entities."""
    body = request.body
    scope = scope_for(body.agent, body.scope)
    if body.valid_from is not None and body.valid_to is not None:
        _check_interval(body.valid_from, body.valid_to)
    ends = [(body.source, body.target)]
    if body.bidirectional:
        ends.append((body.target, body.source))
    relations = [
        NewRelation(
            source_entity=source,
            target_entity=target,
            type=body.type,
            strength=body.strength,
            confidence=body.confidence,
            valid_from=body.valid_from,
            valid_to=body.valid_to,
        )
        for source, target in ends
    ]
    ids = await memory_of(node).relate(Access.only(scope), scope, relations)
    return Answer(RelatedView(ids=ids, scope=str(scope)), status=201)


class GraphQuery(ScopeQuery):
    """How far to walk."""

    depth: Annotated[int, Field(ge=0, le=DEPTH_MAX), READS_INTEGER] = 3
    fan_out: Annotated[int, Field(ge=1, le=FAN_OUT_MAX), READS_INTEGER] = 20
    limit: Annotated[int, Field(ge=1, le=ENTITIES_MAX), READS_INTEGER] = 200
    min_strength: Annotated[float, Field(ge=0, le=1)] = 0.1
    type: Name | None = Field(default=None, description="Of relations.")
    at: ReplyBy | None = Field(default=None, description="What was true at this instant.")


class GraphEntity(EntitySummary):
    """An entity that was reached."""

    depth: int


class Graph(View):
    """What a walk found."""

    root: str
    entities: list[GraphEntity]
    relations: list[RelationView]
    cut: bool = Field(description="A bound other than the depth ended it: there is more.")


async def walk_graph(request: Request[GraphQuery, None], node: Node) -> Graph:
    """Walk the relations from an entity, nearest and strongest first."""
    query, name = request.query, request.path["entity"]
    view = await memory_of(node).backend.walk(
        access_for(node, query.agent, query.scope),
        name,
        Walk(
            depth=query.depth,
            fan_out=query.fan_out,
            entity_count=query.limit,
            strength_min=query.min_strength,
            types=() if query.type is None else (query.type,),
            at=query.at,
        ),
    )
    return Graph(
        root=name,
        entities=[GraphEntity(**dict(show_entity(one)), depth=d) for one, d in view.entities],
        relations=[show_relation(one) for one in view.relations],
        cut=view.is_cut,
    )


ENDPOINTS: Final = (
    memory_row(
        "POST /memory/entities",
        tell_memory,
        "Remember something",
        {201: Shape("It is on disk.", ToldView)},
        body=NewEntity,
        errors=("node_busy",),
    ),
    memory_row(
        "GET /memory/entities",
        list_entities,
        "List entities",
        {200: Shape("A page, the oldest first.", EntityList)},
        query=EntityListQuery,
    ),
    memory_row(
        "GET /memory/entities/{entity}",
        get_entity,
        "Read what is known of an entity",
        {200: Shape("What is known, one entity a scope.", EntityFound)},
        query=EntityQuery,
        errors=("memory_not_found",),
    ),
    memory_row(
        "GET /memory/search",
        search_memory,
        "Search memory",
        {200: Shape("What fits, best first, with reasons.", Found)},
        query=SearchQuery,
    ),
    memory_row(
        "POST /memory/relations",
        relate_entities,
        "Remember a relation",
        {201: Shape("It is on disk.", RelatedView)},
        body=NewRelationBody,
        errors=("node_busy",),
    ),
    memory_row(
        "GET /memory/graph/{entity}",
        walk_graph,
        "Walk the relations of an entity",
        {200: Shape("What was reached.", Graph)},
        query=GraphQuery,
        errors=("memory_not_found",),
    ),
)
