"""The relations of many entities at once: what a step of a walk sorts and a reading joins.

An entity's relations are one piece of bytes a direction (`adjacency`). A step of a walk looks at a
thousand of them; unpacked one by one they would cost more than all the rest of it.

Imported when a graph is read: numbers in bulk take as much memory as a quarter of the node.
"""

from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from caxton_node.memory.walking import Step

__all__ = ["joined", "stepped"]

_EDGE: Final = np.dtype([("slot", "<u4"), ("far", "<i8"), ("strength", "<f8")])
"""As `adjacency` packs them."""

Numbers = npt.NDArray[Any]


def joined(
    near: Numbers, far: Numbers, strengths: Numbers, known: Numbers
) -> Iterator[tuple[int, bytes]]:
    """Yield each entity with the relations at its end: strongest first, of like ones the oldest.

    Args:
        near: The entity of each relation that is asked for, by the relation's number.
        far: The entity at its other end.
        strengths: Of the relations.
        known: All entities. A relation one of whose ends is not among them is left out.
    """
    near, far, strengths = (np.asarray(column) for column in (near, far, strengths))
    kept = np.flatnonzero(np.isin(near, known) & np.isin(far, known))
    order = kept[np.lexsort((kept, -strengths[kept], near[kept]))]
    edges = np.empty(len(order), _EDGE)
    edges["slot"], edges["far"], edges["strength"] = order, far[order], strengths[order]
    packed, owners = edges.tobytes(), near[order]
    begins = np.flatnonzero(np.diff(owners, prepend=-1)).tolist()
    for start, end in pairwise([*begins, len(order)]):
        yield int(owners[start]), packed[start * _EDGE.itemsize : end * _EDGE.itemsize]


def stepped(pieces: Sequence[bytes], *, strength_min: float, stride: int, is_full: bool) -> Step:
    """Return where the relations of a layer lead, strongest first.

    Args:
        pieces: The relations of each graph, packed.
        strength_min: Weaker ones are not followed.
        stride: By how much a relation's place in its graph is multiplied to be its number.
        is_full: Whether an entity may have more than are here.
    """
    edges = np.frombuffer(b"".join(pieces), _EDGE)
    numbers = edges["slot"].astype(np.int64) * stride
    if stride > 1:
        counts = [len(piece) // _EDGE.itemsize for piece in pieces]
        numbers += np.repeat(np.arange(stride), counts)
    fars, strengths = edges["far"], edges["strength"]
    order = np.lexsort((fars, -strengths))
    order = order[: np.count_nonzero(strengths >= strength_min)]
    return Step(numbers[order].tolist(), fars[order].tolist(), is_full)
