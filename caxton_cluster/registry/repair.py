"""Whom to ask for what we miss, and when.

A digest that is ahead of us, or a delta that does not fit, makes an owner *wanted*. After a short
random wait one pull is made: from whoever has what we want and is asked for the least at the
moment, the owner before others, so that a newcomer gets the registry from several peers at once,
each owner from one of them. A pull that fails is repeated elsewhere, after waits that double.

At most one pull an owner is under way, and a bounded number in all.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import count
from typing import Final

from caxton_cluster.registry.config import RegistryConfig
from caxton_cluster.registry.events import Pull
from caxton_cluster.registry.records import Owner
from caxton_cluster.types import Randomness

__all__ = ["Repair", "Want"]

HOLDERS_MAX: Final = 4
"""Peers remembered as having what we want, for each owner."""
BACKOFF_FIRST_S: Final = 0.1


@dataclass(slots=True)
class Want:
    """What we miss of one owner."""

    owner: Owner
    version: int
    """Reaching this is enough."""
    due_at: float
    """When to ask; while a pull is under way, when to give it up."""
    holders: dict[str, None] = field(default_factory=dict)
    """Who has it, the latest to say so last."""
    failure_count: int = 0
    is_reset: bool = False
    """Whether to begin at 0 because what we have is wrong."""
    pull: Pull | None = None


class Repair:
    """The wants of one node, by name of the owner.

    Args:
        config: Waits and limits.
        random: Source of jitter.
    """

    def __init__(self, config: RegistryConfig, random: Randomness) -> None:
        self._config = config
        self._random = random
        self._wants: dict[str, Want] = {}
        self._ids = count(1)
        self._asked: dict[str, int] = {}
        """Peer → pulls under way."""

    def __len__(self) -> int:
        return len(self._wants)

    @property
    def under_way_count(self) -> int:
        """Pulls made and not ended."""
        return sum(self._asked.values())

    def wanted(self, node: str) -> Want | None:
        """Return what we want of `node`'s records, or None."""
        return self._wants.get(node)

    def want(
        self, owner: Owner, version: int, holder: str, now: float, *, is_reset: bool = False
    ) -> None:
        """Note that `holder` has records of `owner` up to `version`, and we have not.

        A later epoch replaces the want for an earlier one.
        """
        known = self._wants.get(owner.node)
        if known is not None and known.owner.epoch > owner.epoch:
            return
        if known is None or known.owner.epoch < owner.epoch:
            self.forget(owner.node)
            due_at = now + self._random.random() * self._config.pull_jitter_s
            known = self._wants[owner.node] = Want(owner, version, due_at)
        known.version = max(known.version, version)
        known.is_reset = known.is_reset or is_reset
        known.holders.pop(holder, None)
        known.holders[holder] = None
        if len(known.holders) > HOLDERS_MAX:
            del known.holders[next(iter(known.holders))]

    def reached(self, node: str, version: int) -> None:
        """Note that we have come to `version`; what is under way goes on."""
        known = self._wants.get(node)
        if known and known.pull is None and not known.is_reset and known.version <= version:
            del self._wants[node]

    def forget(self, node: str, *, before_epoch: int | None = None) -> None:
        """Want nothing of `node` any more; a pull under way no longer counts.

        Args:
            node: Whose records.
            before_epoch: Where given, only what is of an earlier life.
        """
        known = self._wants.get(node)
        if known is None or (before_epoch is not None and known.owner.epoch >= before_epoch):
            return
        del self._wants[node]
        if known.pull is not None:
            self._release(known.pull)

    def _release(self, pull: Pull) -> None:
        remaining = self._asked[pull.peer] - 1
        if remaining:
            self._asked[pull.peer] = remaining
        else:
            del self._asked[pull.peer]

    def peer_lost(self, peer: str, now: float) -> None:
        """Fail what is under way at a peer that is gone."""
        for want in self._wants.values():
            want.holders.pop(peer, None)
            if want.pull is not None and want.pull.peer == peer:
                self._failed(want, now)

    # Pulls.

    def next_at(self) -> float | None:
        """Return when something is due next, or None."""
        is_busy = self.under_way_count >= self._config.pulls_max
        due = [want.due_at for want in self._wants.values() if want.pull is not None or not is_busy]
        return min(due, default=None)

    def due(
        self, now: float, version_of: Callable[[Owner], int], is_live: Callable[[str], bool]
    ) -> Iterator[Pull]:
        """Yield the pulls to make now; give up those that stall.

        Args:
            now: The time, in seconds.
            version_of: How far we are with an owner in this very epoch.
            is_live: Whether a node can be asked.
        """
        for want in list(self._wants.values()):
            if want.due_at > now:
                continue
            if want.pull is not None:
                self._failed(want, now)
            elif self.under_way_count < self._config.pulls_max:
                peer = self._choose(want, is_live)
                if peer is None:
                    # Whoever has it tells again.
                    self.forget(want.owner.node)
                    continue
                after = 0 if want.is_reset else version_of(want.owner)
                want.pull = Pull(next(self._ids), peer, want.owner, after)
                want.due_at = now + self._config.pull_timeout_s
                self._asked[peer] = self._asked.get(peer, 0) + 1
                yield want.pull

    def _choose(self, want: Want, is_live: Callable[[str], bool]) -> str | None:
        owner = want.owner.node
        candidates = [name for name in (owner, *reversed(want.holders)) if is_live(name)]
        candidates = list(dict.fromkeys(candidates))
        if not candidates:
            return None
        # After a failure somebody else's turn comes, whoever is busy.
        if want.failure_count:
            return candidates[want.failure_count % len(candidates)]
        return min(candidates, key=lambda name: self._asked.get(name, 0))

    def active(self, pull_id: int) -> Want | None:
        """Return the want that a pull under way serves; None for one that is over."""
        for want in self._wants.values():
            if want.pull is not None and want.pull.id == pull_id:
                return want
        return None

    def progressed(self, want: Want, now: float) -> None:
        """Note that a chunk came."""
        want.due_at = now + self._config.pull_timeout_s

    def ended(self, want: Want, version: int, now: float, *, is_complete: bool) -> None:
        """Note that a pull is over and where we are now."""
        assert want.pull is not None, "only what is under way ends"
        has_progress = version > want.pull.after_version or want.is_reset
        if not (is_complete and has_progress):
            self._failed(want, now)
            return
        self._release(want.pull)
        want.pull = None
        want.is_reset = False
        want.failure_count = 0
        if want.version <= version:
            del self._wants[want.owner.node]
        else:
            # More was written meanwhile, or this peer had less than another one.
            want.due_at = now + self._random.random() * self._config.pull_jitter_s

    def _failed(self, want: Want, now: float) -> None:
        assert want.pull is not None, "only what is under way fails"
        self._release(want.pull)
        want.pull = None
        wait_s = min(BACKOFF_FIRST_S * 2**want.failure_count, self._config.pull_backoff_max_s)
        want.failure_count = min(want.failure_count + 1, 32)
        want.due_at = now + wait_s * (0.5 + self._random.random())
