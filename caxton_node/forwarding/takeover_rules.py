"""By what right a node takes agents over, and how etcd makes it the only one to do so. Pure.

Without etcd the answer of a majority is the right (`majority`). With etcd it is that, and a turn
with the lock `failover`: whoever has it writes down what it takes, under the lock's fencing token,
and gives the lock back. The token becomes the epoch of the copy, so that placement itself is the
side that refuses lower ones: a holder that was stopped and wakes up late starts a copy that gives
up as soon as it is seen.

Where a node has lost etcd, others may have it. Then it leaves agents to them. Where nobody has it,
majority alone decides, as without etcd, and everybody says so.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

import msgspec

from caxton_cluster.metadata import Connection
from caxton_node.runtime.placement import Copy

__all__ = ["CLAIM_S", "Claimed", "Right", "granted_epoch", "read_claimed", "right_of"]

CLAIM_S: Final = 2.5
"""How long a claim of a live node is respected though the registry does not show its copy. Then
the node is taken for stuck, as where placement asks the next candidate."""


class Right(StrEnum):
    """By what right a node may take agents over."""

    MAJORITY = "majority"
    """Nobody has an etcd: the answer of a majority."""
    LEASE = "lease"
    """A turn with the lock in etcd besides."""
    DEGRADED = "degraded"
    """There should be an etcd, and no node reaches it: the answer of a majority alone."""
    WITHHELD = "withheld"
    """None: other nodes reach etcd, and this one does not."""


def right_of(own: Connection, others: Iterable[str]) -> Right:
    """Return by what right a node may take agents over.

    Args:
        own: How etcd does, as this node finds.
        others: The same, as the other live nodes say; what they do not say is empty.
    """
    if own is Connection.CONNECTED:
        return Right.LEASE
    if Connection.CONNECTED.value in others:
        return Right.WITHHELD
    return Right.MAJORITY if own is Connection.OFF else Right.DEGRADED


class Claimed(msgspec.Struct, frozen=True):
    """What a node wrote down of an agent that it took over."""

    node: str
    revision: int
    epoch: int
    token: int
    """Of the lock, when it was written."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SeenClaim:
    """A claim as another node sees it."""

    claimed: Claimed
    is_live: bool
    """Whether the node that wrote it is alive."""
    age_s: float
    """For how long it has been seen unchanged."""


def read_claimed(value: bytes) -> Claimed | None:
    """Return what was written down, or None where it is nothing that this version wrote."""
    try:
        return msgspec.json.decode(value, type=Claimed)
    except msgspec.MsgspecError:
        return None


def granted_epoch(
    like: Copy, epoch: int, seen: SeenClaim | None, *, own: str, token: int
) -> int | None:
    """Return under which epoch an agent may be taken over; None where somebody else just did.

    Args:
        like: What is to be run, as the registry shows it here.
        epoch: Above all that the registry shows here.
        seen: What is written down of the agent, if anything.
        own: This node.
        token: Of the lock, which this node holds.
    """
    fenced = max(epoch, token)
    if seen is None:
        return fenced
    claimed = seen.claimed
    if (claimed.revision, claimed.epoch) <= (like.revision, like.epoch):
        # The registry shows it, or something newer.
        return fenced
    if claimed.node != own and seen.is_live and seen.age_s < CLAIM_S:
        return None
    return max(fenced, claimed.epoch + 1)
