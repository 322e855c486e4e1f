"""When a link sends its next frame: at once while there are few, on a beat while there are many.

A frame costs each side about as much as fifty messages in it. So a link has an allowance: one
frame a *beat*, and some that were saved up. While it lasts, frames go at once: a single question
and its answer never wait. Once it is used up they go on the beat, and what comes meanwhile gathers.
The more peers there are, the longer is the beat, so that what frames cost in all stays the same
share of a core.

Arithmetic and one number of state. The caller supplies the time, in seconds.

Reference: ITU-T I.371, the virtual scheduling form of the generic cell rate algorithm.
"""

from typing import Final

__all__ = ["Pace", "beat_s", "lazy_s"]

BEAT_FIRST_S: Final = 0.00025
"""With one peer. Twice as many frames as one peer's share, because there is only the one."""

BEAT_PER_PEER_S: Final = 0.0005
"""For each further peer. A frame takes each side about 0.1 ms: sending one in so long for each peer
takes a fifth of a core, a quarter where they are few, however many there are."""

BEAT_MAX_S: Final = 0.005
"""Reached among eleven nodes. Beyond that, frames cost more, and messages do not wait longer."""

SAVED_FRAMES: Final = 16
"""The allowance after a while without frames."""

LAZY_S: Final = 0.002
"""How long acks and outcomes wait for a message to ride with, at least."""


def beat_s(peer_count: int) -> float:
    """Return how often a link may send a frame for long, by how many links are up."""
    return min(BEAT_MAX_S, BEAT_FIRST_S + BEAT_PER_PEER_S * max(0, peer_count - 1))


def lazy_s(peer_count: int) -> float:
    """Return how long acks and outcomes wait for a message to ride with.

    No less than a beat, or they would have frames of their own between those of messages.
    """
    return max(LAZY_S, beat_s(peer_count))


class Pace:
    """The allowance of one link."""

    __slots__ = ("_even_at_s",)

    def __init__(self) -> None:
        self._even_at_s = 0.0
        """When the allowance is whole again."""

    def due_s(self, now_s: float, peer_count: int) -> float:
        """Return when the next frame may go: now, or later."""
        return max(now_s, self._even_at_s - SAVED_FRAMES * beat_s(peer_count))

    def sent(self, now_s: float, peer_count: int) -> None:
        """Take note of a frame. Full ones do not wait; they delay others by a beat at most."""
        beat = beat_s(peer_count)
        even_at_s = max(now_s, self._even_at_s) + beat
        self._even_at_s = min(even_at_s, now_s + (SAVED_FRAMES + 1) * beat)
