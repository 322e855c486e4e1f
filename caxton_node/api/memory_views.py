"""What requests about memory say, and how memories are shown."""

from typing import Annotated, Any, Literal

from pydantic import Field

from caxton_node.api.types import Instant, Query, View, instant
from caxton_node.domain.errors import Rejected, Unavailable
from caxton_node.memory.backend import EntityView
from caxton_node.memory.forgetting import ForgetProof
from caxton_node.memory.records import (
    DEFAULT_WORKSPACE,
    GLOBAL,
    Access,
    Entity,
    Hit,
    Observation,
    Relation,
    Scope,
)
from caxton_node.memory.service import Memory
from caxton_node.runtime.node import Node
from caxton_node.runtime.remembering import access_of

__all__ = [
    "AgentText",
    "EntityDetail",
    "EntitySummary",
    "HitView",
    "ObservationView",
    "ProofView",
    "RelationView",
    "ScopeQuery",
    "ScopeText",
    "access_for",
    "memory_of",
    "scope_for",
    "show_entity",
    "show_hit",
    "show_observation",
    "show_proof",
    "show_relation",
    "show_view",
]

AgentText = Annotated[
    str,
    Field(
        pattern=r"^[A-Za-z][A-Za-z0-9_-]{0,63}$",
        description="Whose memory. Without it: what all share.",
    ),
]
ScopeText = Annotated[
    Literal["agent", "workspace", "global"],
    Field(description="Only this part of it."),
]


class ScopeQuery(Query):
    """Whose memory."""

    agent: AgentText | None = None
    scope: ScopeText | None = None


class SourceView(View):
    """Why this is known."""

    agent: str
    conversation_id: str
    message_id: str
    model: str = Field(description="That drew the conclusion; empty where rules or people did.")


class ObservationView(View):
    """One sentence about an entity."""

    id: int
    scope: str
    entity: str
    entity_type: str
    kind: str
    attribute: str
    text: str
    confidence: float
    strength: float
    pinned: bool
    created_at: Instant
    valid_from: Instant
    valid_to: Instant | None
    expires_at: Instant | None
    use_count: int
    source: SourceView


class ReasonsView(View):
    """Why it was found. What is null did not find it."""

    similarity: float | None = Field(description="Cosine of the vectors, 0 to 1.")
    similarity_rank: int | None
    keyword_score: float | None = Field(description="BM25; higher is better.")
    keyword_rank: int | None
    graph_via: str | None = Field(description="The entity whose relation leads to it.")
    recency: float
    strength: float


class HitView(View):
    """Something found."""

    score: float = Field(description="0 to 1.")
    observation: ObservationView
    reasons: ReasonsView


class EntitySummary(View):
    """An entity in a list."""

    id: int
    scope: str
    name: str
    type: str
    metadata: dict[str, Any]
    version: int
    created_at: Instant
    updated_at: Instant


class VersionView(View):
    """What an entity was before."""

    version: int
    type: str
    metadata: dict[str, Any]
    valid_from: Instant
    valid_to: Instant


class EntityDetail(EntitySummary):
    """An entity with what is known of it."""

    observations: list[ObservationView]
    versions: list[VersionView]


class RelationView(View):
    """A connection."""

    id: int
    scope: str
    source: str
    target: str
    type: str
    strength: float
    confidence: float
    valid_from: Instant
    valid_to: Instant | None


class ProofView(View):
    """What was forgotten, and what is left of it."""

    entities: int
    observations: int
    relations: int
    vectors: int
    remaining: int
    index_is_clean: bool
    backups: list[str] = Field(description="Copies made before, which still hold it.")


def memory_of(node: Node) -> Memory:
    """Return the node's memory.

    Raises:
        Unavailable: `storage_unavailable`: it keeps none, or could not open it.
    """
    if node.memory is None:
        raise Unavailable(
            "storage_unavailable",
            f"This node has no memory: {node.components().get('memory', '')}",
            hint="`memory.enabled` in the settings switches it on.",
        )
    return node.memory


def access_for(node: Node, agent: str | None, scope: str | None) -> Access:
    """Return what a request may see: an agent's memory, or what all share.

    Raises:
        Rejected: `invalid_request`: an agent's own memory is asked for without saying whose.
    """
    if agent is None:
        if scope == "agent":
            raise Rejected(
                "invalid_request", "say whose memory: `agent` is missing", hint="Add agent=NAME."
            )
        shared = (Scope("workspace", DEFAULT_WORKSPACE), GLOBAL)
        return Access.only(*(one for one in shared if scope in (None, one.kind)))
    if scope is not None:
        return Access.only(scope_for(agent, scope))
    seat = node.roster.find(agent)
    return Access.of_agent(agent) if seat is None else access_of(seat.spec)


def scope_for(agent: str | None, scope: str | None) -> Scope:
    """Return where something is written: by default the agent's own memory, or the workspace's.

    Raises:
        Rejected: `invalid_request`: an agent's own memory without saying whose.
    """
    kind = scope or ("agent" if agent else "workspace")
    match kind:
        case "global":
            return GLOBAL
        case "workspace":
            return Scope("workspace", DEFAULT_WORKSPACE)
        case _ if agent is None:
            raise Rejected("invalid_request", "say whose memory: `agent` is missing")
        case _:
            return Scope("agent", DEFAULT_WORKSPACE, agent)


def show_observation(one: Observation) -> ObservationView:
    """Return an observation for a response."""
    return ObservationView(
        id=one.id,
        scope=str(one.scope),
        entity=one.entity,
        entity_type=one.type,
        kind=one.kind,
        attribute=one.attribute,
        text=one.text,
        confidence=one.confidence,
        strength=one.strength,
        pinned=one.is_pinned,
        created_at=instant(one.created_at),
        valid_from=instant(one.valid.start),
        valid_to=None if one.valid.end is None else instant(one.valid.end),
        expires_at=None if one.expires_at is None else instant(one.expires_at),
        use_count=one.use_count,
        source=SourceView(
            agent=one.source.agent,
            conversation_id=one.source.conversation_id,
            message_id=one.source.message_id,
            model=one.source.model,
        ),
    )


def show_hit(hit: Hit) -> HitView:
    """Return something found for a response."""
    why = hit.reasons
    return HitView(
        score=round(hit.score, 4),
        observation=show_observation(hit.observation),
        reasons=ReasonsView(
            similarity=None if why.similarity is None else round(why.similarity, 4),
            similarity_rank=why.similarity_rank,
            keyword_score=None if why.keyword_score is None else round(why.keyword_score, 4),
            keyword_rank=why.keyword_rank,
            graph_via=why.graph_via,
            recency=round(why.recency, 4),
            strength=round(why.strength, 4),
        ),
    )


def show_entity(entity: Entity) -> EntitySummary:
    """Return an entity for a list."""
    return EntitySummary(
        id=entity.id,
        scope=str(entity.scope),
        name=entity.name,
        type=entity.type,
        metadata=dict(entity.metadata),
        version=entity.version,
        created_at=instant(entity.created_at),
        updated_at=instant(entity.updated_at),
    )


def show_view(view: EntityView) -> EntityDetail:
    """Return an entity with what is known of it."""
    return EntityDetail(
        **dict(show_entity(view.entity)),
        observations=[show_observation(one) for one in view.observations],
        versions=[
            VersionView(
                version=one["version"],
                type=one["type"],
                metadata=one["metadata"],
                valid_from=instant(one["valid_from"]),
                valid_to=instant(one["valid_to"]),
            )
            for one in view.versions
        ],
    )


def show_relation(one: Relation) -> RelationView:
    """Return a relation for a response."""
    return RelationView(
        id=one.id,
        scope=str(one.scope),
        source=one.source_entity,
        target=one.target_entity,
        type=one.type,
        strength=one.strength,
        confidence=one.confidence,
        valid_from=instant(one.valid.start),
        valid_to=None if one.valid.end is None else instant(one.valid.end),
    )


def show_proof(proof: ForgetProof) -> ProofView:
    """Return a proof for a response."""
    return ProofView(
        entities=proof.entities,
        observations=proof.observations,
        relations=proof.relations,
        vectors=proof.vectors,
        remaining=proof.remaining,
        index_is_clean=proof.is_index_clean,
        backups=list(proof.backups),
    )
