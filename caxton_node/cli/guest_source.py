"""Reads a WebAssembly file and its manifest; puts the file's digest where the manifest names it.

The server knows a guest's file by its digest alone. A manifest on this side may name a path
instead: `module = "counter.wasm"` becomes `sha256 = "…"` on the same line, so that the server's
errors still name the right lines.
"""

import hashlib
import re
import stat
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from caxton_node.cli.client import Client, path_of
from caxton_node.domain.errors import NotFound, Rejected

__all__ = ["GuestSource", "read_guest", "send_module"]

MODULE_BYTES_MAX: Final = 64 << 20

_MODULE_LINE: Final = re.compile(r"^(\s*)module(\s*)=.*$", re.MULTILINE)
_WASM_TABLE: Final = re.compile(r"^\s*\[\s*wasm\s*\][ \t]*(?:#.*)?$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class GuestSource:
    """A guest that can be sent to a server."""

    manifest: str
    """Text, with the digest in it."""
    file: str
    """What errors call the manifest."""
    module: bytes | None
    """None when the manifest pins a digest and names no file: the server has it."""
    digest: str


def read_guest(file: str, manifest: str | None = None) -> GuestSource | None:
    """Read a guest.

    Args:
        file: A `.wasm` file, or a manifest that names one.
        manifest: Of a `.wasm` file; beside it under its name, when None.

    Returns:
        None when `file` is a definition that is no guest's.

    Raises:
        Rejected: `invalid_module`: a file is not there, or the two do not fit.
    """
    path = Path(file)
    if path.suffix.lower() == ".wasm":
        manifest_path = Path(manifest) if manifest is not None else path.with_suffix(".toml")
        if manifest is None and not manifest_path.exists():
            module = _read_file(path)
            return GuestSource("", file, module, hashlib.sha256(module).hexdigest())
        text, table = _read_manifest(manifest_path)
        return _joined(text, table, str(manifest_path), _read_file(path))
    if path.suffix.lower() != ".toml" or not path.is_file():
        # What is wrong with it, whoever reads agents' files says.
        return None
    text, table = _read_manifest(path)
    wasm = table.get("wasm")
    if not isinstance(wasm, dict):
        return None
    named = wasm.get("module")
    if isinstance(named, str):
        return _joined(text, table, file, _read_file(path.parent / named))
    digest = wasm.get("sha256")
    return GuestSource(text, file, None, digest) if isinstance(digest, str) else None


def _read_manifest(path: Path) -> tuple[str, dict[str, Any]]:
    try:
        text = path.read_bytes().decode("utf-8", "replace")
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise _refused(f"the manifest {path} cannot be read: {reason}") from None
    try:
        return text, tomllib.loads(text)
    except tomllib.TOMLDecodeError:
        # The server says where, as for every definition.
        return text, {}


def _read_file(path: Path) -> bytes:
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            raise _refused(f"{path} is no file")
        if path.stat().st_size > MODULE_BYTES_MAX:
            raise _refused(f"{path} exceeds {MODULE_BYTES_MAX:,} bytes")
        return path.read_bytes()
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise _refused(f"{path} cannot be read: {reason}") from None


def _joined(text: str, table: dict[str, Any], file: str, module: bytes) -> GuestSource:
    digest = hashlib.sha256(module).hexdigest()
    wasm = table.get("wasm")
    pinned = wasm.get("sha256") if isinstance(wasm, dict) else None
    if isinstance(pinned, str):
        if pinned.lower() != digest:
            raise _refused(
                f"the file has the digest {digest}, and {file} pins {pinned}",
                hint="Somebody exchanged the file, or the manifest is of another build.",
            )
        return GuestSource(text, file, module, digest)
    return GuestSource(with_digest(text, digest), file, module, digest)


def with_digest(text: str, digest: str) -> str:
    """Return a manifest with a digest in its table `wasm`."""
    line = f'sha256 = "{digest}"'
    table = _WASM_TABLE.search(text)
    if table is None:
        return text + ("" if text.endswith("\n") or not text else "\n") + f"\n[wasm]\n{line}\n"
    rest = text[table.end() :]
    following = re.search(r"^\s*\[", rest, re.MULTILINE)
    end = following.start() if following else len(rest)
    named = _MODULE_LINE.search(rest, 0, end)
    if named is None:
        return text[: table.end()] + f"\n{line}" + rest
    return text[: table.end()] + rest[: named.start()] + named[1] + line + rest[named.end() :]


def send_module(client: Client, guest: GuestSource) -> None:
    """Send a guest's file to the server, unless it is there.

    Raises:
        CaxtonError: The server does not take it.
    """
    if guest.module is None:
        return
    try:
        client.get(path_of("modules", guest.digest))
    except NotFound:
        client.send_file(path_of("modules"), guest.module)


def _refused(detail: str, *, hint: str | None = None) -> Rejected:
    return Rejected("invalid_module", detail, hint=hint)
