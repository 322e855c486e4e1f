"""A message on its way through this node: what the message itself does not know."""

from collections.abc import Callable
from typing import Any, Final

import msgspec

from caxton_node.domain.errors import CaxtonError
from caxton_node.domain.message import Message

__all__ = [
    "AWAY",
    "JOURNALING",
    "OVER",
    "RETRYING",
    "RUNNING",
    "WAITING",
    "Envelope",
    "OnAccepted",
]

OnAccepted = Callable[[CaxtonError | None], None]
"""Called on the event loop once the message is journaled, or could not be."""

# Where an envelope is. Plain numbers, because each message passes through all of them.
JOURNALING: Final = 0
"""Admitted; its slot is reserved and nothing is promised yet."""
WAITING: Final = 1
"""In its agent's mailbox."""
RUNNING: Final = 2
"""In a turn."""
RETRYING: Final = 3
"""Between two attempts; its conversation stays closed."""
OVER: Final = 4
"""Settled, or about to be."""
AWAY: Final = 5
"""On its way to another node, or in that node's hands."""


class Envelope(msgspec.Struct, eq=False):
    """One message in flight. Owned by the pipeline until delivered, then by a mailbox."""

    seq: int
    """Its number in the journal; 0 for a message that is not journaled."""
    message: Message
    inbox: Any = None
    """Where a slot is reserved for it (`Inbox`); None for a client's or an undecided one."""
    on_accepted: OnAccepted | None = None
    phase: int = JOURNALING
    attempts: int = 0
    started_at: int | None = None
    """When the last attempt began, in milliseconds since 1970, UTC."""
    is_recovered: bool = False
    """Accepted before a restart, or a dead letter tried again: its turn may have begun then."""
    alarm: Any = None
    """The timer of its `reply_by`; cancelled when it is over."""
    is_doubtful: bool = False
    """Another node may have had it before: whoever gets it looks into its journal first."""
    is_tracked: bool = False
    """Another node knows of it: see `InFlight`."""
    origin: Any = None
    """Who waits for its end: (`Origin`, its number there, the next or None), or None."""
    is_revived: bool = False
    """A dead letter that is tried again: wherever it died, it is to live again."""
    sent_to: str | None = None
    """The node that may have begun it, where it must have its effect once."""
    sent_agent: str | None = None
    """The agent that it was sent to there."""
    begun_by: str | None = None
    """The agent of this node that began its turn before the process ended, where it must have its
    effect once."""
    marked_for: str | None = None
    """The node that the journal says it is sent to."""
    went_to: str | None = None
    """The node that it was last sent to, while its turn is not taken here."""
    lost_at: int | None = None
    """When its agent was found to be nowhere, in milliseconds since 1970, UTC."""
    behind_since: int | None = None
    """When it first waited behind earlier ones elsewhere: milliseconds since 1970, UTC."""
    packed: bytes | None = None
    """The message as it was journaled, until it is sent away."""
    parcel: Any = None
    """What travels, while it is away."""
    after: Callable[[], None] | None = None
    """Tells other nodes the end of the request that it answers, once it has its own."""

    @property
    def is_over(self) -> bool:
        """Whether it has its end."""
        return self.phase == OVER
