"""Memory as the rest of the node sees it: remember, recall, forget, and the chores behind.

The service makes vectors of what is told and asked, keeps out what must not be stored, and hands
everything else to a backend. Where there is no model it finds by words, and every answer says so.
What is remembered can be found by its words at once and by its meaning moments later: vectors are
made behind the caller's back, from the rows, so that a crash in between loses none.
"""

import asyncio
import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final, Protocol

import msgspec

from caxton_node.domain.errors import CaxtonError, Conflict, Rejected
from caxton_node.memory.backend import MemoryBackend, Search, Unconsolidated, Vector, Words
from caxton_node.memory.embedding.embedder import Embedder, Priority
from caxton_node.memory.embedding.model_files import ModelUnavailable
from caxton_node.memory.exclusion import Exclusion
from caxton_node.memory.finding import NO_FILTERS, Filters
from caxton_node.memory.moving.book import Move
from caxton_node.memory.postponing import Postponed
from caxton_node.memory.records import (
    NAME_LENGTH_MAX,
    TEXT_LENGTH_MAX,
    Access,
    Hit,
    NewFact,
    NewRelation,
    Scope,
)
from caxton_node.memory.writing import Remembered

__all__ = ["Consolidator", "Memory", "MemoryLimits", "Moves", "Now", "Recall"]

FACTS_AT_ONCE_MAX: Final = 1_000

EMBEDDED_AT_ONCE: Final = 32
EMBED_RETRY_S: Final = 30.0
"""How often what lacks a vector is looked for when nothing new was told."""

UPKEEP_EVERY_S: Final = 60.0
CONSOLIDATE_EVERY_S: Final = 15.0
CONVERSATIONS_AT_ONCE: Final = 4

WORDS_CANDIDATES: Final = 64

_log = logging.getLogger("caxton.memory")


class Now(Protocol):
    """Tells the time."""

    def __call__(self) -> int:
        """Return milliseconds since 1970, UTC."""
        ...


class Consolidator(Protocol):
    """Draws conclusions from a conversation that has ended."""

    async def __call__(
        self, conversation: Unconsolidated
    ) -> tuple[Sequence[NewFact], Sequence[NewRelation]]:
        """Return what is to be remembered of it.

        Raises:
            CaxtonError: Not now; it is tried again.
        """
        ...


class Moves(Protocol):
    """Moves the memory to another backend while it works."""

    @property
    def move(self) -> Move | None:
        """The move that is under way, or was the last."""
        ...

    @property
    def problem(self) -> str:
        """Why it does not go on at the moment; empty when it does."""
        ...

    async def begin(self, target: str) -> Move:
        """Begin to move to a backend."""
        ...

    async def take_back(self) -> Move:
        """Let the source lead again, and end the move."""
        ...

    async def finish(self) -> Move:
        """Write to the target alone from now on."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class MemoryLimits:
    """How much and how long."""

    entities_per_scope: int = 100_000
    half_life_s: float = 30 * 86_400.0
    consolidate_after_s: float = 120.0
    """A conversation in which nothing was said for so long has ended."""
    recall_tokens: int = 800
    """Of memory in one prompt."""


@dataclass(frozen=True, slots=True)
class Recall:
    """What was found, and how."""

    hits: list[Hit]
    is_semantic: bool
    """Whether meaning counted, or words only."""
    note: str = ""
    """Why it did not."""


class Memory:
    """The node's memory. All methods belong to the event loop.

    Args:
        backend: What keeps it; open.
        embedder: What makes vectors.
        now: Tells the time.
        exclusion: What is never stored.
        limits: How much and how long.
        backups: The folder for copies.
    """

    def __init__(
        self,
        backend: MemoryBackend,
        embedder: Embedder,
        *,
        now: Now,
        exclusion: Exclusion | None = None,
        limits: MemoryLimits | None = None,
        backups: Path | None = None,
    ) -> None:
        self.backend = backend
        self.limits = limits or MemoryLimits()
        self.moves: Moves | None = None
        """Set by whoever can open other backends."""
        self._embedder = embedder
        self._now = now
        self._exclusion = exclusion or Exclusion()
        self._backups = backups
        self._model: str | None = None
        self._told = asyncio.Event()
        self._using = asyncio.Lock()
        self._postponed = Postponed()

    @property
    def state(self) -> str:
        """`ready`, `ready: …`, or `degraded: …` for people and health checks."""
        if self.backend.trouble is not None:
            return f"degraded: {self.backend.trouble}"
        match self._embedder.state:
            case "ready":
                return "ready"
            case "waiting":
                return "ready: the embedding model is loaded when it is first wanted"
            case "loading":
                return "ready: the embedding model is loading; until then words alone are found"
            case "switched off":
                return "ready: by words only, as configured"
            case why:
                return f"degraded: by words only: {why}"

    @property
    def model(self) -> str | None:
        """Whose vectors are compared; None until it is loaded."""
        return self._model

    def takes_vector(self, model: str, data: bytes) -> bool:
        """Whether a vector that was made elsewhere is one of the model in use here."""
        return model == self._model and len(data) == 4 * self._embedder.dimensions

    def now(self) -> int:
        """Return milliseconds since 1970, UTC."""
        return self._now()

    def want_model(self) -> None:
        """Begin to load the model: somebody is going to need it."""
        self._embedder.start()
        self._told.set()

    def is_excluded(self, *texts: str) -> bool:
        """Whether any of the texts must not be stored."""
        return self._exclusion.matches(*texts)

    async def remember(
        self, access: Access, scope: Scope, facts: Sequence[NewFact]
    ) -> list[Remembered]:
        """Write facts, all or none.

        Raises:
            Rejected: `invalid_request`: empty, too long, or matching an exclusion pattern.
            Denied: `denied`: the scope may not be changed.
            Unavailable: `storage_unavailable`.
        """
        if len(facts) > FACTS_AT_ONCE_MAX:
            raise Rejected("invalid_request", f"at most {FACTS_AT_ONCE_MAX} facts at once")
        for fact in facts:
            self._check(fact)
        done = await self.backend.remember(access, scope, facts, now=self._now())
        self.want_model()
        return done

    async def learn(self, access: Access, scope: Scope, facts: Sequence[NewFact]) -> int:
        """Write those facts that may be stored; return how many. For what nobody asked to keep."""
        kept = []
        for fact in facts:
            try:
                self._check(fact)
            except Rejected:
                continue
            kept.append(fact)
        if kept:
            await self.backend.remember(access, scope, kept, now=self._now())
            self.want_model()
        return len(kept)

    def _check(self, fact: NewFact) -> None:
        if not fact.entity.strip() or not fact.text.strip():
            raise Rejected("invalid_request", "a memory needs an entity and a text")
        if len(fact.entity) > NAME_LENGTH_MAX or len(fact.text) > TEXT_LENGTH_MAX:
            raise Rejected(
                "invalid_request",
                f"an entity's name has at most {NAME_LENGTH_MAX} characters, "
                f"a text at most {TEXT_LENGTH_MAX:,}",
            )
        told = [f"{key} {value}" for key, value in fact.metadata.items()]
        if self._exclusion.matches(fact.entity, fact.text, fact.context, *told):
            raise Rejected(
                "invalid_request",
                "this looks like a secret and is not stored",
                hint="`memory.exclude` in the settings lists the patterns.",
            )

    async def relate(
        self, access: Access, scope: Scope, relations: Sequence[NewRelation]
    ) -> list[int]:
        """Write relations, all or none; entities that are missing are made."""
        for one in relations:
            if self._exclusion.matches(one.source_entity, one.target_entity, one.type):
                raise Rejected("invalid_request", "this looks like a secret and is not stored")
        return await self.backend.relate(access, scope, relations, now=self._now())

    async def recall(
        self,
        access: Access,
        question: str,
        *,
        limit: int = 10,
        filters: Filters = NO_FILTERS,
        similarity_min: float = -1.0,
    ) -> Recall:
        """Return what fits a question best: by meaning, by words and by relations."""
        now = self._now()
        # Words are looked up while the vector is made.
        async with asyncio.TaskGroup() as tasks:
            embedding = tasks.create_task(self._vector_of(question))
            words = await self._words_of(access, question, filters, limit, now)
        vector, note = embedding.result()
        if isinstance(words, CaxtonError):
            raise words
        search = Search(
            question=question,
            vector=vector,
            words=words,
            limit=limit,
            filters=filters,
            similarity_min=similarity_min,
        )
        hits = await self.backend.search(access, search, now=now)
        return Recall(hits, vector is not None, note)

    async def _words_of(
        self, access: Access, question: str, filters: Filters, limit: int, now: int
    ) -> Words | CaxtonError:
        """Return what has words of the question, or what went wrong: a group would hide it."""
        try:
            return await self.backend.find_words(
                access, question, filters, limit=max(WORDS_CANDIDATES, limit), now=now
            )
        except CaxtonError as error:
            return error

    async def _vector_of(self, question: str) -> tuple[Vector | None, str]:
        """Return a question's vector, or None and why there is none."""
        try:
            (vector,) = await self._embedder.embed([question], priority=Priority.QUESTION)
            await self._use_model()
        except (ModelUnavailable, CaxtonError) as error:
            return None, f"found by words only: {error}"
        return vector, ""

    async def _use_model(self) -> None:
        """Tell the backend whose vectors count, once they are known."""
        identity = self._embedder.identity
        if identity is None or identity == self._model:
            return
        async with self._using:
            if identity != self._model:
                await self.backend.use_model(identity, self._embedder.dimensions)
                self._model = identity

    async def put_backend(self, backend: MemoryBackend) -> None:
        """Keep memory there from now on; it is open."""
        async with self._using:
            self.backend, self._model = backend, None
        await self._use_model()

    async def model_loaded(self, *, timeout_s: float) -> None:
        """Wait until the model is loaded and in use, if there is one; not for longer."""
        self.want_model()
        await self._embedder.loaded(timeout_s=timeout_s)
        await self._use_model()

    # Chores.

    async def keep_embedded(self) -> None:
        """Make the vectors that are missing, for ever: of new rows, and all after a change."""
        while True:
            self._told.clear()
            try:
                count = await self.embed_missing()
            except CaxtonError as problem:
                _log.warning("vectors could not be stored: %s", problem)
                count = 0
            if count == EMBEDDED_AT_ONCE:
                continue
            try:
                async with asyncio.timeout(EMBED_RETRY_S):
                    await self._told.wait()
            except TimeoutError:
                continue

    async def embed_missing(self) -> int:
        """Make some of the vectors that are missing; return for how many observations."""
        if self._embedder.state in ("waiting", "loading"):
            if self._embedder.state == "waiting":
                return 0
            await self._embedder.loaded(timeout_s=EMBED_RETRY_S)
        if self._embedder.identity is None:
            return 0
        await self._use_model()
        waiting = await self.backend.unembedded(limit=EMBEDDED_AT_ONCE)
        if not waiting:
            return 0
        try:
            vectors = await self._embedder.embed(
                [one.text for one in waiting], priority=Priority.STORED
            )
        except ModelUnavailable:
            return 0
        rows = [(one.observation_id, vector) for one, vector in zip(waiting, vectors, strict=True)]
        await self.backend.put_vectors(rows, now=self._now())
        return len(waiting)

    async def keep_clean(self) -> None:
        """Delete what has outlived itself and mend what is amiss, for ever, every so often."""
        while True:
            await asyncio.sleep(UPKEEP_EVERY_S)
            try:
                if self.backend.needs_check:
                    for finding in await self.backend.check():
                        _log.warning("memory was mended: %s", finding)
                while await self._expire_some():
                    pass  # a page is one transaction: others write between two of them
            except CaxtonError as problem:
                _log.warning("old memories could not be deleted: %s", problem)

    async def _expire_some(self) -> int:
        return await self.backend.expire(
            now=self._now(),
            half_life_ms=self.limits.half_life_s * 1000,
            entity_count_max=self.limits.entities_per_scope,
        )

    async def keep_consolidated(self, consolidate: Consolidator) -> None:
        """Draw conclusions from conversations that have ended, for ever.

        What was said before it began has ended with the run of the node in which it was said.
        """
        began_at = self._now()
        while True:
            await asyncio.sleep(CONSOLIDATE_EVERY_S)
            try:
                idle_since = self._now() - int(self.limits.consolidate_after_s * 1000)
                await self.consolidate_idle(consolidate, said_before=max(idle_since, began_at))
            except CaxtonError as problem:
                _log.warning("conversations could not be consolidated: %s", problem)

    async def consolidate_idle(self, consolidate: Consolidator, *, said_before: int) -> int:
        """Draw conclusions from some of the conversations that have ended; return of how many.

        One that fails is tried again later, and later each time; the others have their turn.

        Args:
            consolidate: Draws them.
            said_before: A conversation in which nothing was said since then has ended.
        """
        now = self._now()
        # Those that wait after a failure are among the oldest: they must not fill the page.
        found = await self.backend.unconsolidated(
            idle_before=said_before, limit=CONVERSATIONS_AT_ONCE + len(self._postponed)
        )
        due = [one for one in found if self._postponed.is_due(_key_of(one), now)]
        count = 0
        for one in due[:CONVERSATIONS_AT_ONCE]:
            try:
                await self._consolidate_one(consolidate, one)
            except Exception as problem:  # a model may answer with anything
                wait_ms = self._postponed.failed(_key_of(one), now)
                is_known = isinstance(problem, CaxtonError)
                _log.warning(
                    "a conversation could not be consolidated, again in %d s: %s",
                    wait_ms // 1000, problem, exc_info=None if is_known else problem,
                )  # fmt: skip
            else:
                self._postponed.succeeded(_key_of(one))
                count += 1
        return count

    async def _consolidate_one(self, consolidate: Consolidator, one: Unconsolidated) -> None:
        facts, relations = await consolidate(one)
        access = Access.only(one.scope)
        await self.learn(access, one.scope, [_from_conversation(f, one) for f in facts])
        if relations:
            kept = [
                relation
                for relation in relations
                if not self.is_excluded(relation.source_entity, relation.target_entity)
            ]
            await self.backend.relate(access, one.scope, kept, now=self._now())
        await self.backend.mark_consolidated(
            one.scope, one.conversation_id, up_to=one.episodes[-1].id
        )

    async def back_up(self, name: str) -> tuple[Path, int]:
        """Copy everything to a file while work goes on; return its path and bytes.

        Raises:
            Conflict: `already_exists`.
            Rejected: `invalid_request`: backups are switched off.
        """
        if self._backups is None:
            raise Rejected("invalid_request", "this memory has no folder for backups")
        target = self._backups / name
        if await asyncio.to_thread(target.exists):
            raise Conflict("already_exists", f"there is a backup {name!r} already")
        return target, await self.backend.back_up(target, now=self._now())


def _key_of(conversation: Unconsolidated) -> tuple[Scope, str]:
    return conversation.scope, conversation.conversation_id


def _from_conversation(fact: NewFact, conversation: Unconsolidated) -> NewFact:
    """Return a conclusion with the conversation that it was drawn from."""
    if fact.source.conversation_id:
        return fact
    last = conversation.episodes[-1].source
    source = msgspec.structs.replace(last, model=fact.source.model)
    return replace(fact, source=source)
