"""Admission and delivery: a slot is reserved before the journal, and filled after it.

A full mailbox must answer *busy* before anything is promised, and what was promised must find
room. So `admit` reserves, the journal writes, and `deliver` fills the slot; when the journal
fails, `withdraw` gives the slot back.
"""

from typing import Final

from caxton_node.domain.errors import Unavailable
from caxton_node.domain.message import Message
from caxton_node.domain.performatives import Performative
from caxton_node.routing.authorise import authorise
from caxton_node.routing.directory import Inbox
from caxton_node.routing.envelope import Envelope

__all__ = ["admit", "deliver", "withdraw"]

# Python 3.11 looks a member of an enum up by a function call; here it is asked at every message.
_CANCEL: Final = Performative.CANCEL


def admit(message: Message, inbox: Inbox, is_forced: bool) -> None:
    """Reserve a slot for a message in an agent's mailbox.

    Args:
        message: Validated and routed to `inbox`.
        inbox: The receiver's.
        is_forced: The message was promised a place: a reply, or accepted before a restart.

    Raises:
        Denied: `denied`, when the agent does not take messages from this sender.
        Unavailable: `agent_busy`.
    """
    permissions = inbox.permissions
    if permissions.senders and not is_forced:
        authorise(message.sender, inbox.agent, permissions)
    if message.performative is _CANCEL:
        # It does not wait in the mailbox: a full one must not keep it out.
        return
    if not inbox.reserve(is_forced):
        raise Unavailable(
            "agent_busy",
            f"the mailbox of {inbox.agent!r} is full",
            hint="Try again a little later.",
            facts={"retry_after_s": 1},
        )


def deliver(envelope: Envelope) -> None:
    """Fill the slot that `admit` reserved."""
    if envelope.message.performative is _CANCEL:
        envelope.inbox.interrupt(envelope)
    else:
        envelope.inbox.put(envelope)


def withdraw(envelope: Envelope) -> None:
    """Give the slot back: the message was not accepted after all."""
    if envelope.message.performative is not _CANCEL:
        envelope.inbox.unreserve()
