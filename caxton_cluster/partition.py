"""Which side of a partition a node is on: the majority, a minority, or alone.

A node counts the members it holds alive, itself included, and compares with how many there should
be. More than half is the *majority*; there can be only one, because two groups of more than half
of the same number do not exist. An even split therefore has no majority, whoever is on its sides:
of four nodes that part two and two both sides are minorities, and of two nodes that lose each
other each is isolated. The tie could be given to the side of some chosen node, but then the death
of that node would stop a cluster that lost nothing else. Run an odd number of nodes. An operator
who knows that the other side is gone says so with `expect`; `expect = 1` on both of two nodes
lets both go on, and whoever sets that wants it.

How many there should be is `expect`, or the largest membership that was seen to last. The latter
never shrinks because of a death: that would make every minority whole after a while. A member
that says goodbye takes itself off the count, and so a cluster shrinks. Leaving cannot give two
majorities: with every goodbye a side loses one of its own as well.

A membership lasts when it does so for `settle_s`, which is shorter than any failure takes to be
noticed: what can part has been counted. What is counted is numbers, not names: new nodes that
join a minority count for it, so add none to a cluster that is parted.

A node that expects nobody but itself stands alone and is its own majority.

Arithmetic and state only: the caller supplies counts and times, and keeps the count on disk.
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from caxton_cluster.errors import InvalidSetting

__all__ = [
    "EXPECTED_COUNT_MAX",
    "Partition",
    "PartitionConfig",
    "PartitionMode",
    "PartitionView",
    "mode_of",
]

EXPECTED_COUNT_MAX: Final = 65_536
"""Most members that can be expected."""


class PartitionMode(StrEnum):
    """What a node may do."""

    MAJORITY = "majority"
    """Reads and writes: it is with more than half of the members."""
    MINORITY = "minority"
    """With others, but not enough: it serves its own agents, refuses deployments, and keeps
    messages for the other side."""
    ISOLATED = "isolated"
    """Alone, and not a majority by itself: local only."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PartitionConfig:
    """When a mode changes.

    Raises:
        InvalidSetting: A value is out of its range.
    """

    expect: int | None = None
    """How many members there should be, the node itself included; None learns it. Where it is
    less than there are, two sides may each take themselves for the majority."""
    settle_s: float = 1.0
    """How long a larger membership must last to be expected from then on."""
    recover_s: float = 1.0
    """How long enough members must be there before the node is with the majority again. The way
    down takes no time: a node that may be in the minority must not act as if it were not."""

    def __post_init__(self) -> None:
        if self.expect is not None and not 1 <= self.expect <= EXPECTED_COUNT_MAX:
            raise InvalidSetting("expect", f"must be in 1..{EXPECTED_COUNT_MAX}")
        for name in ("settle_s", "recover_s"):
            if getattr(self, name) < 0:
                raise InvalidSetting(name, "must not be negative")


@dataclass(frozen=True, slots=True, kw_only=True)
class PartitionView:
    """Which side a node is on, and why it thinks so."""

    mode: PartitionMode
    alive_count: int
    """Members alive or merely suspected, the node itself included."""
    expected_count: int
    """Members that there should be. Keep it, for the next start."""
    entered_at: float
    """When the mode was entered, on the caller's clock, in seconds."""

    @property
    def majority_count(self) -> int:
        """How many members make a majority."""
        return self.expected_count // 2 + 1

    @property
    def is_writable(self) -> bool:
        """Whether deployments and other changes are taken."""
        return self.mode is PartitionMode.MAJORITY


def mode_of(alive_count: int, expected_count: int) -> PartitionMode:
    """Return the mode that two counts stand for, whatever was before."""
    assert alive_count >= 1, "we are always there ourselves"
    assert expected_count >= 1, "we always expect ourselves"
    if 2 * alive_count > expected_count:
        return PartitionMode.MAJORITY
    return PartitionMode.ISOLATED if alive_count == 1 else PartitionMode.MINORITY


class Partition:
    """The mode of one node.

    After every call `view` is current; ask for `wakeup_at` and call `tick` then.

    Args:
        config: When the mode changes.
        expected_count: What an earlier life of this node had learnt, or None. `expect` overrules.
        now: The time, in seconds on any steady clock.
    """

    def __init__(
        self, config: PartitionConfig, *, expected_count: int | None = None, now: float
    ) -> None:
        self._config = config
        learnt = 1 if expected_count is None else expected_count
        self._expected_count = min(max(1, config.expect or learnt), EXPECTED_COUNT_MAX)
        self._alive_count = 1
        self._mode = mode_of(1, self._expected_count)
        self._entered_at = now
        self._enough_since: float | None = None
        """Since when the counts call for the majority while we are not with it."""
        self._risen: list[tuple[int, float]] = []
        """Counts above the expected one, rising, each with the time since when it is reached."""

    @property
    def view(self) -> PartitionView:
        """The mode, and why."""
        return PartitionView(
            mode=self._mode,
            alive_count=self._alive_count,
            expected_count=self._expected_count,
            entered_at=self._entered_at,
        )

    def wakeup_at(self) -> float | None:
        """Return when `tick` is due, or None."""
        due = [self._risen[0][1] + self._config.settle_s] if self._risen else []
        if self._enough_since is not None:
            due.append(self._enough_since + self._config.recover_s)
        return min(due, default=None)

    def observe(self, alive_count: int, now: float) -> None:
        """Take in how many members are alive or merely suspected, ourselves included."""
        assert alive_count >= 1, "we are always there ourselves"
        self.tick(now)
        self._alive_count = alive_count
        self._note_rise(now)
        self.tick(now)

    def member_left(self, now: float) -> None:
        """Take in that a member said goodbye, or that an operator removed it for good.

        Call `observe` with the new count right after.
        """
        self.tick(now)
        if self._config.expect is None:
            self._expected_count = max(1, self._expected_count - 1)
            self._note_rise(now)
        self.tick(now)

    def tick(self, now: float) -> None:
        """Do what is due."""
        while self._risen and now - self._risen[0][1] >= self._config.settle_s:
            self._expected_count, _ = self._risen.pop(0)
        mode = mode_of(self._alive_count, self._expected_count)
        if mode is self._mode:
            self._enough_since = None
        elif mode is not PartitionMode.MAJORITY:
            self._enter(mode, now)
        elif self._enough_since is None:
            self._enough_since = now
        if self._enough_since is not None and now - self._enough_since >= self._config.recover_s:
            self._enter(mode, now)

    def _enter(self, mode: PartitionMode, now: float) -> None:
        self._mode = mode
        self._entered_at = now
        self._enough_since = None

    def _note_rise(self, now: float) -> None:
        if self._config.expect is not None:
            return
        alive_count = min(self._alive_count, EXPECTED_COUNT_MAX)
        self._risen = [one for one in self._risen if self._expected_count < one[0] <= alive_count]
        if alive_count > max(self._expected_count, self._risen[-1][0] if self._risen else 0):
            self._risen.append((alive_count, now))
