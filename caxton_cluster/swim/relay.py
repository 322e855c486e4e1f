"""The helper's part: pinging on behalf of somebody who got no answer.

An ack from the target is passed on whenever it comes. If none has come after most of a probe
timeout, the asker gets a nack, so that it knows at least that we are there.

Reference: Dadgar et al., "Lifeguard", DSN 2018, section IV-A.
"""

from dataclasses import dataclass
from typing import Final

from caxton_cluster.swim.context import Context
from caxton_cluster.swim.courier import Courier
from caxton_cluster.swim.timers import NackDue, RelayOver
from caxton_cluster.swim.wire.messages import Ack, IndirectPing, Nack
from caxton_cluster.types import Address

__all__ = ["Relay"]

RELAYS_MAX: Final = 1024
"""Most requests served at once; more are ignored and counted."""


@dataclass(frozen=True, slots=True)
class _Request:
    sequence: int
    asker: Address


class Relay:
    """Requests for indirect pings that we are serving."""

    def __init__(self, context: Context, courier: Courier) -> None:
        self._config = context.config
        self._timers = context.timers
        self._context = context
        self._courier = courier
        self._requests: dict[int, _Request] = {}
        self.ignored_count = 0

    def __len__(self) -> int:
        return len(self._requests)

    def hear_request(self, request: IndirectPing, sender: Address, now: float) -> None:
        """Ping the target of `request`."""
        if len(self._requests) >= RELAYS_MAX:
            self.ignored_count += 1
            return
        sequence = self._context.next_sequence()
        self._requests[sequence] = _Request(request.sequence, request.source or sender)
        self._courier.send(request.target, self._context.ping(sequence, request.node))
        if request.wants_nack:
            wait_s = self._config.nack_fraction * self._config.probe_timeout_s
            self._timers.set(now + wait_s, NackDue(sequence))
        self._timers.set(now + self._config.probe_interval_s, RelayOver(sequence))

    def hear_ack(self, sequence: int) -> None:
        """Pass an ack on to whoever asked."""
        request = self._requests.pop(sequence, None)
        if request is not None:
            self._courier.send(request.asker, Ack(request.sequence))

    def nack_due(self, sequence: int) -> None:
        """Tell the asker that nothing came so far; an ack may still follow."""
        request = self._requests.get(sequence)
        if request is not None:
            self._courier.send(request.asker, Nack(request.sequence))

    def relay_over(self, sequence: int) -> None:
        """Stop waiting."""
        self._requests.pop(sequence, None)
