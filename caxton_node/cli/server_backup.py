"""`caxton server backup|verify-backup|restore`: a node's data as a folder."""

import time
from pathlib import Path

import click

from caxton_node.cli.command import Command
from caxton_node.cli.node_options import Flags, node_options
from caxton_node.cli.server import server
from caxton_node.cli.session import Session, pass_session

__all__ = ["backup", "restore", "server", "verify_backup"]

_FOLDER = click.Path(exists=True, file_okay=False, path_type=Path)


@server.command("backup", cls=Command)
@node_options(with_log=False)
@click.option(
    "--to",
    "folder",
    type=click.Path(file_okay=False, path_type=Path),
    help="Where the backup gets a folder of its own.  [default: backups in the data directory]",
)
@pass_session
def backup(session: Session, *, flags: Flags, folder: Path | None) -> None:
    """Copy the data of this machine's node into a new folder, while it runs."""
    from caxton import __version__
    from caxton_node.backup import back_up
    from caxton_node.cli.node_settings import load

    settings = load(flags).settings
    data_dir, name = settings.node.data_dir, settings.node.name
    parent = data_dir / "backups" if folder is None else folder
    target = parent / f"{name}-{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime())}"
    parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    taken = back_up(data_dir, target, node=name, version=__version__)
    if session.output.is_json:
        facts = {"backup": str(target), "node": taken.node, "taken_at": taken.taken_at}
        session.output.document({**facts, "files": len(taken.files), "size": taken.size_bytes})
        return
    size = f"{taken.size_bytes / 1e6:,.1f} MB in {len(taken.files)} files"
    session.output.done(f"Wrote {target}: {size}")


@server.command("verify-backup", cls=Command)
@click.argument("folder", metavar="BACKUP", type=_FOLDER)
@pass_session
def verify_backup(session: Session, folder: Path) -> None:
    """Read a backup whole, and check it against its manifest."""
    from caxton_node.backup import verify

    found = verify(folder)
    if session.output.is_json:
        facts = {"backup": str(folder), "node": found.node, "taken_at": found.taken_at}
        session.output.document({**facts, "files": len(found.files), "size": found.size_bytes})
        return
    session.output.done(f"{folder} is whole: the node {found.node} as it was at {found.taken_at}")


@server.command("restore", cls=Command)
@click.argument("folder", metavar="BACKUP", type=_FOLDER)
@node_options(with_log=False)
@pass_session
def restore(session: Session, folder: Path, *, flags: Flags) -> None:
    """Put a backup in the place of this machine's data. The node must be stopped."""
    from caxton_node.backup import restore as put_in_place
    from caxton_node.cli.node_lock import hold_lock
    from caxton_node.cli.node_settings import load

    data_dir = load(flags).settings.node.data_dir
    with hold_lock(data_dir, "restoring a backup"):
        aside = put_in_place(folder, data_dir)
    if session.output.is_json:
        session.output.document(
            {"data_dir": str(data_dir), "kept": None if aside is None else str(aside)}
        )
        return
    session.output.done(f"{folder} is the data in {data_dir} now")
    if aside is not None:
        session.output.note(f"What was there is kept as {aside}")
