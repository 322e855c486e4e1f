"""`caxton message`: single acts of communication, and what became of them."""

import json
from typing import Any

import click

from caxton_node.cli.chat import read_stdin
from caxton_node.cli.client import connect, path_of
from caxton_node.cli.command import Group, duration
from caxton_node.cli.parameters import complete_agent, complete_capability
from caxton_node.cli.printable import text_of
from caxton_node.cli.session import Session, pass_session
from caxton_node.cli.talk import GRACE_S
from caxton_node.cli.wording import instant
from caxton_node.domain.delivery import DeliveryMode, RoutingStrategy
from caxton_node.domain.performatives import NEGATIVE

__all__ = ["message"]


@click.group(cls=Group)
def message() -> None:
    """Send messages and see what became of them."""


@message.command("send")
@click.argument("content", required=False)
@click.option(
    "--to", "receiver", metavar="AGENT", shell_complete=complete_agent, help="To this agent."
)
@click.option(
    "--capability", metavar="NAME", shell_complete=complete_capability, help="To whoever offers it."
)
@click.option(
    "--performative", default="request", show_default=True, help="What kind of act it is."
)
@click.option("--sender", default="client", show_default=True, help="Who is talking.")
@click.option("--text", "is_text", is_flag=True, help="Take CONTENT as text, even if it is JSON.")
@click.option("--wait", "wait_s", type=duration, help="Wait so long for an answer, at most 10m.")
@click.option("--conversation", "conversation_id", metavar="ID", help="Continue this one.")
@click.option("--protocol", metavar="NAME", help="Interaction protocol, such as fipa-request.")
@click.option("--in-reply-to", metavar="ID", help="What the message it answers asked for.")
@click.option("--reply-with", metavar="ID", help="What an answer must refer to.")
@click.option(
    "--reply-by", metavar="INSTANT", help="Of no use after this, such as 2026-01-31T10:00:00Z."
)
@click.option(
    "--strategy",
    "routing_strategy",
    type=click.Choice([each.value for each in RoutingStrategy]),
    help="Which of several that offer the capability.",
)
@click.option(
    "--delivery",
    type=click.Choice([each.value for each in DeliveryMode]),
    help="How hard the server tries.",
)
@click.option("--id", "message_id", metavar="ID", help="Sent twice, it is delivered once.")
@pass_session
def send(session: Session, /, content: str | None, *, is_text: bool, **options: Any) -> int:
    """Send a message to an agent, or to whoever offers a capability.

    CONTENT is JSON if it is an object or a list, else text; `-`, or nothing, reads what is
    piped in.
    """
    if (options["receiver"] is None) == (options["capability"] is None):
        raise click.UsageError("To whom? Give either --to AGENT or --capability NAME.")
    text = read_stdin() if content in {None, "-"} else str(content)
    options["id"] = options.pop("message_id")
    body = {key: value for key, value in options.items() if value is not None}
    body["content"] = text if is_text else content_of(text)
    wait_s = body.get("wait_s", 0.0)
    timeout_s = wait_s + (session.timeout_s or GRACE_S)
    document = connect(session).call("POST", path_of("messages"), body=body, timeout_s=timeout_s)
    reply = document.get("reply")
    output = session.output
    if output.is_json:
        output.document(document)
    else:
        routed = ", ".join(document.get("routed_to") or []) or "nobody yet"
        again = " (sent before: delivered once)" if document.get("is_duplicate") else ""
        output.done(f"Message {document['message_id']} accepted for {routed}{again}")
        if reply is not None:
            output.line(act_line(reply))
        elif wait_s:
            output.note(f"No answer yet; look with: caxton message get {document['message_id']}")
    return 1 if reply is not None and reply["performative"] in NEGATIVE else 0


def content_of(text: str) -> Any:
    """Return the JSON that `text` is, if an object or a list, else the text."""
    if text.lstrip()[:1] in {"{", "["}:
        try:
            return json.loads(text)
        except ValueError:
            return text
    return text


def act_line(message: dict[str, Any]) -> str:
    """Return a message as one line: act, who to whom, content."""
    receiver = message.get("receiver") or f"whoever offers {message.get('capability')}"
    content = text_of(message.get("content"))
    return f"{message['performative']} {message['sender']} → {receiver}: {content}"


@message.command("get")
@click.argument("message_id", metavar="ID")
@pass_session
def get(session: Session, message_id: str) -> None:
    """Show a message and what became of it."""
    document = connect(session).get(path_of("messages", message_id))
    if session.output.is_json:
        session.output.document(document)
        return
    sent = document["message"]
    session.output.facts(
        [
            ("Id", sent["id"]),
            ("Status", document["status"]),
            ("Reason", document.get("reason")),
            ("Act", sent["performative"]),
            ("From", sent["sender"]),
            ("To", sent.get("receiver")),
            ("Capability", sent.get("capability")),
            ("Agent", document.get("agent")),
            ("Conversation", sent.get("conversation_id")),
            ("In reply to", sent.get("in_reply_to")),
            ("Protocol", sent.get("protocol")),
            ("Accepted", instant(document.get("accepted_at"))),
            ("Settled", instant(document.get("settled_at"))),
            ("Attempts", document.get("attempts")),
            ("Content", text_of(sent.get("content"))),
        ]
    )


@message.command("trace")
@click.argument("message_id", metavar="ID")
@pass_session
def trace(session: Session, message_id: str) -> None:
    """Show the path of a message, with times."""
    document = connect(session).get(path_of("messages", message_id, "trace"))
    output = session.output
    if output.is_json:
        output.document(document)
        return
    output.line(f"{document['message_id']} {document['status']} ({document['conversation_id']})")
    output.table(
        ("TIME", "EVENT", "WHO", "MS", "DETAIL"),
        [
            (
                hop["at"][11:23],
                hop["event"],
                hop.get("who"),
                "" if hop.get("duration_ms") is None else hop["duration_ms"],
                _detail(hop.get("detail")),
            )
            for hop in document["hops"]
        ],
    )
    if document.get("children"):
        output.line("Asked on the way: " + ", ".join(document["children"]))


def _detail(detail: Any) -> str:
    return "" if detail is None else text_of(detail)
