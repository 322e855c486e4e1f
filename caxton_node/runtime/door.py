"""The node's front door: what clients may ask of it, whatever the protocol they ask by.

REST is written as a table of endpoints. The gRPC edge and other nodes, on behalf of their own
clients, ask the same table through `Door`: what is checked, done and answered is one thing.

What concerns an agent of another node is asked there, through `Others`, and only once: what came
from another node is answered here or not at all.
"""

from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Protocol

from caxton_node.domain.agent import EMPTY

__all__ = ["Ask", "Door", "Going", "Others", "Told", "Whole"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Ask:
    """What is asked."""

    method: str
    """GET, POST, PUT or DELETE."""
    path: str
    """As in an address, without its query; percent-encoding resolved."""
    query: Mapping[str, str] = EMPTY
    body: bytes = b""
    """JSON text; empty for none."""
    wants_events: bool = False
    """Events are wanted where there is a choice."""
    is_from_node: bool = False
    """Another node asks on behalf of a client of its own."""


@dataclass(frozen=True, slots=True)
class Told:
    """One event of an answer that goes on."""

    name: str
    data: bytes
    """JSON text."""
    number: int | None = None


@dataclass(frozen=True, slots=True)
class Whole:
    """An answer in one piece."""

    status: int
    """As in HTTP, below 400: what goes wrong is raised."""
    media_type: str
    body: bytes
    headers: Mapping[str, str] = EMPTY


@dataclass(frozen=True, slots=True)
class Going:
    """An answer that goes on. Whoever has it closes the iterator."""

    events: AsyncGenerator[Told | None]
    """None is a sign of life."""


class Door(Protocol):
    """Answers what is asked."""

    async def ask(self, ask: Ask) -> Whole | Going:
        """Answer.

        Raises:
            CaxtonError: Whatever goes wrong, as REST would say it.
        """
        ...


class Others(Protocol):
    """The other nodes, to be asked on behalf of a client of this one."""

    def holder(self, agent: str) -> str | None:
        """Return the name of a live node that has an agent; None when no other has."""
        ...

    def peers(self) -> Sequence[str]:
        """Return the names of the nodes that can be asked, by name."""
        ...

    async def ask(self, node: str, ask: Ask) -> Whole | Going:
        """Ask a node.

        Raises:
            CaxtonError: What it said; `unreachable`, `timed_out`.
        """
        ...

    def watching(
        self, node: str, message_id: str, show: Callable[..., None]
    ) -> AbstractAsyncContextManager[None]:
        """Show here what a turn on another node shows, as long as the block lasts.

        Args:
            node: That takes the turn.
            message_id: Of the message whose turn it is.
            show: Takes the kind of an event and its data by name.
        """
        ...
