"""Which of two statements about a member wins.

Only the member itself raises its incarnation, so a higher one is newer. Within one incarnation
worse news wins: alive, then suspect, then dead, then left; a member that objects must therefore
raise its incarnation. Applying the same statements in any order and any number of times ends in
the same row.

Pure decisions; `beliefs` acts on them.

Reference: Das, Gupta, Motivala, "SWIM", DSN 2002, section 4.2.
"""

from enum import Enum, auto
from typing import Final

from caxton_cluster.swim.wire.messages import Alive
from caxton_cluster.types import INCARNATION_MAX, Member, MemberState

__all__ = ["AliveVerdict", "accusation_wins", "first_incarnation", "judge_alive"]

FIRST_INCARNATION_MAX: Final = INCARNATION_MAX - 2**24
"""Where a life begins at the latest, whatever its clock says: that leaves room to object."""


def first_incarnation(clock_s: float, *, earlier: int = 0) -> int:
    """Return where a life begins: beyond any earlier one, however often that had to object.

    Args:
        clock_s: Seconds since 1970. A clock that went back costs one objection.
        earlier: Where the earlier life ended, if that is known.
    """
    return max(min(int(clock_s), FIRST_INCARNATION_MAX), min(earlier + 1, INCARNATION_MAX))


class AliveVerdict(Enum):
    """What an `Alive` is worth against the row that is known."""

    NEWCOMER = auto()
    """No such member yet."""
    NEWER = auto()
    """A later incarnation at the same address."""
    MOVED = auto()
    """A later incarnation at another address, and the old one is gone."""
    CONFLICT = auto()
    """Another address claims the name of somebody who is not gone."""
    STALE = auto()
    """Nothing that is not known."""


def judge_alive(
    known: Member | None, claim: Alive, *, now: float, reclaim_after_s: float
) -> AliveVerdict:
    """Return what `claim` about another member is worth.

    A name may move to another address once its old holder left, or has been dead for
    `reclaim_after_s`; and only with a later incarnation, so that an old rumour moves nobody.
    """
    if known is None:
        return AliveVerdict.NEWCOMER
    if claim.incarnation <= known.incarnation:
        is_elsewhere = claim.address != known.address and not known.state.is_gone
        is_conflict = is_elsewhere and claim.incarnation == known.incarnation
        return AliveVerdict.CONFLICT if is_conflict else AliveVerdict.STALE
    if claim.address == known.address:
        return AliveVerdict.NEWER
    has_left = known.state == MemberState.LEFT
    is_long_dead = known.state == MemberState.DEAD and now - known.changed_at >= reclaim_after_s
    return AliveVerdict.MOVED if has_left or is_long_dead else AliveVerdict.CONFLICT


def accusation_wins(known: Member, state: MemberState, incarnation: int) -> bool:
    """Return whether "it is `state` at `incarnation`" changes the row of another member.

    A suspicion never touches the gone: it would bring them back on hearsay. They come back with
    an `Alive` of their own.
    """
    if known.state.is_gone:
        # Dead may turn out to be left, so that a goodbye heard late still counts.
        is_late_goodbye = state == MemberState.LEFT and known.state == MemberState.DEAD
        return is_late_goodbye and incarnation >= known.incarnation
    return (incarnation, state) > (known.incarnation, known.state)
