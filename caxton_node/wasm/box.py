"""A sandbox as the node sees it, wherever it is: in this process or in a worker."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from caxton_node.domain.wasm import GuestLimits, InstancePolicy
from caxton_node.wasm.shapes import Shape

__all__ = ["Answer", "Box", "Plan", "Snapshot"]

Answer = Callable[[str, bytes], Awaitable[bytes]]
"""Answers an operation that a guest asks for within one call: name and arguments as JSON → JSON."""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The state of a guest, and the version that made it."""

    state: bytes
    """JSON."""
    version: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What a sandbox is made of."""

    name: str
    """Whose it is, for logs."""
    version: str = ""
    """Of the guest: its snapshots carry it."""
    file: Path
    """Compiled code."""
    shape: Shape
    limits: GuestLimits
    policy: InstancePolicy = InstancePolicy.KEPT
    parameters: bytes = b"{}"
    secret_names: tuple[str, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict)
    log: Callable[[str, str], None]
    """Takes a level and a line of the guest."""
    on_snapshot: Callable[[bytes], None]
    """Takes the guest's state, some time after it changed."""


class Box(Protocol):
    """A sandbox."""

    async def call(self, function: str, data: bytes | None, answer: Answer) -> bytes | None:
        """Call a function of the guest.

        Args:
            function: As ABI 1 has it.
            data: JSON; None for a function without input.
            answer: Answers what the guest asks meanwhile.

        Raises:
            SandboxFailed: It refused, broke, or was stopped.
            UnfitModule: It cannot be loaded.
        """
        ...

    async def warm(self, snapshot: Snapshot | None = None) -> None:
        """Start the guest, if it is not running; with a snapshot, anew from that.

        Raises:
            SandboxFailed: It broke, took too long, or does not take the snapshot.
            UnfitModule: It cannot be loaded.
        """
        ...

    async def take_snapshot(self) -> bytes | None:
        """Return the guest's state; None when it keeps none.

        Raises:
            SandboxFailed: It refused, broke, or was stopped.
        """
        ...

    def restore(self, snapshot: Snapshot | None) -> None:
        """Set what a new guest goes on from. Before the first call."""
        ...

    async def close(self) -> None:
        """Throw it away."""
        ...
