"""A message on its way through this node: what the message itself does not know."""

from collections.abc import Callable
from typing import Any

import msgspec

from caxton_node.domain.errors import CaxtonError
from caxton_node.domain.message import Message

__all__ = ["Envelope", "OnAccepted"]

OnAccepted = Callable[[CaxtonError | None], None]
"""Called on the event loop once the message is journaled, or could not be."""


class Envelope(msgspec.Struct, eq=False):
    """One message in flight. Owned by the pipeline until delivered, then by a mailbox."""

    seq: int
    """Its number in the journal; 0 for a message that is not journaled."""
    message: Message
    inbox: Any = None
    """Where a slot is reserved for it (`Inbox`); None for a client's or an undecided one."""
    attempts: int = 0
    started_at: int | None = None
    """When the last attempt began, in milliseconds since 1970, UTC."""
    on_accepted: OnAccepted | None = None
    is_recovered: bool = False
    """Accepted before a restart: its turn may have begun then."""
    is_over: bool = False
    """Settled, or about to be: whoever meets it later leaves it alone."""
