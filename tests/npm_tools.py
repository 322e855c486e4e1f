"""Tools from npm that some tests run: installed once, on demand, each in a folder of its own.

Pinned by the caller, kept below `build/npm`, and shared by every pytest-xdist worker: a file
lock makes one worker install while the others wait. A machine without Node.js, or without a
registry, skips the test and says why.
"""

import fcntl
import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import pytest

__all__ = ["npm_tool"]

INSTALL_TIMEOUT_S: Final = 45.0
"""For one installation. A test has 60 s in all."""

_LOCK_POLL_S: Final = 0.1
_TOOLS: Final = Path(__file__).resolve().parents[1] / "build" / "npm"


def npm_tool(package: str, version: str, binary: str) -> Path:
    """Return the path of `binary` from `package` at exactly `version`, installed if need be.

    Skips the calling test when Node.js or npm is absent, or when the package cannot be had.
    """
    if shutil.which("node") is None or shutil.which("npm") is None:
        pytest.skip(f"{package} needs Node.js and npm, which are not installed")
    name = f"{package.removeprefix('@').replace('/', '-')}-{version}"
    folder = _TOOLS / name
    path = folder / "node_modules" / ".bin" / binary
    _TOOLS.mkdir(parents=True, exist_ok=True)
    with _locked(_TOOLS / f"{name}.lock", timeout_s=INSTALL_TIMEOUT_S + 5):
        if not (folder / ".complete").exists():
            _install(folder, f"{package}@{version}")
            (folder / ".complete").touch()
    assert path.exists(), f"{package}@{version} has no program {binary!r}"
    return path


def _install(folder: Path, wanted: str) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    try:
        outcome = subprocess.run(
            ["npm", "install", "--prefix", str(folder), "--no-audit", "--no-fund", wanted],
            capture_output=True,
            text=True,
            timeout=INSTALL_TIMEOUT_S,
            check=False,
        )
    except subprocess.TimeoutExpired:
        pytest.skip(f"npm did not install {wanted} within {INSTALL_TIMEOUT_S:.0f} s")
    if outcome.returncode != 0:
        last = (outcome.stderr.strip().splitlines() or ["npm said nothing"])[-1]
        pytest.skip(f"npm cannot install {wanted}: {last}")


@contextmanager
def _locked(path: Path, *, timeout_s: float) -> Iterator[None]:
    """Hold an exclusive lock on `path`; skip the test when another worker keeps it too long."""
    deadline = time.monotonic() + timeout_s
    descriptor = os.open(path, os.O_CREAT | os.O_RDWR, 0o644)
    try:
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > deadline:
                    pytest.skip(f"another worker still installs {path.stem}")
                time.sleep(_LOCK_POLL_S)
        yield
    finally:
        os.close(descriptor)
