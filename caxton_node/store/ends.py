"""How the ends of a batch are packed: what many share is said once, each is a single number.

Most messages of a batch end alike: delivered, at the first attempt, here or on the same node. They
differ in their number and in two instants that lie close together. So they form *runs*: a run says
what they share and three origins, and a message is its distances from these, in 63 bits. What lies
too far away begins another run, so that no value is out of range.

Pure. The other side is the trigger `ends_run` in `migrations/0004_ends_by_run.sql`.
"""

from collections.abc import Sequence
from typing import Any, Final

from caxton_node.store.protocol import Settlement
from caxton_node.store.storable_text import storable_text

__all__ = ["pack_ends"]

_SEQ_BITS: Final = 21
_SETTLED_BITS: Final = 20
_STARTED_BITS: Final = 22
"""Wide enough for a million messages and more than five minutes to either side of the first."""

_SETTLED_SHIFT: Final = _SEQ_BITS
_STARTED_SHIFT: Final = _SEQ_BITS + _SETTLED_BITS

_SEQ_END: Final = 1 << _SEQ_BITS
_SETTLED_END: Final = 1 << _SETTLED_BITS
_STARTED_END: Final = 1 << _STARTED_BITS

Run = tuple[str, str | None, int, str | None, str | None, int, int, int | None, list[int]]
"""Status, agent, attempts, reason, node; the origins of seq, settled_at, started_at; the numbers.
The values of the view `ends`, in its order."""


def pack_ends(ends: Sequence[Settlement]) -> list[Run]:
    """Return the runs of a batch.

    Args:
        ends: In order. Of two for one message, the first is first in what is returned, too.
    """
    runs: list[Run] = []
    open_runs: dict[Any, Run] = {}
    last: Settlement | None = None
    run: Run | None = None
    for end in ends:
        if last is None or not _is_alike(end, last):
            run = open_runs.get(_shared(end))
        last = end
        number = None if run is None else _packed(end, run)
        if run is None or number is None:
            run = open_runs[_shared(end)] = _begun_by(end)
            runs.append(run)
            number = _packed(end, run)
            assert number is not None, "a run begins around its first end"
        run[8].append(number)
    return runs


def _is_alike(end: Settlement, last: Settlement) -> bool:
    """Return whether two ends share what a run says once. Asked at every message."""
    return (
        end.status is last.status
        and end.agent == last.agent
        and end.node == last.node
        and end.attempts == last.attempts
        and end.reason == last.reason
        and (end.started_at is None) is (last.started_at is None)
    )


def _shared(end: Settlement) -> tuple[object, ...]:
    is_never_started = end.started_at is None
    return (end.status, end.agent, end.attempts, end.reason, end.node, is_never_started)


def _begun_by(end: Settlement) -> Run:
    return (
        end.status.value,
        end.agent,
        end.attempts,
        None if end.reason is None else storable_text(end.reason),
        end.node,
        end.seq - _SEQ_END // 2,
        end.settled_at - _SETTLED_END // 2,
        None if end.started_at is None else end.started_at - _STARTED_END // 2,
        [],
    )


def _packed(end: Settlement, run: Run) -> int | None:
    """Return an end as its distances from a run's origins; None when they are too long."""
    seq, settled = end.seq - run[5], end.settled_at - run[6]
    started = 0
    if end.started_at is not None and run[7] is not None:
        started = end.started_at - run[7]
    if 0 <= seq < _SEQ_END and 0 <= settled < _SETTLED_END and 0 <= started < _STARTED_END:
        return seq | settled << _SETTLED_SHIFT | started << _STARTED_SHIFT
    return None
