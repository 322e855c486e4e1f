"""One node to a data directory: a lock that the kernel lets go of when the process ends.

The file carries the process id and the address, for whoever wants to find or stop the node. It
means something only while it is locked: a file that a crash left behind misleads nobody, and a
process id that was given to somebody else is never signalled.

Reference: flock(2).
"""

import fcntl
import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Final

from caxton_node.cli.data_dir import using_data_dir
from caxton_node.domain.errors import Conflict

__all__ = ["Holder", "hold_lock", "lock_holder", "lock_path", "refuse_held", "wait_for_release"]

ATTEMPTS_MAX: Final = 5
ATTEMPT_EVERY_S: Final = 0.02
"""Whoever looks for a holder has the lock for a moment, which must not refuse a start."""

READ_BYTES_MAX: Final = 1_000


@dataclass(frozen=True, slots=True)
class Holder:
    """The node that runs on a data directory."""

    process_id: int
    url: str
    """Where it was told to listen."""


def lock_path(data_dir: Path) -> Path:
    """Return the path of the lock."""
    return data_dir / "caxton-node.pid"


@contextmanager
def hold_lock(data_dir: Path, url: str) -> Iterator[None]:
    """Be the node of a data directory, for as long as the context lasts.

    Raises:
        Conflict: `state_conflict`: another process is.
        Unavailable: `storage_unavailable`: the directory cannot be written.
    """
    with using_data_dir(data_dir):
        data_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
        opened = lock_path(data_dir).open("a+")
    with opened as file:
        for attempt in range(ATTEMPTS_MAX):
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if attempt + 1 == ATTEMPTS_MAX:
                    raise _taken(data_dir) from None
                time.sleep(ATTEMPT_EVERY_S)
        with using_data_dir(data_dir):
            file.truncate(0)
            file.write(f"{os.getpid()}\n{url}\n")
            file.flush()
        try:
            yield
        finally:
            file.truncate(0)


def lock_holder(data_dir: Path) -> Holder | None:
    """Return who runs on a data directory, or None where nobody does."""
    try:
        file = lock_path(data_dir).open()
    except OSError:
        return None
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return _holder_of(file.read(READ_BYTES_MAX))
    return None


def _holder_of(text: str) -> Holder | None:
    process_id, _, rest = text.partition("\n")
    if not process_id.isdecimal():
        # Between taking the lock and writing the file.
        return None
    return Holder(int(process_id), rest.partition("\n")[0])


def wait_for_release(data_dir: Path, timeout_s: float) -> bool:
    """Wait until nobody runs on a data directory; tell whether that came in time.

    Only for the main thread of a program that uses no other alarm.
    """

    def give_up(_: int, __: FrameType | None) -> None:
        raise TimeoutError

    with suppress(FileNotFoundError), lock_path(data_dir).open() as file:
        before = signal.signal(signal.SIGALRM, give_up)
        try:
            signal.setitimer(signal.ITIMER_REAL, timeout_s)
            fcntl.flock(file, fcntl.LOCK_SH)
        except TimeoutError:
            return False
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, before)
    return True


def refuse_held(data_dir: Path) -> None:
    """Refuse to go on where a node runs already.

    Raises:
        Conflict: `state_conflict`.
    """
    if lock_holder(data_dir) is not None:
        raise _taken(data_dir)


def _taken(data_dir: Path) -> Conflict:
    holder = lock_holder(data_dir)
    who = "" if holder is None else f" (process {holder.process_id}, {holder.url})"
    return Conflict(
        "state_conflict",
        f"A node is already running with the data in {data_dir}{who}",
        hint="stop it with `caxton server stop`, or choose another --data-dir",
    )
