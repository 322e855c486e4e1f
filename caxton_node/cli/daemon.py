"""Starts a node in the background and waits until it answers.

The node gets a session of its own, so that closing the terminal leaves it alone, and writes to a
file in its data directory. Whoever wants it watched and restarted uses systemd or a container
and runs `caxton-node` there.
"""

import errno
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

from caxton_node.cli.client import Client
from caxton_node.domain.errors import CaxtonError, Conflict, Denied, TimedOut

__all__ = [
    "START_TIMEOUT_S",
    "follow_log",
    "log_path",
    "log_since",
    "log_size",
    "refuse_taken_port",
    "spawn_node",
    "wait_until_ready",
]

START_TIMEOUT_S: Final = 15.0

PROBE_EVERY_S: Final = 0.05
PROBE_TIMEOUT_S: Final = 1.0

LOG_BYTES_MAX: Final = 10_000_000
"""A log larger than this is put aside, in place of the one put aside before, at the next start."""

TAIL_BYTES_MAX: Final = 1_000_000

FOLLOW_EVERY_S: Final = 0.25
"""Files cannot be waited for in a portable way."""


def log_path(data_dir: Path) -> Path:
    """Return where a node in the background writes."""
    return data_dir / "log" / "node.log"


def refuse_taken_port(host: str, port: int) -> None:
    """Refuse to start where something listens already, while it can still be said plainly.

    Raises:
        Conflict: `state_conflict`: the port is taken.
        Denied: `denied`: this user may not listen there.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        # As the server does: a connection of yesterday's server does not count.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            where = f"{host}:{port}"
            if error.errno == errno.EADDRINUSE:
                raise Conflict(
                    "state_conflict",
                    f"Something listens on {where} already{_who_listens(host, port)}",
                    hint=f"choose another address, such as --http {host}:{port % 65_535 + 1}",
                ) from None
            if error.errno == errno.EACCES:
                raise Denied(
                    "denied", f"You may not listen on {where}", hint="choose a port above 1023"
                ) from None
            raise Conflict(
                "state_conflict", f"Nothing can listen on {where}: {error.strerror}"
            ) from None


def _who_listens(host: str, port: int) -> str:
    client = Client(f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}")
    try:
        health = client.call("GET", "/health", timeout_s=PROBE_TIMEOUT_S)
        return f": the Caxton node {health['node']}"
    except (CaxtonError, KeyError, TypeError):
        return ""


def spawn_node(arguments: Sequence[str], log: Path) -> "subprocess.Popen[bytes]":
    """Start a node in the background.

    Args:
        arguments: Of `caxton-node`.
        log: Where it writes, after what is there.
    """
    log.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    if log.exists() and log.stat().st_size > LOG_BYTES_MAX:
        log.replace(log.with_suffix(".log.1"))
    with log.open("ab") as output:
        # -P: what lies in the working directory must not stand in for a module of ours.
        return subprocess.Popen(  # noqa: S603 - our own program, with the user's own arguments
            [sys.executable, "-P", "-m", "caxton_node.cli.node", *arguments],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )


def wait_until_ready(
    process: "subprocess.Popen[bytes]", url: str, *, timeout_s: float
) -> dict[str, Any] | int:
    """Wait until a node answers at `url` and return its health, or its exit code if it ended.

    Raises:
        TimedOut: `timed_out`: neither happened. The node goes on.
    """
    client = Client(url, timeout_s=PROBE_TIMEOUT_S)
    ends_at = time.monotonic() + timeout_s
    while time.monotonic() < ends_at:
        try:
            return process.wait(PROBE_EVERY_S)
        except subprocess.TimeoutExpired:
            # It lives. Does it answer by now?
            pass
        try:
            health: dict[str, Any] = client.get("/health")
        except CaxtonError:
            continue
        return health
    raise TimedOut(
        "timed_out",
        f"The node (process {process.pid}) did not answer at {url} within {timeout_s:g} s",
        hint="look with `caxton server logs`, or stop it with `caxton server stop`",
    )


def log_size(log: Path) -> int:
    """Return how many bytes were written; 0 where there is no log."""
    return log.stat().st_size if log.exists() else 0


def log_since(log: Path, offset: int, lines_max: int) -> list[str]:
    """Return the last lines that were written after the first `offset` bytes."""
    if not log.exists():
        return []
    with log.open("rb") as file:
        size = file.seek(0, os.SEEK_END)
        start = max(offset, size - TAIL_BYTES_MAX)
        file.seek(start)
        lines = file.read(TAIL_BYTES_MAX).decode(errors="replace").splitlines()
    # In the middle of the file the first line is a piece of one.
    return lines[1 if start > offset else 0 :][-lines_max:]


def follow_log(log: Path) -> Iterator[str]:
    """Yield the lines that are written from now on, until interrupted."""
    position, rest = log_size(log), b""
    while True:
        if log_size(log) < position:
            # Put aside, or emptied: a new one begins.
            position, rest = 0, b""
        with log.open("rb") as file:
            file.seek(position)
            piece = file.read(TAIL_BYTES_MAX)
        if not piece:
            time.sleep(FOLLOW_EVERY_S)
            continue
        position += len(piece)
        *lines, rest = (rest + piece).split(b"\n")
        for line in lines:
            yield line.decode(errors="replace")
