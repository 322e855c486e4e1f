"""An agent in WebAssembly: a message goes into its sandbox, a reply comes out.

A new version goes on from the state of the one before: turns wait while the old guest gives its
state and the new one takes it, and those that waited go on with the new one. When that fails
anywhere, the old one goes on as if nothing had been.

A guest that was stopped at its limits again and again is put into quarantine: it takes no turns
until it is restarted or another version is deployed.
"""

import asyncio
import functools
import logging
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import msgspec

from caxton_node.domain.agent import AgentSpec
from caxton_node.domain.errors import CaxtonError, Denied, Failed, Rejected, Unavailable
from caxton_node.domain.message import Message
from caxton_node.domain.performatives import Performative
from caxton_node.runtime.agent import Agent, Reply, TurnContext
from caxton_node.runtime.guest_caller import Caller, HostParts
from caxton_node.runtime.guest_calls import counted
from caxton_node.runtime.guest_host import GuestHost
from caxton_node.runtime.guest_state import StateKeeper, forget_state
from caxton_node.runtime.guest_tools import agent_tool_context
from caxton_node.runtime.purse import NewSpending, Purse
from caxton_node.telemetry.spans import Kind
from caxton_node.wasm.box import Box, Snapshot
from caxton_node.wasm.errors import GuestRefused, OverLimit, Trapped, UnfitModule, WorkerLost
from caxton_node.wasm.quarantine import Quarantine

__all__ = ["GuestCrashed", "WasmAgent", "WasmAgentParts", "encode_message"]

HANDOVER_S: Final = 10.0
"""In which turns under way must have ended, so that a new version can go on from the old one."""

DIGEST_SHOWN: Final = 12
"""Digits of a file's digest in a trace."""

_log = logging.getLogger("caxton.wasm")


class GuestCrashed(Exception):
    """The guest broke: its agent's supervision decides."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WasmAgentParts:
    """What the agent is made of."""

    box: Box
    host: GuestHost
    node: HostParts
    new_spending: NewSpending
    folder: Path
    """The agent's own."""
    keeper: StateKeeper


class _Reply(msgspec.Struct):
    content: Any = None
    performative: str | None = None
    metadata: dict[str, Any] | None = None


_REPLY: Final = msgspec.json.Decoder(_Reply)


class WasmAgent:
    """Takes turns in a sandbox.

    Args:
        spec: The manifest.
        parts: What it is made of.
    """

    def __init__(self, spec: AgentSpec, parts: WasmAgentParts) -> None:
        self.spec = spec
        self._parts = parts
        self._quarantine = Quarantine()
        self._successor: Agent | None = None
        self._gate: asyncio.Event | None = None
        """While a new version takes over, turns wait here."""
        self._under_way = 0
        self._idle = asyncio.Event()
        self._idle.set()

    async def handle(self, message: Message, context: TurnContext) -> Any:
        """Take a turn.

        Raises:
            GuestCrashed: The guest broke.
            CaxtonError: It refused or was stopped.
        """
        if self._gate is not None:
            await self._gate.wait()
        if self._successor is not None:
            return await self._successor.handle(message, context)
        if self._quarantine.is_closed:
            raise _quarantined(self.spec.name)
        self._under_way += 1
        self._idle.clear()
        try:
            return await self._turn(message, context)
        finally:
            self._under_way -= 1
            if not self._under_way:
                self._idle.set()

    async def _turn(self, message: Message, context: TurnContext) -> Any:
        spec = self.spec
        facts = {
            "gen_ai.operation.name": "invoke_agent",
            "gen_ai.agent.name": spec.name,
            "gen_ai.agent.version": spec.version,
            "gen_ai.conversation.id": message.conversation_id,
            "caxton.guest.isolation": spec.wasm.isolation.value,
            "caxton.guest.sha256": spec.wasm.sha256[:DIGEST_SHOWN],
        }
        with context.span(f"invoke_agent {spec.name}", Kind.INTERNAL, facts):
            return await self._answered(message, context)

    async def _answered(self, message: Message, context: TurnContext) -> Any:
        answer = functools.partial(self._parts.host.answer, self._caller(message, context))
        try:
            with counted(self._parts.node.counts):
                data = encode_message(message)
                result = await self._parts.box.call("handle_message", data, answer)
        except GuestRefused as error:
            raise _refused(error) from None
        except OverLimit as error:
            self._note_violation(error)
            raise Failed("budget_exhausted", f"the guest was stopped: {error}") from None
        except Trapped as error:
            raise GuestCrashed(str(error)) from None
        except WorkerLost as error:
            raise Unavailable("node_busy", str(error)) from None
        except UnfitModule as error:
            raise Failed("agent_failed", error.detail) from None
        return None if result is None else self._read(result)

    def _read(self, result: bytes) -> Reply:
        try:
            reply = _REPLY.decode(result)
            act = None if reply.performative is None else Performative(reply.performative)
        except (msgspec.DecodeError, ValueError) as error:
            raise Failed("agent_failed", f"the guest's reply is none: {error}") from None
        return Reply(reply.content, act, reply.metadata)

    def _caller(self, message: Message, context: TurnContext) -> Caller:
        node = self._parts.node
        clock_ms = node.clock.now_ms
        return Caller(
            agent=self.spec.name,
            conversation_id=message.conversation_id,
            outbox=context,
            folder=self._parts.folder,
            left_s=lambda: max(0.0, (context.deadline_ms - clock_ms()) / 1000),
            tool_context=agent_tool_context(
                self.spec, message, context, self._parts.folder, clock_ms
            ),
            traceparent=context.traceparent,
            span=context.span,
            purse=Purse(
                self.spec.name,
                message.conversation_id,
                new_spending=self._parts.new_spending,
                pasts=node.pasts,
                store=node.store,
                clock=node.clock,
            ),
        )

    def _note_violation(self, error: OverLimit) -> None:
        self._parts.node.events.publish("guest.stopped", guest=self.spec.name, limit=error.limit)
        if self._quarantine.note(time.monotonic()):
            _log.error("guest %s is in quarantine: it was stopped too often", self.spec.name)
            self._parts.node.events.publish("guest.quarantined", guest=self.spec.name)

    def after_crash(self) -> None:
        """Begin anew: the sandbox has done so already."""

    # Its state, and who goes on from it.

    async def take_over(self, predecessor: Agent) -> None:
        """Go on from what an earlier version knows, and take its turns from now on.

        Raises:
            Failed: `agent_failed`: it cannot. The predecessor goes on.
        """
        if not isinstance(predecessor, WasmAgent):
            return
        try:
            # A guest that cannot even start does not stop the one that runs.
            await self._parts.box.warm()
            started_s = time.perf_counter()
            async with predecessor.paused():
                state = await predecessor.give_state()
                if state is not None:
                    await self._parts.box.warm(state)
                # A version whose successor could not be written down takes over from that.
                self._successor, self._parts.keeper.is_silent = None, False
                predecessor.hand_to(self)
            pause_ms = round((time.perf_counter() - started_s) * 1000, 3)
            self._parts.node.events.publish(
                "guest.handed_over", guest=self.spec.name, pause_ms=pause_ms
            )
        except (GuestRefused, OverLimit, Trapped, WorkerLost, UnfitModule, TimeoutError) as error:
            raise Failed(
                "agent_failed",
                f"the new version cannot go on from the old one: {error}",
                hint="The old version goes on.",
            ) from None

    async def start_beside(self, running: Agent) -> None:
        """Begin as the canary of a version that goes on: with a copy of its state.

        What the canary knows is not kept: promoted, it goes on from what the other one knows.

        Raises:
            Rejected: `invalid_module`.
            Unavailable: `node_busy`.
        """
        self._parts.keeper.is_silent = True
        await self.start()
        if not isinstance(running, WasmAgent):
            return
        try:
            async with running.paused():
                state = await running.give_state()
            if state is not None:
                await self._parts.box.warm(state)
        except (GuestRefused, OverLimit, Trapped, WorkerLost, UnfitModule, TimeoutError) as error:
            raise Rejected(
                "invalid_module", f"the canary cannot go on from the version in force: {error}"
            ) from None

    @property
    def is_quarantined(self) -> bool:
        """Whether it was stopped at its limits too often to be run."""
        return self._quarantine.is_closed

    def paused(self) -> "_Pause":
        """Return a block in which no turn begins; it is entered once none is under way."""
        return _Pause(self)

    async def give_state(self) -> Snapshot | None:
        """Return the guest's state, and keep it; None when it has none."""
        state = await self._parts.box.take_snapshot()
        if state is None:
            return None
        self._parts.keeper.keep(state)
        return Snapshot(state, self.spec.version)

    def hand_to(self, successor: Agent) -> None:
        """Let another one take the turns from now on."""
        self._successor, self._parts.keeper.is_silent = successor, True

    async def start(self) -> None:
        """Start the guest, so that a manifest whose guest cannot start is refused.

        Raises:
            Rejected: `invalid_module`.
        """
        try:
            await self._parts.box.warm()
        except (GuestRefused, OverLimit, Trapped, UnfitModule) as error:
            raise Rejected("invalid_module", f"the guest does not start: {error}") from None
        except WorkerLost as error:
            raise Unavailable("node_busy", str(error)) from None

    async def forget(self) -> None:
        """Forget what the guest kept: the agent is deleted."""
        await forget_state(self._parts.node.kv, self.spec.name)

    async def close(self) -> None:
        """Throw the sandbox away."""
        await self._parts.box.close()


class _Pause:
    """No turn begins as long as the block lasts."""

    def __init__(self, agent: WasmAgent) -> None:
        self._agent = agent

    async def __aenter__(self) -> None:
        agent = self._agent
        agent._gate = asyncio.Event()  # noqa: SLF001 - the agent's own block
        try:
            async with asyncio.timeout(HANDOVER_S):
                await agent._idle.wait()  # noqa: SLF001 - the agent's own block
        except BaseException:
            self._open()
            raise

    async def __aexit__(self, *_: object) -> None:
        self._open()

    def _open(self) -> None:
        gate = self._agent._gate  # noqa: SLF001 - the agent's own block
        self._agent._gate = None  # noqa: SLF001 - the agent's own block
        if gate is not None:
            gate.set()


def encode_message(message: Message) -> bytes:
    """Return a message as a guest gets it: JSON, its content as it came."""
    document: dict[str, Any] = {
        "id": message.id,
        "performative": message.performative.value,
        "sender": message.sender,
        "receiver": message.receiver,
        "conversation_id": message.conversation_id,
        "created_at": message.created_at,
        "content": msgspec.Raw(message.content),
    }
    for name in ("reply_with", "in_reply_to", "protocol", "language", "ontology", "reply_by"):
        value = getattr(message, name)
        if value is not None:
            document[name] = value
    if message.metadata:
        document["metadata"] = message.metadata
    return msgspec.json.encode(document)


def _refused(error: GuestRefused) -> CaxtonError:
    match error.code:
        case "denied":
            return Denied("denied", str(error))
        case "unavailable":
            return Unavailable("agent_busy", str(error))
        case "invalid_arguments" | "not_found":
            return Rejected("not_understood", str(error))
        case _:
            return Failed("agent_failed", str(error))


def _quarantined(name: str) -> Denied:
    return Denied(
        "denied",
        f"{name!r} is in quarantine: it was stopped at its limits too often",
        hint=f"`caxton agent restart {name}` gives it another chance.",
    )
