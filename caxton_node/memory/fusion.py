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
from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

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


def fuse(proposals: Proposals, weights: FusionWeights) -> dict[int, float]:
    """Return what was proposed with a score from 0 to 1, before age and strength count.

    A BM25 counts relative to the best one; a cosine relative to the best and the worst proposed,
    because cosines of unrelated texts are not 0; a neighbour by its place.
    """
    total = weights.similarity + weights.keywords + weights.graph
    near, words, linked = proposals.similarity, proposals.keywords, proposals.graph
    scores: dict[int, float] = {}
    if near:
        share, highest, lowest = weights.similarity / total, near[0][1], near[-1][1]
        span = highest - lowest
        scores = {
            one: share * ((cosine - lowest) / span if span > 0 else 1.0) for one, cosine in near
        }
    if words:
        share, best = weights.keywords / total, words[0][1]
        for one, bm25 in words:
            scores[one] = scores.get(one, 0.0) + share * (bm25 / best if best > 0 else 1.0)
    for place, (one, _) in enumerate(linked):
        share = weights.graph / total
        scores[one] = scores.get(one, 0.0) + share * (1.0 - place / len(linked))
    return scores


def contenders(fused: Mapping[int, float], weights: FusionWeights, count: int) -> list[int]:
    """Return what may be among the best `count` once age and strength count, best first."""
    order = sorted((-score, one) for one, score in fused.items())
    if len(order) > count:
        # The last of them must not be overtaken by one that is left out.
        least = order[count - 1][0] * (1.0 - weights.recency - weights.strength)
        order = [found for n, found in enumerate(order) if n < count or found[0] <= least]
    return [one for _, one in order]


def effective_strength(observation: Observation, now: int) -> float:
    """Return what a memory's strength has decayed to; a pinned one's does not."""
    if observation.is_pinned:
        return 1.0
    return observation.strength * observation.confidence * recency(observation.used_at, now)


def recency(used_at: int, now: int) -> float:
    """Return 1 for what was of use just now, half of it after every half-life."""
    return math.pow(0.5, max(0, now - used_at) / HALF_LIFE_MS)


def ranked(
    fused: Mapping[int, float],
    observations: Sequence[Observation],
    *,
    proposals: Proposals,
    weights: FusionWeights,
    now: int,
    limit: int,
) -> list[Hit]:
    """Return the best observations with their final scores and all reasons."""
    scored = []
    for one in observations:
        age, strength = _merits(one, now)
        share = 1.0 - weights.recency * (1.0 - age) - weights.strength * (1.0 - strength)
        # Ids differ, so that what comes after them is never compared.
        scored.append((-fused[one.id] * share, -one.created_at, one.id, one, age, strength))
    best = sorted(scored)[:limit]
    shown = {found[2] for found in best}
    near, words = _places(proposals.similarity, shown), _places(proposals.keywords, shown)
    via = dict(proposals.graph)
    hits = []
    for below, _, _, one, age, strength in best:
        similarity_rank, cosine = near.get(one.id, (None, None))
        keyword_rank, bm25 = words.get(one.id, (None, None))
        reasons = Reasons(
            similarity=None if cosine is None else min(1.0, max(0.0, cosine)),
            similarity_rank=similarity_rank,
            keyword_score=bm25,
            keyword_rank=keyword_rank,
            graph_via=via.get(one.id),
            recency=age,
            strength=strength,
        )
        hits.append(Hit(one, -below, reasons))
    return hits


def _merits(observation: Observation, now: int) -> tuple[float, float]:
    """Return what age and strength say of an observation; both are 1 where it is pinned."""
    if observation.is_pinned:
        return 1.0, 1.0
    return recency(observation.used_at, now), observation.strength * observation.confidence


def _places(
    proposed: Sequence[tuple[int, float]], shown: Container[int]
) -> dict[int, tuple[int, float]]:
    """Return the rank and the score of those proposals that are shown."""
    places = enumerate(proposed, start=1)
    return {one: (rank, score) for rank, (one, score) in places if one in shown}
