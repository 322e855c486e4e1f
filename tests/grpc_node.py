"""A node with its gRPC and REST edges on real ports of loopback, for tests."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp

from caxton import CaxtonClient
from caxton_node.api.listener import open_http
from caxton_node.api.server import build_application
from caxton_node.edges import Edges, open_edges
from caxton_node.grpc_api.server import Port, open_grpc
from caxton_node.runtime.node import Node
from tests.opened_node import opened_node
from tests.rest_node import BODY_BYTES_MAX, Rest

MESSAGE_BYTES_MAX = 4_000_000


@dataclass
class Served:
    """A node, where its edges are, and a client of each."""

    node: Node
    address: str
    client: CaxtonClient
    rest: Rest
    edges: Edges


@asynccontextmanager
async def served_node(
    node: Node, *, message_bytes_max: int = MESSAGE_BYTES_MAX, heartbeat_s: float = 15.0
) -> AsyncIterator[Served]:
    """Serve a node that is open."""
    async with (
        open_edges(node, heartbeat_s=heartbeat_s) as edges,
        open_grpc(
            [Port("127.0.0.1:0")],
            edges.services,
            message_bytes_max=message_bytes_max,
            tracing=node.tracing,
        ) as bound,
    ):
        application = build_application(node, edges.rest, body_bytes_max=BODY_BYTES_MAX)
        address = f"127.0.0.1:{bound[0][1]}"
        if node.ring is not None:
            node.ring.announce_grpc(*bound[0])
        async with (
            open_http(application, edges.rest, ("127.0.0.1", 0)) as (host, port),
            aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=20)) as session,
            CaxtonClient(address) as client,
        ):
            rest = Rest(node, f"http://{host}:{port}", session)
            yield Served(node, address, client, rest, edges)


@asynccontextmanager
async def grpc_node(folder: Path, **flags: Any) -> AsyncIterator[Served]:
    """Open a node and serve it."""
    quick = {"memory__enabled": "false"}
    async with opened_node(folder, **quick | flags) as node, served_node(node) as served:
        yield served
