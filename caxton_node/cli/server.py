"""`caxton server`: a node on this machine, in the background."""

import itertools
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import click

from caxton_node.cli.client import connect, path_of
from caxton_node.cli.command import Group
from caxton_node.cli.node_options import FLAGS, Flags, node_options
from caxton_node.cli.printable import text_of
from caxton_node.cli.session import Session, pass_session
from caxton_node.cli.status import show_status
from caxton_node.domain.errors import NotFound, TimedOut, Unavailable

__all__ = ["server"]

STOP_GRACE_S: Final = 10.0
"""For the end of a node, beyond what its turns may take."""

KILL_TIMEOUT_S: Final = 5.0

SAID_LINES_MAX: Final = 20
"""Of a node that did not start."""


@click.group(cls=Group)
def server() -> None:
    """Start, stop and look after a node on this machine."""


@server.command("start")
@node_options(with_log=True)
@click.option("--foreground", "is_foreground", is_flag=True, help="Run here until Ctrl-C.")
@pass_session
def start(session: Session, *, flags: Flags, is_insecure: bool, is_foreground: bool) -> int:
    """Start a node in the background."""
    if is_foreground:
        from caxton_node.cli.node import run_node

        return run_node(session, flags, is_insecure=is_insecure)
    from caxton_node.cli.daemon import (
        START_TIMEOUT_S,
        log_path,
        log_since,
        log_size,
        refuse_taken_port,
        spawn_node,
        wait_until_ready,
    )
    from caxton_node.cli.data_dir import using_data_dir
    from caxton_node.cli.node_lock import refuse_held
    from caxton_node.cli.node_settings import load, reachable_url, refuse_exposure

    loaded = load(flags)
    refuse_exposure(loaded, is_insecure=is_insecure)
    data_dir, (host, port) = loaded.settings.node.data_dir, loaded.settings.http.address
    if port == 0:
        raise click.UsageError("In the background, a node needs a port of its own: not 0.")
    refuse_held(data_dir)
    refuse_taken_port(host, port)
    log = log_path(data_dir)
    with using_data_dir(data_dir):
        began_at = log_size(log)
        process = spawn_node(_arguments(flags, is_insecure=is_insecure), log)
    url = reachable_url(loaded)
    health = wait_until_ready(process, url, timeout_s=session.timeout_s or START_TIMEOUT_S)
    if isinstance(health, int):
        said = log_since(log, began_at, SAID_LINES_MAX)
        session.output.fail(["The node did not start", *(f"  {line}" for line in said)])
        # A signal counts as negative, which is no exit code.
        return max(health, 1)
    if session.output.is_json:
        facts = {"url": url, "data_dir": str(data_dir), "log": str(log), "pid": process.pid}
        session.output.document({**health, **facts})
        return 0
    session.output.done(f"Node '{health['node']}' is running at {url}")
    session.output.done(f"API documentation at {url}/docs")
    session.output.done(f"Data in {data_dir}")
    return 0


def _arguments(flags: Flags, *, is_insecure: bool) -> list[str]:
    given = [part for option in FLAGS if (value := flags[option]) for part in (option, value)]
    return [*given, "--insecure"] if is_insecure else given


@server.command("stop")
@node_options(with_log=False)
@click.option("--force", "is_forced", is_flag=True, help="Kill it if it takes too long.")
@pass_session
def stop(session: Session, *, flags: Flags, is_forced: bool) -> None:
    """Stop the node; turns under way finish first."""
    from caxton_node.cli.node_lock import lock_holder, wait_for_release
    from caxton_node.cli.node_settings import load

    settings = load(flags).settings
    data_dir = settings.node.data_dir
    holder = lock_holder(data_dir)
    if holder is None:
        raise _nobody(data_dir)
    timeout_s = session.timeout_s or settings.limits.drain_timeout_s + STOP_GRACE_S
    session.output.note(f"Stopping the node (process {holder.process_id}) …")
    os.kill(holder.process_id, signal.SIGTERM)
    is_killed = False
    if not wait_for_release(data_dir, timeout_s):
        if not is_forced:
            raise TimedOut(
                "timed_out",
                f"The node (process {holder.process_id}) is still finishing what it does",
                hint="wait longer with --timeout, or end it with --force",
            )
        os.kill(holder.process_id, signal.SIGKILL)
        is_killed = wait_for_release(data_dir, KILL_TIMEOUT_S)
    if session.output.is_json:
        session.output.document({"pid": holder.process_id, "is_killed": is_killed})
    elif is_killed:
        session.output.done("Node killed; it takes up what it had accepted when it starts again")
    else:
        session.output.done("Node stopped")


def _nobody(data_dir: Path) -> Unavailable:
    return Unavailable(
        "unreachable",
        f"No node runs with the data in {data_dir}",
        hint="start one with: caxton server start",
    )


@server.command("status")
@node_options(with_log=False)
@pass_session
def status(session: Session, *, flags: Flags) -> None:
    """Show whether a node runs here, and how it does."""
    if not session.is_server_chosen:
        from caxton_node.cli.node_lock import lock_holder
        from caxton_node.cli.node_settings import load

        data_dir = load(flags).settings.node.data_dir
        holder = lock_holder(data_dir)
        if holder is None:
            raise _nobody(data_dir)
        session.server = holder.url
    show_status(session)


@server.command("logs")
@node_options(with_log=False)
@click.option(
    "--tail", type=click.IntRange(1, 100_000), default=100, show_default=True, help="So many lines."
)
@click.option("--follow", "is_following", is_flag=True, help="Go on showing new lines.")
@pass_session
def logs(session: Session, *, flags: Flags, tail: int, is_following: bool) -> None:
    """Show what the node in the background wrote."""
    from caxton_node.cli.daemon import follow_log, log_path, log_since
    from caxton_node.cli.node_settings import load

    log = log_path(load(flags).settings.node.data_dir)
    if not log.exists():
        raise NotFound(
            "route_not_found",
            f"There is no log at {log}",
            hint="only a node started with `caxton server start` writes there",
        )
    lines: Iterator[str] = iter(log_since(log, 0, tail))
    if is_following:
        lines = itertools.chain(lines, follow_log(log))
    for line in lines:
        if session.output.is_json:
            session.output.document({"line": line})
        else:
            session.output.line(line)


@server.command("config")
@node_options(with_log=False)
@click.option("--effective", "is_whole", is_flag=True, help="Also what was left at its default.")
@pass_session
def config(session: Session, *, flags: Flags, is_whole: bool) -> None:
    """Show the settings and where each came from.

    Of the server, if it answers; else those that one started here would have.
    """
    document = _config_document(session, flags)
    if session.output.is_json:
        session.output.document(document)
        return
    rows = [
        (key, _value_text(entry["value"]), entry["source"])
        for key, entry in document["items"].items()
        if is_whole or entry["source"] != "default"
    ]
    if not rows:
        session.output.note("Everything is at its default; see it with --effective")
        return
    session.output.table(("SETTING", "VALUE", "FROM"), rows)


def _config_document(session: Session, flags: Flags) -> dict[str, Any]:
    from caxton_node.cli.node_settings import config_document, load

    if not any(flags.values()):
        try:
            found: dict[str, Any] = connect(session).get(path_of("config"))
        except Unavailable:
            if session.is_server_chosen:
                raise
            session.output.note("No server answers: these are the settings one would start with.")
        else:
            return found
    return config_document(load(flags))


def _value_text(value: Any) -> str:
    return "-" if value is None else text_of(value)
