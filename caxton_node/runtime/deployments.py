"""Definitions come into force: deployed, kept as versions, rolled back, restarted, deleted.

A definition is parsed and built before anything changes, written to the store before it is in
force, and swapped in between two turns. The seat and its mailbox stay, so no message is lost.
"""

import asyncio
import functools
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from caxton_node.agentfile import AgentFormat, ParsedAgent, parse_agent, source_digest
from caxton_node.domain.agent import AgentSpec, AgentState
from caxton_node.domain.delivery import DeadReason
from caxton_node.domain.errors import CaxtonError, Conflict, NotFound, Place, Rejected
from caxton_node.routing.envelope import Envelope
from caxton_node.runtime.agent import Agent
from caxton_node.runtime.context import Speech
from caxton_node.runtime.roster import Roster
from caxton_node.runtime.seat import Seat, Tenant
from caxton_node.runtime.supervisor import Supervisor
from caxton_node.store.protocol import AgentRecord, AgentVersion
from caxton_node.tools.registry import ToolRegistry

__all__ = ["Deployed", "Deployments"]

_log = logging.getLogger("caxton.runtime")


@dataclass(frozen=True, slots=True)
class Deployed:
    """What a deployment came to."""

    agent: str
    number: int
    """Of the version now in force."""
    version: str
    is_new: bool
    """The first version of this agent."""
    is_changed: bool
    """False when this very definition was in force already."""
    warnings: tuple[Place, ...]


class Deployments:
    """Changes who sits on the roster. One change at a time."""

    def __init__(
        self,
        *,
        roster: Roster,
        supervisor: Supervisor,
        speech: Speech,
        build: Callable[[AgentSpec], Agent],
        environment: Mapping[str, str],
        tools: ToolRegistry,
    ) -> None:
        self._roster = roster
        self._supervisor = supervisor
        self._speech = speech
        self._store = speech.store
        self._clock = speech.clock
        self._build = build
        self._environment = environment
        self._tools = tools
        self._changing = asyncio.Lock()
        supervisor.on_failed = self._note_failed

    def parse(self, source: str | bytes, format: AgentFormat, file: str | None) -> ParsedAgent:  # noqa: A002 - the word users know
        """Check a definition and return what it says.

        Raises:
            Rejected: `invalid_agent`, with every problem and its place.
        """
        parsed = parse_agent(
            source,
            format=format,
            file=file,
            environment=self._environment,
            known_tools=self._tools.names,
        )
        places = self._tools.config_places(parsed.spec.tool_config)
        if places:
            raise Rejected(
                "invalid_agent", "The configuration of its tools is wrong", places=places
            )
        return parsed

    async def deploy(
        self,
        source: str,
        format: AgentFormat,  # noqa: A002 - the word users know
        *,
        file: str | None = None,
        must_be: str | None = None,
    ) -> Deployed:
        """Bring a definition into force.

        Args:
            source: The definition as written.
            format: Of `source`.
            file: What errors call the source.
            must_be: The name that the definition must have, when it replaces a given agent.

        Raises:
            Rejected: `invalid_agent`.
            Denied: `denied`, a Python class that is not allowed.
            Conflict: `state_conflict`, when the name is not `must_be`.
        """
        parsed = self.parse(source, format, file)
        spec = parsed.spec
        if must_be is not None and spec.name != must_be:
            raise Conflict(
                "state_conflict",
                f"the definition is of {spec.name!r}, not of {must_be!r}",
                hint="An agent keeps its name; deploy a new agent under the new one.",
            )
        async with self._changing:
            seat = self._roster.find(spec.name)
            versions = await self._store.agent_versions(spec.name)
            digest = source_digest(source)
            if (
                seat is not None
                and versions[seat.tenant.number - 1].digest == digest
                and seat.state is AgentState.RUNNING
            ):
                return Deployed(
                    spec.name, seat.tenant.number, spec.version, False, False, parsed.warnings
                )
            agent = self._build(spec)
            now = self._clock.now_ms()
            version = AgentVersion(
                agent=spec.name,
                number=len(versions) + 1,
                version=spec.version,
                source=source,
                format=format.value,
                digest=digest,
                deployed_at=now,
            )
            await self._record(spec.name, AgentState.RUNNING, version.number, version)
            self._seat(spec, agent, version.number, AgentState.RUNNING)
            self._show("agent.deployed", spec.name, version=spec.version, number=version.number)
            return Deployed(
                spec.name, version.number, spec.version, seat is None, True, parsed.warnings
            )

    def _seat(self, spec: AgentSpec, agent: Agent, number: int, state: AgentState) -> Seat:
        """Put a built version in force, in a new seat or in place of the one before."""
        tenant = Tenant(spec, agent, number)
        seat = self._roster.find(spec.name)
        if seat is None:
            seat = Seat(
                tenant=tenant,
                state=state,
                deployed_at=self._clock.now_ms(),
                spawn=self._supervisor.spawn,
                on_cancel=self._supervisor.cancel,
                on_late=self._end_late,
            )
        else:
            self._supervisor.replace(seat, tenant)
            seat.state = state
        self._roster.put(seat)
        seat.wake()
        return seat

    async def restore(self) -> int:
        """Seat every agent that was deployed before the node stopped.

        A definition that cannot be built any more (a tool is gone, a variable is unset) leaves
        its agent out with an error in the log; its messages become dead letters that can be
        retried once it is mended.

        Returns:
            How many agents are seated.
        """
        for record in await self._store.agents():
            versions = await self._store.agent_versions(record.name)
            if not 1 <= record.current <= len(versions):
                _log.error("agent %s has no version %d", record.name, record.current)
                continue
            version = versions[record.current - 1]
            try:
                parsed = self.parse(version.source, AgentFormat(version.format), None)
                agent = self._build(parsed.spec)
            except CaxtonError as problem:
                _log.error("agent %s cannot be restored: %s", record.name, problem)
                continue
            self._seat(parsed.spec, agent, record.current, record.state)
        return len(self._roster)

    async def versions(self, name: str) -> Sequence[AgentVersion]:
        """Return an agent's versions, oldest first.

        Raises:
            NotFound: `agent_not_found`.
        """
        self._roster.seat(name)
        return await self._store.agent_versions(name)

    async def rollback(self, name: str, number: int | None = None) -> Deployed:
        """Bring an earlier version into force again, the one before by default.

        Raises:
            NotFound: `agent_not_found`, `version_not_found`.
        """
        async with self._changing:
            seat = self._roster.seat(name)
            wanted = seat.tenant.number - 1 if number is None else number
            versions = await self._store.agent_versions(name)
            if not 1 <= wanted <= len(versions):
                raise NotFound(
                    "version_not_found",
                    f"{name!r} has no version number {wanted}",
                    hint=f"It has the numbers 1 to {len(versions)}.",
                )
            version = versions[wanted - 1]
            parsed = self.parse(version.source, AgentFormat(version.format), None)
            agent = self._build(parsed.spec)
            await self._record(name, AgentState.RUNNING, wanted)
            self._seat(parsed.spec, agent, wanted, AgentState.RUNNING)
            self._show("agent.rolled_back", name, version=version.version, number=wanted)
            return Deployed(name, wanted, version.version, False, True, parsed.warnings)

    async def change_state(self, name: str, to: AgentState, *, grace_s: float = 0.0) -> Seat:
        """Suspend, resume, stop or restart an agent.

        Args:
            name: The agent's.
            to: `running` from `running` is a restart: the version in force is built anew.
            grace_s: When stopping: how long turns under way may take before they are
                called off.

        Raises:
            NotFound: `agent_not_found`.
            Conflict: `state_conflict`.
        """
        async with self._changing:
            seat = self._roster.seat(name)
            self._roster.check_transition(seat, to)
            rebuilt = None
            if to is AgentState.RUNNING and seat.state is not AgentState.SUSPENDED:
                rebuilt = self._build(seat.spec)
            await self._record(name, to, seat.tenant.number)
            if rebuilt is not None:
                seat.crashes.clear()
                self._seat(seat.spec, rebuilt, seat.tenant.number, to)
            seat.state = to
            if to is AgentState.STOPPED:
                seat.stops += 1
                self._clock.call_later(
                    grace_s, functools.partial(self._end_turns, seat, seat.stops)
                )
            seat.wake()
            self._show("agent.state", name, state=to.value)
            return seat

    def _end_turns(self, seat: Seat, stop: int) -> None:
        if seat.state is AgentState.STOPPED and seat.stops == stop:
            self._supervisor.cancel_all(seat)

    async def delete(self, name: str, *, is_forced: bool = False) -> None:
        """Take an agent off the node, with its versions, usage and log.

        What still waits for it becomes dead letters; the senders are told.

        Raises:
            NotFound: `agent_not_found`.
            Conflict: `state_conflict`, when messages wait or turns run and it is not forced.
        """
        async with self._changing:
            seat = self._roster.seat(name)
            if seat.load and not is_forced:
                raise Conflict(
                    "state_conflict",
                    f"{name!r} has {seat.load} messages waiting or in a turn",
                    hint="Wait, or force it: they become dead letters.",
                    facts={"load": seat.load},
                )
            await self._store.delete_agent(name)
            self._roster.remove(name)
            self._supervisor.cancel_all(seat)
            self._supervisor.dismiss(seat)
            for envelope in [*seat.mailbox.waiting(), *seat.retrying.values()]:
                seat.discard(envelope)
                self._end_late(seat, envelope)
            self._show("agent.deleted", name)

    def _end_late(self, seat: Seat, envelope: Envelope) -> None:
        """Give up a message for an agent that was deleted, and tell its sender."""
        gone = NotFound("agent_not_found", f"the agent {seat.agent!r} was deleted")
        reason = f"{DeadReason.AGENT_DELETED}: {seat.agent}"
        self._speech.pipeline.give_up(envelope, gone, reason)

    async def _note_failed(self, seat: Seat) -> None:
        """Write down that an agent was given up, unless it is gone or well again."""
        async with self._changing:
            is_here = self._roster.find(seat.agent) is seat
            if not is_here or seat.state is not AgentState.FAILED:
                return
            try:
                await self._record(seat.agent, AgentState.FAILED, seat.tenant.number)
            except CaxtonError as problem:
                _log.error("that %s failed is not on disk: %s", seat.agent, problem)

    async def _record(
        self, name: str, state: AgentState, number: int, version: AgentVersion | None = None
    ) -> None:
        record = AgentRecord(
            name=name, state=state, current=number, changed_at=self._clock.now_ms()
        )
        await self._store.put_agent(record, version)

    def _show(self, kind: str, agent: str, **data: object) -> None:
        self._speech.events.publish(kind, agent=agent, **data)
