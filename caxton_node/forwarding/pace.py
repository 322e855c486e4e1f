"""When a link sends its next frame: at once while there is little, in batches while there is much.

A frame costs about as much as fifty messages in it. So the more messages the last frame had, the
longer the next one gathers, up to a bound that grows with the number of peers. A single question
and its answer never wait.

Arithmetic only.
"""

from typing import Final

__all__ = ["LAZY_S", "hold_s"]

HOLD_MAX_S: Final = 0.002
HOLD_MANY_PEERS_S: Final = 0.005
MANY_PEERS: Final = 9
"""In a cluster of ten nodes, each has as many links."""

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
    longest_s = HOLD_MANY_PEERS_S if peer_count >= MANY_PEERS else HOLD_MAX_S
    return longest_s * min(1.0, max(0, last_count - 1) / FULL_FRAME)
