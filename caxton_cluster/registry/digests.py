"""Digests: a few bytes an owner that say how far we are, and what follows from another's.

Versions come from one counter an owner, so one line an owner says all, however many records there
are. A digest names every owner while that is short. Beyond, it carries the hash of all lines, our
own line, and a few others that change from digest to digest; whose hash differs gets the whole.

Pure: lines go in, lines and verdicts come out.
"""

from collections.abc import Sequence
from enum import Enum
from hashlib import blake2b
from typing import Final

import msgspec

from caxton_cluster.registry.holding import Holding
from caxton_cluster.registry.records import Digest, OwnerDigest, encode

__all__ = ["Comparison", "compare", "compose", "root_of"]

_ENCODER: Final = msgspec.msgpack.Encoder()


class Comparison(Enum):
    """How another node's line of an owner stands to what we hold."""

    EQUAL = "equal"
    AHEAD = "ahead"
    """They have what we miss."""
    BEHIND = "behind"
    """We have what they miss."""
    CONTRADICTS = "contradicts"
    """The owner itself has reached what we have, and it is not the same."""


def compare(line: OwnerDigest, holding: Holding, *, is_from_owner: bool) -> Comparison:
    """Return how `line` stands to `holding`, which is of the same node.

    The checksum is compared with the owner's own line only, and only where we are not in the
    middle of a pull: then equal versions must mean equal records.
    """
    theirs = (line.owner.epoch, line.version)
    ours = (holding.owner.epoch, holding.max_version)
    if theirs != ours:
        return Comparison.AHEAD if theirs > ours else Comparison.BEHIND
    is_same = (line.record_count, line.checksum) == (holding.record_count, holding.checksum)
    if is_from_owner and holding.is_whole and not is_same:
        return Comparison.CONTRADICTS
    return Comparison.EQUAL


def root_of(lines: Sequence[OwnerDigest]) -> int:
    """Return the hash of lines, in whatever order they are.

    Which tombstones are forgotten is left out: there nodes may differ and still know the same.
    """
    root = 0
    for line in lines:
        known = (line.owner, line.version, line.record_count, line.checksum)
        digest = blake2b(_ENCODER.encode(known), digest_size=8).digest()
        root ^= int.from_bytes(digest, "little")
    return root


def compose(
    root: int,
    lines: Sequence[OwnerDigest],
    *,
    lines_max: int,
    rotating: int,
    turn: int,
    size_bytes_max: int,
) -> Digest:
    """Return a digest of `lines`: all of them if they are few and fit, else some.

    Args:
        root: Hash of the lines of all live owners.
        lines: What we have, our own line first.
        lines_max: Up to so many are sent whole.
        rotating: How many to send besides our own when they are more.
        turn: Where in the others to begin.
        size_bytes_max: Of the packed digest. Where not even our own line fits it has none.
    """
    if len(lines) <= lines_max:
        digest = Digest(root, True, tuple(lines))
        if len(encode(digest)) <= size_bytes_max:
            return digest
    others = lines[1:]
    first = turn % max(1, len(others))
    some = (*lines[:1], *others[first:], *others[:first])[: rotating + 1]
    while True:
        digest = Digest(root, False, some)
        if not some or len(encode(digest)) <= size_bytes_max:
            return digest
        some = some[:-1]
