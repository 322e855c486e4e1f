"""An agent on another node, as routing sees it: an inbox like any other."""

from caxton_node.domain.agent import PermissionSettings
from caxton_node.forwarding.remote_agent import RemoteAgent
from caxton_node.routing.envelope import Envelope

__all__ = ["RemoteInbox"]


class RemoteInbox:
    """Takes messages for one agent of one other node. Implements `Inbox`."""

    def __init__(self, node: str, record: RemoteAgent) -> None:
        self.node = node
        self.record = record

    @property
    def agent(self) -> str:
        """The agent's name."""
        return self.record.name

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
        """Messages waiting and turns under way, as last heard, and what was sent since."""
        return self.record.load

    def reserve(self, is_forced: bool = False, /) -> bool:  # noqa: ARG002 - soon
        """Keep a place on the link; False when too much is on its way already."""
        return False

    def unreserve(self) -> None:
        """Give a place back."""

    def put(self, envelope: Envelope) -> None:
        """Send a message on its way."""

    def discard(self, envelope: Envelope) -> None:
        """Let go of a message that ends here."""

    def interrupt(self, envelope: Envelope) -> None:
        """Send a `cancel` after what it calls off."""
