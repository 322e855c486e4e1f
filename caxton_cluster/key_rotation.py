"""Keys of a whole ring, changed from any of its members.

The question goes out as serf's own queries about keys, so that agents of serf, and their operators
with `serf keys`, rotate together with our members. Answers come by datagram and may be lost: who
is silent is asked again; every change may be made twice.

Refuses what would part the ring: a key is used only once every live member holds it. Who was away
meanwhile is not asked, and comes back a stranger unless its settings know better.
"""

import asyncio
from base64 import b64encode
from random import Random
from typing import Final

from caxton_cluster.cluster import Cluster
from caxton_cluster.errors import KeyRejected
from caxton_cluster.serf.messages import encode_key_request
from caxton_cluster.serf.overlay import KeyOperation, SerfAnswer, SerfOverlay
from caxton_cluster.serf.tally import KeyReport, KeyTally

__all__ = ["KeyRotation"]

ATTEMPTS_MAX: Final = 3
ANSWER_TIMEOUT_S: Final = 2.0
"""How often the silent are asked, and how long each time is waited for them."""

_QUESTION_ID_MAX: Final = 2**31


class KeyRotation:
    """The keys of a ring whose members speak serf.

    Args:
        cluster: A running member with a `SerfOverlay`.
        random: Numbers the questions.
    """

    def __init__(self, cluster: Cluster, random: Random) -> None:
        self._cluster = cluster
        self._random = random
        # One change at a time: two at once would judge each other's half-done work.
        self._turn = asyncio.Lock()

    async def list(self) -> KeyReport:
        """Ask everyone for their keys."""
        async with self._turn:
            return await self._ask(KeyOperation.LIST)

    async def install(self, key: bytes) -> KeyReport:
        """Let everyone decrypt with `key`.

        Raises:
            KeyRejected: This member does not: it speaks plaintext, has too many keys, or the size
                is wrong. Nobody else was asked.
        """
        async with self._turn:
            self._cluster.install_key(key)
            await self._cluster.keep_keys()
            return await self._ask(KeyOperation.INSTALL, key)

    async def use(self, key: bytes) -> KeyReport:
        """Let everyone encrypt with `key`.

        Raises:
            KeyRejected: Somebody lacks it, or did not say. Nothing was changed.
        """
        async with self._turn:
            listing = await self._ask(KeyOperation.LIST)
            _check_that_all_hold(key, listing)
            self._cluster.use_key(key)
            await self._cluster.keep_keys()
            return await self._ask(KeyOperation.USE, key)

    async def remove(self, key: bytes) -> KeyReport:
        """Let everyone forget `key`.

        Raises:
            KeyRejected: Somebody encrypts with it, or did not say. Nothing was changed.
        """
        async with self._turn:
            listing = await self._ask(KeyOperation.LIST)
            user_count = listing.user_counts.get(b64encode(key), 0)
            if user_count:
                raise KeyRejected(f"the key is in use by {user_count} members")
            if listing.silent:
                raise KeyRejected(f"{_names(listing.silent)} did not say which key is in use")
            self._cluster.remove_key(key)
            await self._cluster.keep_keys()
            return await self._ask(KeyOperation.REMOVE, key)

    async def _ask(self, operation: KeyOperation, key: bytes = b"") -> KeyReport:
        cluster, overlay = self._cluster, self._cluster.overlay
        if not isinstance(overlay, SerfOverlay):
            raise KeyRejected("this ring does not speak serf: change the keys of each member")
        tally = KeyTally(tuple(member.name for member in cluster.live_members()))
        payload = encode_key_request(key) if key else b""
        for attempt in range(ATTEMPTS_MAX):
            # Only the silent are asked again; all of them, when their names are too many.
            names = tally.silent if attempt else ()
            question = self._random.randrange(_QUESTION_ID_MAX)
            with cluster.subscribe() as events:
                cluster.carry_out(
                    overlay.ask(question, operation, payload, cluster.address, only=names)
                )
                try:
                    async with asyncio.timeout(ANSWER_TIMEOUT_S):
                        async for event in events:
                            if isinstance(event, SerfAnswer) and event.question == question:
                                tally.hear(event.responder, event.answer)
                            if not tally.silent:
                                return tally.report()
                except TimeoutError:
                    continue
        return tally.report()


def _check_that_all_hold(key: bytes, listing: KeyReport) -> None:
    if listing.silent:
        raise KeyRejected(f"{_names(listing.silent)} did not say whether it holds the key")
    if listing.failed:
        raise KeyRejected(f"{_names(tuple(listing.failed))} cannot use any key")
    lacking = len(listing.done) - listing.holder_counts.get(b64encode(key), 0)
    if lacking:
        raise KeyRejected(f"{lacking} of {len(listing.done)} members lack the key: install it")


def _names(names: tuple[str, ...]) -> str:
    shown = ", ".join(names[:5])
    return shown if len(names) <= 5 else f"{shown} and {len(names) - 5} more"
