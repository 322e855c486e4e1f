"""Compiled guests, by what they were compiled from: made in a child process, kept across restarts.

Compiled code is native code. It is never taken from outside: a file in the cache has a name that
only who holds the node's key can compute, of the source's digest and all that the code depends on.
The folder belongs to the node alone.

Blocking parts run in threads. One guest is compiled once, however many ask for it.
"""

import asyncio
import hashlib
import hmac
import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import msgspec

from caxton_node.wasm.cache_room import make_room
from caxton_node.wasm.errors import UnfitModule

__all__ = ["Compiled", "Compiler"]

COMPILE_S_MAX: Final = 120.0
"""For one guest, waiting for a processor included."""

COMPILED_AT_ONCE_MAX: Final = 2

REPORT_BYTES_MAX: Final = 4_000_000

KEY_BYTES: Final = 32


@dataclass(frozen=True, slots=True, kw_only=True)
class Compiled:
    """A guest that can be loaded."""

    file: Path
    """Native code for this machine."""
    imports: Any
    """As `compile_child` reports them."""
    exports: Any


class Compiler:
    """Compiles guests and keeps what comes of it.

    Args:
        folder: For the cache and its key; made if it is not there.
        fingerprints: What compiled code depends on besides its source: plain and metered.
    """

    def __init__(self, folder: Path, fingerprints: tuple[str, str]) -> None:
        self._folder = folder
        self._fingerprints = fingerprints
        self._key: bytes | None = None
        self._gate = asyncio.Semaphore(COMPILED_AT_ONCE_MAX)
        self._under_way: dict[Path, asyncio.Lock] = {}
        self._in_use: set[str] = set()
        """Names of what was asked for in this life of the process: workers load it again."""

    async def compile(self, source: Path, digest: str, *, is_metered: bool) -> Compiled:
        """Return the compiled form of a guest, from the cache or made anew.

        Args:
            source: The file, whose digest was checked.
            digest: SHA-256 of the file, hexadecimal.
            is_metered: Whether it counts instructions.

        Raises:
            UnfitModule: `invalid`, `too_costly`.
        """
        target = self._folder / await asyncio.to_thread(self._name, digest, is_metered)
        self._in_use.add(target.name)
        lock = self._under_way.setdefault(target, asyncio.Lock())
        async with lock, self._gate:
            report = target.with_suffix(".json")
            try:
                if target.is_file():
                    os.utime(target)
                    return _read(target, report)
            except (OSError, msgspec.DecodeError, KeyError):
                target.unlink(missing_ok=True)
            await self._run(source, target, is_metered=is_metered)
            return _read(target, report)

    def _name(self, digest: str, is_metered: bool) -> str:
        if self._key is None:
            self._key = _key(self._folder)
        message = f"{digest}\n{self._fingerprints[is_metered]}".encode()
        return hmac.new(self._key, message, hashlib.sha256).hexdigest() + ".cwasm"

    async def _run(self, source: Path, target: Path, *, is_metered: bool) -> None:
        partial = target.with_suffix(f".{os.getpid()}.partial")
        child = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "caxton_node.wasm.compile_child",
            str(source),
            str(partial),
            "metered" if is_metered else "plain",
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
            env=child_environment(),
            limit=REPORT_BYTES_MAX,
        )
        try:
            async with asyncio.timeout(COMPILE_S_MAX):
                written, _ = await child.communicate()
        except TimeoutError:
            raise UnfitModule(
                "too_costly", f"it was not compiled within {COMPILE_S_MAX:g} s"
            ) from None
        finally:
            if child.returncode is None:
                child.kill()
                await child.wait()
        try:
            if child.returncode != 0:
                raise UnfitModule(
                    "too_costly",
                    "compiling it took more than a guest is given, or broke the compiler",
                )
            answer = msgspec.json.decode(written)
            if "error" in answer:
                raise UnfitModule(answer["error"]["rule"], answer["error"]["detail"])
            await asyncio.to_thread(_keep, partial, target, msgspec.json.encode(answer["ok"]))
            await asyncio.to_thread(make_room, self._folder, in_use=frozenset(self._in_use))
        finally:
            partial.unlink(missing_ok=True)


def _keep(partial: Path, target: Path, report: bytes) -> None:
    target.with_suffix(".json").write_bytes(report)
    partial.replace(target)


def child_environment() -> Mapping[str, str]:
    """Return the environment of a child: none of the node's secrets are in it."""
    kept = ("PATH", "PYTHONPATH", "LANG", "LC_ALL", "TMPDIR", "HOME")
    return {name: os.environ[name] for name in kept if name in os.environ}


def _read(target: Path, report: Path) -> Compiled:
    document = msgspec.json.decode(report.read_bytes())
    return Compiled(file=target, imports=document["imports"], exports=document["exports"])


def _key(folder: Path) -> bytes:
    """Return the key of the cache; make it, and a folder for nobody else, the first time."""
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    folder.chmod(0o700)
    file = folder / "key"
    try:
        with os.fdopen(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as new:
            new.write(os.urandom(KEY_BYTES))
    except FileExistsError:
        pass
    key = file.read_bytes()
    if len(key) != KEY_BYTES:
        # Half of one, from a crash: all that was compiled is compiled again.
        file.unlink()
        return _key(folder)
    return key
