"""Members in a circle whose order everybody works out alike, so that each has one neighbour.

A random order of probes leaves now and then a member unasked for many periods, by everyone at
once: nothing bounds the wait for the first question after a crash. A member that also asks its
neighbour in every other period bounds it to two, at no more questions, and since the order
follows from the names alone, everybody is somebody's neighbour.

The names are hashed so that those that fail together (one rack, numbered) are seldom adjacent.
"""

from bisect import bisect_left, bisect_right, insort
from zlib import crc32

__all__ = ["Circle"]


class Circle:
    """Names by the order of their hashes."""

    def __init__(self) -> None:
        self._places: list[tuple[int, str]] = []

    def __len__(self) -> int:
        return len(self._places)

    def add(self, name: str) -> None:
        """Take `name` in; it must be out."""
        insort(self._places, _place(name))

    def remove(self, name: str) -> None:
        """Put `name` out; it must be in."""
        index = bisect_left(self._places, _place(name))
        assert self._places[index][1] == name, "only who is in can be put out"
        del self._places[index]

    def after(self, name: str) -> str | None:
        """Return whoever comes after `name`, which need not be in; None if nobody else is."""
        if not self._places:
            return None
        index = bisect_right(self._places, _place(name)) % len(self._places)
        neighbour = self._places[index][1]
        return None if neighbour == name else neighbour


def _place(name: str) -> tuple[int, str]:
    return crc32(name.encode()), name
