"""Whether two memories say the same: counted, sampled, and asked the same questions."""

from dataclasses import dataclass
from typing import Any, Final

from caxton_node.memory.backend import MemoryBackend, Search
from caxton_node.memory.fusion import FusionWeights
from caxton_node.memory.moving.book import MoveBook
from caxton_node.memory.records import Access, Observation

__all__ = ["CONSISTENCY_MIN", "Comparison", "compare"]

CONSISTENCY_MIN: Final = 0.95
"""The share of finds that both must have in common."""

SAMPLED: Final = 100
FOUND_AT: Final = 10

TIE: Final = 1e-3
"""Cosines that differ by less are the same: engines compute with other numbers."""

_NEARNESS: Final = FusionWeights(recency=0.0, strength=0.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """What comparing came to."""

    source: dict[str, int]
    target: dict[str, int]
    pairs: int
    sampled: int
    alike: int
    """Of the sample: the same text, entity and interval on both sides."""
    questions: int
    consistency: float | None
    """The mean share of the target's ten best finds that are the source's, or as near; None where
    there are no vectors to ask with."""

    @property
    def is_good(self) -> bool:
        """Whether the target may take the source's place."""
        is_complete = (
            self.pairs >= self.source["observations"]
            and self.target["observations"] >= self.source["observations"]
            and self.target["relations"] >= self.source["relations"]
        )
        is_consistent = self.consistency is None or self.consistency > CONSISTENCY_MIN
        return is_complete and self.alike == self.sampled and is_consistent

    def document(self) -> dict[str, Any]:
        """Return it for people and programs."""
        return {
            "source": self.source,
            "target": self.target,
            "sampled": self.sampled,
            "alike": self.alike,
            "questions": self.questions,
            "consistency": self.consistency,
            "is_good": self.is_good,
        }


async def compare(
    source: MemoryBackend, target: MemoryBackend, book: MoveBook, *, side: str, now: int
) -> Comparison:
    """Compare a memory with what was made of it.

    Args:
        source: What was copied.
        target: The copy; it may hold more.
        book: Of the move.
        side: Of the source in the book.
        now: Milliseconds since 1970, UTC.
    """
    scopes = await source.scopes()
    access = Access.only(*scopes)
    sample = await book.sample(SAMPLED)
    alike, shares = 0, []
    for pair in sample:
        ours, theirs = (pair.old, pair.new) if side == "old" else (pair.new, pair.old)
        one, vector = await _one(source, access, ours)
        twin, _ = await _one(target, access, theirs)
        alike += one is not None and twin is not None and _says(one) == _says(twin)
        if one is not None and vector is not None and one.valid.end is None:
            shares.append(await _share(source, target, book, Access.only(one.scope), vector,
                                       side=side, now=now))  # fmt: skip
    return Comparison(
        source=await _counts(source, access),
        target=await _counts(target, access),
        pairs=await book.count(),
        sampled=len(sample),
        alike=alike,
        questions=len(shares),
        consistency=sum(shares) / len(shares) if shares else None,
    )


async def _one(
    memory: MemoryBackend, access: Access, number: int
) -> tuple[Observation | None, bytes | None]:
    page = await memory.export(access, after=number - 1, limit=1, has_vectors=True)
    found = page.observations
    if not found or found[0].id != number:
        return None, None
    return found[0], dict(page.vectors).get(number)


def _says(one: Observation) -> tuple[object, ...]:
    return (one.scope, one.entity, one.kind, one.attribute, one.text, one.valid)


async def _share(
    source: MemoryBackend,
    target: MemoryBackend,
    book: MoveBook,
    access: Access,
    vector: bytes,
    *,
    side: str,
    now: int,
) -> float:
    """Return which share of the target's best finds are among the source's, or as near as those."""
    asked = Search(question="", vector=vector, limit=FOUND_AT, has_graph=False, weights=_NEARNESS)
    wanted = await source.search(access, asked, now=now)
    found = await target.search(access, asked, now=now)
    if not wanted:
        return 1.0
    twins = await book.twins([hit.observation.id for hit in wanted], side=side)
    known = set(twins.values())
    # Of several that are equally near, each engine returns others.
    least = min(hit.reasons.similarity or 0.0 for hit in wanted) - TIE
    good = [
        hit
        for hit in found
        if hit.observation.id in known or (hit.reasons.similarity or 0.0) >= least
    ]
    return min(1.0, len(good) / len(wanted))


async def _counts(memory: MemoryBackend, access: Access) -> dict[str, int]:
    stats = await memory.stats(access)
    return {
        "entities": stats.entities,
        "observations": stats.observations,
        "relations": stats.relations,
    }
