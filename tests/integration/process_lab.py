"""A cluster of processes on loopback, for tests that kill, stop and restart them."""

import asyncio
from contextlib import AsyncExitStack, asynccontextmanager

import aiohttp

from tests.node_process import node_process

DEADLINE_S = 25.0
ENVIRONMENT = {
    "CAXTON_CLUSTER__PRESET": "fast",
    "CAXTON_PYTHON__ALLOW": "tests.*",
    "CAXTON_MEMORY__ENABLED": "false",
    "CAXTON_LIMITS__DRAIN_TIMEOUT": "8s",
}


async def until(condition, timeout_s=DEADLINE_S):
    """Return what a condition finds, once it finds something."""
    async with asyncio.timeout(timeout_s):
        while not (found := await condition()):
            await asyncio.sleep(0.05)
    return found


class Lab:
    """A cluster of processes on loopback, and a client for it."""

    def __init__(self, folder, stack, session):
        self.folder = folder
        self.stack = stack
        self.session = session
        self.nodes = {}
        self.addresses = []

    async def start(self, name):
        folder = self.folder / name
        folder.mkdir(exist_ok=True)
        joins = ("--peers", ",".join(self.addresses)) if self.addresses else ()
        options = ("--name", name, "--gossip", "127.0.0.1:0", "--grpc", "127.0.0.1:0", *joins)
        node = await self.stack.enter_async_context(node_process(folder, *options, **ENVIRONMENT))
        self.nodes[name] = node
        self.addresses.append((await self.get(name, "cluster/status"))["address"])
        return node

    async def get(self, name, path):
        async with self.session.get(f"{self.nodes[name].url}/api/v1/{path}") as response:
            assert response.status == 200, await response.text()
            return await response.json()

    async def post(self, name, path, body=None, status=(200, 201, 202)):
        address = f"{self.nodes[name].url}/api/v1/{path}"
        async with self.session.post(address, json=body) as response:
            document = await response.json() if response.content_length else None
            assert response.status in status, document
            return document

    async def deploy(self, name, source):
        return await self.post(name, "agents", {"source": source, "format": "toml"})

    async def is_whole(self, *names):
        for name in names:
            document = await self.get(name, "cluster")
            seen = {one["name"] for one in document["nodes"] if one["is_linked"] and one["mode"]}
            partition = document["partition"]
            is_complete = partition["is_writable"] and partition["expected"] >= len(names)
            if seen != set(names) or not is_complete:
                return False
        return True

    async def homes(self, name, agent):
        document = await self.get(name, "cluster/agents")
        return [one["node"] for one in document["items"] if one["name"] == agent]

    async def only_home(self, name, agent):
        homes = await self.homes(name, agent)
        return homes[0] if len(homes) == 1 else None

    async def has_homes(self, name, agent, count):
        return len(await self.homes(name, agent)) == count

    async def runs_at(self, agent, *names, seen_by):
        async def is_so():
            found = [await self.homes(name, agent) for name in seen_by]
            return all(homes == sorted(names) for homes in found)

        await until(is_so)


@asynccontextmanager
async def cluster(tmp_path, *names):
    async with AsyncExitStack() as stack:
        timeout = aiohttp.ClientTimeout(total=30)
        session = await stack.enter_async_context(aiohttp.ClientSession(timeout=timeout))
        lab = Lab(tmp_path, stack, session)
        for name in names:
            await lab.start(name)
        await until(lambda: lab.is_whole(*names))
        yield lab
