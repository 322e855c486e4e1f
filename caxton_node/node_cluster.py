"""A node's place in its cluster, built and connected: part of the composition root.

Links, registry, placement and partition mode, on top of the ring. A node in no ring has none of
them and runs as it would without this module.
"""

import asyncio
import functools
import logging
import time
from collections.abc import AsyncIterator, Callable, Collection, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from random import SystemRandom
from typing import Any, Final

from caxton_cluster import Cluster
from caxton_cluster.partition import Partition, PartitionConfig
from caxton_cluster.registry import Owner, Registry, RegistryConfig
from caxton_node.config import Settings
from caxton_node.domain.errors import CaxtonError
from caxton_node.forwarding.definitions import DefinitionKeeper
from caxton_node.forwarding.fleet import NodeFleet
from caxton_node.forwarding.fleet_parts import FleetParts
from caxton_node.forwarding.guest_files import GuestFiles
from caxton_node.forwarding.handover import Handover
from caxton_node.forwarding.links import Links, Self
from caxton_node.forwarding.majority import Majority
from caxton_node.forwarding.membership_feed import MembershipFeed, epoch_of, grpc_of
from caxton_node.forwarding.node_table import NodeTable
from caxton_node.forwarding.pasts import PeerPasts, Stay
from caxton_node.forwarding.peer_calls import PeerCalls, serve_peer_calls
from caxton_node.forwarding.peers import PeerDirectory
from caxton_node.forwarding.placing import Placing
from caxton_node.forwarding.registry_elsewhere import RegistryElsewhere
from caxton_node.forwarding.registry_feed import RegistryFeed
from caxton_node.forwarding.remembered import DELETED, JOURNAL, REMOVED, Remembered
from caxton_node.forwarding.retirement import Retirement
from caxton_node.forwarding.takeovers import Takeovers
from caxton_node.node_renewal import EPOCH, Renewal
from caxton_node.ring import PEERS_FILE, ClusterRing
from caxton_node.routing.in_flight import InFlight
from caxton_node.runtime.node import Node
from caxton_node.runtime.past import Pasts
from caxton_node.runtime.placement import leader
from caxton_node.security.tls_files import TlsFiles
from caxton_node.store.protocol import AgentRecord, Store

__all__ = ["NodeCluster", "join_cluster", "next_epoch", "open_cluster"]

HEAR_S: Final = 1.2
"""How long a node that had agents asks who runs them by now, before it runs them itself."""

OUTCOME_S: Final = 5.0
"""How long a node that leaves waits to hear what became of its messages elsewhere."""

OUTCOME_LOOK_S: Final = 0.05

_EXPECTED: Final = "expected_nodes"
_IDENTITY: Final = "journal_identity"

_log = logging.getLogger("caxton.cluster")


async def next_epoch(store: Store, now_ms: int) -> int:
    """Return the number of this life of the process, higher than any before, and keep it.

    The clock in milliseconds, so that a node whose data folder is new is still newer than what the
    others remember of it; one more than the last, where the clock went back.
    """
    epoch = max(now_ms, (await store.node_number(EPOCH) or 0) + 1)
    await store.put_node_number(EPOCH, epoch)
    return epoch


async def _journal_identity(store: Store) -> int:
    """Return the identity of this node's journal; make it with a new one."""
    identity = await store.node_number(_IDENTITY)
    if identity is None:
        identity = SystemRandom().randrange(1, 2**62)
        await store.put_node_number(_IDENTITY, identity)
    return identity


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeCluster:
    """The parts that others need. A `ClusterPlace`."""

    fleet: NodeFleet
    members: MembershipFeed
    links: Links
    feed: RegistryFeed
    definitions: DefinitionKeeper
    store: Store
    ring: ClusterRing
    in_flight: InFlight
    """Messages that other nodes know of."""
    own: str
    has_peers: bool
    """Whether there was anybody to look for at the start."""
    read_module: Callable[[str], bytes | None]
    """Returns a WebAssembly file by its digest. Blocking."""
    pasts: Pasts
    """What the agents have behind them here."""

    async def depart(self) -> None:
        """Leave the ring, once the others have what this node has for them. Drain first."""
        try:
            async with asyncio.timeout(OUTCOME_S):
                while self.outstanding():  # noqa: ASYNC110 - routing counts and rings no bell
                    await asyncio.sleep(OUTCOME_LOOK_S)
        except TimeoutError:
            # All of it is journaled: after the start it is sent again.
            _log.warning("%d messages elsewhere have no end yet", self.outstanding())
        await self.ring.leave()

    def outstanding(self) -> int:
        """Return how many messages of this node the others have, or are to have, without an end."""
        return len(self.in_flight)

    def go_alone(self) -> None:
        """Go on without the others, after leaving the ring."""
        self.members.go_alone()
        self.fleet.resume()

    def come_back(self) -> None:
        """Go on with the others, after joining the ring again."""
        self.fleet.resume()
        self.members.come_back(self.ring.cluster.members())

    def add_to(self, server: Any) -> None:
        """Let a gRPC server that is not started yet serve the links of other nodes."""
        self.links.add_to(server)
        serve_peer_calls(
            server,
            self.feed.registry,
            self.store,
            self.definitions.find,
            self.read_module,
            self.pasts,
        )

    def channel(self, node: str) -> Any:
        """Return the gRPC channel to a node, or None when it is not held alive."""
        return self.links.channel(node)

    def peers(self) -> Sequence[str]:
        """Return the names of the other live nodes, by name."""
        return self.links.peers()

    def holder(self, agent: str) -> str | None:
        """Return a live node that runs an agent and is not this one; None when no other does."""
        return next((node for node in self.fleet.holders(agent) if node != self.own), None)

    @property
    def state(self) -> str:
        """For the list of components."""
        partition = self.fleet.partition
        if not partition.is_writable:
            return (
                f"degraded: {partition.mode}, {partition.alive_count} of "
                f"{partition.expected_count} nodes"
            )
        return "ready"

    async def hear(self) -> None:
        """Ask the other nodes what they run, within `HEAR_S`."""
        if not self.has_peers:
            return
        began_at = time.monotonic()
        try:
            async with asyncio.timeout(HEAR_S):
                owners = await self._owners()
                count = await self.feed.ask_all(owners)
                _log.info(
                    "%d of %d nodes told within %.2f s what they run",
                    count,
                    len(owners),
                    time.monotonic() - began_at,
                )
        except TimeoutError:
            _log.warning("no other node told in time what it runs")

    async def _owners(self) -> Collection[Owner]:
        with self.ring.cluster.subscribe() as subscription:
            while True:
                owners = [
                    Owner(member.name, epoch)
                    for member in self.ring.cluster.live_members()
                    if member.name != self.own
                    and (epoch := epoch_of(member)) is not None
                    and grpc_of(member) is not None
                ]
                if owners:
                    return owners
                await anext(subscription)

    def has_moved(self, record: AgentRecord) -> bool:
        """Return whether as many others as are wanted run an agent by now, by a better right."""
        copies = [
            copy
            for copy in self.feed.whereabouts.copies(record.name)
            if copy.node != self.own and self.feed.whereabouts.is_live(copy.node)
        ]
        own_rank = (record.revision, record.epoch, self.own)
        better = [copy for copy in copies if copy.rank > own_rank]
        return bool(better) and len(better) >= leader(better).replicas


@asynccontextmanager
async def open_cluster(
    settings: Settings,
    node: Node,
    ring: ClusterRing,
    *,
    files: TlsFiles | None,
    tasks: asyncio.TaskGroup,
) -> AsyncIterator[NodeCluster]:
    """Connect a node to the others of its ring.

    Args:
        settings: Of the node.
        node: Without agents so far.
        ring: Open; it need not have found anybody.
        files: This node's certificates; None where channels are plain.
        tasks: Own what runs as long as the node.
    """
    parts = await _build(settings, node, ring, files, tasks)
    has_peers = bool(settings.cluster.peers) or (settings.node.data_dir / PEERS_FILE).exists()
    if not has_peers:
        parts.feed.joined()
    fleet, feed, links = parts.fleet, parts.feed, parts.links
    members = MembershipFeed(settings.node.name, peers=parts.peers, fleet=fleet, feed=feed)
    chores = [
        *links.start(tasks),
        tasks.create_task(_relay(ring.cluster, members, feed), name="cluster-members"),
        tasks.create_task(fleet.pulse(), name="cluster-pulse"),
        tasks.create_task(parts.placing.run(), name="cluster-placing"),
        tasks.create_task(parts.takeovers.run(), name="cluster-takeovers"),
        tasks.create_task(parts.placing.keep_definitions(), name="cluster-definitions"),
    ]
    try:
        yield NodeCluster(
            fleet=fleet,
            members=members,
            links=links,
            feed=feed,
            definitions=parts.definitions,
            store=node.store,
            ring=ring,
            in_flight=node.pipeline.in_flight,
            own=settings.node.name,
            has_peers=has_peers,
            read_module=node.guests.read_module,
            pasts=node.pasts,
        )
    finally:
        for chore in chores:
            chore.cancel()
        fleet.close()
        feed.close()
        await links.close()


@dataclass(frozen=True, slots=True)
class _Parts:
    peers: PeerDirectory
    links: Links
    feed: RegistryFeed
    definitions: DefinitionKeeper
    placing: Placing
    takeovers: Takeovers
    fleet: NodeFleet


async def _build(
    settings: Settings,
    node: Node,
    ring: ClusterRing,
    files: TlsFiles | None,
    tasks: asyncio.TaskGroup,
) -> _Parts:
    """Build the parts and connect them."""
    own, now = settings.node.name, asyncio.get_running_loop().time()
    peers = PeerDirectory()
    links = await _links(settings, node, ring, files, peers)
    calls = PeerCalls(links.channel)
    registry = Registry(RegistryConfig(), Owner(own, ring.epoch), random=SystemRandom(), now=now)
    feed = RegistryFeed(
        registry, links=links, pulls=calls, tasks=tasks, set_digest=ring.cluster.set_digest
    )
    nodes, retirement = await _remembered(node.store, links, own, tasks)
    definitions = _ask_others(node, calls, links)
    partition = await _partition(settings, node.store, now)
    majority = Majority(links, lambda: partition.view)
    takeovers = Takeovers(own, majority, node.metadata.store, nodes, node.events)
    placing = Placing(
        own,
        nodes.views,
        feed.whereabouts,
        deployments=node.deployments,
        definitions=definitions,
        handover=_handover(node, links),
        events=node.events,
        retirement=retirement,
        takeovers=takeovers,
    )
    fleet = NodeFleet(
        FleetParts(
            own=own,
            epoch=ring.epoch,
            labels=settings.cluster.own_labels(),
            handlers=settings.python.allow,
            nodes=nodes,
            feed=feed,
            links=links,
            partition=partition,
            placing=placing,
            majority=majority,
            takeovers=takeovers,
            roster=node.roster,
            deployments=node.deployments,
            clock=node.clock,
            events=node.events,
            keep_expected=functools.partial(_keep_expected, tasks, node.store),
        )
    )
    links.on_registry, links.on_link = fleet.said, fleet.linked
    feed.on_superseded = Renewal(node, ring, feed, fleet, tasks).superseded
    node.pipeline.elsewhere = RegistryElsewhere(
        own, feed, links, sees_all=lambda: fleet.sees_all, is_struck_off=nodes.is_struck_off
    )
    node.metadata.store.on_change(lambda _: fleet.store_changed())
    return _Parts(peers, links, feed, definitions, placing, takeovers, fleet)


def _ask_others(node: Node, calls: PeerCalls, links: Links) -> DefinitionKeeper:
    """Have what this node lacks asked of the others: definitions, files, what agents did there."""
    files = GuestFiles(node.guests, calls, links.peers)
    node.guests.find_module = files.find
    node.pasts.elsewhere = PeerPasts(
        calls.past, peers=links.peers, stay_of=functools.partial(_stay_of, node)
    )
    return DefinitionKeeper(node.store, calls, files.fetch_with)


def _stay_of(node: Node, agent: str) -> Stay | None:
    """Return under what stay an agent is here; None of one that was nowhere else."""
    seat = node.roster.find(agent)
    if seat is None or not node.deployments.is_here(agent):
        return None
    claim = node.deployments.claim(agent)
    has_replicas = claim.replica_count(seat.spec) > 1
    # One that was scaled may have been elsewhere at its first epoch.
    if claim.epoch == 1 and not has_replicas and claim.replicas is None:
        return None
    return Stay(claim.epoch, has_replicas)


def _handover(node: Node, links: Links) -> Handover:
    return Handover(
        reroute=node.pipeline.place_again,
        dismiss=node.supervisor.dismiss,
        left=links.order.left,
    )


async def _partition(settings: Settings, store: Store, now: float) -> Partition:
    return Partition(
        PartitionConfig(expect=settings.cluster.expect),
        expected_count=await store.node_number(_EXPECTED),
        now=now,
    )


async def _links(
    settings: Settings, node: Node, ring: ClusterRing, files: TlsFiles | None, peers: PeerDirectory
) -> Links:
    me = Self(
        node=settings.node.name,
        epoch=ring.epoch,
        cluster=settings.cluster.label,
        version=node.version,
        journal=await _journal_identity(node.store),
    )
    return Links(me=me, peers=peers, pipeline=node.pipeline, files=files)


async def _remembered(
    store: Store, links: Links, own: str, tasks: asyncio.TaskGroup
) -> tuple[NodeTable, Retirement]:
    """Build what a node remembers of the others over its restarts."""
    deleted, removed, journals = (
        Remembered(kind, store, tasks) for kind in (DELETED, REMOVED, JOURNAL)
    )
    retirement = Retirement(await deleted.load())
    retirement.on_noted, retirement.on_forgotten = deleted.keep, deleted.forget
    nodes = NodeTable(own, await removed.load())

    def note_struck_off(name: str, is_so: bool) -> None:
        if is_so:
            removed.keep(name, 1)
        else:
            removed.forget(name)

    nodes.on_struck_off = note_struck_off
    known = dict(await journals.load())
    for name, journal in known.items():
        links.expect_journal(name, journal)

    def note_journal(name: str, journal: int) -> None:
        if known.get(name) != journal:
            known[name] = journal
            journals.keep(name, journal)

    links.on_met = note_journal
    return nodes, retirement


@asynccontextmanager
async def join_cluster(
    settings: Settings,
    node: Node,
    ring: ClusterRing | None,
    *,
    files: TlsFiles | None,
    tasks: asyncio.TaskGroup,
) -> AsyncIterator[Node]:
    """Seat a node's agents, those that others have not taken over meanwhile.

    Yields:
        The node, connected to the others where it is in a ring.
    """
    if ring is None:
        await node.deployments.restore()
        yield node
        return
    chores = ring.start(tasks, node.events)
    try:
        async with open_cluster(settings, node, ring, files=files, tasks=tasks) as cluster:
            if any(record.is_here for record in await node.store.agents()):
                await cluster.hear()
            await node.deployments.restore(cluster.has_moved)
            yield replace(
                node,
                cluster=cluster,
                components=lambda: {**node.components(), "cluster": cluster.state},
            )
    finally:
        for chore in chores:
            chore.cancel()


async def _relay(cluster: Cluster, members: MembershipFeed, feed: RegistryFeed) -> None:
    """Carry the ring's events on until it ends; read the whole table where some were lost."""
    with cluster.subscribe() as subscription:
        members.catch_up(cluster.members())
        dropped_count = 0
        async for event in subscription:
            if subscription.dropped_count != dropped_count:
                dropped_count = subscription.dropped_count
                members.catch_up(cluster.members())
            members.follow(event)
            if len(cluster.live_members()) > 1:
                feed.joined()


def _keep_expected(tasks: asyncio.TaskGroup, store: Store, count: int) -> None:
    tasks.create_task(_put_expected(store, count), name="keep-expected")


async def _put_expected(store: Store, count: int) -> None:
    try:
        await store.put_node_number(_EXPECTED, count)
    except CaxtonError as problem:
        _log.error("that %d nodes are expected is not on disk: %s", count, problem)
