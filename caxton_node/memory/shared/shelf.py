"""What an engine must be able to do to keep a shared memory, and nothing more.

Items of a few sorts with flat fields, found by id, by conditions, by nearness and by words. An
instant that is not known to come is `FOREVER`, so that no engine needs to know about nothing.
"""

import enum
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

__all__ = [
    "FIELDS",
    "FOREVER",
    "AllOf",
    "AnyOf",
    "Changes",
    "Condition",
    "Item",
    "Order",
    "Patch",
    "Shelf",
    "Side",
    "Sort",
    "Span",
    "Sweep",
    "Where",
    "is_impossible",
]

FOREVER: Final = 2**53 - 1
"""The end of what has none. Larger numbers do not survive JSON everywhere."""


class Sort(enum.StrEnum):
    """What an item is."""

    ENTITY = "entity"
    FACT = "fact"
    """An observation."""
    RELATION = "relation"
    TALK = "talk"
    """A conversation from which conclusions are still to be drawn."""
    BACKUP = "backup"
    """A copy that was made."""


FIELDS: Final[Mapping[Sort, tuple[str, ...]]] = {
    Sort.ENTITY: (
        "scope", "name", "name_key", "type", "metadata", "version", "created_at", "updated_at",
        "versions",
    ),
    Sort.FACT: (
        "scope", "entity", "subject", "type", "marks", "kind", "attribute", "text", "context",
        "digest", "confidence", "strength", "created_at", "valid_from", "valid_to", "replaced_by",
        "expires_at", "is_pinned", "use_count", "used_at", "agent", "conversation", "message",
        "model", "seq", "vector_model",
    ),
    Sort.RELATION: (
        "scope", "source", "target", "type", "strength", "confidence", "created_at", "valid_from",
        "valid_to", "agent", "conversation", "message", "model",
    ),
    Sort.TALK: ("scope", "conversation", "after", "last_at", "teller"),
    Sort.BACKUP: ("path", "taken_at"),
}  # fmt: skip
"""What each sort has. `subject`, `type` and `marks` of a fact are its entity's."""


@dataclass(frozen=True, slots=True)
class Item:
    """Something kept. Its id is unique among all sorts."""

    sort: Sort
    id: int
    fields: dict[str, Any]


@dataclass(frozen=True, slots=True)
class AnyOf:
    """The field is one of these values; `id` is a field, too."""

    field: str
    values: tuple[str | int, ...]
    is_negated: bool = False


@dataclass(frozen=True, slots=True)
class AllOf:
    """The field, a list, has all of these."""

    field: str
    values: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Span:
    """The field is at least `low` and less than `below`."""

    field: str
    low: float | None = None
    below: float | None = None


Condition = AnyOf | AllOf | Span
Where = tuple[Condition, ...]
"""All of them hold."""


def is_impossible(where: Where) -> bool:
    """Whether nothing can meet the conditions."""
    return any(isinstance(one, AnyOf) and not one.values and not one.is_negated for one in where)


@dataclass(frozen=True, slots=True)
class Order:
    """By which number items come."""

    field: str
    is_descending: bool = False


@dataclass(frozen=True, slots=True)
class Patch:
    """Other values for some fields of an item that exists."""

    sort: Sort
    id: int
    fields: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Sweep:
    """The same values for all items that meet conditions."""

    sort: Sort
    where: Where
    fields: Mapping[str, Any]


@dataclass(slots=True)
class Changes:
    """What one write comes to. Applied in this order, so that a crash leaves nothing dangling."""

    puts: list[Item] = field(default_factory=list)
    patches: list[Patch] = field(default_factory=list)
    sweeps: list[Sweep] = field(default_factory=list)

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to do."""
        return not (self.puts or self.patches or self.sweeps)


class Side(enum.StrEnum):
    """Which end of a relation is the near one."""

    OUT = "source"
    IN = "target"


class Shelf(Protocol):
    """An engine. Every call has a deadline of its own and raises `Unavailable` when it is away."""

    @property
    def name(self) -> str:
        """What people call it."""
        ...

    @property
    def trouble(self) -> str | None:
        """Why the last call failed; None when it did not."""
        ...

    async def open(self) -> None:
        """Make sure that what the shelf needs is there. May be called again."""
        ...

    async def close(self) -> None:
        """Release everything."""
        ...

    async def use_model(self, identity: str, dimensions: int) -> None:
        """Make sure that vectors of a model can be kept, and compare them from now on."""
        ...

    async def write(self, changes: Changes) -> None:
        """Apply changes, in one call to the engine."""
        ...

    async def put_vectors(self, vectors: Sequence[tuple[int, bytes]]) -> None:
        """Keep vectors of facts that exist, of the model in use."""
        ...

    async def vectors(self, ids: Sequence[int]) -> dict[int, bytes]:
        """Return the vectors of facts, of the model in use."""
        ...

    async def delete(self, sort: Sort, where: Where) -> None:
        """Delete for good what meets conditions, with its vectors and words."""
        ...

    async def find(
        self, sort: Sort, where: Where, *, limit: int, after: int = 0, order: Order | None = None
    ) -> list[Item]:
        """Return items: in the order of their ids, from after one; or in another order."""
        ...

    async def count(self, sort: Sort, where: Where) -> int:
        """Return how many items meet conditions."""
        ...

    async def count_by_scope(self, sort: Sort) -> dict[str, int]:
        """Return how many items each scope has."""
        ...

    async def nearest(self, vector: bytes, where: Where, *, limit: int) -> list[tuple[int, float]]:
        """Return the nearest facts that meet conditions, with their cosines."""
        ...

    async def by_words(
        self, terms: Sequence[str], where: Where, *, limit: int
    ) -> list[tuple[int, float]]:
        """Return facts that have any of the words and meet conditions, with their BM25."""
        ...

    async def relations_of(
        self, entities: Sequence[int], side: Side, where: Where, *, fan_out: int
    ) -> list[Item]:
        """Return the strongest relations that have each entity on one side."""
        ...
