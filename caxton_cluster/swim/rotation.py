"""A shuffled round robin: everyone is picked once before anyone is picked twice.

SWIM's answer to random picking, where somebody may be left out for long: the first detection of
a crash then takes at most 2 N - 1 periods. Newcomers enter at a random place.

Reference: Das, Gupta, Motivala, "SWIM", DSN 2002, section 4.3.
"""

from collections.abc import Callable

from caxton_cluster.types import Randomness

__all__ = ["Rotation"]


class Rotation:
    """Names in a random order that is renewed after each pass."""

    def __init__(self, random: Randomness) -> None:
        self._random = random
        self._names: list[str] = []
        self._next = 0

    def __len__(self) -> int:
        return len(self._names)

    def add(self, name: str) -> None:
        """Put `name` at a random place."""
        place = self._random.randrange(len(self._names) + 1)
        self._names.insert(place, name)
        if place < self._next:
            self._next += 1

    def remove(self, name: str) -> None:
        """Take `name` out; it must be in."""
        place = self._names.index(name)
        del self._names[place]
        if place < self._next:
            self._next -= 1

    def take(self, count: int, is_wanted: Callable[[str], bool]) -> list[str]:
        """Return up to `count` different names that `is_wanted`, the next in turn."""
        taken: list[str] = []
        # A reshuffle in the middle can bring the same name round again; it must not use up the
        # turn of one that was not asked yet, or a lonely peer is missed now and then.
        seen: set[str] = set()
        while len(taken) < count and len(seen) < len(self._names):
            if self._next >= len(self._names):
                self._next = 0
                self._random.shuffle(self._names)
            name = self._names[self._next]
            self._next += 1
            if name not in seen and is_wanted(name):
                taken.append(name)
            seen.add(name)
        return taken
