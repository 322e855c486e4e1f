"""`caxton capability`: what agents offer."""

import click

from caxton_node.cli.client import connect, path_of
from caxton_node.cli.command import Group
from caxton_node.cli.parameters import complete_capability
from caxton_node.cli.session import Session, pass_session

__all__ = ["capability"]


@click.group(cls=Group)
def capability() -> None:
    """See what agents offer."""


@capability.command("list")
@pass_session
def list_capabilities(session: Session) -> None:
    """List capabilities and who offers them."""
    document = connect(session).get(path_of("capabilities"))
    output = session.output
    if output.is_json:
        output.document(document)
        return
    if not document["items"]:
        output.note("No capabilities. Deploy an agent with: caxton deploy FILE")
        return
    rows = [(each["name"], each["agents"]) for each in document["items"]]
    output.table(("CAPABILITY", "AGENTS"), rows)


@capability.command("show")
@click.argument("name", metavar="CAPABILITY", shell_complete=complete_capability)
@pass_session
def show_capability(session: Session, name: str) -> None:
    """Show who would serve a capability, best first."""
    document = connect(session).get(path_of("capabilities", name))
    output = session.output
    if output.is_json:
        output.document(document)
        return
    output.table(
        ("AGENT", "NODE", "STATE", "LOAD", "DISTANCE"),
        [
            (each["name"], each.get("node"), each["state"], each["load"], each["distance"])
            for each in document["agents"]
        ],
    )
