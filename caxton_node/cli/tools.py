"""`caxton tool`: the tools that agents may use, and the servers in WebAssembly that bring some."""

import json
from pathlib import Path
from typing import Any

import click

from caxton_node.cli.client import connect, path_of
from caxton_node.cli.command import Group
from caxton_node.cli.session import Session, pass_session
from caxton_node.domain.errors import Rejected

__all__ = ["tool"]


@click.group(cls=Group)
def tool() -> None:
    """See the tools that agents may use, and deploy servers of tools."""


@tool.command("list")
@click.option("--servers", "only_servers", is_flag=True, help="The servers instead of their tools.")
@pass_session
def list_tools(session: Session, only_servers: bool) -> None:
    """List the tools."""
    client, output = connect(session), session.output
    document = client.get(path_of("tool-servers" if only_servers else "tools"))
    if output.is_json:
        output.document(document)
    elif only_servers:
        output.table(
            ("SERVER", "VERSION", "STATE", "TOOLS", "CALLS", "FAILURES"),
            [
                (
                    each["name"],
                    each["version"],
                    each["state"],
                    len(each["tools"]),
                    each["calls"],
                    each["failures"],
                )
                for each in document["items"]
            ],
        )
    else:
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


@tool.command("deploy")
@click.argument("file", type=click.Path())
@click.option("--manifest", type=click.Path(), help="Its manifest; beside it by default.")
@click.option("--name", help="Of the server, where there is no manifest.")
@click.option("--approve-grants", is_flag=True, help="Agree to what it may do more than before.")
@pass_session
def deploy_server(
    session: Session, file: str, manifest: str | None, name: str | None, approve_grants: bool
) -> None:
    """Deploy a server of tools from a .wasm file, or from a manifest that names one."""
    from caxton_node.cli.guest_source import read_guest, send_module, with_digest

    guest = read_guest(file, manifest)
    if guest is None:
        raise Rejected("invalid_module", f"{file} is no .wasm file and no manifest of one")
    source = guest.manifest
    if not source:
        source = with_digest(f'name = "{name or Path(file).stem}"\n', guest.digest)
    client, output = connect(session), session.output
    output.note(f"Deploying {file}")
    send_module(client, guest)
    document = client.call(
        "POST",
        path_of("tool-servers"),
        body={"source": source, "file": guest.file},
        query={"approve_grants": approve_grants or None},
        timeout_s=session.timeout_s or 180.0,
    )
    if output.is_json:
        output.document(document)
        return
    output.done(f"Server '{document['name']}' {document['version']} deployed and ready")
    output.note(f"Tools: {', '.join(each['name'] for each in document['tools'])}")


@tool.command("call")
@click.argument("name", metavar="SERVER.TOOL")
@click.argument("arguments", metavar="[JSON]", default="{}")
@pass_session
def call_tool(session: Session, name: str, arguments: str) -> int:
    """Call a tool of a server, to try it out."""
    try:
        values = json.loads(arguments)
    except ValueError as error:
        raise click.BadParameter(f"the arguments are no JSON: {error}") from None
    document = connect(session).call(
        "POST", path_of("tools", name, "call"), body={"arguments": values}
    )
    output = session.output
    if output.is_json:
        output.document(document)
    elif document["is_error"]:
        output.fail([_shown(document["content"])])
    else:
        output.line(_shown(document["content"]))
    return 1 if document["is_error"] else 0


def _shown(content: Any) -> str:
    if isinstance(content, dict) and set(content) == {"text"}:
        return str(content["text"])
    return content if isinstance(content, str) else json.dumps(content, ensure_ascii=False)


@tool.command("inspect")
@click.argument("name", metavar="SERVER")
@pass_session
def inspect_server(session: Session, name: str) -> None:
    """Show a server: its version, its grants, how it does."""
    document = connect(session).get(path_of("tool-servers", name))
    output = session.output
    if output.is_json:
        output.document(document)
        return
    output.facts(
        [
            ("Server", document["name"]),
            ("Version", f"{document['version']} (deployment {document['number']})"),
            ("State", document["state"]),
            ("File", document["sha256"]),
            ("Isolation", document["isolation"]),
            ("Grants", "; ".join(document["grants"]) or "none"),
            ("Calls", f"{document['calls']}, {document['failures']} failed"),
            ("Denied", document["denied"]),
            ("Last error", document["last_error"]),
        ]
    )
    output.table(
        ("TOOL", "EFFECT", "DESCRIPTION"),
        [
            (each["name"], _effect(each), str(each["description"]).split("\n")[0])
            for each in document["tools"]
        ],
    )


@tool.command("rollback")
@click.argument("name", metavar="SERVER")
@click.option("--number", type=click.IntRange(1), help="The deployment to bring back.")
@pass_session
def rollback_server(session: Session, name: str, number: int | None) -> None:
    """Bring an earlier version of a server into force again."""
    document = connect(session).call(
        "POST", path_of("tool-servers", name, "rollback"), body={"number": number}
    )
    output = session.output
    if output.is_json:
        output.document(document)
        return
    output.done(f"Server '{name}' is at {document['version']} (deployment {document['number']})")


@tool.command("remove")
@click.argument("name", metavar="SERVER")
@pass_session
def remove_server(session: Session, name: str) -> None:
    """Take a server off the node, with what it keeps."""
    connect(session).call("DELETE", path_of("tool-servers", name))
    session.output.done(f"Server '{name}' removed")
