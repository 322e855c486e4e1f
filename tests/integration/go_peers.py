"""Peers in Go: programs of this folder, built when a test wants them and steered by lines."""

import asyncio
import json
import os
import shutil
import subprocess
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest

BUILD_TIMEOUT_S = 300
"""The first build reads and compiles everything that a program depends on."""

DEADLINE_S = 30.0
POLL_INTERVAL_S = 0.1


def built_program(name: str, folder: Path) -> Path:
    """Build a program into `folder`, or skip with the reason why it cannot be built."""
    go = shutil.which("go")
    if go is None:
        pytest.skip("the Go toolchain is not installed")
    program = folder / name
    try:
        subprocess.run(
            [go, "build", "-o", str(program), "."],
            cwd=Path(__file__).parent / name,
            env={**os.environ, "GOTOOLCHAIN": "local", "GOFLAGS": "-mod=readonly -buildvcs=false"},
            capture_output=True,
            text=True,
            check=True,
            timeout=BUILD_TIMEOUT_S,
        )
    except (subprocess.CalledProcessError, subprocess.TimeoutExpired) as error:
        lines = str(getattr(error, "stderr", "") or error).strip().splitlines()
        pytest.skip(f"{name} cannot be built here: {lines[-1]}")
    return program


class GoPeers:
    """The process with the Go peers."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self.addresses: list[str] = []

    async def ask(self, command: str, index: int, *arguments: str) -> Any:
        self._process.stdin.write(f"{command} {index} {' '.join(arguments)}\n".encode())
        return await self.hear()

    async def hear(self) -> Any:
        async with asyncio.timeout(DEADLINE_S):
            return json.loads(await self._process.stdout.readline())

    async def until(self, condition, command: str, index: int) -> Any:
        """Return what a command answers once `condition` likes it."""
        async with asyncio.timeout(DEADLINE_S):
            while not condition(answer := await self.ask(command, index)):
                await asyncio.sleep(POLL_INTERVAL_S)
        return answer


async def start_peers(stack: AsyncExitStack, program: Path, *flags: str) -> GoPeers:
    """Start peers that end with `stack`."""
    process = await asyncio.create_subprocess_exec(
        program, *flags, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE
    )
    stack.push_async_callback(_end, process)
    peers = GoPeers(process)
    peers.addresses = await peers.hear()
    return peers


async def _end(process: asyncio.subprocess.Process) -> None:
    process.kill()
    await process.wait()
