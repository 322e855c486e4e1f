"""Canaries under way on this node: begun, watched, promoted or rolled back.

A canary is no version of the agent yet: nothing is written down before it is promoted. A node that
ends meanwhile comes back with the version in force, and so does one whose agent is changed in any
other way. On other nodes that run the agent too, the version in force goes on until the promotion.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Final, Literal, assert_never

from caxton_node.agentfile import AgentFormat, source_digest
from caxton_node.domain.agent import AgentSpec, AgentState
from caxton_node.domain.errors import CaxtonError, Conflict, NotFound
from caxton_node.runtime.agent import Agent
from caxton_node.runtime.context import Speech
from caxton_node.runtime.deployments import Deployed, Deployments
from caxton_node.runtime.rollout import (
    CanarySettings,
    Promote,
    RollBack,
    Verdict,
    Wait,
    decide,
)
from caxton_node.runtime.roster import Roster
from caxton_node.runtime.seat import Seat, Tenant
from caxton_node.runtime.succession import (
    check_rights,
    close_quietly,
    is_quarantined,
    start_beside,
)
from caxton_node.runtime.trial import Trial

__all__ = ["Rollout", "Rollouts"]

Outcome = Literal["under_way", "promoted", "rolled_back", "replaced"]
"""`replaced`: by another change of the agent."""

LOOK_EVERY_S: Final = 1.0
"""How often canaries are looked at besides the ends of their turns."""

ENDED_KEPT_MAX: Final = 1_000
"""Agents of which it is remembered how their last canary ended."""

_log = logging.getLogger("caxton.runtime")


@dataclass(slots=True, eq=False)
class Rollout:
    """A canary, under way or over."""

    agent: str
    running_version: str
    spec: AgentSpec
    source: str
    format: AgentFormat
    file: str | None
    replicas: int | None
    trial: Trial
    outcome: Outcome = "under_way"
    reason: str | None = None
    ended_at: int | None = None
    """In milliseconds since 1970, UTC."""


class Rollouts:
    """The canaries of a node, one an agent at most.

    Args:
        deployments: Brings the promoted into force.
        roster: Who sits where.
        speech: Where events and conversations are.
        build: Makes an agent of its definition.
    """

    def __init__(
        self,
        *,
        deployments: Deployments,
        roster: Roster,
        speech: Speech,
        build: Callable[[AgentSpec], Awaitable[Agent]],
    ) -> None:
        self._deployments = deployments
        self._roster = roster
        self._speech = speech
        self._clock = speech.clock
        self._build = build
        self._under_way: dict[str, Rollout] = {}
        self._leaving: list[Trial] = []
        """Rolled back, with turns of the canary that have not ended."""
        self._ended: dict[str, Rollout] = {}
        self._news = asyncio.Event()

    def find(self, agent: str) -> Rollout:
        """Return the canary of an agent, or its last one.

        Raises:
            NotFound: `version_not_found`: there was none since the node started.
        """
        rollout = self._current(agent) or self._ended.get(agent)
        if rollout is None:
            raise NotFound("version_not_found", f"{agent!r} has no canary")
        return rollout

    def is_under_way(self, agent: str) -> bool:
        """Return whether an agent has a canary now."""
        return self._current(agent) is not None

    def _current(self, agent: str) -> Rollout | None:
        """Return the canary that an agent has now; note one that went another way."""
        rollout = self._under_way.get(agent)
        if rollout is None:
            return None
        seat = self._roster.find(agent)
        if seat is None or seat.tenant.agent is not rollout.trial:
            self._note_end(rollout, "replaced", "the agent was changed in another way")
            return None
        return rollout

    async def begin(
        self,
        source: str,
        format: AgentFormat,  # noqa: A002 - the word users know
        settings: CanarySettings,
        *,
        file: str | None = None,
        must_be: str | None = None,
        replicas: int | None = None,
        has_approval: bool = False,
    ) -> Deployed:
        """Let a new version take a share of an agent's new conversations.

        An agent that is not there yet is deployed as a whole: there is nothing to compare with.

        Args:
            source: The definition as written.
            format: Of `source`.
            settings: Which share, and for how long.
            file: What errors call the source.
            must_be: The name that the definition must have.
            replicas: How many nodes are to run it once it is promoted.
            has_approval: A person agrees to what the guest may do more than the running one.

        Raises:
            Rejected: `invalid_agent`, `invalid_module`.
            Unavailable: `no_majority`.
            Conflict: `state_conflict`: it has a canary, does not run, or the name is another.
        """
        parsed = self._deployments.parse(source, format, file)
        spec = parsed.spec
        seat = self._roster.find(spec.name)
        if seat is None or (must_be is not None and must_be != spec.name):
            return await self._deployments.deploy(
                source,
                format,
                file=file,
                must_be=must_be,
                replicas=replicas,
                has_approval=has_approval,
            )
        await self._deployments.fellows.confirm_writable()
        number = seat.tenant.number
        if self._deployments.claim(spec.name).digest == source_digest(source):
            return Deployed(spec.name, number, spec.version, False, False, parsed.warnings)
        tenant = seat.tenant
        self._check_free(seat, tenant)
        if not has_approval:
            check_rights(seat.spec, spec)
        agent = await self._build(spec)
        try:
            await start_beside(agent, tenant.agent)
            self._check_free(seat, tenant)
        except BaseException:
            await close_quietly(agent)
            raise
        trial = self._trial(tenant.agent, agent, settings, source_digest(source))
        tenant.agent = trial
        self._under_way[spec.name] = Rollout(
            spec.name, seat.spec.version, spec, source, format, file, replicas, trial
        )
        self._ended.pop(spec.name, None)
        self._news.set()
        self._show("agent.canary", spec.name, version=spec.version, share=settings.share)
        return Deployed(
            spec.name, number, spec.version, False, True, parsed.warnings, is_canary=True
        )

    def _check_free(self, seat: Seat, tenant: Tenant) -> None:
        """Let a canary begin beside an agent that takes turns, and is as it was.

        Raises:
            Conflict: `state_conflict`.
        """
        if self._roster.find(seat.agent) is not seat or seat.tenant is not tenant:
            raise Conflict("state_conflict", f"{seat.agent!r} was changed at the same time")
        if self.is_under_way(seat.agent):
            raise Conflict(
                "state_conflict",
                f"{seat.agent!r} has a canary already",
                hint=f"End it with: caxton agent promote {seat.agent}, or rollback.",
            )
        if seat.state is not AgentState.RUNNING:
            raise Conflict(
                "state_conflict",
                f"{seat.agent!r} is {seat.state}: a canary needs turns to be taken",
            )

    def _trial(self, running: Agent, canary: Agent, settings: CanarySettings, salt: str) -> Trial:
        async def began_at(conversation_id: str) -> int | None:
            conversation = await self._speech.store.conversation(conversation_id)
            return None if conversation is None else conversation.created_at

        return Trial(
            running,
            canary,
            settings=settings,
            salt=salt,
            started_at=self._clock.now_ms(),
            began_at=began_at,
            now_ms=self._clock.now_ms,
            on_news=self._news.set,
        )

    async def promote(self, agent: str, *, reason: str = "by command") -> Deployed:
        """Bring an agent's canary into force.

        Raises:
            NotFound: `agent_not_found`.
            Conflict: `state_conflict`: it has none.
            Unavailable: `no_majority`, `storage_unavailable`.
            Failed: `agent_failed`: it cannot go on from the version in force. Nothing changes.
        """
        rollout = self._needed(agent)
        deployed = await self._deployments.deploy(
            rollout.source,
            rollout.format,
            file=rollout.file,
            replicas=rollout.replicas,
            has_approval=True,
            successor=rollout.trial.canary,
        )
        # The other version is closed in a task of its own, which has not begun.
        rollout.trial.is_promoted = True
        self._note_end(rollout, "promoted", reason)
        return deployed

    def roll_back(self, agent: str, *, reason: str = "by command") -> Rollout:
        """Let the version in force have all conversations again.

        Raises:
            NotFound: `agent_not_found`.
            Conflict: `state_conflict`: it has no canary.
        """
        rollout = self._needed(agent)
        trial = rollout.trial
        self._roster.seat(agent).tenant.agent = trial.running
        trial.is_over = True
        self._leaving.append(trial)
        self._note_end(rollout, "rolled_back", reason)
        self._news.set()
        return rollout

    def _needed(self, agent: str) -> Rollout:
        self._roster.seat(agent)
        rollout = self._current(agent)
        if rollout is None:
            raise Conflict("state_conflict", f"{agent!r} has no canary")
        return rollout

    def _note_end(self, rollout: Rollout, outcome: Outcome, reason: str) -> None:
        del self._under_way[rollout.agent]
        rollout.outcome, rollout.reason = outcome, reason
        rollout.ended_at = self._clock.now_ms()
        if len(self._ended) >= ENDED_KEPT_MAX:
            del self._ended[next(iter(self._ended))]
        self._ended[rollout.agent] = rollout
        version = rollout.spec.version
        _log.info("the canary %s of %s: %s, %s", version, rollout.agent, outcome, reason)
        self._show(
            "agent.canary_ended", rollout.agent, version=version, outcome=outcome, reason=reason
        )

    def _show(self, kind: str, agent: str, **data: object) -> None:
        self._speech.events.publish(kind, agent=agent, **data)

    # What happens by itself.

    async def watch(self) -> None:
        """Promote or roll back canaries as they turn out. Runs until cancelled."""
        while True:
            is_idle = not self._under_way and not self._leaving
            with suppress(TimeoutError):
                async with asyncio.timeout(None if is_idle else LOOK_EVERY_S):
                    await self._news.wait()
            self._news.clear()
            for agent in list(self._under_way):
                await self._look_at(agent)
            over = [trial for trial in self._leaving if not trial.canary_turns_under_way]
            for trial in over:
                self._leaving.remove(trial)
                await close_quietly(trial.canary)

    async def _look_at(self, agent: str) -> None:
        rollout = self._current(agent)
        if rollout is None:
            return
        verdict = self.verdict(rollout)
        match verdict:
            case Wait():
                pass
            case RollBack():
                self.roll_back(agent, reason=verdict.reason)
            case Promote():
                try:
                    await self.promote(agent, reason="as good as the version before")
                except CaxtonError as problem:
                    _log.warning("the canary of %s cannot be promoted: %s", agent, problem)
                    if self.is_under_way(agent) and problem.code == "agent_failed":
                        self.roll_back(agent, reason=str(problem))
            case _:
                assert_never(verdict)

    def verdict(self, rollout: Rollout) -> Verdict:
        """Return what is to become of a canary, as far as is known."""
        trial = rollout.trial
        return decide(
            trial.settings,
            running=trial.of_running,
            canary=trial.of_canary,
            is_quarantined=is_quarantined(trial.canary),
            elapsed_s=(self._clock.now_ms() - trial.started_at) / 1000,
        )
