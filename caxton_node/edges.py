"""What clients and other nodes reach a node by, built and connected: part of the composition root.

REST, gRPC and the calls of other nodes share one front door, one way of sending, and one way to the
nodes that have what this one has not.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Final

from caxton_node.api.edge import HEARTBEAT_S, Edge
from caxton_node.api.front_door import FrontDoor
from caxton_node.api.server import build_edge
from caxton_node.forwarding.tunnel import Tunnel, serve_calls
from caxton_node.grpc_api.server import Service
from caxton_node.grpc_api.services import client_services
from caxton_node.runtime.node import Node

__all__ = ["PEER_SERVICE", "Edges", "open_edges"]

PEER_SERVICE: Final = "caxton.v1.Peer"


@dataclass(frozen=True, slots=True)
class Edges:
    """What is served."""

    rest: Edge
    """What the requests of REST share."""
    services: tuple[Service, ...]
    """What gRPC serves, to clients and, in a cluster, to other nodes."""


@asynccontextmanager
async def open_edges(node: Node, *, heartbeat_s: float = HEARTBEAT_S) -> AsyncIterator[Edges]:
    """Connect the edges to a node.

    Args:
        node: That is served.
        heartbeat_s: How often a silent stream of REST says that it lives.
    """
    cluster = node.cluster
    if cluster is None:
        rest = build_edge(node, heartbeat_s=heartbeat_s)
        yield Edges(rest, client_services(node, FrontDoor(node, rest), rest.sending))
        return
    async with asyncio.TaskGroup() as tasks:
        tunnel = Tunnel(
            channel_of=cluster.channel, peers=cluster.peers, holder=cluster.holder, tasks=tasks
        )
        rest = build_edge(node, others=tunnel, heartbeat_s=heartbeat_s)
        door = FrontDoor(node, rest)
        services = (
            *client_services(node, door, rest.sending, others=tunnel),
            Service(PEER_SERVICE, cluster.add_to, is_for_nodes=True),
            Service(PEER_SERVICE, lambda server: serve_calls(server, door), is_for_nodes=True),
        )
        try:
            yield Edges(rest, services)
        finally:
            tunnel.close()
