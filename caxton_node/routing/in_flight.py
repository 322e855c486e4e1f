"""Messages that another node knows of, by id, until they have their end.

What came from another node is reported to it when it ends, and what went to one may come back.
A message that never leaves its node is not listed here and costs nothing.
"""

from typing import Any, Protocol

from caxton_node.domain.delivery import DeliveryStatus
from caxton_node.domain.errors import CaxtonError
from caxton_node.routing.envelope import Envelope

__all__ = ["InFlight", "Origin", "tell_end"]


class Origin(Protocol):
    """Another node, in one life, that handed messages over and waits for their ends."""

    @property
    def node(self) -> str:
        """The node's name."""
        ...

    def ended(self, sequence: int, status: DeliveryStatus, reason: str | None) -> None:
        """Report the end of a message, once it is on disk."""
        ...

    def refused(self, sequence: int, error: CaxtonError) -> None:
        """Report that a message was not taken."""
        ...


class InFlight:
    """Envelopes by the ids of their messages."""

    def __init__(self) -> None:
        self._envelopes: dict[str, Envelope] = {}

    def __len__(self) -> int:
        return len(self._envelopes)

    def find(self, message_id: str) -> Envelope | None:
        """Return a message that has no end yet, or None."""
        return self._envelopes.get(message_id)

    def add(self, envelope: Envelope) -> None:
        """List a message."""
        envelope.is_tracked = True
        self._envelopes[envelope.message.id] = envelope

    def remove(self, envelope: Envelope) -> None:
        """Forget a message that has its end, or was not accepted."""
        envelope.is_tracked = False
        self._envelopes.pop(envelope.message.id, None)


def tell_end(told: Any, status: DeliveryStatus, reason: str | None) -> None:
    """Tell everyone in `Envelope.origin` how a message ended."""
    while told is not None:
        origin, sequence, told = told
        origin.ended(sequence, status, reason)
