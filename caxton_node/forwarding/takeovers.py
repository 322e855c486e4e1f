"""Asks for the right to take agents over, for placement: from a majority, and in etcd if there is.

The shell around `caxton_node.forwarding.takeover_rules`. Agents that are asked for together are
answered together: one echo of the majority and one turn with the lock for all of them.

A claim in etcd hangs on a lease of this node and goes with it. It need not last: it covers the
moments until the registry has told everybody.
"""

import asyncio
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import msgspec

from caxton_cluster.errors import ClusterError, MetadataError, MetadataOff
from caxton_cluster.metadata import Connection, Lease, Lock, MetadataStore, Put
from caxton_node.domain.errors import CaxtonError, Unavailable
from caxton_node.forwarding.majority import ANSWER_S, Majority
from caxton_node.forwarding.node_table import NodeTable
from caxton_node.forwarding.takeover_rules import (
    Claimed,
    Right,
    SeenClaim,
    granted_epoch,
    read_claimed,
    right_of,
)
from caxton_node.runtime.fleet import FailoverState
from caxton_node.runtime.placement import Copy
from caxton_node.telemetry.events import Events

__all__ = ["CLAIMS_FOLDER", "LOCK_NAME", "Takeovers"]

LOCK_NAME: Final = "failover"
"""Of the lock in etcd: one for the whole cluster, held for the time of writing down."""

LOCK_TTL_S: Final = 3.0
"""How long a holder that died is waited for."""

LOCK_WAIT_S: Final = 5.0
"""How long to stand in line; then it is tried again like any attempt that failed."""

TURN_S: Final = 8.0
"""For a turn with all that belongs to it."""

CLAIMS_FOLDER: Final = "failover/"
"""In the store: who took which agent over last."""

CLAIMS_TTL_S: Final = 30.0
"""Time to live of the lease that a node's claims hang on."""

BATCH_MAX: Final = 64
"""Agents of one turn with the lock."""

SEEN_MAX: Final = 10_000
"""Claims of others that are remembered; the oldest is forgotten, and respected once more."""

LEASE_AGAIN_S: Final = 1.0
"""When a lease for claims is asked for again."""

_log = logging.getLogger("caxton.failover")


@dataclass(slots=True, eq=False)
class _Want:
    like: Copy
    epoch: int
    answer: asyncio.Future[int]


class Takeovers:
    """The right to take agents over. All methods belong to the event loop.

    Args:
        own: This node's name.
        majority: Is asked in any case.
        store: Of the cluster's metadata; it may be none.
        nodes: The live ones, and what they say of etcd.
        events: Told when the right changes.
    """

    def __init__(
        self,
        own: str,
        majority: Majority,
        store: MetadataStore,
        nodes: NodeTable,
        events: Events,
    ) -> None:
        self._own = own
        self._majority = majority
        self._store = store
        self._nodes = nodes
        self._events = events
        self._loop = asyncio.get_running_loop()
        self._wants: list[_Want] = []
        self._bell = asyncio.Event()
        self._lease: Lease | None = None
        self._turn: asyncio.Timeout | None = None
        """The attempt under way to get the lock."""
        self._seen: dict[str, tuple[int, float]] = {}
        """Agent → revision of the claim that was seen, and since when."""
        self._told = self.right
        self.granted_count = 0
        self.refused_count = 0

    @property
    def right(self) -> Right:
        """By what right this node may take agents over now, if a majority answers."""
        return right_of(self._store.state.connection, self._nodes.stores())

    @property
    def state(self) -> FailoverState:
        """The right, and how often it was given."""
        return FailoverState(self.right.value, self.granted_count, self.refused_count)

    @property
    def connection(self) -> Connection:
        """How etcd does, as this node finds."""
        return self._store.state.connection

    def look(self) -> None:
        """Say so if the right has changed, and wait no longer for an etcd that is lost."""
        right = self.right
        if right is not Right.LEASE and self._turn is not None and not self._turn.expired():
            self._turn.reschedule(self._loop.time())
        if right is self._told:
            return
        self._told = right
        reason = self._store.state.reason
        is_worse = right in {Right.DEGRADED, Right.WITHHELD}
        _log.log(
            logging.WARNING if is_worse else logging.INFO,
            "agents of dead nodes are taken over by: %s%s",
            right.value,
            f" ({reason})" if reason else "",
        )
        self._events.publish("failover.right", right=right.value, reason=reason)

    async def permit(self, like: Copy, epoch: int) -> int:
        """Return under which epoch an agent may be taken over at this moment.

        Args:
            like: What is to be run.
            epoch: Above all that the registry shows here.

        Raises:
            Unavailable: `no_majority`; `metadata_unavailable`: etcd is lost here and not
                elsewhere, its lock is busy, or another node has just taken the agent.
        """
        want = _Want(like, epoch, self._loop.create_future())
        self._wants.append(want)
        self._bell.set()
        return await want.answer

    async def run(self) -> None:
        """Answer, for ever."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._keep_lease(), name="failover-lease")
            while True:
                await self._bell.wait()
                wants, self._wants = self._wants[:BATCH_MAX], self._wants[BATCH_MAX:]
                if not self._wants:
                    self._bell.clear()
                await self._answer([want for want in wants if not want.answer.done()])

    async def _answer(self, wants: Sequence[_Want]) -> None:
        if not wants:
            return
        try:
            granted = await self._granted(wants)
        except CaxtonError as problem:
            for want in wants:
                self._refuse(want, problem)
            return
        for want in wants:
            epoch = granted.get(want.like.agent)
            if epoch is None:
                why = f"another node has just taken {want.like.agent} over"
                self._refuse(want, Unavailable("metadata_unavailable", why))
            elif not want.answer.done():
                self.granted_count += 1
                want.answer.set_result(epoch)

    def _refuse(self, want: _Want, problem: CaxtonError) -> None:
        if not want.answer.done():
            self.refused_count += 1
            want.answer.set_exception(problem)

    async def _granted(self, wants: Sequence[_Want]) -> dict[str, int]:
        self.look()
        match self._told:
            case Right.MAJORITY | Right.DEGRADED:
                await self._majority.confirm(ANSWER_S)
                return {want.like.agent: want.epoch for want in wants}
            case Right.WITHHELD:
                raise Unavailable(
                    "metadata_unavailable",
                    "other nodes reach etcd and this one does not: agents are left to them",
                )
            case Right.LEASE:
                return await self._with_lock(wants)

    async def _with_lock(self, wants: Sequence[_Want]) -> dict[str, int]:
        lock_wanted = self._store.lock(
            LOCK_NAME, holder=self._own, ttl_s=LOCK_TTL_S, timeout_s=LOCK_WAIT_S
        )
        try:
            async with asyncio.timeout(TURN_S) as self._turn, lock_wanted as lock:
                # After the wait, so that it is of this moment.
                await self._majority.confirm(ANSWER_S)
                return await self._claim(wants, lock)
        except (ClusterError, TimeoutError) as error:
            why = str(error) or "it does not answer"
            raise Unavailable(
                "metadata_unavailable", f"etcd lets nothing be taken over: {why}"
            ) from None
        finally:
            self._turn = None

    async def _claim(self, wants: Sequence[_Want], lock: Lock) -> dict[str, int]:
        """Write down what is taken over, as far as etcd still holds us for the holder."""
        lease = self._lease
        if lease is None:
            raise Unavailable("metadata_unavailable", "etcd has given this node no lease yet")
        found = await self._look_up_all(wants)
        granted: dict[str, int] = {}
        writes: list[Put] = []
        for want, seen in zip(wants, found, strict=True):
            like = want.like
            epoch = granted_epoch(like, want.epoch, seen, own=self._own, token=lock.token)
            if epoch is not None:
                granted[like.agent] = epoch
                claimed = Claimed(self._own, like.revision, epoch, lock.token)
                value = msgspec.json.encode(claimed)
                writes.append(Put(CLAIMS_FOLDER + like.agent, value, lease.id))
        if writes and await self._store.commit(writes, only_if=[lock.guard]) is None:
            raise Unavailable("metadata_unavailable", "etcd gave the lock to another node")
        return granted

    async def _look_up_all(self, wants: Sequence[_Want]) -> list[SeenClaim | None]:
        try:
            async with asyncio.TaskGroup() as tasks:
                looks = [tasks.create_task(self._look_up(want.like.agent)) for want in wants]
        except* MetadataError as group:
            raise group.exceptions[0] from None
        return [look.result() for look in looks]

    async def _look_up(self, agent: str) -> SeenClaim | None:
        item = await self._store.get(CLAIMS_FOLDER + agent)
        claimed = None if item is None else read_claimed(item.value)
        if item is None or claimed is None:
            self._seen.pop(agent, None)
            return None
        now_s = self._loop.time()
        revision, since_s = self._seen.pop(agent, (0, 0.0))
        if revision != item.mod_revision:
            revision, since_s = item.mod_revision, now_s
        self._seen[agent] = (revision, since_s)
        if len(self._seen) > SEEN_MAX:
            del self._seen[next(iter(self._seen))]
        return SeenClaim(
            claimed=claimed,
            is_live=claimed.node == self._own or self._nodes.is_alive(claimed.node),
            age_s=now_s - since_s,
        )

    async def _keep_lease(self) -> None:
        """Hold the lease for claims, for ever; not at all where there is no store."""
        while True:
            try:
                async with self._store.lease(CLAIMS_TTL_S) as lease:
                    self._lease = lease
                    why = await lease.lost()
                _log.info("the claims of this node in etcd are gone: %s", why)
            except MetadataOff:
                return
            except ClusterError as error:
                _log.debug("no lease for claims: %s", error)
            finally:
                self._lease = None
            await asyncio.sleep(LEASE_AGAIN_S)
