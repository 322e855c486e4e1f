"""Messages whose agent is nowhere now: an inbox of their own, until somebody can take them.

An accepted message is not given up because a node died or cannot be seen. It waits here, in order,
and takes its way anew whenever the picture of who is where changes.
"""

from collections.abc import Callable, Collection
from typing import Final

from caxton_node.domain.agent import PermissionSettings
from caxton_node.routing.envelope import WAITING, Envelope

__all__ = ["UNPLACED_MAX", "Unplaced"]

UNPLACED_MAX: Final = 20_000
"""Messages that wait. One more from a client is refused; what was promised is kept all the same."""


class Unplaced:
    """Takes messages for nobody. Implements `Inbox`.

    Args:
        on_cancel: Acts on a `cancel`.
    """

    agent: Final = ""
    node: Final = None
    permissions: Final = PermissionSettings()
    is_running: Final = False

    def __init__(self, on_cancel: Callable[["Unplaced", Envelope], None]) -> None:
        self._on_cancel = on_cancel
        self._waiting: dict[int, Envelope] = {}
        self._seqs: dict[tuple[str, str], set[int]] = {}
        """(Receiver, conversation) → numbers of its messages here."""
        self._reserved = 0

    def __len__(self) -> int:
        return len(self._waiting)

    @property
    def load(self) -> int:
        """Messages that wait."""
        return len(self._waiting)

    def reserve(self, is_forced: bool = False, /) -> bool:
        """Keep a slot for a message that is being journaled."""
        if not is_forced and self._reserved + len(self._waiting) >= UNPLACED_MAX:
            return False
        self._reserved += 1
        return True

    def unreserve(self) -> None:
        """Give a slot back."""
        assert self._reserved, "only a reserved slot can be given back"
        self._reserved -= 1

    def put(self, envelope: Envelope) -> None:
        """Take a message for which a slot is reserved."""
        self.unreserve()
        envelope.phase = WAITING
        self._waiting[id(envelope)] = envelope
        message = envelope.message
        key = (message.receiver, message.conversation_id)
        self._seqs.setdefault(key, set()).add(envelope.seq)

    def discard(self, envelope: Envelope) -> None:
        """Let go of a message that ends here."""
        del self._waiting[id(envelope)]
        message = envelope.message
        key = (message.receiver, message.conversation_id)
        seqs = self._seqs[key]
        seqs.discard(envelope.seq)
        if not seqs:
            del self._seqs[key]

    def has_before(self, seq: int, receiver: str, conversation_id: str) -> bool:
        """Return whether an earlier message of a conversation waits here for the same agent."""
        seqs = self._seqs.get((receiver, conversation_id))
        return seqs is not None and min(seqs) < seq

    def interrupt(self, envelope: Envelope) -> None:
        """Take a `cancel`: it calls off what waits here."""
        self._on_cancel(self, envelope)

    def waiting(self, conversation_id: str) -> list[Envelope]:
        """Return what waits in a conversation."""
        return [
            one for one in self._waiting.values() if one.message.conversation_id == conversation_id
        ]

    def take(self, agents: Collection[str] | None = None) -> list[Envelope]:
        """Return, and let go of, what may wait for some agents, in order of acceptance.

        Args:
            agents: Their names; None is everybody. What waits for a capability may be for any.
        """
        taken = [
            one
            for one in self._waiting.values()
            if agents is None or one.message.receiver in agents or one.message.capability
        ]
        for one in taken:
            self.discard(one)
        return sorted(taken, key=lambda envelope: envelope.seq)
