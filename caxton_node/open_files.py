"""How many files the process may hold open, and how many of them connections may take.

A connection is an open file, and so is everything that the store, the tools and other nodes need.
Where connections may take all, a few hundred idle ones stop the node.
"""

import resource
from dataclasses import dataclass
from typing import Final

__all__ = ["Allotment", "allot", "raise_limit"]

WANTED: Final = 65_536
"""Asked of the system at the start, within what it lets us have."""

RESERVED_SHARE: Final = 4
"""One in so many is for everything but connections."""

HTTP_MAX: Final = 10_000
GRPC_MAX: Final = 10_000


@dataclass(frozen=True, slots=True)
class Allotment:
    """Connections at once, by edge."""

    http: int
    grpc: int


def raise_limit() -> int:
    """Let this process hold as many files open as is useful and allowed; return how many."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY:
        return WANTED
    wanted = WANTED if hard == resource.RLIM_INFINITY else min(WANTED, hard)
    if soft >= wanted:
        return soft
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    except (OSError, ValueError):
        # Some systems hold a lower limit than they tell of.
        return soft
    return wanted


def allot(file_count_max: int) -> Allotment:
    """Share open files among the edges.

    Args:
        file_count_max: Files that the process may hold open.
    """
    free = file_count_max - file_count_max // RESERVED_SHARE
    half = max(1, free // 2)
    return Allotment(http=min(HTTP_MAX, half), grpc=min(GRPC_MAX, half))
