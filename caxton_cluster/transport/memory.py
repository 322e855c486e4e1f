"""A network inside one process: seeded, and as bad as you ask.

It decides the fate of each message: lost, late, doubled, overtaken, or stopped by a cut link.
It moves nothing itself: the simulator applies the verdicts in virtual time.

Pure: the caller supplies the randomness, and a seed replays exactly.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from caxton_cluster.types import Address, Randomness

__all__ = ["LinkQuality", "MemoryNetwork"]


@dataclass(frozen=True, slots=True, kw_only=True)
class LinkQuality:
    """How a link treats datagrams. The defaults are a quiet LAN."""

    loss: float = 0.0
    """Share of datagrams that vanish, each by itself."""
    delay_min_s: float = 0.0002
    delay_max_s: float = 0.001
    """Delays are even between the two, so that datagrams can overtake each other."""
    duplication: float = 0.0
    """Share of datagrams that arrive twice."""
    straggling: float = 0.0
    """Share of datagrams that take up to fifty times the longest delay."""

    def __post_init__(self) -> None:
        assert 0 <= self.loss <= 1, "loss is a share"
        assert 0 <= self.delay_min_s <= self.delay_max_s, "delays are ordered"


_STRAGGLING_FACTOR = 50.0
_STREAM_ATTEMPTS_MAX = 5


class MemoryNetwork:
    """Links between addresses, all of one quality, some of them cut.

    Args:
        quality: How every link that is not cut behaves; assign it to change the weather.
        random: Source of fates.
    """

    def __init__(self, quality: LinkQuality, random: Randomness) -> None:
        self.quality = quality
        self._random = random
        self._cuts: dict[tuple[Address, Address], int] = {}

    def cut(self, source: Address, target: Address) -> None:
        """Stop everything from `source` to `target`; cuts add up."""
        self._cuts[source, target] = self._cuts.get((source, target), 0) + 1

    def mend(self, source: Address, target: Address) -> None:
        """Undo one cut."""
        remaining = self._cuts[source, target] - 1
        if remaining:
            self._cuts[source, target] = remaining
        else:
            del self._cuts[source, target]

    def cut_between(self, left: Iterable[Address], right: Iterable[Address]) -> None:
        """Part two groups in both directions."""
        others = tuple(right)
        for one in left:
            for other in others:
                self.cut(one, other)
                self.cut(other, one)

    def mend_between(self, left: Iterable[Address], right: Iterable[Address]) -> None:
        """Undo one `cut_between`."""
        others = tuple(right)
        for one in left:
            for other in others:
                self.mend(one, other)
                self.mend(other, one)

    def is_open(self, source: Address, target: Address) -> bool:
        """Return whether anything can pass from `source` to `target`."""
        return (source, target) not in self._cuts

    def datagram_delays_s(self, source: Address, target: Address) -> tuple[float, ...]:
        """Return after how many seconds each copy of a datagram arrives; none if it is lost."""
        if not self.is_open(source, target):
            return ()
        chance, quality = self._random.random, self.quality
        if quality.loss and chance() < quality.loss:
            return ()
        delay_s = self._delay_s()
        if quality.straggling and chance() < quality.straggling:
            delay_s *= 1 + chance() * _STRAGGLING_FACTOR
        if quality.duplication and chance() < quality.duplication:
            return (delay_s, self._delay_s())
        return (delay_s,)

    def stream_delay_s(self, source: Address, target: Address) -> float | None:
        """Return how long one direction of a stream takes, or None if nothing comes through.

        Loss costs a stream time, not bytes, until it is so bad that it gives up.
        """
        if not (self.is_open(source, target) and self.is_open(target, source)):
            return None
        delay_s = 2 * self._delay_s()
        retransmission_s = 0.2
        for _ in range(_STREAM_ATTEMPTS_MAX):
            if self._random.random() >= self.quality.loss:
                return delay_s
            delay_s += retransmission_s
            retransmission_s *= 2
        return None

    def _delay_s(self) -> float:
        quality = self.quality
        return quality.delay_min_s + self._random.random() * (
            quality.delay_max_s - quality.delay_min_s
        )
