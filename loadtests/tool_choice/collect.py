"""Ask real third-party MCP servers which tools they offer, and keep their lists for the evaluation.

A choice of tools measured only on our own tools proves little: their texts and the code that
reads them have one author. The reference servers of the Model Context Protocol were written by
others. Their texts belong to their authors, so they are not in this repository: this command
installs pinned versions below `build/`, runs each over stdio and writes what it lists to
`build/tool_choice/toolsets/<server>.json`, and all of them together to `all-third-party.json`.

It calls no tool and fetches nothing but the packages, and not even these a second time. Where npm
or a registry cannot be reached it says `skipped: <reason>` and ends with success, so that the rest
of the evaluation runs without a network. A server that is installed but does not answer, or
answers what is no tool list, is a failure.

Run: `python -m loadtests.tool_choice.collect`

Reference: Model Context Protocol 2025-06-18, "Lifecycle", "Transports: stdio" and "Tools".
"""

import asyncio
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

__all__ = [
    "MERGED",
    "SERVERS",
    "BadAnswer",
    "NpmServer",
    "PythonServer",
    "Skipped",
    "merged",
    "tool_record",
]

ROOT: Final = Path(__file__).resolve().parents[2]
NPM: Final = ROOT / "build" / "npm"
VENV: Final = ROOT / "build" / "mcp-servers"
TOOLSETS: Final = ROOT / "build" / "tool_choice" / "toolsets"
MERGED: Final = "all-third-party"

INSTALL_TIMEOUT_S: Final = 300.0
LISTING_TIMEOUT_S: Final = 30.0
STOP_TIMEOUT_S: Final = 5.0
LINE_SIZE_MAX_BYTES: Final = 4 * 1024 * 1024
PAGE_COUNT_MAX: Final = 20
"""Pages of one `tools/list`; a server that gives more is going round in a circle."""
ASIDE_COUNT_MAX: Final = 100
"""Lines that are not the answer (notifications, log lines) before the answer must have come."""

PROTOCOL_VERSION: Final = "2025-06-18"


class Skipped(Exception):
    """The packages cannot be had on this machine; nobody's mistake."""


class BadAnswer(Exception):
    """A server ran and did not do what the protocol says."""


@dataclass(frozen=True, slots=True)
class NpmServer:
    """A server from the npm registry."""

    package: str
    version: str
    arguments: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """The package's name without its scope; names the toolset."""
        return self.package.rpartition("/")[2]

    @property
    def is_installed(self) -> bool:
        """Whether exactly the pinned version lies below `build/npm`."""
        manifest = NPM / "node_modules" / self.package / "package.json"
        return manifest.is_file() and json.loads(manifest.read_text())["version"] == self.version

    @property
    def command(self) -> tuple[str, ...]:
        """What to run."""
        name = self.package.rpartition("/")[2]
        return (str(NPM / "node_modules" / ".bin" / f"mcp-{name}"), *self.arguments)


@dataclass(frozen=True, slots=True)
class PythonServer:
    """A server from the Python package index."""

    package: str
    version: str
    arguments: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """The package's name; names the toolset."""
        return self.package

    @property
    def is_installed(self) -> bool:
        """Whether exactly the pinned version lies in the environment below `build`."""
        metadata = f"{self.package.replace('-', '_')}-{self.version}.dist-info"
        return any(VENV.glob(f"lib/python*/site-packages/{metadata}"))

    @property
    def command(self) -> tuple[str, ...]:
        """What to run."""
        return (str(VENV / "bin" / self.package), *self.arguments)


Server = NpmServer | PythonServer

SERVERS: Final[tuple[Server, ...]] = (
    NpmServer("@modelcontextprotocol/server-everything", "2026.8.31", ("stdio",)),
    # It insists on a directory it may read; it is started in an empty one of its own.
    NpmServer("@modelcontextprotocol/server-filesystem", "2026.8.31", (".",)),
    NpmServer("@modelcontextprotocol/server-memory", "2026.8.31"),
    NpmServer("@modelcontextprotocol/server-sequential-thinking", "2026.8.31"),
    # It writes the machine's time zone into its texts; with one given they are the same everywhere.
    PythonServer("mcp-server-time", "2026.10.19", ("--local-timezone", "UTC")),
    PythonServer("mcp-server-fetch", "2026.10.24"),
    PythonServer("mcp-server-git", "2026.10.19"),
)


def tool_record(tool: dict[str, Any]) -> dict[str, Any]:
    """Return what the evaluation keeps of one tool.

    Args:
        tool: An entry of a `tools/list` result.

    Raises:
        BadAnswer: It has no name or no input schema.
    """
    match tool:
        case {"name": str(name), "inputSchema": dict(parameters)}:
            hints = tool.get("annotations") or {}
            return {
                "name": name,
                "description": tool.get("description") or "",
                "parameters": parameters,
                # The protocol presumes an unannotated tool destructive; here the file says only
                # what a server declared, and the reader of the file decides what to presume.
                "read_only": hints.get("readOnlyHint") is True,
                "destructive": hints.get("destructiveHint") is True,
            }
        case _:
            raise BadAnswer(f"no tool has this form: {json.dumps(tool)[:200]}")


def merged(toolsets: Iterable[Sequence[dict[str, Any]]]) -> list[dict[str, Any]]:
    """Return all tools in order; of two with one name the first stays."""
    tools: dict[str, dict[str, Any]] = {}
    for toolset in toolsets:
        for tool in toolset:
            tools.setdefault(tool["name"], tool)
    return list(tools.values())


def install(servers: Sequence[Server]) -> None:
    """Install those servers that are not there yet.

    Raises:
        Skipped: npm is absent, or a registry did not answer as it should or in time.
    """
    missing = [server for server in servers if not server.is_installed]
    npm = [f"{s.package}@{s.version}" for s in missing if isinstance(s, NpmServer)]
    pypi = [f"{s.package}=={s.version}" for s in missing if isinstance(s, PythonServer)]
    if (npm and shutil.which("npm") is None) or shutil.which("node") is None:
        raise Skipped("npm and node are not on the PATH")
    if npm:
        NPM.mkdir(parents=True, exist_ok=True)
        quiet = ("--ignore-scripts", "--no-audit", "--no-fund", "--no-update-notifier")
        _run("npm", "install", "--prefix", str(NPM), *quiet, "--fetch-retries=1", *npm)
    if pypi:
        if not (VENV / "bin" / "pip").exists():
            _run(sys.executable, "-m", "venv", str(VENV))
        quiet = ("--quiet", "--disable-pip-version-check", "--no-input", "--retries=1")
        _run(str(VENV / "bin" / "pip"), "install", *quiet, *pypi)


def _run(*command: str) -> None:
    program = Path(command[0]).name
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=INSTALL_TIMEOUT_S, check=False
        )
    except subprocess.TimeoutExpired as late:
        raise Skipped(f"{program} did not finish in {INSTALL_TIMEOUT_S:.0f} s") from late
    if done.returncode != 0:
        errors = [line for line in done.stderr.splitlines() if "error" in line.lower()]
        raise Skipped("\n".join([f"{program} ended with {done.returncode}", *errors[:3]]))


class Session:
    """One conversation with a server over its standard streams, a request at a time."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        assert process.stdin is not None, "it is a pipe"
        assert process.stdout is not None, "it is a pipe"
        self._to_server = process.stdin
        self._from_server = process.stdout
        self._request_count = 0

    async def request(self, method: str, params: dict[str, Any]) -> dict[str, Any]:
        """Return the result of one request.

        Raises:
            BadAnswer: The server closed the stream, sent an error, or talked of other things.
        """
        self._request_count += 1
        await self._send({"id": self._request_count, "method": method, "params": params})
        for _ in range(ASIDE_COUNT_MAX):
            try:
                line = await self._from_server.readline()
            except ValueError as too_long:
                limit = f"a line of more than {LINE_SIZE_MAX_BYTES} bytes"
                raise BadAnswer(f"{method}: {limit}") from too_long
            if not line:
                raise BadAnswer(f"{method}: the server closed its output")
            match _parsed(line):
                case {"id": self._request_count, "result": dict(result)}:
                    return result
                case {"id": self._request_count, "error": error}:
                    raise BadAnswer(f"{method}: {json.dumps(error)[:400]}")
                case _:
                    continue
        raise BadAnswer(f"{method}: {ASIDE_COUNT_MAX} lines and no answer among them")

    async def notify(self, method: str) -> None:
        """Tell the server something that has no answer."""
        await self._send({"method": method})

    async def _send(self, message: dict[str, Any]) -> None:
        self._to_server.write(json.dumps({"jsonrpc": "2.0", **message}).encode() + b"\n")
        await self._to_server.drain()


def _parsed(line: bytes) -> Any:
    # The protocol forbids log lines on standard output; servers write them all the same.
    try:
        return json.loads(line)
    except ValueError:
        return None


@asynccontextmanager
async def running(server: Server, directory: Path) -> AsyncIterator[Session]:
    """Run a server in a directory of its own, with nothing of our environment but the PATH."""
    process = await asyncio.create_subprocess_exec(
        *server.command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        cwd=directory,
        env={
            "PATH": os.environ.get("PATH", os.defpath),
            "HOME": str(directory),
            "MEMORY_FILE_PATH": str(directory / "memory.jsonl"),
        },
        limit=LINE_SIZE_MAX_BYTES,
    )
    try:
        yield Session(process)
    finally:
        assert process.stdin is not None, "it is a pipe"
        process.stdin.close()
        try:
            async with asyncio.timeout(STOP_TIMEOUT_S):
                await process.wait()
        except TimeoutError:
            process.kill()
            await process.wait()


async def list_tools(session: Session) -> list[dict[str, Any]]:
    """Introduce ourselves as a client without abilities, and return what the server offers.

    Raises:
        BadAnswer: What came back is no tool list.
    """
    client = {"name": "caxton-tool-choice", "version": "1"}
    offer = {"protocolVersion": PROTOCOL_VERSION, "capabilities": {}, "clientInfo": client}
    await session.request("initialize", offer)
    await session.notify("notifications/initialized")
    tools: list[dict[str, Any]] = []
    page: dict[str, Any] = {}
    for _ in range(PAGE_COUNT_MAX):
        result = await session.request("tools/list", page)
        match result:
            case {"tools": [_, *_] as listed}:
                tools += [tool_record(tool) for tool in listed]
            case _:
                raise BadAnswer(f"tools/list: no tools in {json.dumps(result)[:200]}")
        if not (cursor := result.get("nextCursor")):
            return tools
        page = {"cursor": cursor}
    raise BadAnswer(f"tools/list: more than {PAGE_COUNT_MAX} pages")


async def collect(server: Server) -> list[dict[str, Any]]:
    """Return the tools of an installed server, in the server's order.

    Raises:
        BadAnswer: It did not start, did not answer in time, or answered something else.
    """
    with tempfile.TemporaryDirectory(prefix="caxton-") as directory:
        try:
            async with asyncio.timeout(LISTING_TIMEOUT_S), running(server, Path(directory)) as it:
                return await list_tools(it)
        except TimeoutError as late:
            raise BadAnswer(f"{server.name}: silent for {LISTING_TIMEOUT_S:.0f} s") from late
        except OSError as broken:
            raise BadAnswer(f"{server.name}: {broken}") from broken
        except BadAnswer as bad:
            raise BadAnswer(f"{server.name}: {bad}") from bad


def _write(name: str, tools: list[dict[str, Any]]) -> None:
    TOOLSETS.mkdir(parents=True, exist_ok=True)
    path = TOOLSETS / f"{name}.json"
    path.write_text(json.dumps(tools, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    print(f"{path.relative_to(ROOT)}: {len(tools)} tools")


def main() -> int:
    """Install, ask and write; return the exit code."""
    try:
        install(SERVERS)
    except Skipped as reason:
        print(f"skipped: {reason}")
        return 0
    try:
        toolsets = {server.name: asyncio.run(collect(server)) for server in SERVERS}
    except BadAnswer as bad:
        print(bad, file=sys.stderr)
        return 1
    for name, tools in toolsets.items():
        _write(name, tools)
    _write(MERGED, merged(toolsets.values()))
    return 0


if __name__ == "__main__":
    sys.exit(main())
