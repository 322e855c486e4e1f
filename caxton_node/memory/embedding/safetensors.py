"""Reading the `safetensors` format: a JSON header and flat numbers, mapped, never executed.

Reference: the format's description at https://github.com/huggingface/safetensors.
"""

import mmap
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import msgspec
import numpy as np
import numpy.typing as npt

__all__ = ["read_safetensors"]

HEADER_BYTES_MAX: Final = 100_000_000
"""As the format itself limits it."""

_TYPES: Final = {"F32": "<f4", "F16": "<f2", "I64": "<i8", "I32": "<i4", "U8": "u1", "I8": "i1"}


def read_safetensors(path: Path) -> Mapping[str, npt.NDArray[Any]]:
    """Return the tensors of a file by name, as read-only views of the mapped file.

    Raises:
        ValueError: It is no such file, or names numbers that it does not hold.
        OSError: It cannot be read.
    """
    with path.open("rb") as file:
        mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    if len(mapped) < 8:
        raise ValueError(f"{path} is too short for a safetensors file")
    (header_bytes,) = struct.unpack("<Q", mapped[:8])
    if header_bytes > min(HEADER_BYTES_MAX, len(mapped) - 8):
        raise ValueError(f"{path} is no safetensors file: its header is longer than the file")
    header = msgspec.json.decode(mapped[8 : 8 + header_bytes])
    start = 8 + header_bytes
    found: dict[str, npt.NDArray[Any]] = {}
    for name, entry in header.items():
        if name == "__metadata__":
            continue
        kind = _TYPES.get(entry["dtype"])
        if kind is None:
            raise ValueError(f"{path}: {name} is of type {entry['dtype']}, which is not supported")
        begin, end = entry["data_offsets"]
        if not 0 <= begin <= end <= len(mapped) - start:
            raise ValueError(f"{path}: {name} lies outside of the file")
        count = (end - begin) // np.dtype(kind).itemsize
        values = np.frombuffer(mapped, dtype=kind, count=count, offset=start + begin)
        found[name] = values.reshape(entry["shape"])
    return found
