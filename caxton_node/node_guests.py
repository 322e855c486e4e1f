"""The guests of a node, opened and closed: part of the composition root."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Final, cast

from caxton_node.config import Settings
from caxton_node.runtime.guests import GuestPolicy, Guests
from caxton_node.tools.fetch import Fetcher
from caxton_node.tools.network_rule import NetworkRule, parse_host_pattern
from caxton_node.wasm.signatures import SignatureMode

__all__ = ["FOLDER_NAME", "NodeGuests", "open_guests"]

FOLDER_NAME: Final = "wasm"
"""Below the data directory."""


@dataclass(frozen=True, slots=True)
class NodeGuests:
    """What guests need of the node that nothing else has."""

    guests: Guests
    fetcher: Fetcher
    """Reaches what the operator allows; grants narrow it."""


@asynccontextmanager
async def open_guests(settings: Settings) -> AsyncIterator[NodeGuests]:
    """Open what guests need. No process is started and no engine loaded."""
    hosts = tuple(parse_host_pattern(host) for host in settings.tools.allowed_private_hosts)
    policy = GuestPolicy(
        signatures=cast("SignatureMode", settings.wasm.signatures),
        signers=settings.wasm.signers,
        shared=settings.wasm.shared,
        worker_count=settings.wasm.workers,
    )
    async with Fetcher(NetworkRule(hosts)) as fetcher, asyncio.TaskGroup() as tasks:
        guests = Guests(settings.node.data_dir / FOLDER_NAME, policy, tasks)
        try:
            yield NodeGuests(guests, fetcher)
        finally:
            await guests.close()
