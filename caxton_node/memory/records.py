"""What memory holds, as values. No I/O.

An *entity* is something one can name; an *observation* is one sentence about it, and the unit
that is found; a *relation* joins two entities. Observations and relations are true from one
instant to another: a newer truth closes the interval of the older one and deletes nothing.

What comes out of a memory by the hundred is a msgspec struct, which is made ten times as fast as
a frozen dataclass.
"""

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import msgspec

from caxton_node.domain.agent import EMPTY
from caxton_node.domain.errors import Denied

__all__ = [
    "DEFAULT_WORKSPACE",
    "GLOBAL",
    "Access",
    "Entity",
    "Hit",
    "Interval",
    "Kind",
    "Lived",
    "NewFact",
    "NewRelation",
    "Observation",
    "Reasons",
    "Relation",
    "Scope",
    "Source",
]

DEFAULT_WORKSPACE: Final = "default"

NAME_LENGTH_MAX: Final = 256
TEXT_LENGTH_MAX: Final = 8_000
"""Characters of one observation."""


@dataclass(frozen=True, slots=True, order=True)
class Scope:
    """To whom a memory belongs."""

    kind: str
    """`agent`, `workspace` or `global`."""
    workspace: str = ""
    agent: str = ""

    def __post_init__(self) -> None:
        assert self.kind in ("agent", "workspace", "global"), f"{self.kind!r} is no scope"
        assert bool(self.workspace) is (self.kind != "global"), "all but the global have one"
        assert bool(self.agent) is (self.kind == "agent"), "an agent's scope names the agent"

    def __str__(self) -> str:
        return "/".join(part for part in (self.kind, self.workspace, self.agent) if part)


GLOBAL: Final = Scope("global")


@dataclass(frozen=True, slots=True)
class Access:
    """What a caller may see and change. There is no call without one."""

    reads: frozenset[Scope]
    writes: frozenset[Scope]

    @classmethod
    def of_agent(
        cls, agent: str, scope: str = "agent", workspace: str = DEFAULT_WORKSPACE
    ) -> "Access":
        """Return what an agent may: its own, and what is shared as far as its scope goes.

        Args:
            agent: Its name.
            scope: `agent`, `workspace` or `global`: with whom it shares.
            workspace: Where it lives.
        """
        own, shared = Scope("agent", workspace, agent), Scope("workspace", workspace)
        seen = {"agent": {own}, "workspace": {own, shared}, "global": {own, shared, GLOBAL}}[scope]
        return cls(frozenset(seen), frozenset(seen))

    @classmethod
    def only(cls, *scopes: Scope) -> "Access":
        """Return access to exactly these scopes."""
        return cls(frozenset(scopes), frozenset(scopes))

    def check_write(self, scope: Scope) -> None:
        """Make sure that a scope may be changed.

        Raises:
            Denied: `denied`.
        """
        if scope not in self.writes:
            raise Denied("denied", f"the memory {scope} may not be changed from here")


class Kind(enum.StrEnum):
    """What sort of knowledge an observation is."""

    FACT = "fact"
    PREFERENCE = "preference"
    SOLUTION = "solution"
    ERROR = "error"
    EPISODE = "episode"
    """An exchange as it was said, before anybody drew conclusions from it."""
    NOTE = "note"
    """Put there on purpose: by a user, a tool, an import."""


class Source(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """Where a memory comes from: the answer to the question *why do you know this*."""

    agent: str = ""
    conversation_id: str = ""
    message_id: str = ""
    model: str = ""
    """That drew the conclusion; empty where rules or people did."""


NO_SOURCE: Final = Source()
"""Nobody knows."""


class Interval(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """When something is true, in milliseconds since 1970, UTC; the end is not part of it."""

    start: int
    end: int | None = None

    def holds(self, at: int) -> bool:
        """Whether it is true at an instant."""
        return self.start <= at and (self.end is None or at < self.end)


@dataclass(frozen=True, slots=True, kw_only=True)
class Lived:
    """What a memory went through elsewhere, for one that moves. Milliseconds since 1970, UTC."""

    created_at: int
    used_at: int
    use_count: int = 0
    expires_at: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class NewFact:
    """Something to be remembered."""

    entity: str
    text: str
    type: str = "thing"
    """Of the entity, when it is new."""
    kind: Kind = Kind.FACT
    attribute: str = ""
    """What it says of the entity (`name`, `home`). A newer text for the same attribute replaces
    the older one from then on; facts without one stand side by side."""
    context: str = ""
    """What was said before: found by its words, not shown as the memory's text."""
    confidence: float = 1.0
    strength: float = 1.0
    valid_from: int | None = None
    """None is now."""
    valid_to: int | None = None
    ttl_s: float | None = None
    """After which it is deleted."""
    is_pinned: bool = False
    """Neither decays nor is ever cleaned up."""
    metadata: Mapping[str, Any] = field(default=EMPTY)
    """Of the entity; merged into what it has."""
    source: Source = NO_SOURCE
    lived: Lived | None = None
    """Where it comes from another memory; it is not as new as it seems then."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NewRelation:
    """A connection to be remembered, between entities that exist or will be made."""

    source_entity: str
    target_entity: str
    type: str
    strength: float = 0.5
    confidence: float = 1.0
    valid_from: int | None = None
    valid_to: int | None = None
    source: Source = NO_SOURCE


class Entity(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """Something one can name."""

    id: int
    scope: Scope
    name: str
    type: str
    metadata: Mapping[str, Any]
    version: int
    created_at: int
    updated_at: int


class Observation(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """One sentence about an entity."""

    id: int
    scope: Scope
    entity_id: int
    entity: str
    type: str
    kind: str
    attribute: str
    text: str
    context: str
    confidence: float
    strength: float
    created_at: int
    valid: Interval
    expires_at: int | None
    is_pinned: bool
    use_count: int
    used_at: int
    source: Source


class Relation(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """A typed, weighted connection."""

    id: int
    scope: Scope
    source_entity: str
    target_entity: str
    source_id: int
    target_id: int
    type: str
    strength: float
    confidence: float
    valid: Interval
    source: Source


class Reasons(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """Why something was found. None: this way did not find it."""

    similarity: float | None = None
    """Cosine of the vectors, 0 to 1."""
    similarity_rank: int | None = None
    keyword_score: float | None = None
    """BM25, higher is better."""
    keyword_rank: int | None = None
    graph_via: str | None = None
    """The entity that leads to it."""
    recency: float = 1.0
    strength: float = 1.0


class Hit(msgspec.Struct, frozen=True, gc=False):
    """Something found, with its score (0 to 1, the best possible is 1) and the reasons for it."""

    observation: Observation
    score: float
    reasons: Reasons
