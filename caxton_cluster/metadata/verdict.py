"""What a failed call of etcd means for whoever made it.

The question that matters is whether the request may have been carried out. A write that may have
been must not be sent again: the copy that got lost can still arrive, after somebody else's.

Reference: etcd's `api/v3rpc/rpctypes/error.go`; its Go client repeats writes under the same rule
(`client/v3/retry.go`).
"""

from enum import Enum
from typing import Final

from grpc import StatusCode

__all__ = ["Verdict", "judge"]


class Verdict(Enum):
    """What to do about a failed attempt."""

    NOT_DONE = "not_done"
    """Surely not carried out: another member may."""
    UNKNOWN = "unknown"
    """Perhaps carried out: only what may be done twice can be repeated."""
    TOKEN = "token"  # noqa: S105 - the name of a verdict, not a secret
    """Not carried out: our token is not, or no longer, known. Get another one."""
    DENIED = "denied"
    REFUSED = "refused"
    LEASE_GONE = "lease_gone"
    COMPACTED = "compacted"
    """The revision that was asked for is no longer kept."""


_NOT_SENT: Final = (
    "failed to connect to all addresses",
    "dns resolution failed",
    "errors resolving",
    "no leader",
    "too many requests",
)
"""In the text of failures that come before anything is carried out."""

_TOKEN: Final = ("invalid auth token", "user name is empty", "revision of auth store is old")
_DENIED: Final = ("permission denied", "authentication failed", "not enough permission")


def judge(code: StatusCode, details: str) -> Verdict:
    """Return what a call's status means.

    Args:
        code: Of gRPC.
        details: Etcd's, or gRPC's own, words.
    """
    words = details.lower()
    # Two of etcd's errors share a code with others, so that the words come first.
    if any(text in words for text in _TOKEN):
        return Verdict.TOKEN
    if any(text in words for text in _DENIED):
        return Verdict.DENIED
    if "lease not found" in words:
        return Verdict.LEASE_GONE
    match code:
        case StatusCode.PERMISSION_DENIED | StatusCode.UNAUTHENTICATED:
            return Verdict.DENIED
        case StatusCode.UNAVAILABLE | StatusCode.RESOURCE_EXHAUSTED if any(
            text in words for text in _NOT_SENT
        ):
            return Verdict.NOT_DONE
        case (
            StatusCode.UNAVAILABLE
            | StatusCode.DEADLINE_EXCEEDED
            | StatusCode.CANCELLED
            | StatusCode.ABORTED
            | StatusCode.INTERNAL
            | StatusCode.UNKNOWN
        ):
            return Verdict.UNKNOWN
        case StatusCode.OUT_OF_RANGE if "compacted" in words:
            return Verdict.COMPACTED
        case _:
            return Verdict.REFUSED
