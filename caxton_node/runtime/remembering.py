"""How an agent's turn uses memory: recall before the first call of the model, learn after.

Recall is a recorded step: a turn that is taken again reads what it recalled the first time, so
that its prompt is the same to the byte. Learning is recorded too, and a turn that did it once does
not do it again. Neither fails a turn: an agent without its memory still answers.
"""

import logging
from dataclasses import dataclass
from typing import Final

import msgspec

from caxton_node.domain.agent import AgentSpec
from caxton_node.domain.errors import CaxtonError
from caxton_node.domain.message import Message
from caxton_node.domain.performatives import NEGATIVE
from caxton_node.llm.estimate import estimate_tokens
from caxton_node.memory.extract import facts_in, is_statement, sentences, solution_in
from caxton_node.memory.knowledge import Knowledge, assemble
from caxton_node.memory.records import Access, Hit, Kind, NewFact, Scope, Source
from caxton_node.memory.service import Memory
from caxton_node.runtime.agent import Reply
from caxton_node.runtime.prompt import text_of

__all__ = ["AgentMemory", "access_of", "decode_knowledge", "encode_knowledge", "home_of"]

RECALLED_MAX: Final = 20
SIMILARITY_MIN: Final = 0.3
"""Being less alike than this is no reason to be put before a model."""

EPISODE_TEXT_MAX: Final = 2_000
"""Characters of each side of an exchange that are kept."""

CONTEXT_TEXT_MAX: Final = 500

_log = logging.getLogger("caxton.memory")


def access_of(spec: AgentSpec) -> Access:
    """Return what an agent may see and change, by the scope in its file."""
    return Access.of_agent(spec.name, spec.memory.scope)


def home_of(spec: AgentSpec) -> Scope:
    """Return where an agent's own conclusions go."""
    return next(one for one in access_of(spec).writes if one.kind == spec.memory.scope)


def encode_knowledge(knowledge: Knowledge) -> bytes:
    """Return what was recalled as the JSON of a step."""
    return msgspec.json.encode(knowledge)


def decode_knowledge(data: bytes) -> Knowledge:
    """Return what `encode_knowledge` wrote."""
    return msgspec.json.decode(data, type=Knowledge)


@dataclass(frozen=True, slots=True)
class AgentMemory:
    """The node's memory as one agent sees it."""

    memory: Memory
    spec: AgentSpec

    async def recall(self, message: Message) -> Knowledge:
        """Return what is known about a message, within the budget; nothing when it fails."""
        question = text_of(message.body())
        try:
            found = await self.memory.recall(
                access_of(self.spec),
                question,
                limit=RECALLED_MAX,
                similarity_min=SIMILARITY_MIN,
            )
        except CaxtonError as problem:
            _log.warning("%s answers without its memory: %s", self.spec.name, problem)
            return Knowledge(note=f"memory could not be read: {problem.detail}")
        return assemble(
            [hit for hit in found.hits if not _is_of(message.conversation_id, hit)],
            budget_tokens=self.memory.limits.recall_tokens,
            count_tokens=estimate_tokens,
            note=found.note,
        )

    async def learn(self, message: Message, reply: Reply, context: str) -> int:
        """Store what a turn that went well is worth keeping; return how much."""
        if reply.performative is not None and reply.performative in NEGATIVE:
            return 0
        facts = lessons(self.spec.name, message, reply, context)
        try:
            return await self.memory.learn(access_of(self.spec), home_of(self.spec), facts)
        except CaxtonError as problem:
            _log.warning("what %s learnt is not stored: %s", self.spec.name, problem)
            return 0

    async def note_use(self, knowledge: Knowledge) -> None:
        """Remember what was of use: it decays later."""
        try:
            await self.memory.backend.use(knowledge.observation_ids, now=self.memory.now())
        except CaxtonError as problem:
            _log.warning("that memories were of use is not stored: %s", problem)


def lessons(agent: str, message: Message, reply: Reply, context: str) -> list[NewFact]:
    """Return what an exchange is worth keeping: what was stated, and what was said. Pure.

    An answer that was made without a model repeats what is known already; then only statements
    are kept: as facts, or as they stand where rules read no fact from them.
    """
    asked, answered = text_of(message.body()), text_of(reply.content)
    metadata = reply.metadata or {}
    is_offline = bool(metadata.get("offline"))
    source = Source(
        agent=agent,
        conversation_id=message.conversation_id,
        message_id=message.id,
    )
    before = context[:CONTEXT_TEXT_MAX]
    facts = facts_in(asked, speaker=message.sender, source=source, context=before)
    if is_offline:
        if facts or not any(map(is_statement, sentences(asked))):
            return facts
        said = f"{message.sender}: {asked[:EPISODE_TEXT_MAX]}"
    else:
        said = (
            f"{message.sender}: {asked[:EPISODE_TEXT_MAX]}\n{agent}: {answered[:EPISODE_TEXT_MAX]}"
        )
        solved = solution_in(asked, answered, source=source)
        facts += [] if solved is None else [solved]
    episode = NewFact(
        entity=f"conversations with {message.sender}",
        type="conversation",
        text=said,
        kind=Kind.EPISODE,
        context=before,
        strength=0.5,
        source=source,
    )
    return [*facts, episode]


def _is_of(conversation_id: str, hit: Hit) -> bool:
    """Whether a find is an exchange of this very conversation, which the history shows anyway."""
    one = hit.observation
    return one.kind == Kind.EPISODE and one.source.conversation_id == conversation_id
