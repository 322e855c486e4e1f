"""The data that one conversation of one agent keeps, as files that survive a crash.

Layout, below the agent's folder:

    conversations/<conversation>/index.json      handle → file, name, media type, size, digest
    conversations/<conversation>/0001-sales.csv

The file is on disk before the index names it, and the index before the handle is given out: a
turn that goes on after a crash finds every handle it was ever given. A file without an entry is
what a crash left behind; opening removes it. Keeping the same data under the same name again
returns the same handle, so that a step which is repeated changes nothing.

One instance serves one conversation, in which turns never overlap; calls within a turn may.
"""

import asyncio
import hashlib
import os
import re
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import msgspec

from caxton_node.domain.errors import Failed
from caxton_node.domain.tool import Artifact
from caxton_node.tools.durable import replace_file

__all__ = ["ArtifactLimits", "FileArtifacts", "conversation_folder", "open_artifacts"]

INDEX_NAME: Final = "index.json"
NAME_LENGTH_MAX: Final = 80
"""Of the part of a file's name that people read."""

_SAFE_ID: Final = re.compile(r"[a-z0-9_-][a-z0-9._-]{0,99}", re.ASCII)
_UNSAFE: Final = re.compile(r"[^A-Za-z0-9._-]+", re.ASCII)


@dataclass(frozen=True, slots=True, kw_only=True)
class ArtifactLimits:
    """How much one conversation may keep."""

    total_bytes: int = 50_000_000
    count_max: int = 1_000


class _Entry(msgspec.Struct, frozen=True):
    """A line of the index."""

    file: str
    name: str
    media_type: str
    size_bytes: int
    sha256: str


class _Index(msgspec.Struct, frozen=True):
    """All lines; the first is `artifact:1`."""

    entries: tuple[_Entry, ...] = ()


def conversation_folder(agent_folder: Path, conversation_id: str) -> Path:
    """Return where the data of a conversation lies. Different ids never share a folder.

    An id of lower-case letters, digits, `.`, `_` and `-` is its own folder's name; any other
    is spelled without what is unsafe and told apart by a digest (`~` is in no safe id).
    """
    if _SAFE_ID.fullmatch(conversation_id):
        name = conversation_id
    else:
        digest = hashlib.sha256(conversation_id.encode("utf-8", "surrogatepass")).hexdigest()
        name = f"{_UNSAFE.sub('_', conversation_id)[:40].lstrip('.')}~{digest[:32]}"
    return agent_folder / "conversations" / name


async def open_artifacts(
    agent_folder: Path, conversation_id: str, *, limits: ArtifactLimits | None = None
) -> "FileArtifacts":
    """Read the index of a conversation, if it kept anything yet.

    Raises:
        Failed: `tool_failed`, when the index is there and cannot be read.
    """
    folder = conversation_folder(agent_folder, conversation_id)
    entries = await asyncio.to_thread(_read_index, folder)
    return FileArtifacts(folder, entries, limits or ArtifactLimits())


class FileArtifacts:
    """Implements `Artifacts` with files. Made by `open_artifacts`."""

    def __init__(self, folder: Path, entries: tuple[_Entry, ...], limits: ArtifactLimits) -> None:
        self._folder = folder
        self._entries = entries
        self._limits = limits
        # A lock of threads, not of tasks: a cancelled call leaves its thread writing, and the
        # next one must wait for that.
        self._lock = threading.Lock()

    async def put(self, *, name: str, media_type: str, data: bytes) -> Artifact:
        """Keep `data` and return its handle, which stays valid for the conversation's life.

        Raises:
            Failed: `tool_failed`, when the room is used up or the disk refuses.
        """
        loop = asyncio.get_running_loop()
        writing = loop.run_in_executor(None, self._put, name, media_type, data)
        try:
            return await asyncio.shield(writing)
        except asyncio.CancelledError:
            # Whoever opens this conversation next must not meet a write that is under way.
            await asyncio.wait([writing])
            raise

    async def get(self, handle: str) -> tuple[Artifact, bytes]:
        """Return what a handle names.

        Raises:
            Failed: `tool_failed`, when it names nothing in this conversation.
        """
        entry = self._entry(handle)
        path = self._folder / entry.file
        try:
            data = await asyncio.to_thread(path.read_bytes)
        except OSError as error:
            raise _lost(handle, error.strerror or str(error)) from error
        if len(data) != entry.size_bytes:
            raise _lost(handle, f"it has {len(data)} bytes instead of {entry.size_bytes}")
        return _artifact(handle, entry), data

    def path(self, handle: str) -> Path:
        """Return the file behind a handle.

        Raises:
            Failed: `tool_failed`, when it names nothing in this conversation.
        """
        return self._folder / self._entry(handle).file

    def _entry(self, handle: str) -> _Entry:
        entries = self._entries
        prefix, _, digits = handle.partition(":")
        number = int(digits) if digits.isascii() and digits.isdigit() and len(digits) < 9 else 0
        if prefix != "artifact" or not 1 <= number <= len(entries):
            known = f"artifact:1 to artifact:{len(entries)}" if entries else "no artifact yet"
            raise Failed(
                "tool_failed",
                f"{handle[:40]!r} names nothing in this conversation.",
                hint=f"This conversation has {known}.",
            )
        return entries[number - 1]

    def _put(self, name: str, media_type: str, data: bytes) -> Artifact:
        digest = hashlib.sha256(data).hexdigest()
        with self._lock:
            for number, known in enumerate(self._entries, start=1):
                if (known.sha256, known.name, known.media_type) == (digest, name, media_type):
                    return _artifact(f"artifact:{number}", known)
            self._check_room(len(data))
            number = len(self._entries) + 1
            entry = _Entry(
                file=f"{number:04d}-{_safe_name(name)}",
                name=name,
                media_type=media_type,
                size_bytes=len(data),
                sha256=digest,
            )
            entries = (*self._entries, entry)
            try:
                self._folder.mkdir(parents=True, exist_ok=True)
                replace_file(self._folder / entry.file, data)
                replace_file(self._folder / INDEX_NAME, msgspec.json.encode(_Index(entries)))
            except OSError as error:
                raise Failed(
                    "tool_failed", f"{name!r} cannot be kept: {error.strerror or error}."
                ) from error
            self._entries = entries
        return _artifact(f"artifact:{number}", entry)

    def _check_room(self, size_bytes: int) -> None:
        if len(self._entries) >= self._limits.count_max:
            raise Failed(
                "tool_failed",
                f"This conversation keeps {self._limits.count_max} artifacts, which is the most.",
                hint="Go on in a new conversation.",
            )
        used = sum(entry.size_bytes for entry in self._entries)
        if used + size_bytes > self._limits.total_bytes:
            raise Failed(
                "tool_failed",
                f"{size_bytes} bytes do not fit: this conversation keeps {used} of at most "
                f"{self._limits.total_bytes} bytes.",
                hint="Go on in a new conversation, or keep less.",
            )


def _artifact(handle: str, entry: _Entry) -> Artifact:
    return Artifact(
        handle=handle, name=entry.name, media_type=entry.media_type, size_bytes=entry.size_bytes
    )


def _lost(handle: str, reason: str) -> Failed:
    return Failed("tool_failed", f"The data of {handle} cannot be read: {reason}.")


def _safe_name(name: str) -> str:
    stem, dot, suffix = _UNSAFE.sub("_", name).rpartition(".")
    if not dot or len(suffix) > 10:
        return (stem + dot + suffix)[:NAME_LENGTH_MAX] or "data"
    return f"{stem[: NAME_LENGTH_MAX - len(suffix) - 1]}.{suffix}"


def _read_index(folder: Path) -> tuple[_Entry, ...]:
    try:
        data = (folder / INDEX_NAME).read_bytes()
    except FileNotFoundError:
        data = b'{"entries":[]}'
    except OSError as error:
        raise Failed("tool_failed", f"{folder / INDEX_NAME}: {error.strerror}.") from error
    try:
        entries = msgspec.json.decode(data, type=_Index).entries
    except msgspec.MsgspecError as error:
        raise Failed("tool_failed", f"{folder / INDEX_NAME} is damaged: {error}.") from error
    if any(Path(entry.file).name != entry.file for entry in entries):
        raise Failed("tool_failed", f"{folder / INDEX_NAME} is damaged: a file lies outside.")
    if folder.is_dir():
        named = {entry.file for entry in entries} | {INDEX_NAME}
        for left_behind in sorted(set(os.listdir(folder)) - named):
            (folder / left_behind).unlink(missing_ok=True)
    return entries
