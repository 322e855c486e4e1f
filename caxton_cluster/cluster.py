"""A member of a ring, for an application: join, leave, who is there, what changed.

    async with Cluster(ClusterSettings(name="n1", bind_port=7946)) as cluster:
        await cluster.join(["seed.example:7946"])
        async for event in cluster.subscribe():
            ...

The façade puts a machine, a driver and an overlay together and owns their tasks. All of its
methods belong to the event loop that opened it.
"""

import asyncio
import secrets
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from types import TracebackType
from typing import Final, Self, assert_never

from caxton_cluster.config import SwimConfig, lan
from caxton_cluster.driver import Driver
from caxton_cluster.errors import (
    InvalidSetting,
    JoinFailed,
    KeyRejected,
    MetadataTooLarge,
    NotRunning,
)
from caxton_cluster.key_keeper import KeyKeeper
from caxton_cluster.overlay import Action, Overlay, Publish, Spread, Tell
from caxton_cluster.peerfile import read_peers, write_peers
from caxton_cluster.seeds import Seed, parse_seed, resolve
from caxton_cluster.subscription import Subscription
from caxton_cluster.swim.events import (
    Event,
    LeaveFinished,
    RecordRefused,
    SeedAnswered,
    SeedSilent,
    UserMessage,
    UserState,
)
from caxton_cluster.swim.machine import Machine
from caxton_cluster.swim.precedence import first_incarnation
from caxton_cluster.swim.secrecy import KeyRing
from caxton_cluster.swim.statistics import Statistics
from caxton_cluster.swim.wire.wire import Wire
from caxton_cluster.transport.sockets import Sockets, open_sockets, outward_host
from caxton_cluster.types import (
    NAME_SIZE_BYTES_MAX,
    Address,
    Member,
    MemberState,
    Versions,
)

__all__ = ["Cluster", "ClusterSettings", "OverlayFactory"]

JOIN_BACKOFF_FIRST_S: Final = 0.5
JOIN_BACKOFF_MAX_S: Final = 15.0
"""Waits between attempts to join double from the first to the longest."""

HOUSEKEEPING_INTERVAL_S: Final = 30.0
"""How often seeds are resolved anew, the peer book is written, and what could not be is again."""

LEAVE_LINGER_S: Final = 1.0
"""How long we keep answering after a goodbye, so that nobody suspects us meanwhile."""

OverlayFactory = Callable[[str, KeyRing | None], Overlay]
"""Makes the overlay of a member from its name and its key ring."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ClusterSettings:
    """One member's place in its ring.

    Raises:
        InvalidSetting: The name is empty or too long.
    """

    name: str
    """Unique in the ring and the same after a restart."""
    bind_host: str = "127.0.0.1"
    """Numeric address to listen on, UDP and TCP; `0.0.0.0` for all of IPv4, `::` for all of IPv6.
    A ring speaks one of the two."""
    bind_port: int = 7946
    """0 takes any free port."""
    advertise_host: str | None = None
    """Numeric address by which peers reach us, when it is not the one we listen on."""
    advertise_port: int | None = None
    label: str = ""
    """The cluster's name. Packets with another one are ignored."""
    keys: tuple[bytes, ...] = ()
    """Encryption keys of 16, 24 or 32 bytes, the one to send with first. None: plaintext."""
    meta: bytes = b""
    """Up to 512 bytes that everyone gets to see beside our name."""
    peers_path: Path | None = None
    """File that remembers the ring over a restart."""
    keys_path: Path | None = None
    """File that remembers the keys that the ring was rotated to. It counts for as long as `keys` is
    what it was before."""
    compresses: bool = False
    """Whether to compress what is sent; what comes is decompressed in any case."""
    is_digest_reader: Callable[[Member], bool] = lambda _: True
    """Whether a member reads the digest on our acks (`Cluster.set_digest`). Serf agents do not."""
    swim: SwimConfig = field(default_factory=lan)

    def __post_init__(self) -> None:
        if not 0 < len(self.name.encode()) <= NAME_SIZE_BYTES_MAX:
            raise InvalidSetting("name", f"must have 1 to {NAME_SIZE_BYTES_MAX} bytes")


class Cluster:
    """A running member. Use it as an async context manager.

    Args:
        settings: Who and where we are.
        overlay: Makes the protocol that rides on ours, such as `SerfOverlay`.
    """

    def __init__(self, settings: ClusterSettings, *, overlay: OverlayFactory | None = None) -> None:
        self.settings = settings
        self._key_ring = KeyRing(settings.keys, secrets.token_bytes) if settings.keys else None
        self.overlay = overlay(settings.name, self._key_ring) if overlay else None
        self._random = Random(secrets.randbits(64))  # noqa: S311 - for timing, not for secrets
        self._tasks = asyncio.TaskGroup()
        self._running: list[asyncio.Task[None]] = []
        self._machine: Machine | None = None
        self._driver: Driver | None = None
        self._sockets: Sockets | None = None
        self._seeds: tuple[Seed, ...] = ()
        self._subscriptions: list[Subscription] = []
        self._keeper = KeyKeeper(self._key_ring, settings.keys_path) if settings.keys_path else None
        self.problems: list[str] = []
        """What went wrong without stopping us: an unreadable file, keys that contradict each other,
        members refused; the last 32, the same one in a row once."""

    # Life.

    async def __aenter__(self) -> Self:
        if self._keeper is not None:
            for problem in await self._keeper.recall():
                self._note_problem(problem)
        sockets = await open_sockets(self.settings.bind_host, self.settings.bind_port, self._accept)
        try:
            self._machine = self._new_machine(sockets, self.settings.meta)
            await self._recall_peers()
            await self._tasks.__aenter__()
        except BaseException:
            sockets.close()
            raise
        self._sockets = sockets
        self._driver = Driver(self._machine, self._tasks, self._publish)
        self._driver.attach(sockets)
        self._running = [
            self._tasks.create_task(self._driver.run(), name="swim-driver"),
            self._tasks.create_task(self._keep_house(), name="swim-housekeeping"),
        ]
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        assert self._sockets is not None, "entered before"
        assert self._driver is not None, "entered before"
        self._sockets.close()
        self._sockets = None
        self._driver.close()
        for task in self._running:
            task.cancel()
        for subscription in self._subscriptions:
            subscription.close()
        try:
            await self._tasks.__aexit__(kind, error, traceback)
        finally:
            await self.keep_keys()
            with suppress(OSError):
                await self._save_peers()

    def _new_machine(self, sockets: Sockets, meta: bytes, *, earlier: int = 0) -> Machine:
        settings, overlay = self.settings, self.overlay
        host = settings.advertise_host or outward_host(sockets.host)
        address = Address.of(host, settings.advertise_port or sockets.port)
        own = Member(
            name=settings.name,
            address=address,
            incarnation=first_incarnation(time.time(), earlier=earlier),
            meta=meta,
            versions=overlay.versions if overlay else Versions(),
        )
        wire = Wire(label=settings.label, key_ring=self._key_ring, compresses=settings.compresses)
        now = asyncio.get_running_loop().time()
        return Machine(
            settings.swim,
            own,
            random=self._random,
            now=now,
            wire=wire,
            user_state=overlay.user_state if overlay else lambda _: b"",
            is_digest_reader=settings.is_digest_reader,
            names_source=address != Address.of(sockets.host, sockets.port),
        )

    def _come_back(self) -> None:
        """Begin another life after a goodbye; whoever heard it sees a newcomer of our name."""
        machine, driver = self._live
        assert self._sockets is not None, "it is live"
        # Whoever still waits for the end of the earlier life has it now.
        self._tell_subscribers(LeaveFinished(is_announced=False))
        own = machine.table.own
        self._machine = self._new_machine(self._sockets, own.meta, earlier=own.incarnation)
        self._machine.inherit(machine)
        driver.machine = self._machine

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        # Nobody serves before the driver is there, nor a connection that came as we closed.
        if self._driver is None or self._sockets is None:
            writer.transport.abort()
        else:
            self._driver.accept(reader, writer)

    @property
    def _live(self) -> tuple[Machine, Driver]:
        if self._machine is None or self._driver is None or self._sockets is None:
            raise NotRunning("open the cluster with `async with` first")
        return self._machine, self._driver

    # Who is there.

    @property
    def address(self) -> Address:
        """Where peers reach us."""
        return self._live[0].table.own.address

    @property
    def own(self) -> Member:
        """Our own row."""
        return self._live[0].table.own

    def members(self) -> tuple[Member, ...]:
        """Return everyone known, ourselves included and the gone for a while too, by name."""
        return tuple(sorted(self._live[0].table, key=lambda member: member.name))

    def live_members(self) -> tuple[Member, ...]:
        """Return those who are alive or at most suspected, ourselves included, by name."""
        return tuple(member for member in self.members() if not member.state.is_gone)

    def round_trip_s(self, name: str) -> float | None:
        """Return the last direct round trip to a member in seconds, or None."""
        return self._live[0].round_trip_s(name)

    @property
    def has_left(self) -> bool:
        """Whether we said goodbye and did not join again."""
        return self._live[0].has_said_goodbye

    @property
    def local_health(self) -> int:
        """How much we doubt ourselves: 0 is well, 7 the worst."""
        return self._live[0].awareness.score

    @property
    def statistics(self) -> Statistics:
        """Counters since the start."""
        return self._live[0].statistics

    @property
    def datagrams_dropped_count(self) -> int:
        """Datagrams dropped because we did not keep up."""
        return 0 if self._sockets is None else self._sockets.inbox.dropped_count

    def subscribe(self) -> Subscription:
        """Return the events from now on; close it, or use it as a context manager."""
        self._subscriptions = [one for one in self._subscriptions if not one.is_closed]
        subscription = Subscription()
        self._subscriptions.append(subscription)
        return subscription

    # Joining and leaving.

    async def join(self, seeds: Iterable[str], *, timeout_s: float | None = None) -> Address:
        """Join the ring of whichever seed answers first.

        Tries until one does, with growing waits, resolving names anew each time. After `leave`
        this is the way back; a `leave` meanwhile ends the attempts.

        Args:
            seeds: `host`, `host:port` or `[v6]:port`; names may have several addresses.
            timeout_s: When to give up, in seconds; None never does.

        Returns:
            The address that answered.

        Raises:
            JoinFailed: None did in time, or we said goodbye meanwhile.
            InvalidSetting: A seed is no host and port, or there is none.
        """
        self._seeds = tuple(parse_seed(text) for text in seeds)
        if not self._seeds:
            raise InvalidSetting("seeds", "name at least one")
        if self._live[0].has_said_goodbye:
            self._come_back()
        machine = self._live[0]
        attempts = 0
        reasons: list[str] = []
        wait_s = JOIN_BACKOFF_FIRST_S
        try:
            async with asyncio.timeout(timeout_s):
                while not machine.has_said_goodbye:
                    attempts += 1
                    reasons.clear()
                    answered = await self._try_to_join(machine, reasons)
                    if answered is not None:
                        return answered
                    await asyncio.sleep(wait_s * (0.5 + self._random.random()))
                    wait_s = min(2 * wait_s, JOIN_BACKOFF_MAX_S)
        except TimeoutError:
            raise JoinFailed(attempts, tuple(reasons)) from None
        raise JoinFailed(attempts, ("we said goodbye meanwhile",))

    async def _try_to_join(self, machine: Machine, reasons: list[str]) -> Address | None:
        # From before the first wait, so that a goodbye during any of them is not missed.
        with self.subscribe() as events:
            addresses, problems = await resolve(self._seeds)
            reasons += problems
            others = [address for address in addresses if address != machine.table.own.address]
            if not others:
                reasons.append("the seeds stand for nobody but us")
                return None
            machine.book.set_seeds(others)
            driver = self._live[1]
            machine.join(others, driver.now())
            driver.settle()
            pending = set(others)
            async for event in events:
                if machine.has_said_goodbye:
                    return None
                match event:
                    case SeedAnswered(address) if address in pending:
                        self.carry_out(self.overlay.joined() if self.overlay else [])
                        return address
                    case SeedSilent(address, reason) if address in pending:
                        pending.discard(address)
                        reasons.append(f"{address}: {reason}")
                        if not pending:
                            return None
        return None

    async def leave(self) -> bool:
        """Say goodbye, and keep answering until it had time to spread.

        Returns:
            Whether it was sent as often as it should be; False if nobody could be told in time,
            or if we said it before.
        """
        machine, driver = self._live
        if machine.has_said_goodbye:
            return False
        is_announced = False
        with self.subscribe() as events:
            if self.overlay is not None:
                self.carry_out(self.overlay.leaving())
            machine.leave(driver.now())
            driver.settle()
            async for event in events:
                if isinstance(event, LeaveFinished):
                    is_announced = event.is_announced
                    break
        if machine.table.has_peers:
            await asyncio.sleep(LEAVE_LINGER_S)
        return is_announced

    # What we say.

    def set_metadata(self, meta: bytes) -> None:
        """Change our metadata everywhere.

        Raises:
            MetadataTooLarge: It has more than 512 bytes.
        """
        machine, driver = self._live
        machine.update_meta(meta, driver.now())
        driver.settle()

    def set_digest(self, digest: bytes) -> None:
        """Let every peer hear `digest` from now on, as `DigestHeard` of its subscribers.

        It rides on acks and exchanges of tables, so that each live peer hears the present one
        about once a round of probes; nothing is sent because of it. Set it as often as you like.

        Raises:
            MetadataTooLarge: It has more than 512 bytes.
        """
        self._live[0].digests.set(digest)

    def carry_out(self, actions: Iterable[Action]) -> None:
        """Do what the overlay asks, such as the result of `SerfOverlay.send_event`.

        Raises:
            MetadataTooLarge: A message of theirs does not fit a datagram.
        """
        machine, driver = self._live
        for action in actions:
            match action:
                case Spread(payload):
                    machine.broadcast(payload, driver.now())
                case Tell(payload, target):
                    machine.send_user(payload, target, driver.now())
                case Publish(event):
                    self._tell_subscribers(event)
                case _:
                    assert_never(action)
        driver.settle()

    def _react(self, actions: Iterable[Action]) -> None:
        """Do what the overlay wants done about something that it heard."""
        for action in actions:
            try:
                self.carry_out((action,))
            except MetadataTooLarge as error:
                # It came by stream, or from somebody whose datagrams have more room than ours.
                self._note_problem(f"a message was not passed on: {error}")

    # Keys.

    def keys(self) -> tuple[bytes, ...]:
        """Return the encryption keys, the one in use first; none when plaintext is spoken."""
        return self._key_ring.keys if self._key_ring else ()

    def install_key(self, key: bytes) -> None:
        """Accept `key` from others; the first step of a rotation, on every member.

        Raises:
            KeyRejected: Its size is wrong, the ring is full, or this member speaks plaintext.
        """
        self._keys_in_use().install(key)
        self._note_keys()

    def use_key(self, key: bytes) -> None:
        """Encrypt with an installed key; the second step, once every member has it.

        Raises:
            KeyRejected: It is not installed.
        """
        self._keys_in_use().use(key)
        self._note_keys()

    def remove_key(self, key: bytes) -> None:
        """Forget a key; the last step, once nobody uses it.

        Raises:
            KeyRejected: It is in use.
        """
        self._keys_in_use().remove(key)
        self._note_keys()

    async def keep_keys(self) -> None:
        """Return once the keys are on disk as they are now, if they are to be kept at all.

        They get there by themselves too. A failure is one of our `problems`: the ring goes on, and
        after a restart we have the keys from before.
        """
        problem = await self._keeper.keep() if self._keeper is not None else None
        if problem is not None:
            self._note_problem(problem)

    def _note_keys(self) -> None:
        if self._keeper is not None and self._sockets is not None:
            self._tasks.create_task(self.keep_keys(), name="swim-keys")

    def _keys_in_use(self) -> KeyRing:
        if self._key_ring is None:
            raise KeyRejected("this member speaks plaintext; restart it with a key")
        return self._key_ring

    # Behind the scenes.

    def _publish(self, event: Event) -> None:
        if isinstance(event, RecordRefused):
            # A ring that lets us in while we let nobody in looks like an empty one.
            self._note_problem(f"member {event.name} was refused: {event.reason}")
        if self.overlay is None or not isinstance(event, UserMessage | UserState):
            self._tell_subscribers(event)
        if self.overlay is not None and self._sockets is not None:
            actions = self.overlay.hear(event)
            if self._keeper is not None and self._keeper.has_news:
                self._tasks.create_task(self._carry_out_later(actions), name="swim-keys")
            else:
                self._react(actions)

    async def _carry_out_later(self, actions: list[Action]) -> None:
        # Whoever asked us to change keys is told that we did when a crash cannot undo it.
        await self.keep_keys()
        if self._sockets is not None:
            self._react(actions)

    def _tell_subscribers(self, event: object) -> None:
        for subscription in self._subscriptions:
            subscription.put(event)

    async def _keep_house(self) -> None:
        while True:
            await asyncio.sleep(HOUSEKEEPING_INTERVAL_S)
            machine, _ = self._live
            if self._seeds:
                addresses, _ = await resolve(self._seeds)
                # A name service that is down for a while must not make us forget where to look.
                if addresses:
                    machine.book.set_seeds(addresses)
            await self.keep_keys()
            try:
                await self._save_peers()
            except OSError as error:
                self._note_problem(f"the peer book cannot be written: {error}")

    def _note_problem(self, problem: str) -> None:
        if problem not in self.problems[-1:]:
            self.problems = [*self.problems[-31:], problem]

    async def _recall_peers(self) -> None:
        if self.settings.peers_path is None or self._machine is None:
            return
        peers, problem = await asyncio.to_thread(read_peers, self.settings.peers_path)
        if problem is not None:
            self._note_problem(problem)
        for name, address in peers.items():
            if name != self.settings.name:
                self._machine.book.remember(name, address)

    async def _save_peers(self) -> None:
        if self.settings.peers_path is None or self._machine is None:
            return
        for member in self._machine.table:
            if member.state != MemberState.LEFT and member.name != self.settings.name:
                self._machine.book.remember(member.name, member.address)
        peers = self._machine.book.entries
        await asyncio.to_thread(write_peers, self.settings.peers_path, peers)
