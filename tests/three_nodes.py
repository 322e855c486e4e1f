"""Three nodes that are processes on loopback, for tests of what crosses nodes."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp

from tests.node_process import NodeProcess, node_process

DEADLINE_S = 30.0
NAMES = ("node-1", "node-2", "node-3")


@dataclass
class ThreeNodes:
    """The nodes by name, and a client."""

    nodes: dict[str, NodeProcess]
    session: aiohttp.ClientSession

    async def get(self, name: str, path: str, **more: Any) -> Any:
        address = f"{self.nodes[name].url}/api/v1/{path}"
        async with self.session.get(address, **more) as response:
            assert response.status == 200, await response.text()
            return await response.json()

    async def post(self, name: str, path: str, body: Any, **more: Any) -> Any:
        address = f"{self.nodes[name].url}/api/v1/{path}"
        async with self.session.post(address, json=body, **more) as response:
            assert response.status < 300, await response.text()
            return await response.json()

    async def text(self, name: str, path: str, **headers: str) -> str:
        """Return what stands at an address outside of the API."""
        async with self.session.get(f"{self.nodes[name].url}{path}", headers=headers) as response:
            assert response.status == 200, await response.text()
            return await response.text()

    async def deploy(self, name: str, source: str) -> None:
        await self.post(name, "agents", {"source": source, "format": "toml"})

    async def everybody_knows(self, agent: str) -> None:
        """Wait until an agent can be reached from every node."""
        async with asyncio.timeout(DEADLINE_S):
            for name in self.nodes:
                while True:
                    agents = (await self.get(name, "agents"))["items"]
                    if agent in {one["name"] for one in agents}:
                        break
                    await asyncio.sleep(0.05)


@asynccontextmanager
async def three_nodes(folder: Path, **environment: str) -> AsyncIterator[ThreeNodes]:
    """Start a cluster of three and wait until each sees all."""
    shared = {
        "CAXTON_CLUSTER__PRESET": "fast",
        "CAXTON_CLUSTER__EXPECT": "3",
        "CAXTON_MEMORY__MODEL": "none",
        "CAXTON_PYTHON__ALLOW": "tests.*",
        "CAXTON_LOG__FORMAT": "json",
    }
    async with aiohttp.ClientSession() as session, AsyncExitStack() as stack:
        cluster = ThreeNodes({}, session)
        peers: list[str] = []
        for name in NAMES:
            (folder / name).mkdir()
            options = ["--name", name, "--gossip", "127.0.0.1:0"]
            if peers:
                options += ["--peers", ",".join(peers)]
            process = node_process(folder / name, *options, **shared, **environment)
            cluster.nodes[name] = await stack.enter_async_context(process)
            peers.append((await cluster.get(name, "cluster/status"))["address"])
        async with asyncio.timeout(DEADLINE_S):
            for name in NAMES:
                while (await cluster.get(name, "cluster/status"))["partition"]["alive"] < 3:
                    await asyncio.sleep(0.05)
        yield cluster
