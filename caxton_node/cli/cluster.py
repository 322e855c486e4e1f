"""`caxton cluster`: the ring of nodes, as the server that is asked sees it."""

from typing import Any, Final, TextIO

import click

from caxton_node.cli.client import ANSWER_TIMEOUT_S, Client, connect, path_of
from caxton_node.cli.cluster_metadata import config, locks
from caxton_node.cli.cluster_nodes import NODE_COMMANDS
from caxton_node.cli.command import Group, duration
from caxton_node.cli.follow import follow
from caxton_node.cli.output import Output
from caxton_node.cli.session import Session, pass_session
from caxton_node.cli.wording import counted, instant

__all__ = ["cluster", "show_members", "status_facts"]

KEY_LENGTH_MAX: Final = 100
"""Characters of a key in its file."""


@click.group(cls=Group)
def cluster() -> None:
    """See the ring of nodes and look after it."""


for _each in (locks, config, *NODE_COMMANDS):
    cluster.add_command(_each)


@cluster.command("members")
@pass_session
def members(session: Session) -> None:
    """List the nodes and what is believed of them."""
    show_members(session.output, connect(session))


def show_members(output: Output, client: Client) -> None:
    """Fetch the members of the server's ring and print them.

    Raises:
        CaxtonError: The server's own error; `unreachable`; `timed_out`.
    """
    document = client.get(path_of("cluster", "members"))
    if output.is_json:
        output.document(document)
        return
    output.table(
        ("NODE", "STATE", "ADDRESS", "API", "VERSION", "ROUND TRIP", "HEALTH", "INCARNATION"),
        [
            (
                f"{each['name']} *" if each["is_self"] else each["name"],
                each["state"],
                each["address"],
                each["tags"].get("http"),
                each["tags"].get("version"),
                _trip_text(each["round_trip_ms"]),
                each["local_health"],
                each["incarnation"],
            )
            for each in document["items"]
        ],
    )


def _trip_text(trip_ms: float | None) -> str | None:
    if trip_ms is None:
        return None
    # The clock of the event loop counts whole milliseconds.
    return f"{trip_ms:.0f} ms" if trip_ms >= 1 else "< 1 ms"


def status_facts(document: dict[str, Any]) -> list[tuple[str, object]]:
    """Return what people want to know of a ring's status."""
    totals = document["members"]
    parts = ", ".join(f"{totals[state]} {state}" for state in totals if state != "total")
    protection = "encrypted" if document["is_encrypted"] else "not encrypted"
    return [
        ("Ring", document["state"] if document["state"] == "off" else _ring_text(document)),
        ("Label", document["label"]),
        ("Members", f"{counted(totals['total'], 'node')} ({parts})"),
        ("Traffic", None if document["state"] == "off" else protection),
        ("etcd", _metadata_text(document["metadata"])),
        # A node of an earlier version says nothing of it.
        ("Failover", _FAILOVER.get(document.get("failover", {}).get("right"))),
        ("Problems", "\n".join(document["problems"])),
    ]


_FAILOVER: Final = {
    "majority": None,
    "lease": "one node at a time, by a lock in etcd",
    "degraded": "degraded: by majority alone, as no node reaches etcd",
    "withheld": "withheld: left to the nodes that reach etcd; this one does not",
}
"""How agents of dead nodes are taken over, where that is more than what any cluster does."""


def _metadata_text(metadata: dict[str, Any]) -> str | None:
    if metadata["state"] == "off":
        return None
    since = f"{metadata['state']} since {instant(metadata['since'])}"
    return f"{since}: {metadata['reason']}" if metadata["reason"] else since


def _ring_text(document: dict[str, Any]) -> str:
    return f"{document['state']}, at {document['address']}"


@cluster.command("watch")
@pass_session
def watch(session: Session) -> None:
    """Show who comes and goes, until Ctrl-C."""
    output = session.output

    def show(event: dict[str, Any]) -> None:
        if output.is_json:
            output.document(event)
            return
        what = event["kind"].removeprefix("member.")
        where = f" at {event['address']}" if "address" in event else f": {event['reason']}"
        output.line(f"{instant(event['at'])}  {what:<9}  {event['name']}{where}")

    client = connect(session)
    stream = client.events(
        "GET", path_of("events"), query={"kind": "member."}, timeout_s=session.timeout_s
    )
    follow(stream, show)


@cluster.command("leave")
@click.option(
    "--drain-timeout",
    "drain_timeout_s",
    type=duration,
    default="30s",
    show_default=True,
    help="How long it may take to hand its agents over.",
)
@pass_session
def leave(session: Session, drain_timeout_s: float) -> None:
    """Let the server hand its agents over and say goodbye to its ring.

    It goes on alone, with the agents that no other node may run, until it joins again.
    """
    document = connect(session).call(
        "POST",
        path_of("cluster", "leave"),
        body={"drain_timeout_s": drain_timeout_s},
        timeout_s=drain_timeout_s + (session.timeout_s or ANSWER_TIMEOUT_S),
    )
    output = session.output
    if output.is_json:
        output.document(document)
        return
    output.done(f"{counted(document['moved_agents'], 'agent')} moved to other nodes")
    if document["left"]:
        output.warn(["These stayed, because no other node runs them", *document["left"]])
    if document["is_announced"]:
        output.done("The node has left the ring; the others know")
    else:
        output.done("The node has left the ring; the others will find it gone")


@cluster.command("join")
@click.argument("peers", metavar="[HOST:PORT]...", nargs=-1)
@pass_session
def join(session: Session, peers: tuple[str, ...]) -> None:
    """Let the server join a ring, again or for the first time.

    Any member of the ring will do; without one, those of the server's settings are asked.
    """
    body = {"peers": list(peers)} if peers else None
    document = connect(session).call("POST", path_of("cluster", "join"), body=body)
    if session.output.is_json:
        session.output.document(document)
    else:
        session.output.done(f"The node has joined the ring through {document['through']}")


@cluster.group("keys")
def keys() -> None:
    """Look after the keys that encrypt what the nodes of a ring say.

    Of all nodes, and until they stop: change their settings too. The order of a rotation: install
    the new key, use it, remove the old one.
    """


@keys.command("list")
@pass_session
def list_keys(session: Session) -> None:
    """List the fingerprints of the keys, and how many nodes hold each."""
    document = connect(session).get(path_of("cluster", "keys"))
    output = session.output
    if output.is_json:
        output.document(document)
        return
    if not document["items"]:
        output.note("No keys: nothing is encrypted.")
        return
    answered = len(document["nodes"]["done"])
    output.table(
        ("FINGERPRINT", "IN USE", "HELD BY", "USED BY"),
        [
            (
                each["fingerprint"],
                each["is_in_use"],
                f"{each['held_by']} of {answered}",
                f"{each['used_by']} of {answered}",
            )
            for each in document["items"]
        ],
    )
    _warn(output, document["nodes"])


@keys.command("install")
@click.argument("file", metavar="FILE", type=click.File("r"))
@pass_session
def install(session: Session, file: TextIO) -> None:
    """Let every node decrypt with one more key.

    FILE holds it in base64; - reads standard input. A key on the command line would be for
    everyone to see.
    """
    try:
        text = file.read(KEY_LENGTH_MAX + 1).strip()
    except UnicodeDecodeError:
        raise click.UsageError("The file holds no key in base64.") from None
    body = {"key": text}
    document = connect(session).call("POST", path_of("cluster", "keys"), body=body)
    _confirm(session, document, f"Key {document['fingerprint']} is installed")


@keys.command("use")
@click.argument("fingerprint", metavar="FINGERPRINT")
@pass_session
def use(session: Session, fingerprint: str) -> None:
    """Let every node encrypt with an installed key."""
    path = path_of("cluster", "keys", fingerprint, "use")
    document = connect(session).call("POST", path)
    _confirm(session, document, f"Key {fingerprint} is in use")


@keys.command("remove")
@click.argument("fingerprint", metavar="FINGERPRINT")
@pass_session
def remove(session: Session, fingerprint: str) -> None:
    """Let every node forget a key."""
    document = connect(session).call("DELETE", path_of("cluster", "keys", fingerprint))
    _confirm(session, document, f"Key {fingerprint} is forgotten")


def _confirm(session: Session, document: dict[str, Any], text: str) -> None:
    if session.output.is_json:
        session.output.document(document)
        return
    session.output.done(f"{text} on {counted(len(document['nodes']['done']), 'node')}")
    _warn(session.output, document["nodes"])


def _warn(output: Output, nodes: dict[str, Any]) -> None:
    if nodes["is_complete"]:
        return
    lines = [f"{name}: {reason}" for name, reason in nodes["failed"].items()]
    lines += [f"{name} did not answer" for name in nodes["silent"]]
    output.warn(["Not every node did it: ask again before the next step", *lines])
