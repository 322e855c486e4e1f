"""A real `caxton-node` process on loopback, for tests."""

import asyncio
import os
import re
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

ROOT = Path(__file__).parent.parent
START_TIMEOUT_S = 20.0
STOP_TIMEOUT_S = 20.0


class NodeProcess:
    """A running node: its URL, where its gRPC is, and ways to end it."""

    def __init__(self, process: asyncio.subprocess.Process, url: str, log: Path) -> None:
        self.process = process
        self.url = url
        self.log = log

    @property
    def grpc(self) -> str:
        """Where clients call, as the last start of the node told the log."""
        return re.findall(r"gRPC listens at (\S+),", self.log.read_text())[-1]

    async def kill(self) -> None:
        """End it at once, as a power failure would."""
        self.process.send_signal(signal.SIGKILL)
        async with asyncio.timeout(STOP_TIMEOUT_S):
            await self.process.wait()

    async def stop(self) -> int:
        """Ask it to stop and return its exit code."""
        self.process.send_signal(signal.SIGTERM)
        async with asyncio.timeout(STOP_TIMEOUT_S):
            return await self.process.wait()


@asynccontextmanager
async def node_process(
    folder: Path, *options: str, **environment: str
) -> AsyncIterator[NodeProcess]:
    """Start a node with its data in `folder`; it is stopped at the end if it still runs."""
    log = (folder / "node.log").open("ab")
    process = await asyncio.create_subprocess_exec(
        str(Path(sys.executable).with_name("caxton-node")),
        *("--data-dir", str(folder / "data"), "--http", "127.0.0.1:0", "--grpc", "127.0.0.1:0"),
        *options,
        stdout=asyncio.subprocess.PIPE,
        stderr=log,
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(ROOT)} | environment,
    )
    assert process.stdout is not None
    try:
        async with asyncio.timeout(START_TIMEOUT_S):
            line = (await process.stdout.readline()).decode()
        assert " ready at " in line, (folder / "node.log").read_text()
        node = NodeProcess(process, line.rsplit(" ", 1)[1].strip(), folder / "node.log")
        yield node
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
        log.close()
