"""Ends of messages that other nodes wait to hear of: gathered, and written as one.

A turn that answers nothing ends with two things to do: write the end, and tell the node that
handed the message over. Done one by one, an end costs as much as the turn. What ends within one
round of the event loop is one entry of the journal instead, with one call back.

Meanwhile a message stays listed as in flight, so that whoever asks for it again is told, too.
"""

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

from caxton_node.routing.envelope import Envelope
from caxton_node.routing.in_flight import InFlight, tell_end
from caxton_node.store.protocol import Settlement

__all__ = ["Gathering", "WriteEnds"]

WriteEnds = Callable[[Sequence[Settlement], Callable[[], None]], None]
"""Takes ends, and what to do once they are on disk."""


class Gathering:
    """Ends that are written when the event loop comes round. At most what is in flight."""

    def __init__(self, in_flight: InFlight, write: WriteEnds) -> None:
        self._in_flight = in_flight
        self._write = write
        self._gathered: list[tuple[Envelope, Settlement]] = []

    def add(self, envelope: Envelope, end: Settlement) -> None:
        """Add a message that another node handed over and nothing is answered to."""
        if not self._gathered:
            asyncio.get_running_loop().call_soon(self._come_round)
        self._gathered.append((envelope, end))

    def _come_round(self) -> None:
        gathered, self._gathered = self._gathered, []
        waiting: list[tuple[Any, Settlement]] = []
        for envelope, end in gathered:
            self._in_flight.remove(envelope)
            waiting.append((envelope.origin, end))
        self._write([end for _, end in waiting], lambda: _tell(waiting))


def _tell(waiting: Sequence[tuple[Any, Settlement]]) -> None:
    for origin, end in waiting:
        tell_end(origin, end.status, end.reason)
