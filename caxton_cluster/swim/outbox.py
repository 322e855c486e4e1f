"""What the machine wants done: datagrams to send, streams to dial, events to publish.

The machine fills it, the shell empties it after every call. It decides nothing.
"""

from dataclasses import dataclass

from caxton_cluster.swim.events import Event
from caxton_cluster.types import Address

__all__ = ["Datagram", "Exchange", "Outbox"]


@dataclass(frozen=True, slots=True)
class Datagram:
    """Bytes to send by UDP."""

    payload: bytes
    target: Address


@dataclass(frozen=True, slots=True)
class Exchange:
    """A request to send on a TCP connection, whose reply is to be handed back.

    The shell answers every exchange once: with the reply, or with how it failed.
    """

    id: int
    target: Address
    request: bytes
    timeout_s: float
    """For all of it: connect, write and read."""


class Outbox:
    """Collected actions, in the order they were decided."""

    def __init__(self) -> None:
        self._datagrams: list[Datagram] = []
        self._exchanges: list[Exchange] = []
        self._events: list[Event] = []

    def send(self, payload: bytes, target: Address) -> None:
        """Have a datagram sent."""
        self._datagrams.append(Datagram(payload, target))

    def dial(self, exchange: Exchange) -> None:
        """Have a request made."""
        self._exchanges.append(exchange)

    def publish(self, event: Event) -> None:
        """Have the application told."""
        self._events.append(event)

    def take_datagrams(self) -> list[Datagram]:
        """Return the datagrams to send and forget them."""
        taken, self._datagrams = self._datagrams, []
        return taken

    def take_exchanges(self) -> list[Exchange]:
        """Return the exchanges to make and forget them."""
        taken, self._exchanges = self._exchanges, []
        return taken

    def take_events(self) -> list[Event]:
        """Return the events to publish and forget them."""
        taken, self._events = self._events, []
        return taken
