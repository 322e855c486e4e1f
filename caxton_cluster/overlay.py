"""What may sit on top of the machine: an application protocol that rides on its messages.

An overlay gives the machine a state to exchange and answers what comes in with actions. Like the
machine it is free of I/O; the façade carries its actions out. `serf` is the one that ships.
"""

from dataclasses import dataclass
from typing import Protocol

from caxton_cluster.swim.events import Event
from caxton_cluster.types import Address, Versions

__all__ = ["Action", "Overlay", "Publish", "Spread", "Tell"]


@dataclass(frozen=True, slots=True)
class Spread:
    """Send a message to everyone, by rumour."""

    payload: bytes


@dataclass(frozen=True, slots=True)
class Tell:
    """Send a message to one address."""

    payload: bytes
    target: Address


@dataclass(frozen=True, slots=True)
class Publish:
    """Hand an event of the overlay's own to the subscribers."""

    event: object


Action = Spread | Tell | Publish


class Overlay(Protocol):
    """An application protocol above membership."""

    @property
    def versions(self) -> Versions:
        """The versions to announce; peers of other ranges are not let in."""
        ...

    def user_state(self, is_join: bool, /) -> bytes:
        """Return the state that rides on each push/pull."""
        ...

    def hear(self, event: Event, /) -> list[Action]:
        """Take in an event of the machine and return what to do about it."""
        ...

    def joined(self) -> list[Action]:
        """Return what to say after a join."""
        ...

    def leaving(self) -> list[Action]:
        """Return what to say before a leave; it is spread before the machine says goodbye."""
        ...
