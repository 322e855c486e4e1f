"""Which messages wait although their agent is known: those behind an earlier one that is elsewhere.

While an agent moves, what was accepted before may still be on the node that gives it up, or on its
way there, and what is accepted now would reach the new one first. So a message goes where its agent
is only if no earlier one of its conversation is anywhere else. Whoever knows of other nodes tells;
a node alone has nothing to ask.
"""

from collections.abc import Sized
from typing import Protocol

from caxton_node.routing.directory import Inbox
from caxton_node.routing.envelope import Envelope

__all__ = ["Order"]


class Order(Protocol):
    """Keeps the messages of a conversation for one agent in the order of their acceptance."""

    @property
    def left(self) -> Sized:
        """The agents that this node is leaving to another one."""
        ...

    def detour(self, envelope: Envelope) -> Inbox | None:
        """Return where a message waits; None when it may go to its inbox now.

        Args:
            envelope: With a number, and a place in an inbox.
        """
        ...
