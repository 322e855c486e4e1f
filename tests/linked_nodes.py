"""Several whole nodes in one process, linked by real gRPC on loopback, for tests.

Who is where is a dictionary of the test's own: what a registry would say, told at once.
"""

import asyncio
import itertools
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import grpc

from caxton_node.domain.capability import parse_capability
from caxton_node.forwarding.links import Links, Self
from caxton_node.forwarding.peers import Peer, PeerDirectory
from caxton_node.forwarding.remote_agent import RemoteAgent
from caxton_node.runtime.node import Node
from tests.opened_node import deploy, opened_node, python_agent

EPOCHS = itertools.count(1)
LINK_TIMEOUT_S = 10.0


class Atlas:
    """Which agent is on which node, as everybody believes it."""

    def __init__(self) -> None:
        self.places: dict[str, str] = {}
        self.agents: dict[str, RemoteAgent] = {}
        self.offers: dict[str, list[str]] = {}
        self.nodes: dict[str, LinkedNode] = {}

    def put(self, agent: str, node: str, *offers: str, **facts: Any) -> None:
        self.places[agent] = node
        self.agents[agent] = RemoteAgent(name=agent, **facts)
        self.offers[agent] = list(offers)

    def tell(self) -> None:
        """Let every node look again at what waits."""
        for one in self.nodes.values():
            one.links.reconsider()


class Map:
    """An `Elsewhere` that reads the atlas."""

    def __init__(self, atlas: Atlas, own: str, links: Links) -> None:
        self.atlas, self.own, self.links = atlas, own, links
        self.awaits = True

    def inbox(self, agent):
        node = self.atlas.places.get(agent)
        if node in (None, self.own):
            return None
        return self.links.inbox(node, self.atlas.agents[agent])

    def at(self, node, agent):
        return self.links.known_inbox(node, agent)

    def inboxes(self):
        return [inbox for agent in sorted(self.atlas.places) if (inbox := self.inbox(agent))]

    def providers(self, capability):
        found = []
        for agent in sorted(self.atlas.places):
            inbox = self.inbox(agent)
            for offer in self.atlas.offers[agent]:
                spellings = list(parse_capability(offer).answers_to())
                if inbox is not None and capability in spellings:
                    found.append((inbox, spellings.index(capability)))
        return found

    def names(self):
        return list(self.atlas.places)

    def capabilities(self):
        return [offer for offers in self.atlas.offers.values() for offer in offers]

    def client(self, node):
        return None if node == self.own else self.links.client(node)

    def may_come(self, message):
        return self.awaits


class LinkedNode:
    """One of the nodes."""

    def __init__(self, node: Node, links: Links, peers: PeerDirectory, port: int) -> None:
        self.node, self.links, self.peers, self.port = node, links, peers, port
        self.epoch = 0
        self.server: grpc.aio.Server | None = None

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"


@asynccontextmanager
async def linked_node(
    folder: Path, name: str, atlas: Atlas, *, cluster: str = "test", journal: int = 0, **flags: Any
) -> AsyncIterator[LinkedNode]:
    """Open one node and link it with those that the atlas has already."""
    (folder / name).mkdir(exist_ok=True)
    epoch = next(EPOCHS)
    async with opened_node(folder / name, node__name=name, **flags) as node:
        server = grpc.aio.server(options=(("grpc.so_reuseport", 0),))
        peers = PeerDirectory()
        me = Self(node=name, epoch=epoch, cluster=cluster, version="1", journal=journal)
        links = Links(me=me, peers=peers, pipeline=node.pipeline, files=None)
        links.add_to(server)
        port = server.add_insecure_port("127.0.0.1:0")
        linked = LinkedNode(node, links, peers, port)
        linked.server, linked.epoch = server, epoch
        await server.start()
        node.pipeline.elsewhere = Map(atlas, name, links)
        async with asyncio.TaskGroup() as tasks:
            chores = links.start(tasks)
            await asyncio.sleep(0)
            introduce(linked, name, atlas)
            try:
                yield linked
            finally:
                atlas.nodes.pop(name, None)
                for chore in chores:
                    chore.cancel()
                await links.close()
                await server.stop(0)


def introduce(linked: LinkedNode, name: str, atlas: Atlas) -> None:
    """Tell a new node of the others, and the others of it."""
    atlas.nodes[name] = linked
    for other, there in atlas.nodes.items():
        if other != name:
            linked.peers.see(Peer(other, there.address, there.epoch))
            there.peers.see(Peer(name, linked.address, linked.epoch))


async def linked(*nodes: LinkedNode) -> None:
    """Wait until each of the nodes has a link to every other."""
    async with asyncio.timeout(LINK_TIMEOUT_S):
        while not all(
            one.links.is_up(other.node.name) for one in nodes for other in nodes if one is not other
        ):
            await asyncio.sleep(0.005)


@asynccontextmanager
async def linked_nodes(
    folder: Path, *names: str, **flags: Any
) -> AsyncIterator[tuple[Atlas, list[LinkedNode]]]:
    """Open several nodes, each linked to all others."""
    atlas = Atlas()
    async with AsyncExitStack() as stack:
        nodes = [
            await stack.enter_async_context(linked_node(folder, name, atlas, **flags))
            for name in names
        ]
        await linked(*nodes)
        yield atlas, nodes


async def place(atlas: Atlas, there: LinkedNode, agent: str, handler: str, **facts: Any) -> None:
    """Deploy a Python agent on a node and tell everybody."""
    capability = facts.pop("capability", "test")
    more = facts.pop("more", "")
    await deploy(there.node, python_agent(agent, handler, capability=capability, more=more))
    atlas.put(agent, there.node.name, capability, **facts)
    atlas.tell()
