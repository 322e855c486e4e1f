"""The order of a walk: breadth first, strongest first, bounded at every step. Pure.

A hub with thousands of relations costs as much as the strongest that are followed from it; a walk
ends at its limit of entities, whatever the graph looks like.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from caxton_node.memory.wording import fold

__all__ = ["DEPTH_MAX", "ENTITIES_MAX", "FAN_OUT_MAX", "Reach", "Step", "Walk", "breadth_first"]

DEPTH_MAX: Final = 10
ENTITIES_MAX: Final = 1_000
FAN_OUT_MAX: Final = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class Walk:
    """How far to go."""

    depth: int = 3
    fan_out: int = 20
    """Strongest relations followed from one entity, in each direction."""
    entity_count: int = 200
    strength_min: float = 0.1
    types: tuple[str, ...] = ()
    """Of relations; empty is any."""
    at: int | None = None
    """What was true at this instant; None is now."""

    def __post_init__(self) -> None:
        assert 0 <= self.depth <= DEPTH_MAX, "the edge checks the depth"
        assert 1 <= self.fan_out <= FAN_OUT_MAX, "the edge checks the fan-out"
        assert 1 <= self.entity_count <= ENTITIES_MAX, "the edge checks the count"
        # Types are kept folded, whatever the case of letters in which they were told.
        object.__setattr__(self, "types", tuple(map(fold, self.types)))


@dataclass(frozen=True, slots=True)
class Step:
    """The relations of one layer: strongest first, of like ones the one to the lowest number."""

    relations: Sequence[int]
    """Their numbers."""
    far_ends: Sequence[int]
    """Where each leads."""
    is_full: bool
    """An entity has as many as are followed, and may have more."""


@dataclass(frozen=True, slots=True)
class Reach:
    """Where a walk came."""

    depths: dict[int, int]
    """Entities with their distance from the start, nearest first."""
    relations: tuple[int, ...]
    """Numbers of the relations between them."""
    is_cut: bool
    """A bound other than the depth ended it: there is more."""


def breadth_first(
    starts: Sequence[int], plan: Walk, step: Callable[[Sequence[int]], Step]
) -> Reach:
    """Walk from entities along relations in both directions.

    Args:
        starts: Entities.
        plan: The bounds.
        step: Returns where the relations from and to some entities lead, at most `plan.fan_out`
            of each entity and direction.
    """
    depths = dict.fromkeys(starts, 0)
    far_ends: dict[int, int] = {}
    layer, is_cut = list(depths), len(depths) > plan.entity_count
    for depth in range(1, plan.depth + 1):
        taken = step(layer)
        far_ends.update(zip(taken.relations, taken.far_ends, strict=True))
        following = [one for one in dict.fromkeys(taken.far_ends) if one not in depths]
        room = max(0, plan.entity_count - len(depths))
        is_cut = is_cut or taken.is_full or len(following) > room
        layer = following[:room]
        depths.update(dict.fromkeys(layer, depth))
        if not layer or len(depths) >= plan.entity_count:
            break
    # The near end is known: it was walked from.
    between = tuple([one for one, far in far_ends.items() if far in depths])
    return Reach(depths, between, is_cut)
