"""A lease: a time to live that is renewed for as long as somebody wants it.

Keys that were put with it are deleted by etcd when it ends, and that is what makes it useful: what
a dead process held is free again. The holder must know first, though, that it no longer holds
anything, so that it trusts a lease for a share of the time only, counted from before the renewal
was sent.

A renewal needs no stream that lives: it asks whichever member answers. The lease survives the
loss of a member, and of all of them for almost as long as its time to live.
"""

import asyncio
from collections.abc import Callable
from typing import Final, Protocol

from caxton_cluster.errors import LeaseLost, MetadataError, MetadataUnavailable

__all__ = ["LEASE_TTL_S_MIN", "TRUSTED_SHARE", "KeepAlive", "Lease", "keep"]

LEASE_TTL_S_MIN: Final = 2.0
"""Etcd grants no less."""

TRUSTED_SHARE: Final = 0.8
"""Of its time to live. The rest is for clocks of different speed, and for an etcd whose leader
was stopped, woke up, and renewed what its successor was about to end."""

RENEWALS_A_LIFE: Final = 4
"""Renewals that fit into the time that a lease is trusted."""


class Lease:
    """A lease that is ours, until it is lost.

    Args:
        lease_id: Etcd's.
        ttl_s: As granted.
        sent_at_s: When it was asked for.
        clock: The event loop's time in seconds.
    """

    def __init__(
        self, lease_id: int, ttl_s: float, *, sent_at_s: float, clock: Callable[[], float]
    ) -> None:
        self.id = lease_id
        self.ttl_s = ttl_s
        self._clock = clock
        self._trusted_until_s = sent_at_s + ttl_s * TRUSTED_SHARE
        self._lost: asyncio.Event = asyncio.Event()
        self._why = ""
        self._watchers: list[Callable[[], None]] = []

    @property
    def is_alive(self) -> bool:
        """Whether it can be relied on, at this moment."""
        return not self._lost.is_set() and self._clock() < self._trusted_until_s

    @property
    def rest_s(self) -> float:
        """How long it can be relied on without another renewal."""
        return 0.0 if self._lost.is_set() else max(0.0, self._trusted_until_s - self._clock())

    def renewed(self, ttl_s: float, *, sent_at_s: float) -> None:
        """Note a renewal."""
        self._trusted_until_s = max(self._trusted_until_s, sent_at_s + ttl_s * TRUSTED_SHARE)

    def lose(self, why: str) -> None:
        """Note that it is gone. The first reason is kept."""
        if not self._lost.is_set():
            self._why = why
            self._lost.set()
            for tell in self._watchers:
                tell()

    def on_lost(self, tell: Callable[[], None]) -> None:
        """Call `tell`, which must not block, when it is lost."""
        self._watchers.append(tell)

    def check(self) -> None:
        """Return where it can be relied on.

        Raises:
            LeaseLost: It cannot.
        """
        if not self.is_alive:
            raise LeaseLost(f"the lease is lost: {self._why or 'it was not renewed in time'}")

    async def lost(self) -> str:
        """Wait until it is lost, and return why."""
        await self._lost.wait()
        return self._why


class KeepAlive(Protocol):
    """Renews a lease at etcd."""

    async def __call__(self, lease_id: int, *, timeout_s: float) -> float:
        """Return the new time to live in seconds, 0 when there is no such lease."""
        ...


async def keep(lease: Lease, keep_alive: KeepAlive, clock: Callable[[], float]) -> None:
    """Renew a lease until it is lost. Returns then; raises nothing."""
    wait_s = lease.ttl_s * TRUSTED_SHARE / RENEWALS_A_LIFE
    reason = "it was not renewed in time"
    while (rest_s := lease.rest_s) > 0:
        await asyncio.sleep(min(wait_s, rest_s))
        sent_at_s, rest_s = clock(), lease.rest_s
        if rest_s <= 0:
            break
        try:
            ttl_s = await keep_alive(lease.id, timeout_s=rest_s)
        except MetadataUnavailable as error:
            reason = str(error)
            continue
        except MetadataError as error:
            lease.lose(str(error))
            return
        if ttl_s <= 0:
            lease.lose("etcd does not know it any more")
            return
        lease.renewed(ttl_s, sent_at_s=sent_at_s)
    lease.lose(reason)
