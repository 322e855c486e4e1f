"""Takes out of an installation what no node ever reads: the image is a third smaller for it.

    python3 slim.py /opt/caxton

Tests of the libraries, tools that train and convert models, a second copy of the ONNX runtime for
programs in C, and, of every compiled library, what the loader does not map: symbol tables and
debugging information. It changes nothing that is imported or run, and refuses to guess: what goes
is named below or follows from the ELF header.

`strip` of binutils is not used: it is in no slim base, and it breaks libraries whose segments were
moved behind their symbols when their wheel was made.

Reference: System V ABI, "Object Files", program header.
"""

import os
import shutil
import struct
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

__all__ = ["mapped", "slim", "superfluous"]

TEST_FOLDERS: Final = frozenset({"test", "tests"})

OWN_PACKAGES: Final = ("caxton", "caxton_cluster", "caxton_node")
"""Left as they are."""

PROGRAMS: Final = ("caxton", "caxton-node", "python", "python3", "activate")
"""Of `bin`, with their versions and variants. The others belong to libraries."""

UNUSED: Final = (
    # What the module for Python contains already.
    "onnxruntime/capi/libonnxruntime.so*",
    # For whoever makes models.
    "onnxruntime/datasets",
    "onnxruntime/quantization",
    "onnxruntime/tools",
    "onnxruntime/transformers",
    "numpy/_core/include",
    "numpy/_core/lib",
    "numpy/random/lib",
)

_IDENTITY: Final = b"\x7fELF\x02\x01"
"""Of 64 bits, little endian: all machines that wheels are made for."""

_HEADER_BYTES: Final = 64
_LOAD: Final = 1


@dataclass(frozen=True, slots=True)
class _Segment:
    """A program header: a part of the file that the loader or the program looks at."""

    header_at: int
    kind: int
    start: int
    size_bytes: int
    alignment: int


def superfluous(site_packages: Path) -> Iterator[Path]:
    """Yield the files and folders of an installation that are never read."""
    for pattern in UNUSED:
        yield from sorted(site_packages.glob(pattern))
    for package in sorted(site_packages.iterdir()):
        if package.is_dir() and package.name not in OWN_PACKAGES:
            yield from (
                path
                for path in sorted(package.rglob("*"))
                if path.name in TEST_FOLDERS and path.is_dir()
            )


def mapped(elf: bytes) -> bytes:
    """Return a shared library with nothing but what its program headers name.

    Segments move towards the beginning, each by a multiple of its alignment, as the loader wants
    it. What is no library of a kind that is known here comes back as it is.
    """
    if not elf.startswith(_IDENTITY) or len(elf) < _HEADER_BYTES:
        return elf
    table_at = struct.unpack_from("<Q", elf, 0x20)[0]
    entry_bytes, count = struct.unpack_from("<HH", elf, 0x36)
    segments = [_segment(elf, table_at + number * entry_bytes) for number in range(count)]
    grain = max((one.alignment for one in segments if one.kind == _LOAD), default=1)
    ranges = [(0, _HEADER_BYTES), (table_at, table_at + entry_bytes * count)]
    ranges += [(one.start, one.start + one.size_bytes) for one in segments]
    packed = bytearray()
    moves: list[tuple[int, int, int]] = []
    for start, end in _merged(ranges):
        packed += bytes((start - len(packed)) % grain)
        moves.append((start, end, len(packed)))
        packed += elf[start:end]

    def moved(place: int) -> int:
        start, _, new = next(move for move in moves if move[0] <= place <= move[1])
        return new + place - start

    for one in segments:
        struct.pack_into("<Q", packed, moved(one.header_at) + 8, moved(one.start))
    struct.pack_into("<Q", packed, 0x20, moved(table_at))
    struct.pack_into("<Q", packed, 0x28, 0)  # no table of sections any more,
    struct.pack_into("<HH", packed, 0x3C, 0, 0)  # none of them, and none that names them
    return bytes(packed)


def _segment(elf: bytes, at: int) -> _Segment:
    kind, _, start, _, _, size_bytes, _, alignment = struct.unpack_from("<IIQQQQQQ", elf, at)
    return _Segment(at, kind, start, size_bytes, max(1, alignment))


def _merged(ranges: list[tuple[int, int]]) -> Iterator[tuple[int, int]]:
    """Yield ranges that cover the same places, in order, and do not touch each other."""
    first, last = None, 0
    for start, end in sorted(ranges):
        if first is None:
            first, last = start, end
        elif start > last:
            yield first, last
            first, last = start, end
        else:
            last = max(last, end)
    if first is not None:
        yield first, last


def slim(folder: Path) -> None:
    """Take what is superfluous out of a virtual environment."""
    for program in sorted((folder / "bin").iterdir()):
        if not program.name.startswith(PROGRAMS):
            _remove(program)
    for site_packages in sorted(folder.glob("lib/python3*/site-packages")):
        for path in list(superfluous(site_packages)):
            _remove(path)
        for path in sorted(site_packages.rglob("*.so*")):
            if path.is_file() and not path.is_symlink():
                content = path.read_bytes()
                smaller = mapped(content)
                if len(smaller) < len(content):
                    path.write_bytes(smaller)


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _size_bytes(folder: Path) -> int:
    return sum(
        os.lstat(os.path.join(place, name)).st_size
        for place, _, names in os.walk(folder)
        for name in names
    )


if __name__ == "__main__":
    environment = Path(sys.argv[1])
    before_bytes = _size_bytes(environment)
    slim(environment)
    after_bytes = _size_bytes(environment)
    print(f"{before_bytes / 1e6:.0f} MB, now {after_bytes / 1e6:.0f} MB")  # noqa: T201 - its answer
