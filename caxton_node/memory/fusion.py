"""From three ranked lists to one. Pure.

Words, vectors and the graph each propose observations in an order of their own. Reciprocal rank
fusion with a small constant and twice the weight on words does best on conversations; the usual
constant of 60 with equal weights is worse there than words alone. Age, strength and confidence
then move what is alike, and only that: they scale a score by a tenth at most.

Reference: Cormack, Clarke, Büttcher, "Reciprocal Rank Fusion", SIGIR 2009, for the method; the
weights are our own measurements, in docs/explanation/memory.md.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import msgspec

from caxton_node.memory.records import Hit, Observation, Reasons

__all__ = [
    "MEASURED",
    "FusionWeights",
    "Proposals",
    "contenders",
    "effective_strength",
    "fuse",
    "ranked",
    "recency",
]

HALF_LIFE_MS: Final = 30 * 86_400_000
"""After so long without use, a memory counts half."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FusionWeights:
    """How much each list counts."""

    constant: float = 10.0
    """Added to ranks. Small: the first places count."""
    similarity: float = 1.0
    keywords: float = 2.0
    graph: float = 0.5
    recency: float = 0.05
    """The share of a score that hangs on age."""
    strength: float = 0.05
    """The share of a score that hangs on strength and confidence."""


MEASURED: Final = FusionWeights()
"""What did best on conversations."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Proposals:
    """What each way of searching found, best first."""

    similarity: Sequence[tuple[int, float]] = ()
    keywords: Sequence[tuple[int, float]] = ()
    graph: Sequence[tuple[int, str]] = ()
    """With the name of the entity that leads there."""


def fuse(proposals: Proposals, weights: FusionWeights) -> dict[int, tuple[float, Reasons]]:
    """Return what was proposed with a score from 0 to 1, before age and strength count."""
    constant = weights.constant
    total = (weights.similarity + weights.keywords + weights.graph) / (constant + 1)
    scores: dict[int, float] = {}
    for proposed, weight in (
        (proposals.similarity, weights.similarity / total),
        (proposals.keywords, weights.keywords / total),
        (proposals.graph, weights.graph / total),
    ):
        for rank, (one, _) in enumerate(proposed, start=1):
            scores[one] = scores.get(one, 0.0) + weight / (constant + rank)
    near = {one: (rank, cosine) for rank, (one, cosine) in enumerate(proposals.similarity, start=1)}
    words = {one: (rank, bm25) for rank, (one, bm25) in enumerate(proposals.keywords, start=1)}
    via = dict(proposals.graph)
    found: dict[int, tuple[float, Reasons]] = {}
    for one, score in scores.items():
        similarity_rank, cosine = near.get(one, (None, None))
        keyword_rank, bm25 = words.get(one, (None, None))
        reasons = Reasons(
            similarity=None if cosine is None else min(1.0, max(0.0, cosine)),
            similarity_rank=similarity_rank,
            keyword_score=bm25,
            keyword_rank=keyword_rank,
            graph_via=via.get(one),
        )
        found[one] = (score, reasons)
    return found


def contenders(
    fused: Mapping[int, tuple[float, Reasons]], weights: FusionWeights, count: int
) -> list[int]:
    """Return what may be among the best `count` once age and strength count, best first."""
    order = sorted(fused, key=lambda one: (-fused[one][0], one))
    if len(order) <= count:
        return order
    least = fused[order[count - 1]][0] * (1.0 - weights.recency - weights.strength)
    return [one for place, one in enumerate(order) if place < count or fused[one][0] >= least]


def effective_strength(observation: Observation, now: int) -> float:
    """Return what a memory's strength has decayed to; a pinned one's does not."""
    if observation.is_pinned:
        return 1.0
    return observation.strength * observation.confidence * recency(observation.used_at, now)


def recency(used_at: int, now: int) -> float:
    """Return 1 for what was of use just now, half of it after every half-life."""
    return math.pow(0.5, max(0, now - used_at) / HALF_LIFE_MS)


def ranked(
    fused: Mapping[int, tuple[float, Reasons]],
    observations: Sequence[Observation],
    *,
    weights: FusionWeights,
    now: int,
    limit: int,
) -> list[Hit]:
    """Return the best observations with their final scores and all reasons."""
    hits = []
    for one in observations:
        score, reasons = fused[one.id]
        age = 1.0 if one.is_pinned else recency(one.used_at, now)
        strength = 1.0 if one.is_pinned else one.strength * one.confidence
        score *= 1.0 - weights.recency * (1.0 - age) - weights.strength * (1.0 - strength)
        hits.append(
            Hit(one, score, msgspec.structs.replace(reasons, recency=age, strength=strength))
        )
    hits.sort(key=lambda hit: (-hit.score, -hit.observation.created_at, hit.observation.id))
    return hits[:limit]
