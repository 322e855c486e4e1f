"""What a node remembers of the others over its own restarts: deletions, removals, journals.

An agent that was deleted while a former holder was away must stay deleted though everybody who
knew was restarted meanwhile; a node that was struck off must not be expected again by one that
missed it; and a node that comes back without its journal must be told from one that has it.

Numbers by name, in the store's table for such. What is written is on disk in order, a moment later.
"""

import asyncio
import logging
from collections.abc import Mapping
from typing import Final

from caxton_node.domain.errors import CaxtonError
from caxton_node.store.protocol import Store

__all__ = ["DELETED", "JOURNAL", "REMOVED", "Remembered"]

DELETED: Final = "deleted:"
"""Before an agent's name: the revision at which it is over."""

REMOVED: Final = "removed:"
"""Before the name of a node that is expected no more; the number says nothing."""

JOURNAL: Final = "journal:"
"""Before the name of a node: the identity of the journal that it had when it was met last."""

_log = logging.getLogger("caxton.cluster")


class Remembered:
    """Numbers of one kind, written behind.

    Args:
        kind: What stands before the names.
        store: Keeps them.
        tasks: Own the writing.
    """

    def __init__(self, kind: str, store: Store, tasks: asyncio.TaskGroup) -> None:
        self._kind = kind
        self._store = store
        self._tasks = tasks

    async def load(self) -> Mapping[str, int]:
        """Return what earlier lives of this node kept, by name."""
        numbers = await self._store.node_numbers(self._kind)
        return {name.removeprefix(self._kind): value for name, value in numbers.items()}

    def keep(self, name: str, value: int) -> None:
        """Remember a number, in place of what it was."""
        self._tasks.create_task(self._write(name, value), name=f"remember {self._kind}{name}")

    def forget(self, name: str) -> None:
        """Remember a number no longer."""
        self._tasks.create_task(self._write(name, None), name=f"forget {self._kind}{name}")

    async def _write(self, name: str, value: int | None) -> None:
        key = f"{self._kind}{name}"
        try:
            if value is None:
                await self._store.delete_node_number(key)
            else:
                await self._store.put_node_number(key, value)
        except CaxtonError as problem:
            _log.error("%s is not on disk: %s", key, problem)
