"""An agent's own files: one folder that no path, however spelled, leads out of.

A path is checked twice. On its text: relative, no `..`, no hidden names. And on the disk: every
folder on the way is opened from the one above it without following symbolic links, so that
nothing can be swapped between the check and the use. Writes are whole or absent. Quotas are
checked under a lock on the folder, which holds between processes too.

Blocking: call it in a thread. Reference: openat(2), section "Rationale for openat()";
CWE-22, CWE-59, CWE-367.
"""

import contextlib
import fcntl
import os
import stat
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from caxton_node.tools.durable import TEMPORARY_SUFFIX

__all__ = ["FileError", "FileLimits", "OwnFile", "OwnFiles", "parse_path"]

DEPTH_MAX: Final = 8
NAME_BYTES_MAX: Final = 200
_FOLDER: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


class FileError(Exception):
    """The operation cannot be done. The text is for a model."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FileLimits:
    """How much an agent may keep."""

    file_bytes_max: int = 10_000_000
    total_bytes_max: int = 100_000_000
    file_count_max: int = 10_000


@dataclass(frozen=True, slots=True)
class OwnFile:
    """A file as a listing shows it."""

    path: str
    size_bytes: int


def parse_path(text: str) -> tuple[str, ...]:
    """Return the names along a path.

    Raises:
        FileError: It is absolute, leads upwards, or has a name that is not allowed.
    """
    if text.startswith(("/", "~")):
        raise FileError("The path must be relative to the agent's own folder.")
    names = tuple(unicodedata.normalize("NFC", text).split("/"))
    if len(names) > DEPTH_MAX:
        raise FileError(f"The path has more than {DEPTH_MAX} names.")
    for name in names:
        if not name or name.startswith("."):
            raise FileError(f"{text[:80]!r}: names must not be empty or begin with a dot.")
        if "\\" in name or ":" in name or not name.isprintable():
            raise FileError(f"{text[:80]!r} holds a character that names must not have.")
        if len(name.encode("utf-8", "replace")) > NAME_BYTES_MAX:
            raise FileError(f"A name is longer than {NAME_BYTES_MAX} bytes.")
        if name.endswith(TEMPORARY_SUFFIX):
            raise FileError(f"Names that end with {TEMPORARY_SUFFIX!r} are used for writing.")
    return names


class OwnFiles:
    """The files below one folder.

    Args:
        root: The folder. Made at the first write; its parent is trusted.
        limits: How much may be kept.
    """

    def __init__(self, root: Path, limits: FileLimits) -> None:
        self._root = root
        self._limits = limits

    def read(self, path: str) -> bytes:
        """Return the content of a file.

        Raises:
            FileError: There is none, or it is no plain file.
        """
        with self._parent(path, creates=False) as (folder, name):
            return _read(folder, name, path, self._limits.file_bytes_max)

    def write(self, path: str, data: bytes) -> bool:
        """Make `data` the content of a file; return whether there was one before.

        Raises:
            FileError: A quota is used up, or the path cannot be a file.
        """
        with self._locked(), self._parent(path, creates=True) as (folder, name):
            old = _size(folder, name, path)
            self._check_room(len(data), (old or 0), is_new=old is None)
            _replace(folder, name, data)
            return old is not None

    def append(self, path: str, data: bytes) -> int:
        """Add to the end of a file, which is made if it is absent; return its size.

        Raises:
            FileError: As for `write`.
        """
        with self._locked(), self._parent(path, creates=True) as (folder, name):
            old = _size(folder, name, path)
            content = data
            if old is not None:
                content = _read(folder, name, path, self._limits.file_bytes_max) + data
            self._check_room(len(content), (old or 0), is_new=old is None)
            _replace(folder, name, content)
            return len(content)

    def delete(self, path: str) -> bool:
        """Delete a file; return whether there was one.

        Raises:
            FileError: It is a folder, or no plain file.
        """
        try:
            with self._locked(), self._parent(path, creates=False) as (folder, name):
                if _size(folder, name, path) is None:
                    return False
                os.unlink(name, dir_fd=folder)
                os.fsync(folder)
                return True
        except _Absent:
            return False

    def size(self, path: str) -> int | None:
        """Return the size of a file in bytes, or None where there is none."""
        try:
            with self._parent(path, creates=False) as (folder, name):
                return _size(folder, name, path)
        except _Absent:
            return None

    def list(self, prefix: str = "") -> list[OwnFile]:
        """Return all files whose path begins with `prefix`, by path."""
        try:
            with self._open_root(creates=False) as root:
                found = list(_walk(root, "", 0))
        except _Absent:
            return []
        return sorted(
            (file for file in found if file.path.startswith(prefix)), key=lambda file: file.path
        )

    def _check_room(self, new_bytes: int, old_bytes: int, *, is_new: bool) -> None:
        limits = self._limits
        if new_bytes > limits.file_bytes_max:
            raise FileError(
                f"The file would have {new_bytes:,} bytes; at most {limits.file_bytes_max:,}."
            )
        files = self.list()
        if is_new and len(files) >= limits.file_count_max:
            raise FileError(f"There are {limits.file_count_max:,} files, which is the most.")
        total = sum(file.size_bytes for file in files) - old_bytes + new_bytes
        if total > limits.total_bytes_max:
            raise FileError(
                f"The files would have {total:,} bytes together; at most "
                f"{limits.total_bytes_max:,}. Delete some."
            )

    @contextlib.contextmanager
    def _open_root(self, *, creates: bool) -> Iterator[int]:
        if creates:
            self._root.mkdir(parents=True, exist_ok=True)
        try:
            root = os.open(self._root, _FOLDER)
        except FileNotFoundError:
            raise _Absent("There are no files yet.") from None
        except OSError as error:
            raise FileError(f"The agent's folder cannot be used: {error.strerror}.") from error
        try:
            yield root
        finally:
            os.close(root)

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        with self._open_root(creates=True) as root:
            fcntl.flock(root, fcntl.LOCK_EX)
            yield

    @contextlib.contextmanager
    def _parent(self, path: str, *, creates: bool) -> Iterator[tuple[int, str]]:
        """Open the folder that a path's last name is in; yield it and that name."""
        *folders, name = parse_path(path)
        with contextlib.ExitStack() as stack:
            current = stack.enter_context(self._open_root(creates=creates))
            for folder in folders:
                if creates:
                    with contextlib.suppress(FileExistsError):
                        os.mkdir(folder, dir_fd=current)
                try:
                    current = os.open(folder, _FOLDER, dir_fd=current)
                except FileNotFoundError:
                    raise _Absent(f"There is no file {path!r}.") from None
                except OSError as error:
                    raise FileError(f"{folder!r} in {path!r} is no folder.") from error
                stack.callback(os.close, current)
            yield current, name


class _Absent(FileError):
    """There is no such file."""


def _size(folder: int, name: str, path: str) -> int | None:
    try:
        found = os.stat(name, dir_fd=folder, follow_symlinks=False)
    except FileNotFoundError:
        return None
    if not stat.S_ISREG(found.st_mode):
        raise FileError(f"{path!r} is no plain file.")
    return found.st_size


def _read(folder: int, name: str, path: str, size_max: int) -> bytes:
    # A pipe in the folder would block for ever; it is opened, found to be none, and closed.
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    try:
        descriptor = os.open(name, flags, dir_fd=folder)
    except FileNotFoundError:
        raise _Absent(f"There is no file {path!r}.") from None
    except OSError as error:
        raise FileError(f"{path!r} is no plain file.") from error
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise FileError(f"{path!r} is no plain file.")
    with open(descriptor, "rb") as file:
        data = file.read(size_max + 1)
    if len(data) > size_max:
        raise FileError(f"{path!r} is larger than {size_max:,} bytes.")
    return data


def _replace(folder: int, name: str, data: bytes) -> None:
    temporary = name + TEMPORARY_SUFFIX
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    with contextlib.suppress(FileNotFoundError):
        os.unlink(temporary, dir_fd=folder)  # left by a crash; nobody else writes under the lock
    try:
        with open(os.open(temporary, flags, 0o600, dir_fd=folder), "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, name, src_dir_fd=folder, dst_dir_fd=folder)
        os.fsync(folder)
    except OSError as error:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(temporary, dir_fd=folder)
        raise FileError(f"{name!r} cannot be written: {error.strerror}.") from error


def _walk(folder: int, prefix: str, depth: int) -> Iterator[OwnFile]:
    with os.scandir(folder) as entries:
        found = list(entries)
    for entry in found:
        if entry.is_file(follow_symlinks=False):
            if not entry.name.endswith(TEMPORARY_SUFFIX):
                size_bytes = entry.stat(follow_symlinks=False).st_size
                yield OwnFile(prefix + entry.name, size_bytes)
        elif entry.is_dir(follow_symlinks=False) and depth < DEPTH_MAX:
            below = os.open(entry.name, _FOLDER, dir_fd=folder)
            try:
                yield from _walk(below, f"{prefix}{entry.name}/", depth + 1)
            finally:
                os.close(below)
