"""Calls of guests, counted by what they came to and timed: for all sandboxes of the node alike."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

from caxton_node.telemetry.counts import Counts
from caxton_node.wasm.errors import GuestRefused, OverLimit, SandboxFailed, UnfitModule

__all__ = ["counted"]


@contextmanager
def counted(counts: Counts) -> Iterator[None]:
    """Count a call of a guest, which lasts as long as the block."""
    started_s = time.perf_counter()
    counts.guest_calls += 1
    try:
        yield
    except GuestRefused:
        counts.guest_refused += 1
        raise
    except OverLimit:
        counts.guest_stopped += 1
        raise
    except (SandboxFailed, UnfitModule):
        counts.guest_broken += 1
        raise
    finally:
        counts.guest_s.observe(time.perf_counter() - started_s)
