"""All current vectors in memory, in two times eight bits, one shelf a scope, without an index.

A scan costs nothing to filter by scope and deletes without a trace. Of a large shelf one bit a
dimension tells first what is worth a look (`sketch`): a hundred thousand vectors take less than a
millisecond. The first eight bits of a number choose candidates; with the second eight their
cosines are right to five decimals, so that nobody has to fetch the full vectors from the database.
Whoever shows a row checks its scope and validity there.

The writer's thread changes it, readers' threads search it, without a lock: rows are only ever
added behind the count that a reader has seen, or blanked; a shelf that is repacked gets new
arrays, and readers keep the view that they took.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

import numkong
import numpy as np
import numpy.typing as npt

from caxton_node.memory.sketch import Sketch

__all__ = ["Shelf", "VectorArena"]

_CAPACITY_MIN: Final = 64
_DEAD_SHARE_MAX: Final = 0.25
_BLOCK: Final = 128
_ROWS_AT_ONCE: Final = 65_536
"""Rows in one call of the scan: bounds its scratch memory."""

SKETCHED_FROM: Final = 16_384
"""Rows of a shelf from which on a sketch is worth its memory."""

FINE_STEPS: Final = 254
"""Of a step of the first eight bits: the rest of a number, half a step at most, in eight more."""

REDRAWN_AFTER: Final = 4
"""A sketch's center is the mean of so large a part of the vectors at least: a quarter."""

Floats = npt.NDArray[np.float32]


class Query:
    """What is looked for, as a vector and in eight bits."""

    __slots__ = ("codes", "vector")

    def __init__(self, data: bytes) -> None:
        self.vector = np.frombuffer(data, "<f4")
        scale = float(np.abs(self.vector).max()) / 127.0 or 1.0
        self.codes = np.rint(self.vector / scale).astype(np.int8)[None, :]


class Shelf:
    """The vectors of one scope."""

    __slots__ = (
        "_codes",
        "_count",
        "_dead_count",
        "_fine",
        "_ids",
        "_places",
        "_scales",
        "_sketch",
        "_view",
    )

    def __init__(self, dimensions: int, capacity: int = _CAPACITY_MIN) -> None:
        self._codes = np.zeros((capacity, dimensions), np.int8)
        self._fine = np.zeros((capacity, dimensions), np.int8)
        self._scales = np.zeros(capacity, np.float32)
        self._ids = np.full(capacity, -1, np.int64)
        self._count = 0
        self._dead_count = 0
        self._places: dict[int, int] = {}
        self._sketch: Sketch | None = None
        self._publish()

    def __len__(self) -> int:
        return len(self._places)

    @property
    def size_bytes(self) -> int:
        """What it takes in memory, apart from the table of places."""
        sketch_bytes = 0 if self._sketch is None else self._sketch.size_bytes
        code_bytes = self._codes.nbytes + self._fine.nbytes
        return code_bytes + self._scales.nbytes + self._ids.nbytes + sketch_bytes

    def add(self, ids: Sequence[int], vectors: Floats) -> None:
        """Add vectors; one under an id that is here replaces it."""
        self.remove(ids)
        if self._count + len(ids) > len(self._ids):
            self._repack((len(self) + len(ids)) * 3 // 2)
        start, end = self._count, self._count + len(ids)
        scales = np.abs(vectors).max(axis=1) / 127.0
        scales[scales == 0] = 1.0
        numbers = vectors / scales[:, None]
        codes = np.rint(numbers)
        self._codes[start:end] = codes
        self._fine[start:end] = np.rint((numbers - codes) * FINE_STEPS)
        self._scales[start:end] = scales
        self._ids[start:end] = ids
        self._places.update(zip(ids, range(start, end), strict=True))
        self._count = end
        sketch = self._sketch
        if end >= (SKETCHED_FROM if sketch is None else sketch.drawn_from * REDRAWN_AFTER):
            self._sketch = self._sketched()
        elif sketch is not None:
            sketch.put(start, vectors)
        self._publish()

    def remove(self, ids: Iterable[int]) -> None:
        """Forget vectors; ids that are not here are ignored."""
        for one in ids:
            place = self._places.pop(one, None)
            if place is not None:
                self._ids[place] = -1
                self._codes[place] = 0
                self._fine[place] = 0
                self._scales[place] = 0.0
                self._dead_count += 1
        if self._dead_count > max(_CAPACITY_MIN, self._count * _DEAD_SHARE_MAX):
            self._repack(len(self))
            self._publish()

    def search(self, query: Query, limit: int) -> tuple[Any, Any]:
        """Return the ids of the best and their cosines, in no order."""
        codes, fine, scales, ids, count, sketch = self._view
        places = None if sketch is None else sketch.nearest(query.vector, count, limit)
        looked_at = codes[:count] if places is None else codes.take(places, axis=0)
        scores = np.empty(len(looked_at), np.float32)
        for start in range(0, len(scores), _ROWS_AT_ONCE):
            end = min(start + _ROWS_AT_ONCE, len(scores))
            part = numkong.cdist(query.codes, looked_at[start:end], "dot", out_dtype="float32")
            scores[start:end] = np.asarray(part).ravel()
        scores *= scales[:count] if places is None else scales[places]
        best = _largest(scores, limit)
        if places is not None:
            best = places[best]
        found = ids[best]
        if len(found) and found.min() < 0:
            best, found = best[found >= 0], found[found >= 0]
        numbers = fine[best] * np.float32(1 / FINE_STEPS)
        numbers += codes[best]
        return found, (numbers @ query.vector) * scales[best]

    def _sketched(self) -> Sketch:
        """Return a sketch of what is there, with its mean as the center."""
        blocks = range(0, self._count, _ROWS_AT_ONCE // 8)
        spans = [slice(start, min(start + _ROWS_AT_ONCE // 8, self._count)) for start in blocks]
        total: Floats = np.zeros(self._codes.shape[1], np.float32)
        for span in spans:
            total += self._scales[span] @ self._codes[span]
        center = (total / max(1, len(self))).astype(np.float32)
        sketch = Sketch(center, len(self._ids), drawn_from=self._count)
        for span in spans:
            sketch.put(span.start, self._codes[span] * self._scales[span, None])
        return sketch

    def _publish(self) -> None:
        """Let readers see what there is: one assignment, so that they see all of it or none."""
        self._view = (
            self._codes, self._fine, self._scales, self._ids, self._count, self._sketch,
        )  # fmt: skip

    def _repack(self, capacity: int) -> None:
        capacity = max(_CAPACITY_MIN, capacity)
        alive = np.flatnonzero(self._ids[: self._count] >= 0)
        codes = np.zeros((capacity, self._codes.shape[1]), np.int8)
        fine = np.zeros_like(codes)
        scales = np.zeros(capacity, np.float32)
        ids = np.full(capacity, -1, np.int64)
        count = len(alive)
        codes[:count], fine[:count] = self._codes[alive], self._fine[alive]
        scales[:count], ids[:count] = self._scales[alive], self._ids[alive]
        self._codes, self._fine, self._scales, self._ids = codes, fine, scales, ids
        self._count, self._dead_count = count, 0
        self._places = {int(one): place for place, one in enumerate(ids[:count])}
        if self._sketch is not None:
            self._sketch = self._sketch.moved(alive, capacity) if count else None


class VectorArena:
    """The shelves of all scopes, for one model."""

    def __init__(self, dimensions: int) -> None:
        self.dimensions = dimensions
        self._shelves: dict[int, Shelf] = {}

    def __len__(self) -> int:
        return sum(len(shelf) for shelf in list(self._shelves.values()))

    @property
    def size_bytes(self) -> int:
        """What the vectors take in memory."""
        return sum(shelf.size_bytes for shelf in list(self._shelves.values()))

    def counts(self) -> Mapping[int, int]:
        """Return how many vectors each scope has."""
        return {scope: len(shelf) for scope, shelf in list(self._shelves.items()) if len(shelf)}

    def reserve(self, counts: Mapping[int, int]) -> None:
        """Make room for so many vectors of scopes that have none yet."""
        for scope, count in counts.items():
            self._shelves[scope] = Shelf(self.dimensions, max(_CAPACITY_MIN, count))

    def add(self, scope: int, ids: Sequence[int], vectors: Floats) -> None:
        """Add the vectors of a scope's observations."""
        shelf = self._shelves.get(scope)
        if shelf is None:
            shelf = self._shelves[scope] = Shelf(self.dimensions, max(_CAPACITY_MIN, len(ids)))
        shelf.add(ids, vectors)

    def add_rows(self, rows: Sequence[tuple[int, int, bytes]]) -> None:
        """Add vectors as they are in the database: scope, observation, data."""
        vectors = np.frombuffer(b"".join(row[2] for row in rows), "<f4").reshape(len(rows), -1)
        scopes = np.array([row[0] for row in rows])
        ids = np.array([row[1] for row in rows])
        for scope in np.unique(scopes):
            chosen = scopes == scope
            self.add(int(scope), ids[chosen].tolist(), vectors[chosen])

    def remove(self, scope: int, ids: Iterable[int]) -> None:
        """Forget observations of a scope."""
        shelf = self._shelves.get(scope)
        if shelf is not None:
            shelf.remove(ids)

    def drop(self, scope: int) -> None:
        """Forget all of a scope."""
        self._shelves.pop(scope, None)

    def search(self, vector: bytes, scopes: Iterable[int], limit: int) -> list[tuple[int, float]]:
        """Return the nearest of these scopes and no others with their cosines, best first."""
        query = Query(vector)
        parts = []
        for scope in scopes:
            shelf = self._shelves.get(scope)
            if shelf is not None and len(shelf):
                parts.append(shelf.search(query, limit))
        if not parts:
            return []
        ids, cosines = (
            parts[0] if len(parts) == 1 else map(np.concatenate, zip(*parts, strict=True))
        )
        order = np.lexsort((ids, -cosines))[:limit]
        return list(zip(ids[order].tolist(), cosines[order].tolist(), strict=True))


def _largest(scores: Floats, limit: int) -> npt.NDArray[np.int64]:
    """Return the positions of the `limit` largest scores, in no order.

    The largest of each block bound from below what can be among them; the rest need not be
    sorted. Ten times faster than partitioning all.
    """
    count = len(scores)
    if count <= limit:
        return np.arange(count)
    block_count = count // _BLOCK
    if block_count <= limit:
        return np.argpartition(scores, count - limit)[count - limit :]
    peaks = scores[: block_count * _BLOCK].reshape(block_count, _BLOCK).max(axis=1)
    bound = np.partition(peaks, block_count - limit)[block_count - limit]
    near = np.flatnonzero(scores >= bound)
    return near[np.argpartition(scores[near], len(near) - limit)[len(near) - limit :]]
