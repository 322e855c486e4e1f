"""This node among the others: what it tells them of itself, and what it does when they change.

The façade over registry, placement and partition mode, for the edges and for whoever changes
agents. Implements `caxton_node.runtime.fleet.Fleet` and `caxton_node.runtime.claim.Fellows`.
"""

import asyncio
import contextlib
import logging
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Final, assert_never

from caxton_cluster.errors import MalformedPacket
from caxton_cluster.partition import PartitionMode
from caxton_cluster.registry import load_bucket
from caxton_node.domain.errors import Conflict, NotFound, Unavailable
from caxton_node.forwarding.agent_records import distance_of, fleet_agent, record_of
from caxton_node.forwarding.fleet_parts import FleetParts
from caxton_node.forwarding.modes import IN_MODE, no_majority
from caxton_node.forwarding.notices import (
    REFUSED_COUNT_MAX,
    Notice,
    Removal,
    Retired,
    Wish,
    pack_said,
    unpack_said,
)
from caxton_node.runtime.fleet import (
    Drained,
    FailoverState,
    FleetAgent,
    FleetNode,
    PartitionState,
)
from caxton_node.runtime.placement import Copy, candidates, leader, rebalanced
from caxton_node.telemetry.cluster_metrics import LinkSnapshot

__all__ = ["NodeFleet"]

NOTICE_INTERVAL_S: Final = 2.0
"""How often a node tells of itself though nothing changed: what was lost is said again."""

PULSE_S: Final = 0.5
"""How often loads are looked at."""

WISH_AGENTS_MAX: Final = 500
"""Agents in one wish."""

FORM_S: Final = 5.0
"""How long a deployment waits on a node that has just started for the others to be found."""

CHANGE_ANSWER_S: Final = 5.0
"""How long the answers of a majority are waited for before agents are changed."""

_log = logging.getLogger("caxton.fleet")


class NodeFleet:
    """See the module. All methods belong to the event loop."""

    def __init__(self, parts: FleetParts) -> None:
        self._parts = parts
        self._own = parts.own
        self._epoch = parts.epoch
        self._nodes = parts.nodes
        self._feed = parts.feed
        self._links = parts.links
        self._placing = parts.placing
        self._loop = asyncio.get_running_loop()
        self._refused: dict[str, None] = {}
        self._load = 0
        self._is_draining = False
        self._progress = asyncio.Event()
        """Something was done that a drain may wait for."""
        self._mode_entered_ms = parts.clock.now_ms()
        self._mode = parts.partition.view.mode
        self._expected_count = parts.partition.view.expected_count
        self._has_formed = asyncio.Event()
        """This node was with the majority once."""
        self._partition_timer: asyncio.TimerHandle | None = None
        parts.placing.on_refused = self._refuse
        parts.placing.on_looked = self._progress.set
        parts.feed.on_changed = self._agents_changed
        parts.deployments.fellows = self
        for seat in parts.roster:
            self.changed(seat.agent)
        self._tell()
        self._observe()

    def close(self) -> None:
        """Stop the timer."""
        if self._partition_timer is not None:
            self._partition_timer.cancel()

    # In: membership.

    def member_up(self, node: str, epoch: int) -> None:
        """Note that a node is alive, in a life of its process."""
        is_news = self._nodes.up(node, epoch)
        self._judge()
        self._feed.member_up(node, epoch)
        if is_news:
            self._observe()
            self._placing.look_at(None)

    def member_suspect(self, node: str) -> None:
        """Note that a node may be gone."""
        self._feed.member_suspect(node)

    def member_down(self, node: str, *, has_left: bool) -> None:
        """Note that a node died, or said goodbye."""
        was_alive = self._nodes.down(node, is_expected_back=not has_left)
        self._feed.member_down(node)
        if has_left and was_alive:
            self._parts.partition.member_left(self._loop.time())
        if was_alive:
            self._observe()
            self._placing.look_at(None)

    # In: the links.

    def linked(self, node: str, is_up: bool) -> None:
        """Note that the link to a node came up or went down."""
        if is_up:
            self._feed.linked(node)
            self._links.send_registry(node, pack_said(self._notice()))
            retired = tuple(self._placing.retirement.all())
            for start in range(0, len(retired), WISH_AGENTS_MAX):
                some = retired[start : start + WISH_AGENTS_MAX]
                self._links.send_registry(node, pack_said(Retired(some)))
            for gone in self._nodes.struck_off():
                # It may have been away when the others were told.
                self._links.send_registry(node, pack_said(Removal(gone)))

    def said(self, node: str, payload: bytes) -> None:
        """Take in what a node says, of itself or of the registry."""
        try:
            said = unpack_said(payload)
        except MalformedPacket as problem:
            _log.warning("what %s said is dropped: %s", node, problem)
            return
        match said:
            case None:
                self._feed.receive(node, payload)
            case Notice():
                if self._nodes.heard(node, said):
                    self._placing.look_at(None)
            case Wish(agents):
                self._placing.wish(agents)
            case Retired(agents):
                self._retire(agents)
            case Removal(gone):
                self._remove(gone)
            case _ as unreachable:
                assert_never(unreachable)

    # Of ourselves.

    def _notice(self) -> Notice:
        return Notice(
            epoch=self._epoch,
            labels=dict(self._parts.labels),
            load=self._load,
            is_draining=self._is_draining,
            handlers=self._parts.handlers,
            refused=tuple(bytes.fromhex(digest) for digest in self._refused),
            mode=self._mode.value,
            agent_count=len(self._parts.roster),
            store=self._parts.takeovers.connection.value,
        )

    def _tell(self) -> None:
        """Tell everybody of ourselves, and placement too."""
        notice = self._notice()
        if self._nodes.heard(self._own, notice):
            self._placing.look_at(None)
        self._links.broadcast_registry(pack_said(notice))

    def store_changed(self) -> None:
        """Take note that etcd was lost or found: the others are to know who has it."""
        self._parts.takeovers.look()
        self._tell()

    def renew(self, epoch: int) -> None:
        """Tell of ourselves in a later life: placement elsewhere takes it for that alone."""
        self._epoch = epoch
        self._tell()

    def _refuse(self, digest: str) -> None:
        self._refused[digest] = None
        if len(self._refused) > REFUSED_COUNT_MAX:
            del self._refused[next(iter(self._refused))]
        self._tell()

    async def secure(self, agent: str) -> int:
        """Have other nodes keep an agent's definition; return how many have it.

        A majority knows of the agent then: an echo comes after what was told on the same link.
        """
        self._feed.flush()
        count = await self._placing.secure(agent)
        try:
            await self._parts.majority.confirm(CHANGE_ANSWER_S)
        except Unavailable as problem:
            _log.warning("%s is deployed, and others may not know: %s", agent, problem)
        return count

    async def pulse(self) -> None:
        """Tell loads and of ourselves, for ever."""
        told_at = self._loop.time()
        while True:
            await asyncio.sleep(PULSE_S)
            self._parts.takeovers.look()
            loads = [(seat.agent, seat.load) for seat in self._parts.roster]
            self._feed.report_loads(loads)
            load = load_bucket(sum(count for _, count in loads), self._load)
            if load != self._load or self._loop.time() - told_at >= NOTICE_INTERVAL_S:
                self._load = load
                told_at = self._loop.time()
                self._tell()

    # The partition.

    def _observe(self) -> None:
        self._parts.partition.observe(self._nodes.alive_count, self._loop.time())
        self._follow_partition()

    def _follow_partition(self) -> None:
        partition, view = self._parts.partition, self._parts.partition.view
        if view.expected_count != self._expected_count:
            self._expected_count = view.expected_count
            self._parts.keep_expected(view.expected_count)
        self._judge()
        if view.is_writable:
            self._has_formed.set()
        if view.mode is not self._mode:
            self._mode, self._mode_entered_ms = view.mode, self._parts.clock.now_ms()
            is_whole = view.mode is PartitionMode.MAJORITY
            _log.log(
                logging.INFO if is_whole else logging.WARNING,
                "this node is %s: %d of %d nodes",
                IN_MODE[view.mode],
                view.alive_count,
                view.expected_count,
            )
            self._parts.events.publish(
                "cluster.partition",
                mode=view.mode.value,
                alive=view.alive_count,
                expected=view.expected_count,
            )
            self._tell()
            self._placing.look_at(None)
            self._links.reconsider()
        if self._partition_timer is not None:
            self._partition_timer.cancel()
        wakeup_at = partition.wakeup_at()
        self._partition_timer = (
            None if wakeup_at is None else self._loop.call_at(wakeup_at, self._partition_tick)
        )

    def _judge(self) -> None:
        """Decide whether agents of others may be taken over, if a majority answers as well."""
        may_take = self.sees_all
        if may_take and not self._placing.may_take:
            self._placing.look_at(None)
        self._placing.may_take = may_take

    def _partition_tick(self) -> None:
        self._parts.partition.tick(self._loop.time())
        self._follow_partition()

    async def until_formed(self) -> None:
        """Return once the nodes have found each other for the first time; soon in any case.

        Whoever starts three nodes and deploys in the next moment need not know about majorities.
        """
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(FORM_S):
                await self._has_formed.wait()

    @property
    def sees_all(self) -> bool:
        """Whether what this node sees may be taken for all there is."""
        return self._parts.partition.view.is_writable and self._feed.registry.is_ready

    @property
    def partition(self) -> PartitionState:
        """On which side of a partition this node is."""
        view = self._parts.partition.view
        return PartitionState(
            mode=view.mode.value,
            alive_count=view.alive_count,
            expected_count=view.expected_count,
            majority_count=view.majority_count,
            since_ms=self._mode_entered_ms,
            unreachable=self._nodes.unreachable(),
        )

    # What changed.

    def _agents_changed(self, agents: Collection[str], has_node_changed: bool) -> None:
        self._judge()
        self._placing.look_at(agents)
        self._links.reconsider(None if has_node_changed else agents)

    def check_writable(self) -> None:
        """Let a change of what agents are pass.

        Raises:
            Unavailable: `no_majority`: this node may be cut off from those who decide.
        """
        view = self._parts.partition.view
        if not view.is_writable:
            raise no_majority(view)

    async def confirm_writable(self) -> None:
        """Let a change of what agents are pass, once a majority has answered.

        Raises:
            Unavailable: `no_majority`: this node is cut off from those who decide, or just being
                cut off.
        """
        self.check_writable()
        await self._parts.majority.confirm(CHANGE_ANSWER_S)

    def highest_claim(self, agent: str) -> tuple[int, int]:
        """Return the highest (revision, epoch) that any node claims or claimed; (0, 0) if none."""
        copies = self._feed.whereabouts.copies(agent)
        revision = self._placing.retirement.revision(agent)
        return (
            max([revision, *(copy.revision for copy in copies)]),
            max((copy.epoch for copy in copies), default=0),
        )

    def deleted(self, agent: str, revision: int) -> None:
        """Take note that an agent is to be nowhere any more, at this revision or any below it."""
        retired = ((agent, revision),)
        self._retire(retired)
        self._links.broadcast_registry(pack_said(Retired(retired)))

    def _retire(self, agents: Iterable[tuple[str, int]]) -> None:
        self._placing.look_at([one[0] for one in agents if self._placing.retirement.note(*one)])

    def changed(self, agent: str) -> None:
        """Take note that this node has, or has no longer, an agent, or a changed one."""
        seat = self._parts.roster.find(agent)
        if seat is None:
            self._feed.remove(agent)
            return
        claim = self._parts.deployments.claim(agent)
        self._feed.put(record_of(seat.spec, claim, state=seat.state, number=seat.tenant.number))

    # What the edges ask.

    @property
    def links(self) -> Sequence[LinkSnapshot]:
        """What the links to the other live nodes have counted, by name."""
        return self._links.snapshots()

    @property
    def failover(self) -> FailoverState:
        """By what right this node takes agents over."""
        return self._parts.takeovers.state

    @property
    def moved_counts(self) -> tuple[int, int]:
        """How many agents this node took over, and left to others, since it started."""
        return (self._placing.taken_count, self._placing.left_count)

    @property
    def is_draining(self) -> bool:
        """Whether this node hands its agents over and takes none."""
        return self._is_draining

    @property
    def waiting_for(self) -> Sequence[str]:
        """What this node still has to hear before it knows of everyone, in words."""
        return self._feed.registry.waiting_for()

    def nodes(self) -> Sequence[FleetNode]:
        """Return the live nodes, by name."""
        return [self._node(name) for name in sorted((self._own, *self._nodes.others()))]

    def _node(self, name: str) -> FleetNode:
        notice = self._notice() if name == self._own else self._nodes.notice(name)
        is_own = name == self._own
        return FleetNode(
            name=name,
            mode="" if notice is None else notice.mode,
            agent_count=len(self._feed.whereabouts.agents_of(name)),
            load=0 if notice is None else notice.load,
            is_draining=notice is not None and notice.is_draining,
            labels={} if notice is None else notice.labels,
            is_linked=is_own or self._links.is_up(name),
            link_round_trip_s=None if is_own else self._links.round_trip_s(name),
        )

    def agent_names(self) -> Sequence[str]:
        """Return the names of all agents on live nodes, sorted."""
        whereabouts = self._feed.whereabouts
        return sorted(
            {
                agent
                for node in (self._own, *self._nodes.others())
                if whereabouts.is_live(node)
                for agent in whereabouts.agents_of(node)
            }
        )

    def agents(self, names: Iterable[str]) -> Sequence[FleetAgent]:
        """Return what live nodes tell of agents: by name in the order given, then by node."""
        whereabouts = self._feed.whereabouts
        return [
            fleet_agent(listing, copy)
            for agent in names
            for copy in whereabouts.copies(agent)
            if whereabouts.is_live(copy.node)
            and (listing := whereabouts.listing(agent, copy.node)) is not None
        ]

    def capabilities(self) -> Mapping[str, Sequence[str]]:
        """Return every capability as offered, by name, with the agents that offer it."""
        offered: dict[str, list[str]] = {}
        for agent in self._feed.registry.lookup.agents():
            for capability in agent.record.capabilities:
                offered.setdefault(capability, []).append(agent.agent)
        return dict(sorted(offered.items()))

    def providers(self, capability: str) -> Sequence[tuple[FleetAgent, int]]:
        """Return who answers a request for a capability, each with its distance, nearest first."""
        names = [one.agent for one in self._feed.registry.lookup.providers(capability)]
        found = [
            (agent, distance_of(agent.capabilities, capability)) for agent in self.agents(names)
        ]
        found.sort(key=lambda one: (one[1], one[0].name, one[0].node))
        return found

    def holders(self, agent: str) -> Sequence[str]:
        """Return the live nodes that run an agent, the one to ask first: this one, or the first."""
        whereabouts = self._feed.whereabouts
        live = [copy for copy in whereabouts.copies(agent) if whereabouts.is_live(copy.node)]
        live.sort(key=lambda copy: copy.rank, reverse=True)
        live.sort(key=lambda copy: copy.node != self._own)
        return [copy.node for copy in live]

    def fitting_nodes(self, like: Copy) -> Sequence[str]:
        """Return the nodes that may run an agent, the one to take it first."""
        return candidates(self._nodes.views, like)

    # Moving.

    async def drain(self, timeout_s: float) -> Drained:
        """Hand all agents over, and take none until `resume`.

        Those stay that no other node may run. What waits goes with its agent; turns under way end
        here.
        """
        before = {seat.agent for seat in self._parts.roster}
        self._is_draining = True
        self._tell()
        _log.info("draining: %d agents", len(before))
        self._parts.events.publish("cluster.draining", node=self._own, agents=len(before))
        try:
            async with asyncio.timeout(timeout_s):
                while not self._is_drained():
                    self._progress.clear()
                    await self._progress.wait()
        except TimeoutError:
            _log.warning("there was no time to hand all agents over")
        left = sorted(seat.agent for seat in self._parts.roster)
        return Drained(len(before - set(left)), left)

    def _is_drained(self) -> bool:
        return self._placing.is_quiet and not any(
            self._has_candidate(seat.agent) for seat in self._parts.roster
        )

    def _has_candidate(self, agent: str) -> bool:
        copies = self._feed.whereabouts.copies(agent)
        return (
            self.sees_all and bool(copies) and bool(candidates(self._nodes.views, leader(copies)))
        )

    def resume(self) -> None:
        """Take agents again."""
        self._is_draining = False
        self._tell()

    def move(self, agent: str, node: str) -> None:
        """Ask a node to take an agent over.

        Raises:
            NotFound: `agent_not_found`.
            Unavailable: `no_majority`; `unreachable`: the node is not alive or not linked.
        """
        self.check_writable()
        if not self.holders(agent):
            raise NotFound("agent_not_found", f"no agent is called {agent!r}")
        self._wish(node, (agent,))

    def _wish(self, node: str, agents: Sequence[str]) -> None:
        if node == self._own:
            self._placing.wish(agents)
            return
        for start in range(0, len(agents), WISH_AGENTS_MAX):
            wish = pack_said(Wish(tuple(agents[start : start + WISH_AGENTS_MAX])))
            if not self._links.send_registry(node, wish):
                raise Unavailable("unreachable", f"the node {node!r} is not linked to this one")

    def rebalance(self) -> int:
        """Move agents until no node has two more than another; return how many moves were asked.

        Raises:
            Unavailable: `no_majority`; `unreachable`.
        """
        self.check_writable()
        whereabouts = self._feed.whereabouts
        moves = rebalanced(
            self._nodes.views,
            {agent: whereabouts.copies(agent) for agent in sorted(whereabouts.agents())},
        )
        by_target: dict[str, list[str]] = {}
        for move in moves:
            by_target.setdefault(move.target, []).append(move.agent)
        for target in sorted(by_target):
            self._wish(target, by_target[target])
        return len(moves)

    def strike_off(self, node: str) -> None:
        """Expect a dead node no more: it will not come back.

        Raises:
            NotFound: `node_not_found`.
            Conflict: `state_conflict`: the node is alive.
        """
        if node == self._own or self._nodes.is_alive(node):
            raise Conflict(
                "state_conflict",
                f"the node {node!r} is alive",
                hint="let it leave: caxton cluster leave, asked of that node",
            )
        if not self._nodes.is_gone(node):
            raise NotFound("node_not_found", f"no dead node is called {node!r}")
        self._remove(node)
        self._links.broadcast_registry(pack_said(Removal(node)))

    def _remove(self, node: str) -> None:
        if self._nodes.strike_off(node):
            _log.warning("%s is expected no more", node)
            self._parts.events.publish("cluster.removed", node=node)
            self._links.give_up_on(node, "is removed from the cluster")
            self._parts.partition.member_left(self._loop.time())
            self._observe()
