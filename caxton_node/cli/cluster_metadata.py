"""`caxton cluster locks` and `caxton cluster config`: what all nodes agree on through etcd."""

from typing import Any

import click

from caxton_node.cli.client import connect, path_of
from caxton_node.cli.command import Command, Group
from caxton_node.cli.follow import follow
from caxton_node.cli.session import Session, pass_session
from caxton_node.cli.wording import instant

__all__ = ["config", "locks"]


@click.command("locks", cls=Command)
@pass_session
def locks(session: Session) -> None:
    """List the locks that are held in the cluster. It needs etcd."""
    document = connect(session).get(path_of("cluster", "locks"), query={"limit": 1000})
    output = session.output
    if output.is_json:
        output.document(document)
        return
    if not document["items"]:
        output.note("Nobody holds a lock.")
        return
    output.table(
        ("LOCK", "HOLDER", "TOKEN", "WAITING", "LEASE"),
        [
            (each["name"], each["holder"], each["fencing_token"], each["waiting"], each["lease_id"])
            for each in document["items"]
        ],
    )


@click.group("config", cls=Group)
def config() -> None:
    """See and change settings for the whole cluster. It needs etcd.

    They overrule what nodes have of their own, at once, for as long as they are set.
    """


@config.command("list")
@pass_session
def list_settings(session: Session) -> None:
    """List what the whole cluster was told."""
    document = connect(session).get(path_of("cluster", "config"))
    output = session.output
    if output.is_json:
        output.document(document)
        return
    if not document["items"]:
        output.note("Nothing: each node follows its own settings.")
        return
    output.table(
        ("SETTING", "VALUE", "SET BY", "AT", "REVISION"),
        [
            (each["key"], each["value"], each["set_by"], instant(each["set_at"]), each["revision"])
            for each in document["items"]
        ],
    )


@config.command("set")
@click.argument("key", metavar="SETTING")
@click.argument("value", metavar="VALUE")
@pass_session
def set_setting(session: Session, key: str, value: str) -> None:
    """Tell the whole cluster, such as: log.level debug."""
    path = path_of("cluster", "config", key)
    document = connect(session).call("PUT", path, body={"value": value})
    if session.output.is_json:
        session.output.document(document)
    else:
        session.output.done(f"{key} is {document['value']} in the whole cluster")


@config.command("unset")
@click.argument("key", metavar="SETTING")
@pass_session
def unset_setting(session: Session, key: str) -> None:
    """Let each node follow its own value again."""
    connect(session).call("DELETE", path_of("cluster", "config", key))
    session.output.done(f"{key} is each node's own again")


@config.command("watch")
@pass_session
def watch(session: Session) -> None:
    """Show what the whole cluster is told, until Ctrl-C."""
    output = session.output

    def show(event: dict[str, Any]) -> None:
        if output.is_json:
            output.document(event)
        elif event["value"] is None:
            output.line(f"{instant(event['at'])}  {event['key']} is each node's own again")
        else:
            told = f"{event['key']} is {event['value']}, said {event['set_by']}"
            output.line(f"{instant(event['at'])}  {told}")

    stream = connect(session).events(
        "GET", path_of("events"), query={"kind": "cluster."}, timeout_s=session.timeout_s
    )
    follow(stream, show)
