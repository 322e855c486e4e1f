"""`caxton cluster` beyond membership: what the nodes do, which side has the majority, who moves."""

from typing import Any

import click

from caxton_node.cli.client import ANSWER_TIMEOUT_S, Client, connect, path_of
from caxton_node.cli.command import Command, duration
from caxton_node.cli.output import Output
from caxton_node.cli.session import Session, pass_session
from caxton_node.cli.wording import counted, instant

__all__ = ["NODE_COMMANDS", "quorum_text", "show_nodes"]


def show_nodes(output: Output, client: Client, members: dict[str, Any]) -> None:
    """Fetch what the nodes do and print one line each, the dead and the gone too.

    Args:
        output: Where to.
        client: Of the server.
        members: The document of the ring's members.

    Raises:
        CaxtonError: The server's own error; `unreachable`; `timed_out`.
    """
    document = client.get(path_of("cluster"))
    doing = {each["name"]: each for each in document["nodes"]}
    output.table(
        ("NODE", "STATE", "MODE", "AGENTS", "LOAD", "VERSION", "ROUND TRIP", "LABELS"),
        [_row(each, doing.get(each["name"])) for each in members["items"]],
    )
    output.line()
    output.line(quorum_text(document["partition"]))


def _row(member: dict[str, Any], node: dict[str, Any] | None) -> tuple[object, ...]:
    name = f"{member['name']} *" if member["is_self"] else member["name"]
    version = member["tags"].get("version")
    if node is None:
        return (name, member["state"], None, None, None, version, None, None)
    state = "draining" if node["is_draining"] else member["state"]
    trip_ms = node["round_trip_ms"]
    trip = None if trip_ms is None else f"{trip_ms:.1f} ms"
    if not node["is_linked"]:
        trip = "no link"
    labels = ", ".join(f"{key}={value}" for key, value in sorted(node["labels"].items()))
    return (
        name,
        state,
        node["mode"] or None,
        node["agents"],
        f"{node['load']}/7",
        version,
        trip,
        labels or None,
    )


def quorum_text(partition: dict[str, Any]) -> str:
    """Return a line on who has the majority, and what follows."""
    counts = (
        f"{partition['alive']} of {counted(partition['expected'], 'node')}, "
        f"{partition['majority']} make a majority"
    )
    if partition["is_writable"]:
        return f"Quorum: {partition['mode']} ({counts}): reads and writes"
    return (
        f"Quorum: {partition['mode']} ({counts}): own agents only, changes are refused, "
        "messages for others wait"
    )


@click.command("status", cls=Command)
@pass_session
def status(session: Session) -> None:
    """Show the nodes, what they do, and who has the majority."""
    client, output = connect(session), session.output
    if output.is_json:
        output.document(client.get(path_of("cluster")))
        return
    show_nodes(output, client, client.get(path_of("cluster", "members")))


@click.command("partition", cls=Command)
@pass_session
def partition(session: Session) -> None:
    """Show on which side of a partition the server is."""
    document = connect(session).get(path_of("cluster", "partition"))
    output = session.output
    if output.is_json:
        output.document(document)
        return
    output.facts(
        [
            ("Mode", document["mode"]),
            ("Since", instant(document["since"])),
            ("Nodes", f"{document['alive']} of {document['expected']} alive"),
            ("Majority", f"{document['majority']} or more"),
            ("Changes", "taken" if document["is_writable"] else "refused"),
            ("Unreachable", ", ".join(document["unreachable"])),
        ]
    )


@click.command("rebalance", cls=Command)
@pass_session
def rebalance(session: Session) -> None:
    """Even out how many agents each node runs.

    Agents do not move by themselves when a node joins.
    """
    document = connect(session).call("POST", path_of("cluster", "rebalance"))
    output = session.output
    if output.is_json:
        output.document(document)
    elif document["moves"]:
        output.done(f"{counted(document['moves'], 'agent')} move; see caxton cluster status")
    else:
        output.done("The agents are even already: nothing moves")


@click.command("drain", cls=Command)
@click.option(
    "--drain-timeout",
    "timeout_s",
    type=duration,
    default="30s",
    show_default=True,
    help="How long it may take.",
)
@pass_session
def drain(session: Session, timeout_s: float) -> int:
    """Let the server hand its agents over to the others, and take none.

    What waits goes with its agent; turns under way end first. To undo: caxton cluster resume.
    """
    document = connect(session).call(
        "POST",
        path_of("cluster", "drain"),
        body={"timeout_s": timeout_s},
        timeout_s=timeout_s + (session.timeout_s or ANSWER_TIMEOUT_S),
    )
    output = session.output
    if output.is_json:
        output.document(document)
        return 1 if document["left"] else 0
    output.done(f"{counted(document['moved'], 'agent')} moved to other nodes")
    if document["left"]:
        stayed = counted(len(document["left"]), "agent")
        output.warn(
            [f"{stayed} stayed: nobody else may run them, or time was up", *document["left"]]
        )
        return 1
    return 0


@click.command("resume", cls=Command)
@pass_session
def resume(session: Session) -> None:
    """Let a drained server take agents again."""
    document = connect(session).call("POST", path_of("cluster", "resume"))
    if session.output.is_json:
        session.output.document(document)
    else:
        session.output.done("The node takes agents again; to move some here: cluster rebalance")


@click.command("remove", cls=Command)
@click.argument("node", metavar="NODE")
@pass_session
def remove(session: Session, node: str) -> None:
    """Expect a dead node no more: it will not come back.

    It is taken off the number by which majorities are told. A node that is alive leaves by itself:
    caxton cluster leave, asked of that node.
    """
    connect(session).call("DELETE", path_of("cluster", "members", node))
    session.output.done(f"Node {node} is expected no more")


NODE_COMMANDS = (status, partition, rebalance, drain, resume, remove)
