"""Canaries on the command line: how one does, and bringing it into force."""

from typing import Any

import click

from caxton_node.cli.client import connect, path_of
from caxton_node.cli.command import Command
from caxton_node.cli.parameters import agent_argument
from caxton_node.cli.session import Session, pass_session
from caxton_node.cli.wording import instant

__all__ = ["ROLLOUT_COMMANDS", "share_percent"]

GUEST_TIMEOUT_S = 60.0
"""The state of the version in force is handed over."""


def share_percent(text: str) -> int:
    """Return the percent that a share on the command line spells: `10%`, plain percent.

    Raises:
        click.BadParameter: It spells none from 1 to 100.
    """
    number = text.strip().removesuffix("%")
    if not number.isdecimal() or not 1 <= int(number) <= 100:
        raise click.BadParameter(f"{text!r} is no share. Write 10%, from 1 to 100.")
    return int(number)


@click.command("rollout", cls=Command)
@agent_argument()
@pass_session
def rollout(session: Session, name: str) -> None:
    """Show how a canary does beside the version in force."""
    document = connect(session).get(path_of("agents", name, "rollout"))
    output = session.output
    if output.is_json:
        output.document(document)
        return
    output.table(
        ("", "VERSION", "TURNS", "FAILED", "P95"),
        [
            _row("in force", document["running"]),
            _row(f"canary {document['share_percent']:g}%", document["canary"]),
        ],
    )
    words = document["outcome"].replace("_", " ")
    why = f": {document['reason']}" if document["reason"] else ""
    output.note(f"Since {instant(document['started_at'])}, {words}{why}")


def _row(title: str, side: dict[str, Any]) -> tuple[str, ...]:
    slow = "-" if side["p95_s"] is None else f"{side['p95_s'] * 1000:.1f} ms"
    return (title, side["version"], str(side["turns"]), str(side["failures"]), slow)


@click.command("promote", cls=Command)
@agent_argument()
@pass_session
def promote(session: Session, name: str) -> None:
    """Bring a canary into force now; `agent rollback` ends it instead."""
    document = connect(session).call(
        "POST", path_of("agents", name, "promote"), timeout_s=GUEST_TIMEOUT_S
    )
    if session.output.is_json:
        session.output.document(document)
        return
    session.output.done(
        f"Agent '{name}' is at {document['version']} now (deployment {document['number']})"
    )


ROLLOUT_COMMANDS = (rollout, promote)
