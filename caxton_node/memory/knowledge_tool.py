"""`knowledge_base`: an agent's own hands on its memory.

What an agent remembers by itself it recalls by itself; this is for what it decides to look up or
to write down. It reads and writes the agent's own memory and no other.
"""

from collections.abc import Mapping
from typing import Any, Final

from caxton_node.domain.errors import CaxtonError, Rejected
from caxton_node.domain.tool import ToolResult, ToolSpec
from caxton_node.memory.finding import NO_FILTERS
from caxton_node.memory.graph import Walk
from caxton_node.memory.records import (
    DEFAULT_WORKSPACE,
    Access,
    Kind,
    NewFact,
    NewRelation,
    Scope,
    Source,
)
from caxton_node.memory.service import Memory
from caxton_node.tools.tool import ToolContext

__all__ = ["KnowledgeBase"]

FOUND_MAX: Final = 10


def _own(agent: str) -> Scope:
    return Scope("agent", DEFAULT_WORKSPACE, agent)


def _source(context: ToolContext) -> Source:
    return Source(
        agent=context.agent,
        conversation_id=context.conversation_id,
        message_id=context.message_id,
    )


class KnowledgeBase:
    """Searches, notes and relates.

    Args:
        memory: The node's.
    """

    spec = ToolSpec(
        name="knowledge_base",
        description=(
            "The agent's long-term memory. search: what fits a question; about: what is known of "
            "an entity; add: note a sentence about an entity; relate: note how two entities are "
            "related; neighbours: what an entity is related to."
        ),
        parameters={
            "type": "object",
            "properties": {
                "operation": {
                    "type": "string",
                    "enum": ["search", "about", "add", "relate", "neighbours"],
                    "description": "What to do.",
                },
                "query": {
                    "type": "string",
                    "maxLength": 2_000,
                    "description": "For search: the question.",
                },
                "entity": {
                    "type": "string",
                    "maxLength": 256,
                    "description": "For all others: the name of the entity.",
                },
                "text": {
                    "type": "string",
                    "maxLength": 8_000,
                    "description": "For add: one full sentence.",
                },
                "relation": {
                    "type": "string",
                    "maxLength": 256,
                    "description": "For relate: such as works_at.",
                },
                "target": {
                    "type": "string",
                    "maxLength": 256,
                    "description": "For relate: the other entity.",
                },
            },
            "required": ["operation"],
            "additionalProperties": False,
        },
        is_destructive=True,
    )

    def __init__(self, memory: Memory) -> None:
        self._memory = memory

    async def call(self, arguments: Mapping[str, Any], context: ToolContext) -> ToolResult:
        """Do `operation`."""
        try:
            return ToolResult(content=await self._do(arguments, context))
        except CaxtonError as problem:
            return ToolResult(
                content={"error": problem.detail, "hint": problem.hint}, is_error=True
            )

    async def _do(self, arguments: Mapping[str, Any], context: ToolContext) -> dict[str, Any]:
        scope = _own(context.agent)
        access = Access.only(scope)
        match arguments["operation"]:
            case "search":
                found = await self._memory.recall(
                    access, _needed(arguments, "query"), limit=FOUND_MAX
                )
                return {
                    "found": [
                        {
                            "entity": hit.observation.entity,
                            "text": hit.observation.text,
                            "score": round(hit.score, 3),
                        }
                        for hit in found.hits
                    ]
                } | ({"note": found.note} if found.note else {})
            case "about":
                views = await self._memory.backend.entity(
                    access, _needed(arguments, "entity"), NO_FILTERS, now=self._memory.now()
                )
                texts = [one.text for view in views for one in view.observations]
                return {"entity": arguments["entity"], "known": texts}
            case "add":
                fact = NewFact(
                    entity=_needed(arguments, "entity"),
                    text=_needed(arguments, "text"),
                    kind=Kind.NOTE,
                    source=_source(context),
                )
                (done,) = await self._memory.remember(access, scope, [fact])
                return {"entity": fact.entity, "is_new": done.is_new}
            case "relate":
                relation = NewRelation(
                    source_entity=_needed(arguments, "entity"),
                    target_entity=_needed(arguments, "target"),
                    type=_needed(arguments, "relation"),
                    source=_source(context),
                )
                await self._memory.relate(access, scope, [relation])
                return {"related": [relation.source_entity, relation.type, relation.target_entity]}
            case _:
                view = await self._memory.backend.walk(
                    access, _needed(arguments, "entity"), Walk(depth=1)
                )
                return {
                    "relations": [
                        [one.source_entity, one.type, one.target_entity] for one in view.relations
                    ]
                }


def _needed(arguments: Mapping[str, Any], name: str) -> str:
    value = str(arguments.get(name, ""))
    if not value.strip():
        raise Rejected("invalid_request", f"`{name}` is needed for this")
    return value
