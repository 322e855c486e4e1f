"""Agents that know something which their next version is to know too."""

import logging
from typing import Protocol, runtime_checkable

from caxton_node.domain.agent import AgentSpec
from caxton_node.domain.errors import Conflict
from caxton_node.runtime.agent import Agent
from caxton_node.wasm.grants import added_rights

__all__ = ["Successor", "check_rights", "forget", "succeed"]

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
        await agent.take_over(predecessor)


async def forget(agent: Agent) -> None:
    """Forget what was kept for an agent that is deleted. A disk that refuses is logged."""
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
