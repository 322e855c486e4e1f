"""Definitions of agents that other nodes run, so that their agents can be taken over.

A definition is named by its content. It is fetched from any node that runs the agent, beforehand
by those nodes that would be asked to take it over: when its node is dead it is too late.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Collection, Mapping
from typing import Final

from caxton_node.domain.errors import CaxtonError, Unavailable
from caxton_node.forwarding.peer_calls import PeerCalls
from caxton_node.store.protocol import Definition, Store

__all__ = ["DefinitionKeeper"]

FETCHES_MAX: Final = 4
"""Definitions fetched at once in the background."""

KEPT_COUNT_MAX: Final = 50_000
"""Definitions of others that are kept; more are not fetched beforehand."""

_log = logging.getLogger("caxton.placement")


class DefinitionKeeper:
    """Finds definitions, here or on other nodes.

    Args:
        store: Keeps them.
        calls: Ask other nodes.
        fetch_files: Fetches what a definition names and its holders have: a guest's file.
    """

    def __init__(
        self,
        store: Store,
        calls: PeerCalls,
        fetch_files: Callable[[Definition, Collection[str]], Awaitable[None]],
    ) -> None:
        self._store = store
        self._calls = calls
        self._fetch_files = fetch_files

    async def find(self, digest: str, holders: Collection[str]) -> Definition:
        """Return a definition, from here or from one of `holders`.

        Raises:
            Unavailable: `unreachable`: nobody who has it answers.
        """
        found = await self._store.definition(digest)
        if found is not None:
            return found
        reasons = []
        for node in holders:
            try:
                found = await self._calls.definition(node, digest)
            except Unavailable as problem:
                reasons.append(problem.detail)
                continue
            if found is not None:
                await self._fetch_files(found, holders)
                await self._store.put_definition(found)
                return found
        raise Unavailable(
            "unreachable",
            f"nobody who answers has the definition {digest[:16]}",
            facts={"reasons": reasons[:5]},
        )

    async def secure(self, digest: str, nodes: Collection[str], holder: str) -> int:
        """Have other nodes keep a definition; return how many have it on disk now.

        Args:
            digest: Of the definition.
            nodes: Those that would be asked to take its agent over.
            holder: Who has it: this node.
        """
        async with asyncio.TaskGroup() as asking:
            asked = [asking.create_task(self._secure(digest, node, holder)) for node in nodes]
        return sum(task.result() for task in asked)

    async def _secure(self, digest: str, node: str, holder: str) -> bool:
        try:
            await self._calls.keep(node, digest, holder)
        except Unavailable as problem:
            _log.warning("a definition is not on another node yet: %s", problem.detail)
            return False
        return True

    async def fetch(self, wanted: Mapping[str, Collection[str]]) -> int:
        """Fetch what is missing here.

        Args:
            wanted: Digest → nodes that have the definition.

        Returns:
            How many of `wanted` are here now. What could not be fetched is tried again another
            time, or when it is needed.
        """
        kept = set(await self._store.definition_digests())
        missing = [digest for digest in sorted(wanted) if digest not in kept]
        room = max(0, KEPT_COUNT_MAX - len(kept))
        gate = asyncio.Semaphore(FETCHES_MAX)
        async with asyncio.TaskGroup() as fetching:
            fetched = [
                fetching.create_task(self._fetch(digest, wanted[digest], gate))
                for digest in missing[:room]
            ]
        return len(wanted) - len(missing) + sum(task.result() for task in fetched)

    async def forget_others(self, wanted: Collection[str]) -> int:
        """Forget all definitions of others but these; return how many there were."""
        stale = [one for one in await self._store.definition_digests() if one not in wanted]
        return await self._store.delete_definitions(stale) if stale else 0

    async def _fetch(self, digest: str, holders: Collection[str], gate: asyncio.Semaphore) -> bool:
        async with gate:
            try:
                await self.find(digest, holders)
            except CaxtonError as problem:
                _log.debug("not fetched beforehand: %s", problem)
                return False
        return True
