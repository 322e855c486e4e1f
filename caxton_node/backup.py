"""A backup of a node's data directory, taken while the node runs, and put in place of one again.

A backup is a folder: a copy of every file, and `manifest.json` that names each with its size and
its hash. Databases are copied by SQLite's own backup, which gives the state at one moment whatever
the node writes meanwhile; the journal of messages first, everything else after it. So what the
journal says was done is done in the other files too; what they have beyond it, a turn that is taken
again finds done.

A backup appears under its name when it is whole. What was in flight when it was taken is in flight
again after a restore: with *at least once* a turn may be taken a second time.

Reference: SQLite, "Using the Online Backup API".
"""

import hashlib
import json
import os
import shutil
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from caxton_node.domain.errors import Conflict, Rejected, Unavailable

__all__ = ["JOURNAL", "MANIFEST", "Backup", "back_up", "read_backup", "restore", "verify"]

MANIFEST: Final = "manifest.json"
FORMAT: Final = 1
FILES: Final = "files"

JOURNAL: Final = "caxton.db"
"""Copied first."""

FILES_MAX: Final = 1_000_000
MANIFEST_BYTES_MAX: Final = 500_000_000
CHUNK_BYTES: Final = 1_000_000
BUSY_TIMEOUT_S: Final = 30.0

_PAGES_AT_ONCE: Final = 2_000
_SQLITE: Final = b"SQLite format 3\0"
_LEFT_OUT: Final = frozenset(
    {"caxton-node.pid", "caxton-node.log", "backups", "cluster-peers.json"}
)
"""Of this process and this machine alone, or backups themselves."""

_LEFT_OUT_ENDS: Final = (".lock", "-wal", "-shm", "-journal", ".tmp")


@dataclass(frozen=True, slots=True)
class Copied:
    """One file of a backup."""

    path: str
    """Below the data directory."""
    size_bytes: int
    sha256: str
    is_database: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Backup:
    """What a manifest says."""

    format: int
    node: str
    version: str
    """Of the program that took it."""
    taken_at: str
    """RFC 3339, UTC."""
    files: tuple[Copied, ...]

    @property
    def size_bytes(self) -> int:
        """All files together."""
        return sum(one.size_bytes for one in self.files)


def back_up(data_dir: Path, target: Path, *, node: str, version: str) -> Backup:
    """Copy a data directory into a new folder. Blocks as long as the disk takes.

    Args:
        data_dir: Of a node that runs or does not.
        target: Must not exist yet.
        node: The node's name.
        version: Of the program.

    Raises:
        Conflict: `already_exists`: there is something at `target`.
        Unavailable: `storage_unavailable`: something cannot be read or written.
    """
    if target.exists():
        raise Conflict("already_exists", f"{target} exists already")
    if not (data_dir / JOURNAL).is_file():
        raise Unavailable("storage_unavailable", f"{data_dir} holds no data of a node")
    draft = target.with_name(f".{target.name}.partial")
    try:
        shutil.rmtree(draft, ignore_errors=True)
        (draft / FILES).mkdir(parents=True, mode=0o700)
        copied = tuple(_copy(data_dir, path, draft / FILES) for path in _paths(data_dir))
        taken = Backup(
            format=FORMAT,
            node=node,
            version=version,
            taken_at=time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
            files=copied,
        )
        _write_synced(draft / MANIFEST, json.dumps(asdict(taken), indent=1).encode())
        draft.rename(target)
    except (OSError, sqlite3.Error) as error:
        shutil.rmtree(draft, ignore_errors=True)
        raise Unavailable("storage_unavailable", f"The backup was not taken: {error}") from error
    return taken


def _paths(data_dir: Path) -> Iterator[Path]:
    """Yield what belongs to a backup, relative to the data directory, the journal first."""
    yield Path(JOURNAL)
    for folder, names, files in os.walk(data_dir):
        here = Path(folder).relative_to(data_dir)
        if here == Path():
            names[:] = [name for name in names if name not in _LEFT_OUT]
        names.sort()
        for name in sorted(files):
            path = here / name
            is_left_out = str(path) in _LEFT_OUT | {JOURNAL} or name.endswith(_LEFT_OUT_ENDS)
            full = data_dir / path
            if not is_left_out and full.is_file() and not full.is_symlink():
                yield path


def _copy(data_dir: Path, path: Path, folder: Path) -> Copied:
    source, target = data_dir / path, folder / path
    target.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    with source.open("rb") as file:
        is_database = file.read(len(_SQLITE)) == _SQLITE
    if is_database:
        _copy_database(source, target)
    else:
        shutil.copy2(source, target)
        with target.open("rb+") as file:
            os.fsync(file.fileno())
    return Copied(path.as_posix(), target.stat().st_size, _sha256(target), is_database)


def _copy_database(source: Path, target: Path) -> None:
    with (
        closing(sqlite3.connect(_read_only(source), uri=True, timeout=BUSY_TIMEOUT_S)) as live,
        closing(sqlite3.connect(target)) as copy,
    ):
        live.backup(copy, pages=_PAGES_AT_ONCE, sleep=0.001)
        # One file, without a log beside it.
        copy.execute("PRAGMA journal_mode = DELETE").fetchall()
    _check_database(target)


def _check_database(path: Path) -> None:
    with closing(sqlite3.connect(_read_only(path), uri=True)) as copy:
        said = copy.execute("PRAGMA quick_check(1)").fetchone()
    if said != ("ok",):
        raise sqlite3.DatabaseError(f"{path.name} is damaged: {said[0]}")


def _read_only(path: Path) -> str:
    return f"{path.absolute().as_uri()}?mode=ro"


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(CHUNK_BYTES):
            digest.update(chunk)
    return digest.hexdigest()


def _write_synced(path: Path, data: bytes) -> None:
    with path.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def read_backup(folder: Path) -> Backup:
    """Return what the manifest of a backup says.

    Raises:
        Rejected: `invalid_request`: it is no backup, or one of a later version.
    """
    try:
        text = (folder / MANIFEST).read_bytes()
        if len(text) > MANIFEST_BYTES_MAX:
            raise _no_backup(folder, "its manifest is too large")
        told: dict[str, Any] = json.loads(text)
        if told["format"] != FORMAT:
            raise _no_backup(
                folder, f"it is of format {told['format']}, this version reads {FORMAT}"
            )
        files = tuple(Copied(**one) for one in told.pop("files"))
        backup = Backup(files=files, **told)
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise _no_backup(folder, f"{type(error).__name__}: {error}"[:300]) from None
    if len(files) > FILES_MAX:
        raise _no_backup(folder, f"it names more than {FILES_MAX:,} files")
    for one in files:
        path = Path(one.path)
        if path.is_absolute() or ".." in path.parts:
            raise _no_backup(folder, f"it names a file outside of itself: {one.path[:100]}")
    return backup


def _no_backup(folder: Path, why: str) -> Rejected:
    return Rejected("invalid_request", f"{folder} is no backup that can be used: {why}")


def verify(folder: Path) -> Backup:
    """Read every file of a backup and compare it with the manifest; check every database.

    Raises:
        Rejected: `invalid_request`: something is missing, changed or damaged.
    """
    backup = read_backup(folder)
    for one in backup.files:
        path = folder / FILES / one.path
        try:
            if path.stat().st_size != one.size_bytes or _sha256(path) != one.sha256:
                raise _no_backup(folder, f"{one.path} is not what was written")
            if one.is_database:
                _check_database(path)
        except (OSError, sqlite3.Error) as error:
            raise _no_backup(folder, f"{one.path}: {error}") from None
    return backup


def restore(folder: Path, data_dir: Path) -> Path | None:
    """Put a verified backup in the place of a data directory that no node uses.

    Args:
        folder: The backup.
        data_dir: The caller holds its lock.

    Returns:
        Where what was there is kept; None where there was nothing.

    Raises:
        Rejected: `invalid_request`: the backup is damaged. Nothing was touched.
        Unavailable: `storage_unavailable`.
    """
    backup = verify(folder)
    stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
    draft = data_dir / f".restored-{stamp}"
    aside = data_dir / "backups" / f"replaced-{stamp}"
    try:
        for one in backup.files:
            target = draft / one.path
            target.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            shutil.copy2(folder / FILES / one.path, target)
        kept = [path for path in data_dir.iterdir() if _is_replaced(path, draft)]
        if kept:
            aside.mkdir(parents=True, mode=0o700)
        for path in kept:
            path.rename(aside / path.name)
        for path in draft.iterdir():
            path.rename(data_dir / path.name)
        draft.rmdir()
    except OSError as error:
        raise Unavailable(
            "storage_unavailable",
            f"The backup was not put in place: {error}",
            hint=f"what was there is in {aside}, what is to be there in {draft}",
        ) from error
    return aside if kept else None


def _is_replaced(path: Path, draft: Path) -> bool:
    return path != draft and path.name not in _LEFT_OUT - {"cluster-peers.json"}
