"""When a link sends its next frame: at once while there is little, in batches while there is much.

A frame costs about as much as fifty messages in it. So the more messages the last frame had, the
longer the next one gathers, up to a bound that grows with the number of peers: what frames cost
in all stays the same share of a core. A single question and its answer never wait.

Arithmetic only.
"""

from typing import Final

__all__ = ["LAZY_S", "hold_s"]

HOLD_PER_PEER_S: Final = 0.0005
"""A frame takes each side about 0.1 ms: gathering so long for each peer, frames take a fifth of a
core, however many peers there are."""

HOLD_MAX_S: Final = 0.005
"""Reached among eleven nodes. Beyond that, frames cost more, and messages do not wait longer."""

FULL_FRAME: Final = 128
"""Messages in a frame from which the next one gathers for as long as it may."""

LAZY_S: Final = 0.002
"""How long acks and outcomes wait for a message to ride with."""


def hold_s(last_count: int, peer_count: int) -> float:
    """Return how long a frame gathers after the one before was sent.

    Args:
        last_count: Messages in the frame before.
        peer_count: Links that are up.
    """
    longest_s = min(HOLD_MAX_S, HOLD_PER_PEER_S * peer_count)
    return longest_s * min(1.0, max(0, last_count - 1) / FULL_FRAME)
