"""Whether a sender may talk to an agent. Pure.

An agent's file lists who may (`permissions.senders`); an empty list is everyone.
"""

from caxton_node.domain.agent import PermissionSettings
from caxton_node.domain.errors import Denied
from caxton_node.domain.message import Message
from caxton_node.routing.directory import Directory

__all__ = ["authorise", "authorise_reply_to", "may_send"]


def may_send(sender: str, permissions: PermissionSettings) -> bool:
    """Return whether `sender` is on the agent's list. `name*` matches a prefix."""
    if not permissions.senders:
        return True
    return any(
        sender.startswith(pattern[:-1]) if pattern.endswith("*") else sender == pattern
        for pattern in permissions.senders
    )


def authorise(sender: str, agent: str, permissions: PermissionSettings) -> None:
    """Let a message pass that the agent takes.

    Raises:
        Denied: `denied`.
    """
    if permissions.senders and not may_send(sender, permissions):
        raise Denied(
            "denied",
            f"{agent!r} takes no messages from {sender!r}",
            hint="The agent's `permissions.senders` lists who may send to it.",
        )


def authorise_reply_to(message: Message, directory: Directory) -> None:
    """Let nobody have an answer sent to an agent that takes none from himself.

    Raises:
        Denied: `denied`.
    """
    if message.reply_to is None or message.reply_to == message.sender:
        return
    inbox = directory.inbox(message.reply_to)
    if inbox is not None:
        authorise(message.sender, inbox.agent, inbox.permissions)
