"""Agents that know something which their next version is to know too."""

import logging
from collections.abc import Awaitable, Callable
from typing import Protocol, runtime_checkable

from caxton_node.domain.agent import AgentSpec
from caxton_node.domain.errors import CaxtonError, Conflict
from caxton_node.runtime.agent import Agent
from caxton_node.runtime.trial import Trial
from caxton_node.wasm.grants import added_rights

__all__ = [
    "Successor",
    "begin",
    "check_rights",
    "close_quietly",
    "forget",
    "give_back",
    "in_force",
    "is_quarantined",
    "start_beside",
]

_log = logging.getLogger("caxton.runtime")


@runtime_checkable
class Successor(Protocol):
    """An agent that can go on from an earlier version of itself."""

    async def start(self) -> None:
        """Begin, where there is no predecessor.

        Raises:
            CaxtonError: It cannot even begin.
        """
        ...

    async def start_beside(self, running: Agent) -> None:
        """Begin beside the version in force, which goes on: as its canary.

        Raises:
            CaxtonError: It cannot even begin.
        """
        ...

    @property
    def is_quarantined(self) -> bool:
        """Whether it broke its limits too often to be run."""
        ...

    async def forget(self) -> None:
        """Forget what was kept for the agent: it is deleted.

        Raises:
            OSError: The disk refused.
        """
        ...

    async def take_over(self, predecessor: Agent) -> None:
        """Go on from what a predecessor knows, and take its turns from now on.

        Raises:
            CaxtonError: It cannot. The predecessor goes on as if nothing had been.
        """
        ...


def in_force(agent: Agent) -> Agent:
    """Return the version in force, where an agent has a canary beside it."""
    return agent.running if isinstance(agent, Trial) else agent


def check_stands_by(agent: Agent | None, successor: Agent) -> None:
    """Let a canary come into force that still stands beside an agent.

    Raises:
        Conflict: `state_conflict`: the agent was changed, or is gone.
    """
    if not (isinstance(agent, Trial) and agent.canary is successor):
        raise Conflict("state_conflict", "the agent has no such canary any more")


async def start_beside(agent: Agent, running: Agent) -> None:
    """Let a canary begin, where it does more than being built.

    Raises:
        CaxtonError: It cannot.
    """
    if isinstance(agent, Successor):
        await agent.start_beside(running)


def is_quarantined(agent: Agent) -> bool:
    """Return whether an agent broke its limits too often to be run."""
    return isinstance(agent, Successor) and agent.is_quarantined


async def close_quietly(agent: Agent) -> None:
    """Release what an agent holds. What goes wrong is logged."""
    try:
        await agent.close()
    except Exception:
        _log.exception("an agent could not be closed")


async def begin(
    build: Callable[[], Awaitable[Agent]], predecessor: Agent | None, canary: Agent | None
) -> Agent:
    """Return an agent that goes on from the one in force.

    Args:
        build: Builds it.
        predecessor: The one in force; None where there is none.
        canary: Of the predecessor, where that is to be the one: nothing is built then.

    Raises:
        CaxtonError: It cannot be built, or cannot go on. The predecessor does.
    """
    if canary is not None:
        check_stands_by(predecessor, canary)
        await succeed(canary, predecessor)
        return canary
    agent = await build()
    try:
        await succeed(agent, predecessor)
    except BaseException:
        await close_quietly(agent)
        raise
    return agent


async def give_back(agent: Agent, predecessor: Agent | None) -> None:
    """Let the one that was in force go on after all, from what its successor knows by now.

    Args:
        agent: The successor. It is closed, unless it is a canary: that it stays.
        predecessor: None where there is none.
    """
    if predecessor is not None:
        try:
            await succeed(in_force(predecessor), agent)
        except CaxtonError as error:
            _log.error("an agent goes on without what its next version learnt: %s", error)
    if not (isinstance(predecessor, Trial) and predecessor.canary is agent):
        await close_quietly(agent)


async def succeed(agent: Agent, predecessor: Agent | None) -> None:
    """Let a new version begin, where it does more than being built.

    Args:
        agent: The new one.
        predecessor: The one in force; None where there is none.

    Raises:
        CaxtonError: It cannot go on from it.
    """
    if not isinstance(agent, Successor):
        return
    if predecessor is None:
        await agent.start()
    else:
        await agent.take_over(in_force(predecessor))


async def forget(agent: Agent) -> None:
    """Forget what was kept for an agent that is deleted. A disk that refuses is logged."""
    agent = in_force(agent)
    if not isinstance(agent, Successor):
        return
    try:
        await agent.forget()
    except OSError as error:
        _log.error("what a deleted agent kept is still there: %s", error)


def _order(version: str) -> tuple[int, ...]:
    """Return the numbers of a semantic version; what comes before a release counts as it."""
    numbers = version.partition("+")[0].partition("-")[0].split(".")
    return tuple(int(number) for number in numbers)


def check_rights(before: AgentSpec, after: AgentSpec) -> None:
    """Let a new version pass that may do no more than the running one, and is not older if signed.

    Whoever has an old signed file could otherwise bring back what it was replaced for.

    Raises:
        Conflict: `state_conflict`: a person has to agree.
    """
    if after.wasm.signature and _order(after.version) < _order(before.version):
        raise Conflict(
            "state_conflict",
            f"{after.name!r} {after.version} is signed, and older than {before.version}",
            hint=f"Bring it back with: caxton agent rollback {after.name}",
        )
    added = added_rights(before.grants, after.grants)
    if added:
        raise Conflict(
            "state_conflict",
            f"the new version of {after.name!r} asks for more: {'; '.join(added)[:1_000]}",
            hint="Deploy it with --approve-grants if that is wanted.",
            facts={"added_grants": list(added)},
        )
