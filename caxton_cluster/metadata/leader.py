"""Who of several does what only one may do: a lock that is asked for again and again.

For work that belongs to no node in particular, such as firing schedules or placing the agents of
a dead node. `token` is the answer at this moment, for code that looks before each step; it is also
the fencing token to pass along.
"""

import asyncio
import logging
import random
import secrets
from typing import Final

from caxton_cluster.errors import LockBusy, MetadataDenied, MetadataError, MetadataOff
from caxton_cluster.metadata.lock import Lock
from caxton_cluster.metadata.store import MetadataStore
from caxton_cluster.metadata.values import StillMade

__all__ = ["LeaderLease"]

CAMPAIGN_TIMEOUT_S: Final = 60.0
"""How long one attempt stands in line; then it begins anew, with another lease."""

RETRY_WAIT_FIRST_S: Final = 0.2
RETRY_WAIT_MAX_S: Final = 5.0
"""Waits after an attempt that failed; they double from the first to the longest."""

_log = logging.getLogger("caxton.metadata")


class LeaderLease:
    """One candidate for one task.

    Args:
        store: Where the lock is.
        name: Of the task, and of its lock.
        holder: Who we are, for others to see.
        ttl_s: How long a dead leader is waited for. The living one is not disturbed by less.
    """

    def __init__(
        self, store: MetadataStore, name: str, *, holder: str, ttl_s: float = 10.0
    ) -> None:
        self.name = name
        self._store = store
        self._holder = holder
        self._ttl_s = ttl_s
        self._lock: Lock | None = None
        self._elected = asyncio.Event()
        self._random = random.Random(secrets.randbits(64))  # noqa: S311 - it spreads attempts

    @property
    def token(self) -> int | None:
        """The fencing token while we lead; None while we do not, or are no longer sure."""
        lock = self._lock
        return lock.token if lock is not None and lock.is_held else None

    @property
    def guard(self) -> StillMade | None:
        """Makes a write to the store conditional on our leading; None while we do not."""
        lock = self._lock
        return lock.guard if lock is not None and lock.is_held else None

    async def elected(self) -> int:
        """Wait until we lead, and return the token."""
        while True:
            await self._elected.wait()
            if (token := self.token) is not None:
                return token
            # Lost, and the one who campaigns has not noticed yet: let it.
            self._elected.clear()

    async def run(self) -> None:
        """Try to lead, and to lead again, until cancelled. Where there is no store, nobody leads.

        Raises:
            MetadataOff: No store is configured.
        """
        wait_s = RETRY_WAIT_FIRST_S
        while True:
            try:
                await self._lead()
                wait_s = RETRY_WAIT_FIRST_S
            except MetadataOff:
                raise
            except LockBusy:
                wait_s = RETRY_WAIT_FIRST_S
            except MetadataError as error:
                level = logging.ERROR if isinstance(error, MetadataDenied) else logging.INFO
                _log.log(level, "no attempt to lead %s: %s", self.name, error)
                await asyncio.sleep(wait_s * (0.5 + self._random.random()))
                wait_s = min(2 * wait_s, RETRY_WAIT_MAX_S)

    async def _lead(self) -> None:
        lock = self._store.lock(
            self.name, holder=self._holder, ttl_s=self._ttl_s, timeout_s=CAMPAIGN_TIMEOUT_S
        )
        async with lock as held:
            self._lock = held
            self._elected.set()
            _log.info("leading %s with token %d", self.name, held.token)
            try:
                why = await held.lease.lost()
            finally:
                self._lock = None
                self._elected.clear()
        _log.warning("no longer leading %s: %s", self.name, why)
