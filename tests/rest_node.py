"""A node with its REST edge on a real port of loopback, for tests."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp

from caxton_node.api.listener import CONNECTION_COUNT_MAX, open_http
from caxton_node.api.server import build_application, build_edge
from caxton_node.runtime.node import Node
from tests.opened_node import opened_node

BODY_BYTES_MAX = 2_000_000


@dataclass
class Rest:
    """A node, its address, and a client."""

    node: Node
    url: str
    session: aiohttp.ClientSession

    async def call(
        self, method: str, path: str, body: Any = None, *, status: int | None = None, **more: Any
    ) -> Any:
        """Call an address and return the JSON of its answer; None where there is none.

        `status` is what the answer must have. Paths without a leading `/` are below the API.
        """
        if body is not None:
            more["json"] = body
        async with self.session.request(method, self.address(path), **more) as response:
            text = await response.text()
            if status is not None:
                assert response.status == status, (response.status, text)
            return json.loads(text) if text else None

    async def get(self, path: str, *, status: int = 200, **more: Any) -> Any:
        return await self.call("GET", path, status=status, **more)

    async def post(self, path: str, body: Any = None, *, status: int = 200, **more: Any) -> Any:
        return await self.call("POST", path, body, status=status, **more)

    def address(self, path: str) -> str:
        return f"{self.url}{path if path.startswith('/') else f'/api/v1/{path}'}"

    async def deploy(self, source: str, **more: Any) -> Any:
        """Deploy a TOML definition and return what came of it."""
        async with self.session.post(
            self.address("agents"), json={"source": source, "format": "toml"}, **more
        ) as response:
            body = await response.json()
            assert response.status in (200, 201), body
            return body


@asynccontextmanager
async def rest_node(
    folder: Path, *, heartbeat_s: float = 15.0, **flags: Any
) -> AsyncIterator[Rest]:
    """Open a node and serve it."""
    async with opened_node(folder, **flags) as node, served(node, heartbeat_s) as rest:
        yield rest


@asynccontextmanager
async def served(
    node: Node, heartbeat_s: float = 15.0, connection_count_max: int = CONNECTION_COUNT_MAX
) -> AsyncIterator[Rest]:
    """Serve a node that is open."""
    edge = build_edge(node, heartbeat_s=heartbeat_s)
    application = build_application(node, edge, body_bytes_max=BODY_BYTES_MAX)
    async with (
        open_http(
            application, edge, ("127.0.0.1", 0), connection_count_max=connection_count_max
        ) as (host, port),
        aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=20)) as session,
    ):
        yield Rest(node, f"http://{host}:{port}", session)


async def read_events(response: aiohttp.ClientResponse) -> AsyncIterator[tuple[str, Any]]:
    """Yield (name, data) of each server-sent event; a comment is (``, text)."""
    name, data = "", ""
    async for raw in response.content:
        line = raw.decode().rstrip("\n")
        if line.startswith(":"):
            yield "", line[1:].strip()
        elif line.startswith("event: "):
            name = line.removeprefix("event: ")
        elif line.startswith("data: "):
            data = line.removeprefix("data: ")
        elif not line and name:
            yield name, json.loads(data)
            name, data = "", ""
