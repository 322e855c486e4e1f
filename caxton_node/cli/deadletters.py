"""`caxton deadletter`: what could not be delivered, and what to do about it."""

from collections.abc import Sequence

import click

from caxton_node.cli.client import connect, path_of
from caxton_node.cli.command import Group
from caxton_node.cli.messages import get
from caxton_node.cli.parameters import limit_option
from caxton_node.cli.printable import text_of
from caxton_node.cli.session import Session, pass_session
from caxton_node.cli.wording import instant

__all__ = ["deadletter"]

CONTENT_LENGTH_MAX = 60
"""Characters of a message in the table."""


@click.group(cls=Group)
def deadletter() -> None:
    """Look after messages that could not be delivered."""


deadletter.add_command(get, "show")


@deadletter.command("list")
@click.option("--node", help="Those of this node.  [default: of the server]")
@limit_option()
@pass_session
def list_dead_letters(session: Session, node: str | None, count_max: int) -> None:
    """List dead letters."""
    document, _ = connect(session).items(
        path_of("dead-letters"), {"node": node}, count_max=count_max
    )
    output = session.output
    if output.is_json:
        output.document(document)
        return
    if not document["items"]:
        output.note("No dead letters.")
        return
    output.table(
        ("ID", "REASON", "FROM", "TO", "ATTEMPTS", "SETTLED", "CONTENT"),
        [
            (
                each["message"]["id"],
                each["reason"],
                each["message"]["sender"],
                each["message"].get("receiver") or each["message"].get("capability"),
                each["attempts"],
                instant(each["settled_at"]),
                text_of(each["message"].get("content"))[:CONTENT_LENGTH_MAX],
            )
            for each in document["items"]
        ],
    )


@deadletter.command("retry")
@click.argument("message_ids", metavar="ID…", nargs=-1, required=True)
@pass_session
def retry(session: Session, message_ids: Sequence[str]) -> None:
    """Try to deliver dead letters again."""
    client, output = connect(session), session.output
    for message_id in message_ids:
        document = client.call("POST", path_of("dead-letters", message_id, "retry"))
        if output.is_json:
            output.document(document)
        else:
            output.done(f"Message {message_id} is on its way again")


@deadletter.command("drop")
@click.argument("message_ids", metavar="ID…", nargs=-1, required=True)
@pass_session
def drop(session: Session, message_ids: Sequence[str]) -> None:
    """Forget dead letters."""
    client = connect(session)
    for message_id in message_ids:
        client.call("DELETE", path_of("dead-letters", message_id))
        session.output.done(f"Message {message_id} dropped")
