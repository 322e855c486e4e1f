"""`caxton capability` and `caxton tool`: what agents offer, and what they may use."""

import click

from caxton_node.cli.client import connect, path_of
from caxton_node.cli.command import Group
from caxton_node.cli.parameters import complete_capability
from caxton_node.cli.session import Session, pass_session

__all__ = ["capability", "tool"]


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


@click.group(cls=Group)
def tool() -> None:
    """See the tools that agents may use."""


@tool.command("list")
@pass_session
def list_tools(session: Session) -> None:
    """List the tools."""
    document = connect(session).get(path_of("tools"))
    output = session.output
    if output.is_json:
        output.document(document)
        return
    output.table(
        ("TOOL", "EFFECT", "DESCRIPTION"),
        [
            (each["name"], _effect(each), str(each["description"]).split("\n")[0])
            for each in document["items"]
        ],
    )


def _effect(tool_document: dict[str, object]) -> str:
    if tool_document["destructive"]:
        return "destroys"
    return "reads" if tool_document["read_only"] else "writes"
