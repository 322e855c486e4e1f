"""What became of a message, and how hard the server tries.

Every accepted message ends in exactly one of the final states: that is the server's promise.
"""

from enum import StrEnum
from typing import Final

__all__ = ["FINAL", "DeadReason", "DeliveryMode", "DeliveryStatus", "RoutingStrategy"]


class DeliveryMode(StrEnum):
    """How hard the server tries. Chosen by message."""

    AT_MOST_ONCE = "at_most_once"
    """Never journaled: fast, and lost with the process."""
    AT_LEAST_ONCE = "at_least_once"
    """Journaled before it is accepted, redelivered until its turn is done."""
    EXACTLY_ONCE = "exactly_once"
    """As at_least_once; besides, an effect whose outcome is unknown is never repeated."""


class RoutingStrategy(StrEnum):
    """Who of several providers of a capability gets the message."""

    BEST_MATCH = "best_match"
    """The nearest match of the name, then the least loaded."""
    LOAD_BALANCED = "load_balanced"
    """The least loaded of all that match, in turn among equals."""
    BROADCAST = "broadcast"
    """All that match."""


class DeliveryStatus(StrEnum):
    """Where a message is. All but `accepted` are final."""

    ACCEPTED = "accepted"
    """On disk (or in memory, at most once); its turn is not done."""
    DELIVERED = "delivered"
    """The receiver's turn ended well, or the client it was for can read it."""
    DEAD = "dead"
    """Given up, with a `DeadReason`; kept for inspection and retry."""
    EXPIRED = "expired"
    """`reply_by` passed before an answer was there."""
    CANCELLED = "cancelled"
    """Its sender, or an operator, called it off."""


FINAL: Final = frozenset(DeliveryStatus) - {DeliveryStatus.ACCEPTED}


class DeadReason(StrEnum):
    """Why a message was given up."""

    RETRIES_EXHAUSTED = "retries_exhausted"
    AGENT_NOT_FOUND = "agent_not_found"
    NO_PROVIDER = "no_provider"
    AGENT_DELETED = "agent_deleted"
    UNDECODABLE = "undecodable"
    """Its stored bytes mean nothing to this version: damaged, or written by a newer one."""
