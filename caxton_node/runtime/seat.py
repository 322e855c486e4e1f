"""An agent's seat on this node: its mailbox, the version in force, and the turns under way.

The seat outlives versions and restarts: a redeployment swaps the agent that sits in it while
the mailbox stays, so that no message is lost; turns under way end with the version they began.
"""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, ClassVar, Final

import msgspec

from caxton_node.domain.agent import AgentSpec, AgentState, PermissionSettings
from caxton_node.routing.envelope import RETRYING, Envelope
from caxton_node.runtime.agent import Agent
from caxton_node.runtime.mailbox import Mailbox
from caxton_node.runtime.supervision import CrashRecord
from caxton_node.telemetry.spans import Span

__all__ = ["RunningTurn", "Seat", "SeatCounts", "StopReason", "Tenant"]

# Python 3.11 looks a member of an enum up by a function call; here it is asked at every message.
_RUNNING: Final = AgentState.RUNNING


class StopReason(Enum):
    """Why a turn is ended from outside."""

    CANCELLED = "cancelled"
    EXPIRED = "expired"
    TIMED_OUT = "timed_out"


@dataclass(slots=True, eq=False)
class Tenant:
    """One version of an agent, built and ready to take turns."""

    spec: AgentSpec
    agent: Agent
    number: int
    """Of the version, counted by the store."""
    turns_under_way: int = 0
    is_replaced: bool = False
    time_ms: int = field(init=False)
    """How long one turn may take."""

    def __post_init__(self) -> None:
        self.time_ms = int(self.spec.limits.time_s * 1000)


class RunningTurn(msgspec.Struct, eq=False):
    """A turn under way, so that it can be ended from outside."""

    envelope: Envelope
    task: asyncio.Task[None]
    deadline_ms: int
    tenant: Any
    """The version (`Tenant`) that takes it."""
    stop_reason: StopReason | None = None
    """Why it is being ended from outside, if it is."""
    stopped_at: int = 0
    """When it was first told to end, in milliseconds since 1970, UTC."""
    partial: list[str] | None = None
    """Pieces of what there is so far."""
    partial_length: int = 0
    """Characters in `partial`."""
    span: Span | None = None
    """The innermost part of the turn that is under way, where its trace is recorded."""


@dataclass(slots=True)
class SeatCounts:
    """What the agent has done on this node since it was deployed or the node started."""

    finished: int = 0
    failed: int = 0
    busy_ms: int = 0
    """Time spent in turns, added up."""
    last_activity_at: int | None = None


@dataclass(slots=True, eq=False)
class Seat:
    """Where messages for one agent arrive and workers take them. Implements `Inbox`."""

    node: ClassVar[None] = None
    """It is here."""
    tenant: Tenant
    state: AgentState
    deployed_at: int
    spawn: Callable[["Seat"], None]
    """Starts one more worker for this seat."""
    on_cancel: Callable[["Seat", Envelope], None]
    """Acts on a `cancel`."""
    on_late: Callable[["Seat", Envelope], None]
    """Ends a message that was being journaled while the agent was deleted."""
    agent: str = field(init=False)
    """The agent's name."""
    spec: AgentSpec = field(init=False)
    """The definition in force."""
    permissions: PermissionSettings = field(init=False)
    """Whose messages it takes."""
    mailbox: Mailbox = field(init=False)
    reserve: Callable[[bool], bool] = field(init=False)
    """Keeps a slot for a message that is being journaled: the mailbox's own, called directly."""
    unreserve: Callable[[], None] = field(init=False)
    """Gives a slot back."""
    crashes: CrashRecord = field(init=False)
    counts: SeatCounts = field(default_factory=SeatCounts)
    running: dict[str, RunningTurn] = field(default_factory=dict)
    """Turns under way, by conversation."""
    retrying: dict[str, Envelope] = field(default_factory=dict)
    """Messages between two attempts, by conversation."""
    workers: int = 0
    stops: int = 0
    """How often it was stopped: tells an earlier grace period from a later one."""
    is_left: bool = False
    """The agent is on another node by now, or deleted."""
    is_dismissed: bool = False
    """The agent was deleted, or nothing of it is left here; its workers go home."""
    pass_on: Callable[[Sequence[Envelope]], None] | None = None
    """Takes messages to where the agent is now, in order. Set when the seat is left."""
    _sleepers: list["asyncio.Future[None]"] = field(default_factory=list)
    _is_one_coming: bool = False
    """A worker was woken or started and has not looked yet. It calls the next one, if need be."""

    def __post_init__(self) -> None:
        spec = self.tenant.spec
        self.mailbox = Mailbox(spec.limits.mailbox)
        self.reserve = self.mailbox.reserve
        self.unreserve = self.mailbox.unreserve
        self.crashes = CrashRecord(spec.supervision)
        self.take_in(self.tenant)

    def take_in(self, tenant: Tenant) -> None:
        """Put a version in force. What is asked at every message is kept at hand."""
        self.tenant = tenant
        self.spec = tenant.spec
        self.agent = tenant.spec.name
        self.permissions = tenant.spec.permissions
        self.mailbox.capacity = tenant.spec.limits.mailbox
        self.crashes.settings = tenant.spec.supervision
        self.crashes.clear()

    # As routing sees it.

    @property
    def is_running(self) -> bool:
        """Whether it takes turns now."""
        return self.state is _RUNNING

    @property
    def load(self) -> int:
        """Messages waiting and turns under way."""
        return len(self.mailbox) + len(self.running)

    def put(self, envelope: Envelope) -> None:
        """Take a message and wake a worker for it."""
        if self.is_left and self._is_late(envelope):
            return
        self.mailbox.put(envelope)
        if not self._is_one_coming:
            self.wake()

    def _is_late(self, envelope: Envelope) -> bool:
        """Send on what comes after the agent is gone, unless earlier ones are still here."""
        if self.pass_on is not None and self.holds(envelope.message.conversation_id):
            return False
        self.mailbox.unreserve()
        if self.pass_on is not None:
            self.pass_on((envelope,))
        else:
            self.on_late(self, envelope)
        return True

    def holds(self, conversation_id: str) -> bool:
        """Return whether messages of a conversation wait here, or a turn of it runs."""
        return self.mailbox.holds(conversation_id)

    def leave(self, pass_on: Callable[[Sequence[Envelope]], None]) -> None:
        """Leave the agent to another node: what was begun ends here, the rest is passed on.

        A conversation stays closed until what was begun of it is over; what waits behind that
        goes then. So no turn of it is taken elsewhere while one runs here.
        """
        self.is_left = True
        self.pass_on = pass_on
        self.pass_on_rest()

    def pass_on_rest(self) -> None:
        """Pass on what waits, was not begun, and has nothing of its conversation before it."""
        assert self.pass_on is not None, "it was left"
        ending: list[Envelope] = []
        moving: list[Envelope] = []
        # Of an agent that takes no turns nothing ends here but what nobody else may look at.
        is_active = self.state is _RUNNING
        while (envelope := self.mailbox.take()) is not None:
            is_begun = envelope.attempts or envelope.is_recovered
            if envelope.begun_by is not None or (is_begun and is_active):
                ending.append(envelope)
            else:
                moving.append(envelope)
                self.mailbox.release(envelope.message.conversation_id)
        for envelope in ending:
            self.mailbox.put_back(envelope)
        if ending:
            self.state = _RUNNING
            self.wake()
        if moving:
            moving.sort(key=lambda one: one.seq)
            self.pass_on(moving)

    def discard(self, envelope: Envelope) -> None:
        """Let go of a message that ends before its turn, or between two attempts."""
        conversation_id = envelope.message.conversation_id
        if envelope.phase == RETRYING:
            del self.retrying[conversation_id]
            self.mailbox.release(conversation_id)
            self.wake()
        else:
            self.mailbox.discard(envelope)

    def interrupt(self, envelope: Envelope) -> None:
        """Take a `cancel`: it does not queue behind what it calls off."""
        self.on_cancel(self, envelope)

    # As workers see it.

    def wake(self) -> None:
        """Make sure that somebody comes for what is ready, within the agent's concurrency."""
        if self._is_one_coming or self.state is not _RUNNING or not self.mailbox.ready:
            return
        while self._sleepers:
            sleeper = self._sleepers.pop()
            if not sleeper.done():
                sleeper.set_result(None)
                self._is_one_coming = True
                return
        if self.workers < self.spec.limits.concurrency:
            self._is_one_coming = True
            self.spawn(self)

    def wake_all(self) -> None:
        """Wake every sleeping worker: there is news for all."""
        while self._sleepers:
            sleeper = self._sleepers.pop()
            if not sleeper.done():
                sleeper.set_result(None)

    def next(self) -> Envelope | None:
        """Return the next message for a worker, or None when there is nothing to do.

        When more is ready, somebody else comes for that: the turn to be taken may be a long one.
        """
        if self.state is not _RUNNING:
            return None
        if self.pass_on is not None:
            self.pass_on_rest()
        envelope = self.mailbox.take()
        if self.mailbox.ready and not self._is_one_coming:
            self.wake()
        return envelope

    def note_arrival(self) -> None:
        """Take note that a worker that was woken or started is here and looks for itself."""
        self._is_one_coming = False

    def sleeper(self) -> "asyncio.Future[None]":
        """Return what a worker awaits that has nothing to do; `wake` and `wake_all` end it."""
        sleeper = asyncio.get_running_loop().create_future()
        self._sleepers.append(sleeper)
        return sleeper

    @property
    def has_sleeper(self) -> bool:
        """Whether a worker is waiting already; one is enough."""
        return bool(self._sleepers)
