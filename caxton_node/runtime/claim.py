"""By what right this node runs an agent, and what it must ask the other nodes before it changes.

Nodes agree on who runs an agent by comparing claims (`caxton_node.runtime.placement`). A node
alone has nobody to compare with: its claims count up all the same, so that it can join others.
"""

from dataclasses import dataclass
from typing import Protocol

from caxton_node.domain.agent import AgentSpec

__all__ = ["Alone", "Claim", "Fellows"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """What a node says of an agent it runs."""

    revision: int = 1
    """Grows when the agent becomes another one: deployed, rolled back, scaled, placed anew."""
    epoch: int = 1
    """Grows when a node takes the agent over from another."""
    digest: str = ""
    """SHA-256 of the definition in force, hexadecimal."""
    replicas: int | None = None
    """How many nodes are to run it; None as its definition says."""
    placement: str | None = None
    """Where; None as its definition says."""

    @property
    def rank(self) -> tuple[int, int]:
        """The higher one is right."""
        return (self.revision, self.epoch)

    def replica_count(self, spec: AgentSpec) -> int:
        """Return how many nodes are to run what is defined so."""
        return spec.deployment.replicas if self.replicas is None else self.replicas


class Fellows(Protocol):
    """The other nodes, as far as whoever changes agents must know them."""

    def check_writable(self) -> None:
        """Let a change of what agents are pass.

        Raises:
            Unavailable: `no_majority`: this node may be cut off from those who decide.
        """
        ...

    async def confirm_writable(self) -> None:
        """Let a change of what agents are pass, once those who decide have answered.

        Raises:
            Unavailable: `no_majority`: this node is cut off from them, or just being cut off.
        """
        ...

    def highest_claim(self, agent: str) -> tuple[int, int]:
        """Return the highest (revision, epoch) that any node claims or claimed; (0, 0) if none."""
        ...

    def changed(self, agent: str) -> None:
        """Take note that this node has, or has no longer, an agent, or a changed one."""
        ...

    def deleted(self, agent: str, revision: int) -> None:
        """Take note that an agent is to be nowhere any more, at this revision or any below it."""
        ...


class Alone:
    """The `Fellows` of a node in no ring."""

    def check_writable(self) -> None:
        """Nobody can object."""

    async def confirm_writable(self) -> None:
        """Nobody can object."""

    def highest_claim(self, agent: str) -> tuple[int, int]:  # noqa: ARG002 - the Protocol's
        """Nobody claims anything."""
        return (0, 0)

    def changed(self, agent: str) -> None:
        """Nobody wants to know."""

    def deleted(self, agent: str, revision: int) -> None:
        """Nobody else has it."""
