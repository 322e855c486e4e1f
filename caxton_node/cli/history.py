"""Editing of lines in a terminal, with a history that survives.

Reference: XDG Base Directory Specification 0.8, `XDG_STATE_HOME`.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Final

__all__ = ["HISTORY_LINES_MAX", "history_path", "line_history"]

HISTORY_LINES_MAX: Final = 1_000


def history_path(environment: Mapping[str, str], home: Path) -> Path:
    """Return where the lines of chats are kept."""
    state_home = Path(environment.get("XDG_STATE_HOME") or "")
    if not state_home.is_absolute():
        state_home = home / ".local" / "state"
    return state_home / "caxton" / "chat_history"


@contextmanager
def line_history(environment: Mapping[str, str], home: Path) -> Iterator[None]:
    """Let `input` edit lines and remember them, here and in later runs.

    A history that cannot be read or kept is done without: it is a convenience.
    """
    import readline

    path = history_path(environment, home)
    try:
        readline.read_history_file(path)
    except OSError:
        readline.clear_history()
    readline.set_history_length(HISTORY_LINES_MAX)
    try:
        yield
    finally:
        try:
            path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            # What people say to agents is nobody else's business.
            path.touch(mode=0o600)
            readline.write_history_file(path)
        except OSError:
            pass
