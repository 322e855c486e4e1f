"""`caxton conversation`: who said what to whom, and what it led to."""

from collections.abc import Callable
from typing import Any, Final

import click

from caxton_node.cli.client import connect, path_of
from caxton_node.cli.command import Group
from caxton_node.cli.output import Branch
from caxton_node.cli.parameters import limit_option
from caxton_node.cli.printable import text_of
from caxton_node.cli.session import Session, pass_session
from caxton_node.cli.wording import counted, instant
from caxton_node.domain.errors import NotFound

__all__ = ["conversation", "conversation_tree"]

DEPTH_MAX: Final = 8
"""Sub-conversations within each other that are shown."""

CONVERSATIONS_MAX: Final = 100
"""Fetched for one tree."""


@click.group(cls=Group)
def conversation() -> None:
    """Read conversations."""


@conversation.command("list")
@limit_option()
@pass_session
def list_conversations(session: Session, count_max: int) -> None:
    """List conversations."""
    document, has_more = connect(session).items(path_of("conversations"), count_max=count_max)
    output = session.output
    if output.is_json:
        output.document(document)
        return
    if not document["items"]:
        output.note("No conversations yet.")
        return
    output.table(
        ("ID", "STATUS", "MESSAGES", "PARTICIPANTS", "LAST ACTIVITY"),
        [
            (
                each["id"],
                each["status"],
                each["message_count"],
                each["participants"],
                instant(each["last_activity_at"]),
            )
            for each in document["items"]
        ],
    )
    if has_more:
        output.note(f"\nThe first {counted(count_max, 'conversation')}; more with --limit")


@conversation.command("show")
@click.argument("conversation_id", metavar="ID")
@pass_session
def show(session: Session, conversation_id: str) -> None:
    """Show a conversation as a tree, with those that it led to."""
    client = connect(session)
    document = client.get(path_of("conversations", conversation_id))
    if session.output.is_json:
        session.output.document(document)
        return

    def fetch(child_id: str) -> dict[str, Any] | None:
        try:
            found: dict[str, Any] = client.get(path_of("conversations", child_id))
        except NotFound:
            # It was forgotten since: what is left is still worth showing.
            return None
        return found

    session.output.tree(conversation_tree(document, fetch))


def conversation_tree(
    document: dict[str, Any], fetch: Callable[[str], dict[str, Any] | None]
) -> Branch:
    """Return a conversation as a tree: its messages by time, sub-conversations among them.

    Args:
        document: The conversation with its messages, as the API gives it.
        fetch: Returns the same for the id of a sub-conversation; None when it is not there.
    """
    seen = {document["id"]}

    def grown(each: dict[str, Any], depth: int) -> Branch:
        twigs = [
            (stored["accepted_at"] or "", Branch(message_line(stored)))
            for stored in each["messages"]
        ]
        for child_id in each.get("children") or []:
            if depth >= DEPTH_MAX or len(seen) >= CONVERSATIONS_MAX:
                twigs.append(("~", Branch(f"{child_id} …")))
                continue
            if child_id in seen:
                continue
            seen.add(child_id)
            child = fetch(child_id)
            if child is not None:
                twigs.append((child["created_at"], grown(child, depth + 1)))
        # Stable: what happened in the same millisecond stays in the server's order.
        twigs.sort(key=lambda twig: twig[0])
        head = f"{each['id']} {each['status']}, {counted(each['message_count'], 'message')}"
        return Branch(head, tuple(branch for _, branch in twigs))

    return grown(document, 0)


def message_line(stored: dict[str, Any]) -> str:
    """Return a stored message as a line of the tree: time, act, who to whom, text."""
    sent = stored["message"]
    receiver = sent.get("receiver") or stored.get("agent") or f"({sent.get('capability')})"
    status = "" if stored["status"] == "delivered" else f" [{stored['status']}]"
    at = instant(stored.get("accepted_at"))
    act = sent["performative"].upper()
    return f"{at} {act} {sent['sender']} → {receiver}{status}: {text_of(sent.get('content'))}"
