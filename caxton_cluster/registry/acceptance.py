"""Whether a delta may be applied: the rule that makes loss, repetition and disorder harmless.

For each owner the pair (epoch, version) that a node has reached only grows. A delta applies when
it begins at or before what was reached, and when no tombstone was forgotten in between that we
have not seen. Everything else is dropped or answered with a pull.

Pure: reads a holding, changes nothing.
"""

from enum import Enum

from caxton_cluster.registry.holding import Holding
from caxton_cluster.registry.records import Delta

__all__ = ["Verdict", "judge"]


class Verdict(Enum):
    """What to do with a delta of an owner of whom we hold records."""

    STALE = "stale"
    """From an earlier life of the owner: drop it."""
    DUPLICATE = "duplicate"
    """We have all of it: drop it."""
    GAP = "gap"
    """Something before it is missing: pull."""
    REPLACE = "replace"
    """It is all there is, and tombstones that we have not seen are forgotten: start from it."""
    APPLY = "apply"
    """It continues what we have."""


def judge(delta: Delta, holding: Holding) -> Verdict:
    """Return what to do with `delta`, given what we hold of its owner.

    A delta of a later life than the holding's is not for it: that life has its own, empty one.
    """
    assert delta.owner.epoch <= holding.owner.epoch, "a later life begins with an empty holding"
    if delta.owner.epoch < holding.owner.epoch:
        return Verdict.STALE
    reached = holding.max_version
    if delta.through_version <= reached:
        return Verdict.DUPLICATE
    if delta.after_version > reached:
        return Verdict.GAP
    if delta.collected_version > reached:
        # What we hold may have been deleted without a trace. A delta from 0 tells all there is,
        # if it goes far enough; the first chunk of several does not.
        is_all = delta.after_version == 0 and delta.through_version >= delta.collected_version
        return Verdict.REPLACE if is_all else Verdict.GAP
    return Verdict.APPLY
