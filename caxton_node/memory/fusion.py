"""From three ranked lists to one. Pure.

Words, vectors and the graph each propose observations with scores of their own. On conversations
their scores, each relative to the best of its list, say more than their ranks: a word that stands
in one row only makes that row far better than the next, which a rank does not show. Reciprocal
ranks put the right answer lower than words alone. Age, strength and confidence then move what is
alike, and only that: they scale a score by a tenth at most.

Reference: Bruch, Gai, Ingber, "An Analysis of Fusion Functions for Hybrid Retrieval", TOIS 2023,
for the method; the weights are our own measurements, in docs/explanation/memory.md.
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

    similarity: float = 0.25
    keywords: float = 0.75
    graph: float = 0.1
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
    """Return what was proposed with a score from 0 to 1, before age and strength count.

    A BM25 counts relative to the best one; a cosine relative to the best and the worst proposed,
    because cosines of unrelated texts are not 0; a neighbour by its place.
    """
    total = weights.similarity + weights.keywords + weights.graph
    scores: dict[int, float] = {}

    def add(one: int, score: float) -> None:
        scores[one] = scores.get(one, 0.0) + score / total

    near, words, linked = proposals.similarity, proposals.keywords, proposals.graph
    if near:
        highest, lowest = near[0][1], near[-1][1]
        span = highest - lowest
        for one, cosine in near:
            add(one, weights.similarity * ((cosine - lowest) / span if span > 0 else 1.0))
    if words:
        best = words[0][1]
        for one, bm25 in words:
            add(one, weights.keywords * (bm25 / best if best > 0 else 1.0))
    for place, (one, _) in enumerate(linked):
        add(one, weights.graph * (1.0 - place / len(linked)))
    near_of = {one: (rank, cosine) for rank, (one, cosine) in enumerate(near, start=1)}
    words_of = {one: (rank, bm25) for rank, (one, bm25) in enumerate(words, start=1)}
    via = dict(linked)
    found: dict[int, tuple[float, Reasons]] = {}
    for one, score in scores.items():
        similarity_rank, cosine_of = near_of.get(one, (None, None))
        keyword_rank, bm25_of = words_of.get(one, (None, None))
        reasons = Reasons(
            similarity=None if cosine_of is None else min(1.0, max(0.0, cosine_of)),
            similarity_rank=similarity_rank,
            keyword_score=bm25_of,
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
