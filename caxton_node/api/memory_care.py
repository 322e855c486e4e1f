"""Looking after memory: exported, imported, counted, backed up, forgotten."""

import re
from typing import Annotated, Any, Final, Literal

from pydantic import Field

from caxton_node.api.memory import after_of
from caxton_node.api.memory_rows import memory_row
from caxton_node.api.memory_views import (
    AgentText,
    EntitySummary,
    ProofView,
    ScopeQuery,
    ScopeText,
    access_for,
    memory_of,
    scope_for,
    show_entity,
    show_proof,
)
from caxton_node.api.table import Answer, NoQuery, Request, Shape
from caxton_node.api.types import Body, Cursor, Instant, Limit, Query, QueryBool, View, instant
from caxton_node.domain.errors import Conflict, NotFound, Rejected
from caxton_node.memory.forgetting import Selection
from caxton_node.memory.fullness import nearly_full
from caxton_node.memory.records import Access, Scope
from caxton_node.memory.service import Memory
from caxton_node.memory.transfer import (
    FORMAT_VERSION,
    Imported,
    by_scope,
    read_records,
    records_of,
)
from caxton_node.runtime.node import Node

__all__ = ["ENDPOINTS"]

RECORDS_MAX: Final = 1_000
"""Records of one import."""

AGENT_ENTITIES_SHOWN: Final = 20

_BACKUP_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")


class ExportQuery(ScopeQuery):
    """What is exported."""

    embeddings: QueryBool = Field(default=False, description="With their vectors.")
    everything: QueryBool = Field(
        default=False, description="Of all scopes that the node knows; the records name them."
    )
    part: Literal["facts", "relations"] = "facts"
    cursor: Cursor | None = None
    limit: Limit = 500


class ExportPage(View):
    """Part of an export."""

    version: str
    exported_at: Instant
    items: list[dict[str, Any]] = Field(description="Records, as an import takes them.")
    total: int | None = None
    next_cursor: str | None


async def export_memory(request: Request[ExportQuery, None], node: Node) -> ExportPage:
    """Export facts, then relations, with everything that is known of them."""
    query, memory = request.query, memory_of(node)
    access = access_for(node, query.agent, query.scope)
    if query.everything:
        access = Access.only(*await memory.backend.scopes())
    after = after_of(query.cursor)
    if query.part == "relations":
        page = await memory.backend.export_relations(access, after=after, limit=query.limit)
    else:
        page = await memory.backend.export(
            access, after=after, limit=query.limit, has_vectors=query.embeddings
        )
    return ExportPage(
        version=FORMAT_VERSION,
        exported_at=instant(memory.now()),
        items=records_of(page, model=memory.model),
        next_cursor=None if page.next_after is None else str(page.next_after),
    )


class ImportBody(Body):
    """Records to be remembered."""

    records: Annotated[list[dict[str, Any]], Field(max_length=RECORDS_MAX)] = Field(
        description="As an export gives them, or lines of the MCP memory server, or blocks."
    )
    agent: AgentText | None = None
    scope: ScopeText | None = None
    own_scopes: bool = Field(
        default=False,
        description="Each record goes to the scope that it names, if it names one. All or none "
        "of each scope.",
    )


class ImportedView(View):
    """What became of the records."""

    facts: int
    new: int = Field(description="Facts that were not known before.")
    relations: int
    vectors: int = Field(description="Vectors taken over; the others are made here.")
    scope: str


async def import_memory(request: Request[Any, ImportBody], node: Node) -> Answer:
    """Remember records, all or none. Those that are known already change nothing."""
    body, memory = request.body, memory_of(node)
    given = scope_for(body.agent, body.scope)
    parts = {given: read_records(body.records)}
    if body.own_scopes:
        shelves = by_scope(body.records, given)
        parts = {scope: read_records(records) for scope, records in shelves.items()}
    views = [await _import(memory, scope, read) for scope, read in parts.items()]
    total = ImportedView(
        facts=sum(view.facts for view in views),
        new=sum(view.new for view in views),
        relations=sum(view.relations for view in views),
        vectors=sum(view.vectors for view in views),
        scope=str(given),
    )
    return Answer(total, status=201)


async def _import(memory: Memory, scope: Scope, read: Imported) -> ImportedView:
    access = Access.only(scope)
    done = await memory.remember(access, scope, read.facts) if read.facts else []
    if read.relations:
        await memory.relate(access, scope, read.relations)
    vectors = [
        (done[place].observation_id, data)
        for place, model, data in read.vectors
        if memory.takes_vector(model, data)
    ]
    if vectors:
        await memory.backend.put_vectors(vectors, now=memory.now())
    return ImportedView(
        facts=len(done),
        new=sum(one.is_new for one in done),
        relations=len(read.relations),
        vectors=len(vectors),
        scope=str(scope),
    )


class MemoryStatsView(View):
    """How much there is."""

    state: str
    model: str | None = Field(description="Whose vectors are compared; null until it is loaded.")
    entities: int
    observations: int
    current: int
    relations: int
    vectors: int
    in_arena: int
    arena_bytes: int
    file_bytes: int
    by_scope: dict[str, int]
    limit: int = Field(description="Entities that one scope may have.")
    warnings: list[str]


async def get_memory_stats(_: Request[NoQuery, None], node: Node) -> MemoryStatsView:
    """Count what is remembered on this node."""
    memory = memory_of(node)
    stats = await memory.backend.stats(None)
    limit = memory.limits.entities_per_scope
    return MemoryStatsView(
        state=memory.state,
        model=memory.model,
        entities=stats.entities,
        observations=stats.observations,
        current=stats.current,
        relations=stats.relations,
        vectors=stats.vectors,
        in_arena=stats.in_arena,
        arena_bytes=stats.arena_bytes,
        file_bytes=stats.file_bytes,
        by_scope=stats.by_scope,
        limit=limit,
        warnings=nearly_full(stats, limit),
    )


class ForgetBody(Body):
    """What is to be forgotten, for good."""

    agent: AgentText | None = None
    scope: ScopeText | None = None
    entity: Annotated[str, Field(min_length=1, max_length=256)] | None = None
    observation: int | None = None
    conversation_id: Annotated[str, Field(min_length=1, max_length=512)] | None = None
    confirm: bool = Field(default=False, description="Needed to forget everything of a scope.")


async def forget_memory(request: Request[Any, ForgetBody], node: Node) -> ProofView:
    """Delete what is selected for good, and prove it."""
    body = request.body
    selection = Selection(
        entity=body.entity, observation_id=body.observation, conversation_id=body.conversation_id
    )
    if selection.is_everything and not body.confirm:
        raise Conflict(
            "state_conflict",
            "this would forget everything",
            hint="Say `confirm: true`, or select something.",
        )
    access = Access.only(scope_for(body.agent, body.scope))
    return show_proof(await memory_of(node).backend.forget(access, selection))


async def delete_entity(request: Request[ScopeQuery, None], node: Node) -> ProofView:
    """Forget an entity for good, with all that is known of it."""
    query, name = request.query, request.path["entity"]
    access = Access.only(scope_for(query.agent, query.scope))
    proof = await memory_of(node).backend.forget(access, Selection(entity=name))
    if not proof.entities:
        raise NotFound("memory_not_found", f"nothing is known of {name!r}")
    return show_proof(proof)


class CheckView(View):
    """What was found amiss and mended."""

    findings: list[str]


async def check_memory(_: Request[NoQuery, None], node: Node) -> CheckView:
    """Compare the word index, vectors and arena with the rows, and mend what can be."""
    return CheckView(findings=await memory_of(node).backend.check())


class BackupBody(Body):
    """What the copy is called."""

    name: Annotated[str, Field(min_length=1, max_length=100)] = Field(
        description="A file name; it lies in `backups` in the data directory."
    )


class BackupView(View):
    """A copy that was made."""

    path: str
    size_bytes: int


async def back_up_memory(request: Request[Any, BackupBody], node: Node) -> Answer:
    """Copy the memory to a file of the node's, while work goes on."""
    name = request.body.name
    if not _BACKUP_NAME.fullmatch(name):
        raise Rejected("invalid_request", "a name has letters, digits and . _ - only")
    path, size_bytes = await memory_of(node).back_up(name)
    return Answer(BackupView(path=str(path), size_bytes=size_bytes), status=201)


class AgentMemoryView(View):
    """What an agent knows."""

    agent: str
    enabled: bool
    scope: str
    entities: int
    observations: int
    relations: int
    items: list[EntitySummary] = Field(description=f"The first {AGENT_ENTITIES_SHOWN} entities.")


async def get_agent_memory(request: Request[NoQuery, None], node: Node) -> AgentMemoryView:
    """Show what an agent knows: its own memory and what it shares."""
    name = request.path["name"]
    spec = node.roster.seat(name).spec
    backend, access = memory_of(node).backend, access_for(node, name, None)
    stats = await backend.stats(access)
    found = await backend.entities(access, type_name=None, after=0, limit=AGENT_ENTITIES_SHOWN)
    return AgentMemoryView(
        agent=name,
        enabled=spec.memory.is_enabled,
        scope=spec.memory.scope,
        entities=stats.entities,
        observations=stats.observations,
        relations=stats.relations,
        items=[show_entity(one) for one in found],
    )


class ConfirmQuery(Query):
    """Whether it is meant."""

    confirm: QueryBool = Field(default=False, description="Needed: it cannot be undone.")


async def delete_agent_memory(request: Request[ConfirmQuery, None], node: Node) -> ProofView:
    """Forget everything that is an agent's own, for good. What it shares stays."""
    if not request.query.confirm:
        raise Conflict("state_conflict", "this would forget everything", hint="Say `confirm=true`.")
    access = Access.only(scope_for(request.path["name"], "agent"))
    return show_proof(await memory_of(node).backend.forget(access, Selection()))


ENDPOINTS: Final = (
    memory_row(
        "DELETE /memory/entities/{entity}",
        delete_entity,
        "Forget an entity",
        {200: Shape("It is gone; the proof.", ProofView)},
        query=ScopeQuery,
        errors=(
            "memory_not_found",
            "memory_failed",
        ),
    ),
    memory_row(
        "POST /memory/forget",
        forget_memory,
        "Forget what is selected",
        {200: Shape("It is gone; the proof.", ProofView)},
        body=ForgetBody,
        errors=(
            "state_conflict",
            "memory_failed",
        ),
    ),
    memory_row(
        "GET /memory/export",
        export_memory,
        "Export memory",
        {200: Shape("A page of records.", ExportPage)},
        query=ExportQuery,
    ),
    memory_row(
        "POST /memory/import",
        import_memory,
        "Import memory",
        {201: Shape("They are on disk.", ImportedView)},
        body=ImportBody,
        errors=("node_busy",),
    ),
    memory_row(
        "GET /memory/stats",
        get_memory_stats,
        "Count what is remembered",
        {200: Shape("The counts.", MemoryStatsView)},
    ),
    memory_row(
        "POST /memory/check",
        check_memory,
        "Check memory and mend it",
        {200: Shape("What was found.", CheckView)},
    ),
    memory_row(
        "POST /memory/backups",
        back_up_memory,
        "Back up memory",
        {201: Shape("The copy.", BackupView)},
        body=BackupBody,
        deadline_s=300.0,
        errors=("already_exists",),
    ),
    memory_row(
        "GET /agents/{name}/memory",
        get_agent_memory,
        "See what an agent knows",
        {200: Shape("Counts and entities.", AgentMemoryView)},
        errors=("agent_not_found",),
    ),
    memory_row(
        "DELETE /agents/{name}/memory",
        delete_agent_memory,
        "Forget everything of an agent",
        {200: Shape("It is gone; the proof.", ProofView)},
        query=ConfirmQuery,
        errors=(
            "state_conflict",
            "memory_failed",
        ),
    ),
)
