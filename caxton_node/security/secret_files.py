"""Files that hold secrets: for their owner's eyes only, and never overwritten by accident.

A file appears whole or not at all, so that a node that reads it again meanwhile never sees half of
a key.
"""

import os
import secrets
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Final

from caxton_node.domain.errors import Conflict, Rejected, Unavailable

__all__ = ["FILE_BYTES_MAX", "read_secret", "write_all"]

FILE_BYTES_MAX: Final = 1_000_000

_OWNER_ONLY: Final = 0o600


def write_all(files: Mapping[Path, bytes], *, is_forced: bool) -> None:
    """Write files, each whole, with the rights 0600. Folders are made with 0700.

    Raises:
        Conflict: `already_exists`: one of them is there and it is not forced. None is written.
        Unavailable: `storage_unavailable`.
    """
    if not is_forced:
        for path in files:
            if os.path.lexists(path):
                raise Conflict(
                    "already_exists",
                    f"{path} exists already",
                    hint="name another folder, or replace it with --force",
                )
    try:
        for path, content in files.items():
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            _write(path, content, is_forced=is_forced)
    except OSError as error:
        raise Unavailable(
            "storage_unavailable", f"{error.filename}: {error.strerror or error}"
        ) from None


def _write(path: Path, content: bytes, *, is_forced: bool) -> None:
    new = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, _OWNER_ONLY)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        if is_forced:
            new.replace(path)
        else:
            # Fails where somebody was quicker; a rename would replace theirs.
            path.hardlink_to(new)
    except FileExistsError:
        raise Conflict("already_exists", f"{path} exists already") from None
    finally:
        with suppress(FileNotFoundError):
            new.unlink()


def read_secret(path: Path) -> bytes:
    """Return what a file holds.

    Raises:
        Rejected: `invalid_settings`: it cannot be read, or is no such file.
    """
    try:
        with path.open("rb") as file:
            content = file.read(FILE_BYTES_MAX + 1)
    except OSError as error:
        raise Rejected("invalid_settings", f"{path}: {error.strerror or error}") from None
    if len(content) > FILE_BYTES_MAX:
        raise Rejected("invalid_settings", f"{path} is larger than any key or certificate")
    return content
