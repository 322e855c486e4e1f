"""Real `serf` agents on loopback ports, for as long as a test runs."""

import asyncio
import json
import shutil
import socket
from collections.abc import Callable
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

DEADLINE_S = 25.0
POLL_INTERVAL_S = 0.2

needs_serf = pytest.mark.skipif(
    shutil.which("serf") is None,
    reason="the `serf` program is not installed (Debian: apt-get install serf)",
)


def free_port() -> int:
    """Return a port that is free for UDP and TCP, as far as one can know."""
    while True:
        with socket.socket() as stream, socket.socket(type=socket.SOCK_DGRAM) as datagram:
            stream.bind(("127.0.0.1", 0))
            port = stream.getsockname()[1]
            try:
                datagram.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port


class Agent:
    """One agent process, and the command line that talks to it."""

    def __init__(self, name: str, log: Path) -> None:
        self.name = name
        self.log = log
        self.port, self.rpc_port = free_port(), free_port()
        self.process: asyncio.subprocess.Process | None = None

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    async def start(self, stack: AsyncExitStack, *arguments: str) -> None:
        with self.log.open("w") as log:
            process = await asyncio.create_subprocess_exec(
                "serf",
                "agent",
                f"-node={self.name}",
                f"-bind={self.address}",
                f"-rpc-addr=127.0.0.1:{self.rpc_port}",
                "-tag=role=go",
                "-log-level=debug",
                *arguments,
                stdout=log,
                stderr=log,
            )
        self.process = process
        stack.push_async_callback(_end, process)

    async def run(self, command: str, *arguments: str) -> str:
        process = await asyncio.create_subprocess_exec(
            "serf",
            command,
            f"-rpc-addr=127.0.0.1:{self.rpc_port}",
            *arguments,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        async with asyncio.timeout(DEADLINE_S):
            output, _ = await process.communicate()
        return output.decode()

    async def members(self) -> dict[str, dict]:
        output = await self.run("members", "-format=json")
        try:
            return {row["name"]: row for row in json.loads(output)["members"]}
        except ValueError:
            return {}  # the agent is not listening yet

    async def sees(self, name: str, status: str) -> dict:
        """Return the row of `name` once it has `status`."""
        seen: dict = {}

        async def has_status() -> bool:
            nonlocal seen
            seen = (await self.members()).get(name, {})
            return seen.get("status") == status

        await poll(has_status)
        return seen


async def _end(process: asyncio.subprocess.Process) -> None:
    if process.returncode is None:
        process.kill()
    await process.wait()


async def poll(condition: Callable) -> None:
    """Return once another process reached a state that it tells nobody about."""
    async with asyncio.timeout(DEADLINE_S):
        while not await condition():
            await asyncio.sleep(POLL_INTERVAL_S)


async def start_agents(
    stack: AsyncExitStack, folder: Path, count: int, *arguments: str
) -> list[Agent]:
    """Start a ring of agents and wait until each sees all."""
    agents = [Agent(f"go{number}", folder / f"go{number}.log") for number in range(count)]
    for agent in agents:
        joins = [] if agent is agents[0] else [f"-retry-join={agents[0].address}"]
        await agent.start(stack, "-retry-interval=1s", *joins, *arguments)
    for agent in agents:
        for other in agents:
            await agent.sees(other.name, "alive")
    return agents
