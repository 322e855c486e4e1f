"""What a node must know of an agent elsewhere to send it messages. The registry tells."""

from dataclasses import dataclass, field
from typing import Final

from caxton_node.domain.agent import PermissionSettings

__all__ = ["MAILBOX_DEFAULT", "RemoteAgent"]

MAILBOX_DEFAULT: Final = 1_000


@dataclass(frozen=True, slots=True, kw_only=True)
class RemoteAgent:
    """An agent on another node."""

    name: str
    permissions: PermissionSettings = field(default_factory=PermissionSettings)
    """Whose messages it takes; its own node checks them again."""
    mailbox: int = MAILBOX_DEFAULT
    """How many messages may wait for it. This node sends no more than that ahead of it."""
    load: int = 0
    """Messages waiting and turns under way there, as last heard."""
    is_running: bool = True
