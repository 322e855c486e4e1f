"""A node's place in the ring of nodes: the membership library, opened and closed with the node.

It looks for its peers for as long as it runs, tells its watchers who came and went, and says
goodbye at the end. Who is alive is the library's belief; nothing here second-guesses it. No
message of an agent travels by it.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from random import Random
from typing import Final

from caxton_cluster import Cluster, Member, MemberState, SwimConfig, fast, lan, local, wan
from caxton_cluster import ClusterSettings as Membership
from caxton_cluster.errors import ClusterError, InvalidSetting, JoinFailed
from caxton_cluster.serf.overlay import SerfOverlay
from caxton_cluster.serf.tags import decode_tags, encode_tags
from caxton_cluster.swim.events import (
    MemberFailed,
    MemberJoined,
    MemberLeft,
    MemberRecovered,
    MemberSuspected,
    MemberUpdated,
    NameConflict,
    RecordRefused,
)
from caxton_cluster.swim.statistics import ROUND_TRIP_BOUNDS_S
from caxton_node.config import Settings
from caxton_node.domain.errors import Conflict, Rejected, Unavailable
from caxton_node.ring_keys import ClusterKeys
from caxton_node.ring_place import address_of, announced_address, gossip_address
from caxton_node.runtime import ring as views
from caxton_node.telemetry.events import Events
from caxton_node.telemetry.ring_metrics import RingSnapshot

__all__ = ["LEAVE_TIMEOUT_S", "ClusterRing", "membership", "open_ring"]

LEAVE_TIMEOUT_S: Final = 3.0
"""For telling the others of a goodbye. Then the node goes without, and is found dead."""

JOIN_TIMEOUT_S: Final = 10.0
"""For joining when somebody waits for it."""

JOIN_REPORT_FIRST_S: Final = 5.0
JOIN_REPORT_S: Final = 30.0
"""When the log first says that no peer was found, and how often then. Attempts never end."""

PEERS_FILE: Final = "cluster-peers.json"
"""In the data directory: whom the node knew, so that it finds the ring again after a restart."""

KEYS_FILE: Final = "cluster-keys.json"
"""In the data directory: the keys that the ring was rotated to since the settings were written."""

ROLE: Final = "caxton"
"""The tag `role` of a node. Agents of serf that share the ring have another, or none."""

_log = logging.getLogger("caxton.ring")

_STATES: Final[Mapping[MemberState, views.MemberState]] = {
    MemberState.ALIVE: "alive",
    MemberState.SUSPECT: "suspect",
    MemberState.DEAD: "dead",
    MemberState.LEFT: "left",
}


@asynccontextmanager
async def open_ring(
    settings: Settings, *, version: str, epoch: int
) -> AsyncIterator["ClusterRing | None"]:
    """Become a member where the settings ask for it, and leave at the end.

    Args:
        settings: Of the node.
        version: Of the program, for everyone to see.
        epoch: Tells one life of the process from the next: what it said before is void.

    Raises:
        Rejected: `invalid_settings`: they cannot work together.
        Conflict: `state_conflict`: the address cannot be listened on.
    """
    member = membership(settings)
    if member is None:
        yield None
        return
    ring = ClusterRing(member, settings.cluster.peers, version=version, epoch=epoch)
    async with AsyncExitStack() as stack:
        try:
            await stack.enter_async_context(ring.cluster)
        except OSError as error:
            raise Conflict(
                "state_conflict",
                f"The ring cannot listen on {member.bind_host} port {member.bind_port}: "
                f"{error.strerror or error}",
                hint="choose another address with --gossip, or tell the ring's with --advertise",
            ) from None
        except ClusterError as error:
            raise Rejected("invalid_settings", f"The ring cannot be opened: {error}") from None
        for problem in ring.cluster.problems:
            _log.warning("%s", problem)
        try:
            yield ring
        finally:
            await ring.leave()


def membership(settings: Settings) -> Membership | None:
    """Return what the library is to be, or None where there is no ring."""
    bind = gossip_address(settings.cluster)
    if bind is None:
        return None
    advertise = settings.cluster.advertise
    advertise_host, advertise_port = address_of(advertise) if advertise else (None, None)
    return Membership(
        name=settings.node.name,
        bind_host=bind[0],
        bind_port=bind[1],
        advertise_host=advertise_host,
        advertise_port=advertise_port,
        label=settings.cluster.label,
        keys=settings.cluster.keys(),
        peers_path=settings.node.data_dir / PEERS_FILE,
        keys_path=settings.node.data_dir / KEYS_FILE,
        swim=_swim(settings.cluster.preset),
        is_digest_reader=_is_node,
    )


def _is_node(member: Member) -> bool:
    return decode_tags(member.meta).get("role") == ROLE


def _swim(preset: str) -> SwimConfig:
    return {"lan": lan, "wan": wan, "local": local, "fast": fast}[preset]()


class ClusterRing:
    """The `Ring` of a node, by `caxton_cluster`. Use `open_ring`.

    Args:
        member: Who and where the node is.
        peers: Whom to look for, as `host:port`; it may be nobody.
        version: Of the program.
        epoch: Of this life of the process.
    """

    def __init__(
        self, member: Membership, peers: Sequence[str], *, version: str, epoch: int
    ) -> None:
        self.epoch = epoch
        self._tags = {"role": ROLE, "version": version, "epoch": str(epoch)}
        self.cluster = Cluster(member, overlay=SerfOverlay)
        self.keys = ClusterKeys(self.cluster, Random())  # noqa: S311 - numbers, not secrets
        self._peers = tuple(peers)
        self._has_joined = False
        self._name_conflict_count = 0
        self._why_not = ""
        self._turn = asyncio.Lock()
        self._is_leaving = False
        self._is_announced = False
        self._joining: asyncio.Task[None] | None = None

    def start(self, tasks: asyncio.TaskGroup, events: Events) -> list[asyncio.Task[None]]:
        """Look for the peers and tell `events` who comes and goes, in tasks to be cancelled."""
        self._announce()
        started = [tasks.create_task(self._relay(events), name="ring-events")]
        if self._peers:
            self._joining = tasks.create_task(self._join(), name="ring-join")
            started.append(self._joining)
        return started

    async def _join(self) -> None:
        timeout_s = JOIN_REPORT_FIRST_S
        while True:
            try:
                address = await self.cluster.join(self._peers, timeout_s=timeout_s)
            except JoinFailed as problem:
                timeout_s = JOIN_REPORT_S
                self._why_not = "; ".join(problem.reasons) or "none of the peers answers"
                _log.warning("no peer was found yet: %s", self._why_not)
            except InvalidSetting as problem:
                # Whatever passed the settings and cannot be tried stays so.
                self._why_not = str(problem)
                _log.error("the peers cannot be looked for: %s", problem)
                return
            else:
                self._has_joined, self._why_not = True, ""
                _log.info("joined the ring through %s", address)
                return

    async def _relay(self, events: Events) -> None:
        with self.cluster.subscribe() as subscription:
            async for event in subscription:
                self._tell(event, events)

    def _tell(self, event: object, events: Events) -> None:
        match event:
            case MemberJoined(member):
                kind = "member.joined"
            case MemberUpdated(member):
                kind = "member.updated"
            case MemberSuspected(member):
                kind = "member.suspect"
            case MemberRecovered(member):
                kind = "member.recovered"
            case MemberFailed(member):
                kind = "member.failed"
            case MemberLeft(member):
                kind = "member.left"
            case NameConflict(known, claimed):
                self._name_conflict_count += 1
                _log.warning(
                    "two nodes are called %s, at %s and %s: give one another --name",
                    known.name,
                    known.address,
                    claimed,
                )
                events.publish("member.conflict", name=known.name, address=str(claimed))
                return
            case RecordRefused(name, reason):
                _log.warning("member.refused %s: %s", name, reason)
                events.publish("member.refused", name=name, reason=reason)
                return
            case _:
                return
        _log.info("%s %s at %s", kind, member.name, member.address)
        events.publish(
            kind,
            name=member.name,
            state=_STATES[member.state],
            incarnation=member.incarnation,
            address=str(member.address),
            tags=decode_tags(member.meta),
        )

    # What the edges ask.

    @property
    def state(self) -> views.RingState:
        """Whether anybody was found."""
        if self._is_leaving:
            return "left"
        if self._has_joined or len(self.cluster.live_members()) > 1:
            return "joined"
        return "joining" if self._peers else "alone"

    @property
    def trouble(self) -> str | None:
        """Why nobody was found though there should be somebody, if that is so."""
        return (self._why_not or None) if self.state == "joining" else None

    @property
    def address(self) -> str:
        """Where the others reach this node."""
        return str(self.cluster.address)

    @property
    def label(self) -> str:
        """The cluster's name; empty without one."""
        return self.cluster.settings.label

    @property
    def local_health(self) -> int:
        """How much the node doubts itself: 0 is well, 7 the worst."""
        return self.cluster.local_health

    @property
    def datagrams_dropped_count(self) -> int:
        """Datagrams dropped because the node did not keep up."""
        return self.cluster.datagrams_dropped_count

    @property
    def problems(self) -> Sequence[str]:
        """What went wrong of late without stopping anything."""
        return tuple(self.cluster.problems) + ((self.trouble,) if self.trouble else ())

    def snapshot(self) -> RingSnapshot:
        """Return what was counted by now."""
        counted = self.cluster.statistics
        states = [_STATES[member.state] for member in self.cluster.members()]
        return RingSnapshot(
            members_by_state={state: states.count(state) for state in _STATES.values()},
            local_health=self.cluster.local_health,
            probes_answered=counted.probes_answered,
            probes_failed=counted.probes_failed,
            suspicions=counted.suspicions,
            refutations=counted.refutations,
            stalls=counted.lags,
            name_conflicts=self._name_conflict_count,
            bytes_by_way={
                ("in", "datagram"): counted.datagram_bytes_received,
                ("out", "datagram"): counted.datagram_bytes_sent,
                ("in", "stream"): counted.stream_bytes_received,
                ("out", "stream"): counted.stream_bytes_sent,
            },
            dropped_by_reason={
                "overload": self.cluster.datagrams_dropped_count,
                "malformed": counted.malformed,
                "foreign": counted.not_for_us,
            },
            round_trip_bounds_s=ROUND_TRIP_BOUNDS_S,
            round_trip_counts=tuple(counted.round_trip_counts),
            round_trip_sum_s=counted.round_trip_sum_s,
        )

    def members(self) -> Sequence[views.RingMember]:
        """Return all nodes known, this one and those gone of late included, by name."""
        return tuple(self._view(member) for member in self.cluster.members())

    def _view(self, member: Member) -> views.RingMember:
        return views.RingMember(
            name=member.name,
            state=_STATES[member.state],
            incarnation=member.incarnation,
            address=str(member.address),
            tags=decode_tags(member.meta),
            is_self=member.name == self.cluster.settings.name,
            round_trip_s=self.cluster.round_trip_s(member.name),
        )

    def announce_http(self, host: str, port: int) -> None:
        """Tell the ring where this node's API listens."""
        self._announce_address("http", host, port)

    def announce_grpc(self, host: str, port: int) -> None:
        """Tell the ring where other nodes dial this one."""
        self._announce_address("grpc", host, port)

    def renew(self, epoch: int) -> None:
        """Tell the ring that a later life of this node began: what it said before is void."""
        self.epoch = epoch
        self._tags["epoch"] = str(epoch)
        self._announce()

    def _announce_address(self, tag: str, host: str, port: int) -> None:
        self._tags[tag] = announced_address(host, port, self.cluster.address.host)
        self._announce()

    def _announce(self) -> None:
        self.cluster.set_metadata(encode_tags(self._tags))

    async def leave(self) -> bool:
        """Say goodbye, within `LEAVE_TIMEOUT_S`. The node goes on alone until it joins again."""
        async with self._turn:
            if not self._is_leaving:
                self._is_leaving = True
                if self._joining is not None:
                    self._joining.cancel()
                try:
                    async with asyncio.timeout(LEAVE_TIMEOUT_S):
                        self._is_announced = await self.cluster.leave()
                except TimeoutError:
                    _log.warning("there was no time to tell the ring of our leaving")
            return self._is_announced

    async def join(self, peers: Sequence[str]) -> str:
        """Join the ring of whichever of `peers` answers, also after leaving one.

        Raises:
            Rejected: `invalid_request`: a peer is no address.
            Conflict: `state_conflict`: there is nobody to ask.
            Unavailable: `unreachable`: nobody answered in time.
        """
        async with self._turn:
            wanted = tuple(peers) or self._peers
            if not wanted:
                raise Conflict("state_conflict", "No peers are known", hint="name one to join")
            try:
                answered = await self.cluster.join(wanted, timeout_s=JOIN_TIMEOUT_S)
            except InvalidSetting as problem:
                raise Rejected("invalid_request", f"Not joined: {problem}") from None
            except JoinFailed as problem:
                reasons = "; ".join(problem.reasons) or "none of the peers answers"
                raise Unavailable("unreachable", f"Nobody was joined: {reasons}") from None
            finally:
                self._is_leaving = self.cluster.has_left
            self._has_joined, self._why_not = True, ""
            _log.info("joined the ring through %s", answered)
            return str(answered)

    @property
    def is_encrypted(self) -> bool:
        """Whether what the nodes say to each other is encrypted."""
        return bool(self.cluster.keys())
