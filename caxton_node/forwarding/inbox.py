"""An agent on another node, as routing sees it: an inbox like any other."""

from typing import Protocol

from caxton_node.domain.agent import PermissionSettings
from caxton_node.forwarding.remote_agent import RemoteAgent
from caxton_node.routing.envelope import Envelope

__all__ = ["Desk", "RemoteInbox"]


class Desk(Protocol):
    """Who carries messages away, and follows them."""

    def has_room(self, node: str) -> bool:
        """Return whether one more message may wait for the link to a node."""
        ...

    def dispatch(self, inbox: "RemoteInbox", envelope: Envelope) -> None:
        """Send a message on its way."""
        ...

    def take_back(self, inbox: "RemoteInbox", envelope: Envelope) -> None:
        """Let go of a message that ends here, or goes elsewhere."""
        ...

    def too_late(self, inbox: "RemoteInbox", envelope: Envelope) -> None:
        """End a message whose `reply_by` has passed, unless the other node does."""
        ...

    def interrupt(self, inbox: "RemoteInbox", envelope: Envelope) -> None:
        """Send a `cancel` after what it calls off."""
        ...


class RemoteInbox:
    """Takes messages for one agent of one other node. Implements `Inbox`.

    Args:
        node: The other node's name.
        record: What is known of the agent; its name is empty for the node's clients.
        desk: Carries the messages.
    """

    def __init__(self, node: str, record: RemoteAgent, desk: Desk) -> None:
        self.node = node
        self.record = record
        self.agent = record.name
        """The agent's name."""
        self.outstanding = 0
        """Messages of this node that were sent there, or wait to be, and have no end yet."""
        self.conversations: dict[str, set[int]] | None = None
        """Conversation → numbers of its messages that are there, while somebody waits for them."""
        self.is_shut = False
        """The other node says that the agent is not there. What comes meanwhile waits behind."""
        self._reserved = 0
        self._desk = desk

    @property
    def permissions(self) -> PermissionSettings:
        """Whose messages the agent takes."""
        return self.record.permissions

    @property
    def is_running(self) -> bool:
        """Whether it takes turns there now."""
        return self.record.is_running

    @property
    def load(self) -> int:
        """Messages waiting and turns under way: as last heard, or as sent from here."""
        return max(self.record.load, self.outstanding)

    def reserve(self, is_forced: bool = False, /) -> bool:
        """Keep a place; False when as many are on their way as the agent's mailbox holds."""
        if not is_forced and (
            self._reserved + self.outstanding >= self.record.mailbox
            or not self._desk.has_room(self.node)
        ):
            return False
        self._reserved += 1
        return True

    def unreserve(self) -> None:
        """Give a place back."""
        assert self._reserved, "only a reserved place can be given back"
        self._reserved -= 1

    def put(self, envelope: Envelope) -> None:
        """Send a message on its way, for which a place is reserved."""
        self._reserved -= 1
        self._desk.dispatch(self, envelope)

    def discard(self, envelope: Envelope) -> None:
        """Let go of a message that ends here, or goes elsewhere."""
        self._desk.take_back(self, envelope)

    def expire(self, envelope: Envelope) -> None:
        """End a message whose `reply_by` has passed, unless the other node does."""
        self._desk.too_late(self, envelope)

    def interrupt(self, envelope: Envelope) -> None:
        """Send a `cancel` after what it calls off."""
        self._desk.interrupt(self, envelope)
