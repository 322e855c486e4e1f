"""All current vectors in memory, in eight bits, one shelf a scope, scanned without an index.

A scan costs nothing to filter by scope and deletes without a trace. Of a large shelf one bit a
dimension tells first what is worth a look (`sketch`): a hundred thousand vectors take less than a
millisecond. What comes out are candidates; whoever asked rescores them with the full vectors from
the database, where scope and validity are checked again.

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
        "_ids",
        "_places",
        "_scales",
        "_sketch",
        "_view",
    )

    def __init__(self, dimensions: int, capacity: int = _CAPACITY_MIN) -> None:
        self._codes = np.zeros((capacity, dimensions), np.int8)
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
        return self._codes.nbytes + self._scales.nbytes + self._ids.nbytes + sketch_bytes

    def add(self, ids: Sequence[int], vectors: Floats) -> None:
        """Add vectors; one under an id that is here replaces it."""
        self.remove(ids)
        if self._count + len(ids) > len(self._ids):
            self._repack((len(self) + len(ids)) * 3 // 2)
        start, end = self._count, self._count + len(ids)
        scales = np.abs(vectors).max(axis=1) / 127.0
        scales[scales == 0] = 1.0
        self._codes[start:end] = np.rint(vectors / scales[:, None]).astype(np.int8)
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
                self._scales[place] = 0.0
                self._dead_count += 1
        if self._dead_count > max(_CAPACITY_MIN, self._count * _DEAD_SHARE_MAX):
            self._repack(len(self))
            self._publish()

    def search(self, query: Query, limit: int) -> tuple[Any, Any]:
        """Return the ids and raw scores of the best, in no order."""
        all_codes, scales, ids, count, sketch = self._view
        chosen = None if sketch is None else sketch.nearest(query.vector, count, limit)
        if chosen is None:
            all_codes, scales, ids = all_codes[:count], scales[:count], ids[:count]
        else:
            all_codes, scales, ids = all_codes.take(chosen, axis=0), scales[chosen], ids[chosen]
        scores = np.empty(len(ids), np.float32)
        for start in range(0, len(ids), _ROWS_AT_ONCE):
            end = min(start + _ROWS_AT_ONCE, len(ids))
            part = numkong.cdist(query.codes, all_codes[start:end], "dot", out_dtype="float32")
            scores[start:end] = np.asarray(part).ravel()
        scores *= scales
        best = _largest(scores, limit)
        found = ids[best]
        is_there = found >= 0
        return found[is_there], scores[best][is_there]

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
        self._view = (self._codes, self._scales, self._ids, self._count, self._sketch)

    def _repack(self, capacity: int) -> None:
        capacity = max(_CAPACITY_MIN, capacity)
        alive = np.flatnonzero(self._ids[: self._count] >= 0)
        codes = np.zeros((capacity, self._codes.shape[1]), np.int8)
        scales = np.zeros(capacity, np.float32)
        ids = np.full(capacity, -1, np.int64)
        count = len(alive)
        codes[:count], scales[:count] = self._codes[alive], self._scales[alive]
        ids[:count] = self._ids[alive]
        self._codes, self._scales, self._ids = codes, scales, ids
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

    def search(self, vector: bytes, scopes: Iterable[int], limit: int) -> list[int]:
        """Return candidates from these scopes and no others, best first."""
        query = Query(vector)
        ids, scores = [], []
        for scope in scopes:
            shelf = self._shelves.get(scope)
            if shelf is not None and len(shelf):
                found, raw = shelf.search(query, limit)
                ids.append(found)
                scores.append(raw)
        if not ids:
            return []
        every, raw = np.concatenate(ids), np.concatenate(scores)
        order = np.argsort(-raw, kind="stable")[:limit]
        return [int(one) for one in every[order]]


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
