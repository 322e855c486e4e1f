"""The files of guests, by what is in them. Blocking: call it in a thread.

A file's name is its digest, and what is read was checked against it: a file that rotted or was
exchanged is not there.
"""

import hashlib
import os
import re
from pathlib import Path
from typing import Final

from caxton_node.wasm.binary import SIZE_BYTES_MAX
from caxton_node.wasm.errors import UnfitModule

__all__ = ["ModuleStore"]

_DIGEST: Final = re.compile(r"[0-9a-f]{64}")


class ModuleStore:
    """Files of guests in a folder.

    Args:
        folder: Made when the first one is kept.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._checked: set[str] = set()
        """Digests of files that were read and found whole in this life of the process."""

    def path(self, digest: str) -> Path:
        """Return where the file of a digest is, or would be."""
        assert _DIGEST.fullmatch(digest), "digests are checked where they are read"
        return self._folder / f"{digest}.wasm"

    def has(self, digest: str) -> bool:
        """Return whether a file is there, and whole."""
        if digest in self._checked:
            return self.path(digest).is_file()
        return self.read(digest) is not None

    def read(self, digest: str) -> bytes | None:
        """Return a file; None when it is not there or not whole."""
        path = self.path(digest)
        try:
            data = path.read_bytes()
        except FileNotFoundError:
            return None
        if hashlib.sha256(data).hexdigest() != digest:
            path.unlink(missing_ok=True)
            return None
        self._checked.add(digest)
        return data

    def put(self, data: bytes) -> str:
        """Keep a file, durably; return its digest.

        Raises:
            UnfitModule: `too_large`, `malformed`: it does not begin as WebAssembly does.
        """
        if len(data) > SIZE_BYTES_MAX:
            raise UnfitModule(
                "too_large", f"it has {len(data):,} bytes; at most {SIZE_BYTES_MAX:,}"
            )
        if data[:4] != b"\0asm":
            raise UnfitModule("malformed", "it does not begin with the four bytes of a .wasm file")
        digest = hashlib.sha256(data).hexdigest()
        if self.has(digest):
            return digest
        self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        path = self.path(digest)
        partial = path.with_suffix(f".{os.getpid()}.partial")
        try:
            with partial.open("wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            partial.replace(path)
        finally:
            partial.unlink(missing_ok=True)
        self._checked.add(digest)
        return digest

    def digests(self) -> list[str]:
        """Return the digests of all files, in order."""
        if not self._folder.is_dir():
            return []
        return sorted(
            path.stem for path in self._folder.glob("*.wasm") if _DIGEST.fullmatch(path.stem)
        )

    def delete(self, digest: str) -> None:
        """Delete a file, if it is there."""
        self._checked.discard(digest)
        self.path(digest).unlink(missing_ok=True)
