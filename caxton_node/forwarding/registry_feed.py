"""Drives the registry of the cluster: between membership, the links, and the agents of this node.

The registry is a machine without I/O. This is its shell: it carries what goes in and out, keeps
its timer, and runs its pulls. What changed is told on: to those who route, so that what waits for
an agent finds it, and to those who place.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Collection, Coroutine, Iterable
from typing import Any, Final, Protocol

from caxton_cluster.errors import MalformedPacket, RecordInvalid, RegistryFull
from caxton_cluster.registry import (
    AgentRecord,
    Delta,
    Event,
    Owner,
    OwnerAppeared,
    OwnerVanished,
    Pull,
    Registry,
    Superseded,
    decode,
    encode,
)
from caxton_node.domain.errors import CaxtonError
from caxton_node.forwarding.whereabouts import Whereabouts

__all__ = ["OnChanged", "Pulls", "RegistryFeed", "RegistryLinks"]

DIGEST_BYTES_MAX: Final = 480
"""Of a digest that rides on membership, which takes 512."""

BOOTSTRAP_PULLS_MAX: Final = 8
"""Peers that a starting node asks at once for what they run."""

_log = logging.getLogger("caxton.registry")

OnChanged = Callable[[Collection[str], bool], None]
"""Takes the names of agents whose place changed, and whether a whole node came or went."""

_OF_NODES: Final = OwnerAppeared | OwnerVanished


class RegistryLinks(Protocol):
    """Where frames go out. Any may be lost."""

    def broadcast_registry(self, payload: bytes) -> None:
        """Tell every linked node."""
        ...

    def send_registry(self, node: str, payload: bytes) -> bool:
        """Tell one node; False when there is no link now."""
        ...


class Pulls(Protocol):
    """Whom to ask for what was missed."""

    def pull(self, node: str, owner: Owner, after_version: int) -> AsyncIterator[Delta]:
        """Yield what a node has of an owner's records.

        Raises:
            Unavailable: `unreachable`.
        """
        ...


class RegistryFeed:
    """Carries what goes in and out of the registry. All methods belong to the event loop.

    Args:
        registry: The machine.
        links: Where frames go out.
        pulls: Whom to ask for what was missed.
        tasks: Own the pulls.
        set_digest: Lets what we have ride on membership.
    """

    def __init__(
        self,
        registry: Registry,
        *,
        links: RegistryLinks,
        pulls: Pulls,
        tasks: asyncio.TaskGroup,
        set_digest: Callable[[bytes], None] = lambda _digest: None,
    ) -> None:
        self.registry = registry
        self.whereabouts = Whereabouts(registry)
        self._links = links
        self._pulls = pulls
        self._tasks = tasks
        self._set_digest = set_digest
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None
        self._running: set[asyncio.Task[None]] = set()
        self._is_closed = False
        self.generation = 0
        """Grows with every change of who is where: what is worked out from the registry holds for
        one of them."""
        self.on_changed: OnChanged = lambda _agents, _is_node: None
        """Told of every change of who is where. Whoever routes or places sets it."""
        self.on_superseded: Callable[[int], None] = lambda _epoch: None
        """Told that the others know a later life of this node."""
        self.settle()

    def close(self) -> None:
        """Stop the timer and the pulls."""
        self._is_closed = True
        if self._timer is not None:
            self._timer.cancel()
        for task in self._running:
            task.cancel()

    def _now(self) -> float:
        return self._loop.time()

    # In: membership.

    def member_up(self, node: str, epoch: int) -> None:
        """Note that a node is alive, in a life of its process."""
        self.registry.member_up(node, epoch, self._now())
        self.settle()

    def member_suspect(self, node: str) -> None:
        """Note that a node may be gone."""
        self.registry.member_suspect(node)
        self.settle()

    def member_down(self, node: str) -> None:
        """Note that a node is dead or has left."""
        self.registry.member_down(node, self._now())
        self.settle()

    def joined(self) -> None:
        """Note that membership knows who is there."""
        self.registry.joined()
        self.settle()

    def digest_heard(self, node: str, digest: bytes) -> None:
        """Take in what a node has, as it rides on membership."""
        self.receive(node, digest)

    # In: the links.

    def linked(self, node: str) -> None:
        """Note that the link to a node is up."""
        self.registry.connected(node)
        self.settle()

    def receive(self, node: str, payload: bytes) -> None:
        """Take in a frame of a node. One that makes no sense is dropped and logged."""
        try:
            frame = decode(payload)
        except MalformedPacket as problem:
            _log.warning("a frame of %s is dropped: %s", node, problem)
            return
        if isinstance(frame, Delta):
            self.registry.receive_delta(frame, self._now())
        else:
            self.registry.receive_digest(node, frame, self._now())
        self.settle()

    def renew(self, epoch: int) -> None:
        """Begin a later life, so that the others listen again."""
        self.registry.renew(epoch, self._now())
        self.settle()

    # In: our own agents.

    def put(self, record: AgentRecord) -> None:
        """List an agent of ours, or change its record."""
        try:
            self.registry.put(record, self._now())
        except (RecordInvalid, RegistryFull) as problem:
            _log.error("the other nodes do not hear of %s: %s", record.agent, problem)
        self.settle()

    def remove(self, agent: str) -> None:
        """List an agent of ours no longer."""
        self.registry.remove(agent, self._now())
        self.settle()

    def flush(self) -> None:
        """Tell what changed here now, without waiting for more."""
        self.registry.flush()
        self.settle()

    def report_loads(self, loads: Iterable[tuple[str, int]]) -> None:
        """Tell how many messages our agents have waiting or in work."""
        now = self._now()
        for agent, count in loads:
            self.registry.report_load(agent, count, now)
        self.settle()

    # Out.

    def settle(self) -> None:
        """Carry out what the registry wants done and tell what it tells."""
        if self._is_closed:
            return
        for delta in self.registry.take_deltas():
            self._links.broadcast_registry(encode(delta))
        for out in self.registry.take_digests():
            self._links.send_registry(out.peer, encode(out.digest))
        for pull in self.registry.take_pulls():
            self._start(self._run(pull), f"pull of {pull.owner.node} from {pull.peer}")
        events = self.registry.take_events()
        if events:
            self._tell(events)
            self._set_digest(encode(self.registry.digest(DIGEST_BYTES_MAX)))
        self._arm()

    def _arm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._loop.call_at(self.registry.wakeup_at(), self._tick)

    def _tick(self) -> None:
        self.registry.tick(self._now())
        self.settle()

    def _tell(self, events: Collection[Event]) -> None:
        self.generation += 1
        names = self.whereabouts.follow(events)
        for event in events:
            if isinstance(event, Superseded):
                self.on_superseded(event.epoch)
        self.on_changed(names, any(isinstance(one, _OF_NODES) for one in events))

    # Pulls.

    def _start(self, run: Coroutine[Any, Any, None], name: str) -> None:
        task = self._tasks.create_task(run, name=name)
        self._running.add(task)
        task.add_done_callback(self._running.discard)

    async def _run(self, pull: Pull) -> None:
        is_complete = False
        try:
            async for delta in self._pulls.pull(pull.peer, pull.owner, pull.after_version):
                self.registry.receive_chunk(pull.id, delta, self._now())
                self.settle()
            is_complete = True
        except CaxtonError as problem:
            _log.debug("records of %s: %s", pull.owner.node, problem)
        finally:
            self.registry.pull_ended(pull.id, self._now(), is_complete=is_complete)
            self.settle()

    async def ask_all(self, owners: Collection[Owner]) -> int:
        """Ask nodes what they run, each for its own records, without waiting for their digests.

        For a node that starts and must know what others took over, before it has any link.

        Returns:
            How many answered.
        """
        async with asyncio.TaskGroup() as asking:
            answers = [
                asking.create_task(self._ask(owner))
                for owner in sorted(owners)[:BOOTSTRAP_PULLS_MAX]
            ]
        return sum(answer.result() for answer in answers)

    async def _ask(self, owner: Owner) -> bool:
        try:
            async for delta in self._pulls.pull(owner.node, owner, 0):
                self.registry.receive_delta(delta, self._now())
        except CaxtonError as problem:
            _log.debug("records of %s: %s", owner.node, problem)
            return False
        finally:
            self.settle()
        return True
