"""`caxton build`: WebAssembly from a guest's source, by the toolchain of its language."""

import hashlib
import os
import subprocess
from pathlib import Path
from typing import Final

import click

from caxton_node.cli.command import Command
from caxton_node.cli.session import Session, pass_session
from caxton_node.domain.errors import Failed, TimedOut

__all__ = ["build"]

BUILD_TIMEOUT_S: Final = 900.0
"""The first build of a language may fetch and compile its library."""

OUTPUT_LENGTH_MAX: Final = 4_000
"""Characters of a failed tool's output that are shown. The end of it: the error stands there."""


@click.command(cls=Command)
@click.argument("folders", metavar="[FOLDER]…", nargs=-1, type=click.Path(path_type=Path))
@click.option("--language", help="Instead of what the files in the folder say.")
@pass_session
def build(session: Session, folders: tuple[Path, ...], language: str | None) -> None:
    """Build the guest in a folder into the file that its manifest names.

    Without a folder it is this one.
    """
    from caxton_node.starters import find_guest, plan_build

    output = session.output
    documents = []
    for folder in folders or (Path(),):
        guest = find_guest(folder.absolute(), language)
        plan = plan_build(guest)
        for run in plan.runs:
            output.note(f"Running {Path(run.command[0]).name} in {folder}")
            _run(run.command, guest.folder, {**os.environ, **run.environment})
        if plan.made != guest.output:
            guest.output.write_bytes(plan.made.read_bytes())
        module = guest.output.read_bytes()
        digest = hashlib.sha256(module).hexdigest()
        file, manifest = (os.path.relpath(path) for path in (guest.output, guest.manifest))
        documents.append(
            {"name": guest.name, "file": file, "size_bytes": len(module), "sha256": digest}
        )
        output.done(f"Built {file}: {len(module):,} bytes, sha256 {digest}")
        output.note(f"Next: caxton {'deploy' if guest.is_agent else 'tool deploy'} {manifest}")
    if output.is_json:
        output.document({"items": documents, "total": len(documents), "next_cursor": None})


def _run(command: tuple[str, ...], folder: Path, environment: dict[str, str]) -> None:
    """Run one program of a toolchain.

    Raises:
        Failed: `tool_failed`, with the end of what it said.
        TimedOut: `timed_out`.
    """
    program = Path(command[0]).name
    try:
        done = subprocess.run(  # noqa: S603 - the toolchain of whoever calls, on their own source
            command,
            cwd=folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=BUILD_TIMEOUT_S,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise TimedOut("timed_out", f"{program} took longer than {BUILD_TIMEOUT_S:g} s") from None
    if done.returncode != 0:
        said = done.stdout.decode("utf-8", "replace").strip()[-OUTPUT_LENGTH_MAX:]
        raise Failed("tool_failed", f"{program} ended with {done.returncode}:\n{said}")
