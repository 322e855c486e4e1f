"""A file that is replaced as a whole: a reader sees the old content or the new, never a part.

After a crash at any moment one of the two is there. A write that fails leaves the old one, and
nothing beside it.
"""

import os
import secrets
from contextlib import suppress
from pathlib import Path

__all__ = ["replace_file"]


def replace_file(path: Path, text: str, *, mode: int) -> None:
    """Let `path` hold `text`, with the rights `mode`; missing folders are made for us alone.

    Raises:
        OSError: The folder is not ours to write, or the disk is full.
    """
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    # Made anew with its rights, so that there is no moment in which somebody else can open it.
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        draft.replace(path)
    finally:
        with suppress(FileNotFoundError):
            draft.unlink()
    _sync_folder(path.parent)


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
