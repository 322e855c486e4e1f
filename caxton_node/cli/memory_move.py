"""`caxton memory migrate`: to another backend, while the node works or while it is stopped."""

import asyncio
import time
from typing import Any, Final

import click

from caxton_node.cli.client import Client, connect, path_of
from caxton_node.cli.memory_files import memory
from caxton_node.cli.node_options import Flags, node_options
from caxton_node.cli.output import Output
from caxton_node.cli.session import Session, pass_session
from caxton_node.domain.errors import Failed

__all__ = ["memory", "migrate"]

POLL_EVERY_S: Final = 0.5
BACK_TIMEOUT_S: Final = 300.0

_DONE: Final = frozenset({"failed", "switched", "finished", "rolled_back"})


@memory.command("migrate")
@click.option(
    "--to",
    "target",
    type=click.Choice(("sqlite", "qdrant", "neo4j", "qdrant+neo4j")),
    help="Where the memory goes. [qdrant] and [neo4j] in the settings say where that is.",
)
@click.option("--live", is_flag=True, help="While the node works: every write goes to both.")
@click.option("--status", is_flag=True, help="Show how far the node's move is.")
@click.option("--finish", is_flag=True, help="Write to the new backend alone from now on.")
@click.option("--rollback", is_flag=True, help="Let the old backend lead again, nothing lost.")
@node_options(with_log=False)
@pass_session
def migrate(
    session: Session,
    *,
    flags: Flags,
    target: str | None,
    live: bool,
    status: bool,
    finish: bool,
    rollback: bool,
) -> int:
    """Move the memory to another backend, and compare the two.

    Without --live the node must be stopped. An interrupted move goes on where it was when it is
    begun again.
    """
    if sum((target is not None, status, finish, rollback)) != 1:
        raise click.UsageError("Say one of --to, --status, --finish and --rollback.")
    if target is not None:
        return _live(session, target) if live else _offline(session, flags, target)
    client = connect(session)
    if status:
        found = client.get(path_of("memory", "move"))
    elif finish:
        found = client.call("POST", path_of("memory", "move", "finish"))
    else:
        found = client.call(
            "POST", path_of("memory", "move", "back"), timeout_s=session.timeout_s or BACK_TIMEOUT_S
        )
    _show(session.output, found)
    return 0


def _live(session: Session, target: str) -> int:
    client = connect(session)
    found = client.call("POST", path_of("memory", "move"), body={"to": target})
    found = _follow(client, session.output, found)
    _show(session.output, found)
    return 0 if found["phase"] == "switched" else 1


def _follow(client: Client, output: Output, found: dict[str, Any]) -> dict[str, Any]:
    told = ""
    while found["phase"] not in _DONE:
        line = _progress(found)
        if line != told and not output.is_json:
            output.note(line)
            told = line
        time.sleep(POLL_EVERY_S)
        found = client.get(path_of("memory", "move"))
    return found


def _offline(session: Session, flags: Flags, target: str) -> int:
    from dataclasses import asdict

    from caxton_node.cli.node_settings import load
    from caxton_node.memory_offline import move_offline

    output = session.output

    def told(move: Any) -> None:
        if not output.is_json:
            output.note(_progress(asdict(move)))

    settings = load(flags).settings
    move = asyncio.run(move_offline(settings, target, told))
    document = asdict(move)
    report = document.pop("report")
    _show(output, document | {"problem": "", "comparison": report})
    if not output.is_json:
        output.note(f'Set memory.backend = "{target}" in the settings; until then the node warns.')
    return 0


def _progress(found: dict[str, Any]) -> str:
    problem = f"; waits: {found['problem']}" if found.get("problem") else ""
    again = f", pass {found['passes'] + 1}" if found["passes"] else ""
    return (
        f"{found['facts']:,} of {found['total_facts']:,} facts, "
        f"{found['relations']:,} relations{again}{problem}"
    )


def _show(output: Output, found: dict[str, Any]) -> None:
    if output.is_json:
        output.document(found)
        return
    comparison = found["comparison"]
    if comparison is not None:
        consistency = comparison["consistency"]
        asked = "no vectors" if consistency is None else f"{consistency:.3f}"
        output.note(
            f"{comparison['alike']} of {comparison['sampled']} sampled facts are alike; "
            f"searches agree: {asked}"
        )
    match found["phase"]:
        case "switched":
            output.done(
                f"The memory is in {found['target']} now; {found['source']} is kept like it "
                "until --finish, and --rollback goes back"
            )
        case "finished":
            output.done(f"The memory is in {found['target']}")
        case "rolled_back":
            output.done(f"The memory is in {found['source']}")
        case "failed":
            raise Failed("memory_failed", "The two are not alike; nothing was switched.")
        case _:
            output.note(_progress(found))
