"""`caxton deploy`: agents from files, onto the server."""

import math
from collections.abc import Sequence
from typing import Any, Final

import click

from caxton_node.cli.agent_source import read_agent_file
from caxton_node.cli.client import Client, connect, path_of
from caxton_node.cli.command import Command, duration
from caxton_node.cli.failure import show_failure, show_warnings
from caxton_node.cli.guest_source import read_guest, send_module
from caxton_node.cli.rollout import share_percent
from caxton_node.cli.session import Session, pass_session
from caxton_node.cli.wording import counted
from caxton_node.domain.errors import CaxtonError, Rejected

__all__ = ["deploy"]

GUEST_TIMEOUT_S: Final = 180.0
"""To compile a guest: a whole interpreter takes some seconds."""


@click.command(cls=Command)
@click.argument("files", metavar="FILE…", nargs=-1, type=click.Path())
@click.option("--agent", "more_files", metavar="FILE", multiple=True, help="Another file.")
@click.option("--dry-run", "is_dry_run", is_flag=True, help="Check only; change nothing.")
@click.option("--node", help="The node to deploy to. The agent is not bound to it.")
@click.option("--replicas", type=click.IntRange(1, 100), help="How many nodes are to run it.")
@click.option(
    "--strategy",
    type=click.Choice(["immediate", "canary"]),
    help="At once, or to a share of new conversations first.",
)
@click.option("--canary", metavar="SHARE", help="Of new conversations, for a canary: 10%.")
@click.option("--canary-for", metavar="TIME", help="How long a canary is watched at least: 5m.")
@click.option(
    "--canary-turns", type=click.IntRange(1, 100_000), help="And over how many turns: 20."
)
@click.option("--manifest", type=click.Path(), help="Of a .wasm file; beside it by default.")
@click.option("--approve-grants", is_flag=True, help="Agree to what a guest may do more than now.")
@pass_session
def deploy(
    session: Session,
    files: Sequence[str],
    more_files: Sequence[str],
    *,
    is_dry_run: bool,
    node: str | None,
    replicas: int | None,
    strategy: str | None,
    canary: str | None,
    canary_for: str | None,
    canary_turns: int | None,
    manifest: str | None,
    approve_grants: bool,
) -> int:
    """Deploy agents from files.

    A new version of an agent replaces the running one; turns under way finish first. A canary
    takes a share of new conversations, and is promoted or rolled back by how it does. Every file is
    tried, also after one failed.
    """
    all_files = [*files, *more_files]
    if not all_files:
        raise click.UsageError("Which file? Write: caxton deploy FILE…")
    client, output = connect(session), session.output
    query = {
        "dry_run": is_dry_run or None,
        "node": node,
        "replicas": replicas,
        "strategy": strategy,
        "canary": None if canary is None else share_percent(canary),
        "canary_for": None if canary_for is None else math.ceil(duration(canary_for)),
        "canary_turns": canary_turns,
        "approve_grants": approve_grants or None,
    }
    exit_code = done_count = 0
    for index, file in enumerate(all_files, start=1):
        progress = f"[{index}/{len(all_files)}] " if len(all_files) > 1 else ""
        output.note(f"{progress}{'Checking' if is_dry_run else 'Deploying'} {file}")
        try:
            document = _deployed(client, file, manifest, query)
        except CaxtonError as error:
            exit_code = exit_code or error.kind.exit_code
            show_failure(session, error)
            if error.code == "unreachable":
                break
            continue
        done_count += 1
        if output.is_json:
            output.document(document)
            continue
        show_warnings(session, document["warnings"])
        for line in done_lines(document, file, is_dry_run=is_dry_run):
            output.done(line)
    if len(all_files) > 1:
        verb = "valid" if is_dry_run else "deployed"
        output.note(f"{done_count} of {counted(len(all_files), 'agent')} {verb}")
    return exit_code


def _deployed(
    client: Client, file: str, manifest: str | None, query: dict[str, Any]
) -> dict[str, Any]:
    guest = read_guest(file, manifest)
    timeout_s = None
    if guest is None:
        body: Any = read_agent_file(file)
    else:
        if not guest.manifest:
            raise Rejected(
                "invalid_module",
                f"{file} has no manifest",
                hint="Name one with --manifest, or put it beside the file under its name.",
            )
        if query["dry_run"] is None:
            send_module(client, guest)
        body = {"source": guest.manifest, "format": "toml", "file": guest.file}
        timeout_s = GUEST_TIMEOUT_S
    document: dict[str, Any] = client.call(
        "POST", path_of("agents"), body=body, query=query, timeout_s=timeout_s
    )
    return document


def done_lines(document: dict[str, Any], file: str, *, is_dry_run: bool) -> list[str]:
    """Return what to confirm after a deployment, or after a dry run of one."""
    name, version = document["name"], document["version"]
    if is_dry_run:
        return [f"{file} is valid: agent '{name}' {version}; nothing was changed"]
    if not document["is_changed"]:
        lines = [f"Agent '{name}' is deployed already, unchanged"]
    elif document.get("is_canary"):
        lines = [
            f"Agent '{name}' has a canary: version {version} takes a share of new conversations",
            f"See how it does: caxton agent rollout {name}",
        ]
    elif document["is_new"]:
        lines = [f"Agent '{name}' deployed and ready"]
    else:
        number = document["number"]
        lines = [f"Agent '{name}' deployed and ready (version {version}, deployment {number})"]
    if document["tools"]:
        lines.append(f"Tools available: {', '.join(document['tools'])}")
    return lines
