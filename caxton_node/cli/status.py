"""`caxton status` and `caxton version`."""

import platform
from typing import Any

import click

from caxton import __version__
from caxton_node.cli.client import connect, path_of
from caxton_node.cli.command import Command
from caxton_node.cli.session import Session, pass_session
from caxton_node.cli.wording import elapsed, instant

__all__ = ["show_status", "status", "version"]


@click.command(cls=Command)
@pass_session
def version(session: Session) -> None:
    """Show the version of this program."""
    python = platform.python_version()
    if session.output.is_json:
        session.output.document({"version": __version__, "python": python})
        return
    session.output.line(f"caxton {__version__} (Python {python})")


@click.command(cls=Command)
@click.option("--cluster", "is_of_cluster", is_flag=True, help="Of the ring of nodes it is in.")
@pass_session
def status(session: Session, *, is_of_cluster: bool) -> None:
    """Show how the server does."""
    if is_of_cluster:
        _show_cluster(session)
    else:
        show_status(session)


def _show_cluster(session: Session) -> None:
    from caxton_node.cli import cluster
    from caxton_node.cli.cluster_nodes import show_nodes

    client, output = connect(session), session.output
    document = client.get(path_of("cluster", "status"))
    if output.is_json:
        output.document(document)
    else:
        output.facts([("Server", client.server), *cluster.status_facts(document)])
        output.line()
    members = client.get(path_of("cluster", "members"))
    if output.is_json:
        output.document(members)
    else:
        show_nodes(output, client, members)


def show_status(session: Session) -> None:
    """Fetch the server's status and print it.

    Raises:
        CaxtonError: The server's own error; `unreachable`; `timed_out`.
    """
    client = connect(session)
    document = client.get(path_of("status"))
    if session.output.is_json:
        session.output.document(document)
        return
    session.output.facts([("Server", client.server), *status_facts(document)])


def status_facts(document: dict[str, Any]) -> list[tuple[str, object]]:
    """Return what people want to know of a server's status."""
    model = document.get("model") or {}
    queued, under_way = document["queued"], document["turns_under_way"]
    return [
        ("Node", f"{document['node']} {document['version']} (process {document.get('pid')})"),
        ("Status", document["status"]),
        ("Up", f"{elapsed(document['uptime_s'])}, since {instant(document['started_at'])}"),
        ("Agents", _counts_text(document["agents"], "total")),
        ("Messages", _counts_text(document["messages"], "accepted")),
        ("Now", f"{queued} waiting, {under_way} turns under way"),
        ("Model", "/".join(part for part in (model.get("provider"), model.get("model")) if part)),
        ("Store", (document.get("store") or {}).get("path")),
        ("Memory", f"{document['memory_mb']:.0f} MB" if document.get("memory_mb") else None),
    ]


def _counts_text(counts: dict[str, int], whole: str) -> str:
    parts = [f"{count} {name}" for name, count in counts.items() if name != whole and count]
    head = f"{counts.get(whole, 0)}" + ("" if whole == "total" else f" {whole}")
    return head + (f" ({', '.join(parts)})" if parts else "")
