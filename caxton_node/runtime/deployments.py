"""Definitions come into force: deployed, kept as versions, rolled back, restarted, deleted.

A definition is parsed and built before anything changes, written to the store before it is in
force, and swapped in between two turns. The seat and its mailbox stay, so no message is lost.
"""

import asyncio
import functools
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from caxton_node.agentfile import AgentFormat, ParsedAgent, parse_agent, source_digest
from caxton_node.domain.agent import AgentSpec, AgentState
from caxton_node.domain.delivery import DeadReason
from caxton_node.domain.errors import (
    CaxtonError,
    Conflict,
    NotFound,
    Place,
    Unavailable,
)
from caxton_node.routing.envelope import Envelope
from caxton_node.runtime.agent import Agent
from caxton_node.runtime.claim import Alone, Claim, Fellows
from caxton_node.runtime.context import Speech
from caxton_node.runtime.roster import Roster
from caxton_node.runtime.seat import Seat, Tenant
from caxton_node.runtime.succession import begin, check_rights, forget, give_back
from caxton_node.runtime.supervisor import Supervisor
from caxton_node.store.protocol import AgentRecord, AgentVersion, Definition
from caxton_node.tools.registry import ToolRegistry

__all__ = ["Deployed", "Deployments", "version_numbered"]

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
    is_canary: bool = False
    """It takes a share of new conversations, and is not in force yet."""


@dataclass(frozen=True, slots=True)
class _Entry:
    """What is written down of a version that comes into force."""

    state: AgentState
    number: int
    claim: Claim
    version: AgentVersion | None = None
    """None where it is kept already."""


def version_numbered(versions: Sequence[AgentVersion], agent: str, number: int) -> AgentVersion:
    """Return the version of a number.

    Numbers may have gaps: an agent that came from another node brings the version in force and
    leaves those before behind.

    Raises:
        NotFound: `version_not_found`.
    """
    for version in versions:
        if version.number == number:
            return version
    numbers = ", ".join(str(version.number) for version in versions[-20:])
    raise NotFound(
        "version_not_found",
        f"{agent!r} has no version number {number}",
        hint=f"This node knows the numbers {numbers}." if numbers else None,
    )


class Deployments:
    """Changes who sits on the roster. One change at a time."""

    def __init__(
        self,
        *,
        roster: Roster,
        supervisor: Supervisor,
        speech: Speech,
        build: Callable[[AgentSpec], Awaitable[Agent]],
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
        self._claims: dict[str, Claim] = {}
        self.fellows: Fellows = Alone()
        """The other nodes. Whoever connects the node to a ring sets it."""
        supervisor.on_failed = self._note_failed

    def parse(self, source: str | bytes, format: AgentFormat, file: str | None) -> ParsedAgent:  # noqa: A002 - the word users know
        """Check a definition and return what it says.

        Raises:
            Rejected: `invalid_agent`, with every problem and its place.
        """
        return parse_agent(
            source,
            format=format,
            file=file,
            environment=self._environment,
            known_tools=self._tools.names,
            tool_mistakes=self._tools.config_mistakes,
        )

    async def deploy(
        self,
        source: str,
        format: AgentFormat,  # noqa: A002 - the word users know
        *,
        file: str | None = None,
        must_be: str | None = None,
        replicas: int | None = None,
        placement: str | None = None,
        has_approval: bool = False,
        successor: Agent | None = None,
    ) -> Deployed:
        """Bring a definition into force.

        Args:
            source: The definition as written.
            format: Of `source`.
            file: What errors call the source.
            must_be: The name that the definition must have, when it replaces a given agent.
            replicas: How many nodes are to run it; None as before, or as the definition says.
            placement: Where; likewise.
            has_approval: A person agrees to what the guest may do more than the running one.
            successor: The canary that becomes it; None where it is still to be built.

        Raises:
            Rejected: `invalid_agent`, `invalid_module`.
            Unavailable: `no_majority`.
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
        await self.fellows.confirm_writable()
        async with self._changing:
            seat = self._roster.find(spec.name)
            versions = await self._store.agent_versions(spec.name)
            claim = self._next_claim(
                spec.name, source_digest(source), replicas=replicas, placement=placement
            )
            if (
                seat is not None
                and claim == replace(self.claim(spec.name), revision=claim.revision)
                and seat.state is AgentState.RUNNING
            ):
                return Deployed(
                    spec.name, seat.tenant.number, spec.version, False, False, parsed.warnings
                )
            if seat is not None and not has_approval:
                check_rights(seat.spec, spec)
            agent = await self._begin(spec, seat, successor)
            now = self._clock.now_ms()
            version = AgentVersion(
                agent=spec.name,
                number=versions[-1].number + 1 if versions else 1,
                version=spec.version,
                source=source,
                format=format.value,
                digest=claim.digest,
                deployed_at=now,
            )
            entry = _Entry(AgentState.RUNNING, version.number, claim, version)
            await self._enter(seat, spec, agent, entry)
            self._show("agent.deployed", spec.name, version=spec.version, number=version.number)
            return Deployed(
                spec.name, version.number, spec.version, seat is None, True, parsed.warnings
            )

    async def _begin(
        self, spec: AgentSpec, seat: Seat | None, successor: Agent | None = None
    ) -> Agent:
        """Build an agent, unless it is there, and let it go on from the one in force."""
        predecessor = None if seat is None else seat.tenant.agent
        return await begin(functools.partial(self._build, spec), predecessor, successor)

    async def _enter(self, seat: Seat | None, spec: AgentSpec, agent: Agent, entry: _Entry) -> Seat:
        """Write down that a version is in force, and put it there.

        Raises:
            Unavailable: `storage_unavailable`: the one before goes on.
        """
        try:
            await self._record(spec.name, entry)
        except BaseException:
            await give_back(agent, None if seat is None else seat.tenant.agent)
            raise
        return self._seat(spec, agent, entry.number, entry.state)

    def claim(self, agent: str) -> Claim:
        """Return by what right this node runs an agent of its roster."""
        return self._claims[agent]

    def is_here(self, agent: str) -> bool:
        """Return whether this node runs an agent."""
        return agent in self._claims

    def _next_claim(
        self,
        agent: str,
        digest: str,
        *,
        replicas: int | None = None,
        placement: str | None = None,
    ) -> Claim:
        """Return the claim to what an agent is to become: higher than any that is known."""
        own = self._claims.get(agent, Claim(revision=0, epoch=0))
        revision, epoch = self.fellows.highest_claim(agent)
        return Claim(
            revision=max(revision, own.revision) + 1,
            epoch=max(epoch, own.epoch, 1),
            digest=digest,
            replicas=own.replicas if replicas is None else replicas,
            placement=own.placement if placement is None else placement,
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
        self.fellows.changed(spec.name)
        return seat

    async def restore(self, has_moved: Callable[[AgentRecord], bool] = lambda _: False) -> int:
        """Seat every agent that was deployed before the node stopped.

        A definition that cannot be built any more (a tool is gone, a variable is unset) leaves
        its agent out with an error in the log; its messages become dead letters that can be
        retried once it is mended.

        Args:
            has_moved: Whether another node runs an agent by now, by a better right.

        Returns:
            How many agents are seated.
        """
        for record in await self._store.agents():
            if not record.is_here:
                continue
            if has_moved(record):
                await self._store.put_agent(replace(record, is_here=False))
                _log.info("agent %s runs on another node by now", record.name)
                continue
            versions = await self._store.agent_versions(record.name)
            try:
                version = version_numbered(versions, record.name, record.current)
                parsed = self.parse(version.source, AgentFormat(version.format), None)
                agent = await self._build(parsed.spec)
            except CaxtonError as problem:
                _log.error("agent %s cannot be restored: %s", record.name, problem)
                continue
            self._claims[record.name] = Claim(
                revision=record.revision,
                epoch=record.epoch,
                digest=version.digest,
                replicas=record.replicas,
                placement=record.placement,
            )
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
            Unavailable: `no_majority`.
        """
        await self.fellows.confirm_writable()
        async with self._changing:
            seat = self._roster.seat(name)
            current = seat.tenant.number
            versions = await self._store.agent_versions(name)
            earlier = [version.number for version in versions if version.number < current]
            wanted = max(earlier, default=current - 1) if number is None else number
            version = version_numbered(versions, name, wanted)
            parsed = self.parse(version.source, AgentFormat(version.format), None)
            agent = await self._begin(parsed.spec, seat)
            claim = self._next_claim(name, version.digest)
            entry = _Entry(AgentState.RUNNING, wanted, claim)
            await self._enter(seat, parsed.spec, agent, entry)
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
                rebuilt = await self._build(seat.spec)
            claim = self._claim_of_state(seat)
            await self._record(name, _Entry(to, seat.tenant.number, claim))
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
            self.fellows.changed(name)
            self._show("agent.state", name, state=to.value)
            return seat

    def _claim_of_state(self, seat: Seat) -> Claim:
        """Return the claim to a new state: where there are replicas, they are to follow.

        A node that may not change agents changes its own copy, and nobody follows.
        """
        own = self.claim(seat.agent)
        if own.replica_count(seat.spec) == 1:
            return own
        try:
            self.fellows.check_writable()
        except Unavailable:
            return own
        return self._next_claim(seat.agent, own.digest)

    def _end_turns(self, seat: Seat, stop: int) -> None:
        if seat.state is AgentState.STOPPED and seat.stops == stop:
            self._supervisor.cancel_all(seat)

    # Between nodes.

    async def adopt(
        self, definition: Definition, claim: Claim, *, number: int, state: AgentState
    ) -> Seat:
        """Run an agent by a claim that was settled among the nodes: taken over, or followed.

        Args:
            definition: What the claim's digest stands for.
            claim: By what right.
            number: Of the version, as the node counted that had the agent.
            state: Of the agent there.

        Raises:
            Rejected: `invalid_agent`.
            Denied: `denied`: a Python class that is not allowed here.
        """
        parsed = self.parse(definition.source, AgentFormat(definition.format), None)
        spec = parsed.spec
        async with self._changing:
            seat = self._roster.find(spec.name)
            if seat is not None and self.claim(spec.name).rank > claim.rank:
                # It was changed here while what to follow was being fetched.
                return seat
            if seat is not None and self.claim(spec.name).digest == claim.digest:
                # The same definition by another right: nothing is built anew.
                if AgentState.FAILED not in (state, seat.state):
                    # One that crashed too often here does well elsewhere, or the other way round.
                    seat.state = state
                await self._record(spec.name, _Entry(seat.state, seat.tenant.number, claim))
                seat.wake()
                self.fellows.changed(spec.name)
                return seat
            agent = await self._begin(spec, seat)
            versions = await self._store.agent_versions(spec.name)
            known = [one.number for one in versions if one.digest == claim.digest]
            version = None
            if known:
                number = known[-1]
            else:
                taken = {one.number for one in versions}
                version = AgentVersion(
                    agent=spec.name,
                    number=max(taken) + 1 if number in taken else number,
                    version=spec.version,
                    source=definition.source,
                    format=definition.format,
                    digest=claim.digest,
                    deployed_at=self._clock.now_ms(),
                )
                number = version.number
            entered = await self._enter(seat, spec, agent, _Entry(state, number, claim, version))
            self._show("agent.adopted", spec.name, epoch=claim.epoch, number=number)
            return entered

    async def release(self, name: str) -> Seat | None:
        """Leave an agent to another node: nobody finds it here any more.

        Its seat stays as it is. Whoever calls hands over what waits there, and dismisses it.

        Returns:
            The seat; None when the agent is not here.
        """
        async with self._changing:
            seat = self._roster.find(name)
            if seat is None:
                return None
            entry = _Entry(seat.state, seat.tenant.number, self.claim(name))
            await self._record(name, entry, is_here=False)
            self._roster.remove(name)
            del self._claims[name]
            self.fellows.changed(name)
            self._show("agent.released", name)
            return seat

    async def place(
        self, name: str, *, replicas: int | None = None, placement: str | None = None
    ) -> Seat:
        """Change how many nodes run an agent, or which ones; None leaves it as it is.

        Raises:
            NotFound: `agent_not_found`.
            Unavailable: `no_majority`.
        """
        await self.fellows.confirm_writable()
        async with self._changing:
            seat = self._roster.seat(name)
            digest = self.claim(name).digest
            claim = self._next_claim(name, digest, replicas=replicas, placement=placement)
            await self._record(name, _Entry(seat.state, seat.tenant.number, claim))
            self.fellows.changed(name)
            self._show("agent.placed", name, replicas=claim.replicas, placement=claim.placement)
            return seat

    async def delete(self, name: str, *, is_forced: bool = False) -> None:
        """Take an agent off the cluster, with its versions, usage and log.

        What still waits for it becomes dead letters; the senders are told.

        Raises:
            NotFound: `agent_not_found`.
            Conflict: `state_conflict`, when messages wait or turns run and it is not forced.
            Unavailable: `no_majority`.
        """
        await self.fellows.confirm_writable()
        async with self._changing:
            seat = self._roster.seat(name)
            if seat.load and not is_forced:
                raise Conflict(
                    "state_conflict",
                    f"{name!r} has {seat.load} messages waiting or in a turn",
                    hint="Wait, or force it: they become dead letters.",
                    facts={"load": seat.load},
                )
            revision, _ = self.fellows.highest_claim(name)
            revision = max(revision, self.claim(name).revision)
            await self._delete(seat)
            self.fellows.deleted(name, revision)

    async def retire(self, name: str) -> None:
        """Take an agent off this node because it was deleted on another one."""
        async with self._changing:
            seat = self._roster.find(name)
            if seat is not None:
                await self._delete(seat)

    async def _delete(self, seat: Seat) -> None:
        name = seat.agent
        await self._store.delete_agent(name)
        self._roster.remove(name)
        del self._claims[name]
        self.fellows.changed(name)
        self._supervisor.cancel_all(seat)
        self._supervisor.dismiss(seat)
        await forget(seat.tenant.agent)
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
                claim = self.claim(seat.agent)
                await self._record(seat.agent, _Entry(AgentState.FAILED, seat.tenant.number, claim))
                self.fellows.changed(seat.agent)
            except CaxtonError as problem:
                _log.error("that %s failed is not on disk: %s", seat.agent, problem)

    async def _record(self, name: str, entry: _Entry, *, is_here: bool = True) -> None:
        claim = entry.claim
        record = AgentRecord(
            name=name,
            state=entry.state,
            current=entry.number,
            changed_at=self._clock.now_ms(),
            revision=claim.revision,
            epoch=claim.epoch,
            is_here=is_here,
            replicas=claim.replicas,
            placement=claim.placement,
        )
        await self._store.put_agent(record, entry.version)
        self._claims[name] = claim

    def _show(self, kind: str, agent: str, **data: object) -> None:
        self._speech.events.publish(kind, agent=agent, **data)
