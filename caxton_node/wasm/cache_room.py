"""Which compiled guests are thrown away when the cache has grown too large.

Those that this process uses stay: a worker that is started anew loads them from their files. Of the
others, the ones go first that were asked for longest ago.
"""

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

__all__ = ["CACHE_BYTES_MAX", "CachedFile", "make_room", "to_throw_away"]

CACHE_BYTES_MAX: Final = 2_000_000_000
"""Of compiled guests that nobody uses now, and those in use together."""


@dataclass(frozen=True, slots=True)
class CachedFile:
    """A compiled guest."""

    name: str
    size_bytes: int
    asked_at_s: float
    """Last, in seconds since 1970."""


def to_throw_away(
    files: Iterable[CachedFile], *, in_use: Collection[str], bytes_max: int
) -> list[str]:
    """Return the names of the files that have to go, longest unasked first."""
    by_age = sorted(files, key=lambda one: (one.asked_at_s, one.name))
    excess = sum(one.size_bytes for one in by_age) - bytes_max
    leaving = []
    for one in by_age:
        if excess <= 0:
            break
        if one.name not in in_use:
            leaving.append(one.name)
            excess -= one.size_bytes
    return leaving


def make_room(
    folder: Path, *, in_use: Collection[str], bytes_max: int = CACHE_BYTES_MAX
) -> list[str]:
    """Throw away what the cache has no room for; return the names. Blocking.

    Raises:
        OSError: The disk refused.
    """
    files = []
    for path in folder.glob("*.cwasm"):
        state = path.stat()
        files.append(CachedFile(path.name, state.st_size, state.st_mtime))
    leaving = to_throw_away(files, in_use=in_use, bytes_max=bytes_max)
    for name in leaving:
        (folder / name).unlink(missing_ok=True)
        (folder / name).with_suffix(".json").unlink(missing_ok=True)
    return leaving
