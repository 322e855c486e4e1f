"""Whole nodes of one cluster in one process, for tests: real sockets, real disks, no REST."""

import asyncio
import os
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

from caxton_node.app import open_node
from caxton_node.config import load_settings
from caxton_node.edges import open_edges
from caxton_node.grpc_api.server import open_grpc
from caxton_node.process import grpc_ports
from caxton_node.runtime.node import Node

DEADLINE_S = 20.0


@asynccontextmanager
async def clustered_node(folder: Path, name: str, **flags: Any) -> AsyncIterator[Node]:
    """Open a node that other nodes can reach; flags are settings such as `cluster.peers`."""
    folder.mkdir(exist_ok=True)  # noqa: ASYNC240 - one folder, in a test
    keys = {key.replace("__", "."): value for key, value in flags.items()}
    loaded = load_settings(
        flags={
            "node.name": name,
            "node.data_dir": str(folder),
            "python.allow": "tests.*",
            "limits.drain_timeout": "1s",
            "retry.initial": "5ms",
            "memory.enabled": "false",
            "grpc.bind": "127.0.0.1:0",
            "cluster.gossip": "127.0.0.1:0",
            "cluster.preset": "fast",
        }
        | keys,
        environment={},
        working_dir=folder,
        home=folder,
    )
    settings = loaded.settings
    async with (
        open_node(loaded, environment=os.environ) as node,
        open_edges(node) as edges,
        open_grpc(
            grpc_ports(settings, None),
            edges.services,
            message_bytes_max=settings.grpc.max_message_bytes,
        ) as bound,
    ):
        assert node.ring is not None
        node.ring.announce_grpc(*bound[-1])
        yield node
        assert node.cluster is not None
        await node.cluster.depart()


@asynccontextmanager
async def cluster_of(
    folder: Path, *names: str, own: Mapping[str, Mapping[str, Any]] | None = None, **flags: Any
) -> AsyncIterator[list[Node]]:
    """Open nodes that know each other; `own` are the flags of some of them, by name."""
    async with AsyncExitStack() as stack:
        nodes: list[Node] = []
        for name in names:
            joins = {"cluster__peers": nodes[0].ring.address} if nodes else {}
            joins |= flags | dict((own or {}).get(name, {}))
            nodes.append(
                await stack.enter_async_context(clustered_node(folder / name, name, **joins))
            )
        await until(lambda: all(is_whole(node, len(names)) for node in nodes))
        yield nodes


def is_whole(node: Node, count: int) -> bool:
    """Whether a node sees so many nodes, is linked to all, and may change things."""
    assert node.cluster is not None
    fleet = node.cluster.fleet
    seen = fleet.nodes()
    return (
        len(seen) == count
        and all(one.is_linked and one.mode for one in seen)
        and fleet.partition.is_writable
        and fleet.partition.expected_count == count
        and not fleet.waiting_for
    )


async def until(condition: Any, timeout_s: float = DEADLINE_S) -> Any:
    """Return what a condition finds, once it finds something."""
    async with asyncio.timeout(timeout_s):
        while not (found := condition()):
            await asyncio.sleep(0.02)
    return found
