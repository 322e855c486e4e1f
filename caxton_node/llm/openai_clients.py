"""Clients of OpenAI-compatible endpoints, shared by the agents that use the same one.

A client owns a pool of connections and takes a while to make, so agents with the same address
and key share it; it is closed when the last of them is gone. The SDK itself is imported when it
is first needed, in a thread, because that takes most of a second and many nodes never need it.
"""

import asyncio
import importlib
from dataclasses import dataclass, field
from typing import Any, Final

__all__ = ["OPENAI_BASE_URL", "Endpoint", "OpenAiClients"]

OPENAI_BASE_URL: Final = "https://api.openai.com/v1"


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """Where to call, and as whom."""

    base_url: str = OPENAI_BASE_URL
    api_key: str | None = field(default=None, repr=False)
    """None for an endpoint that asks for none, as those on one's own machine."""


@dataclass(slots=True)
class _Shared:
    client: Any
    lease_count: int = 0


class OpenAiClients:
    """The clients in use. Made by whoever puts the node together, and closed by it."""

    def __init__(self) -> None:
        self._shared: dict[Endpoint, _Shared] = {}
        self._importing = asyncio.Lock()

    async def acquire(self, endpoint: Endpoint) -> Any:
        """Return an `openai.AsyncOpenAI`. Give it back with `release`."""
        async with self._importing:
            sdk = await asyncio.to_thread(importlib.import_module, "openai")
        shared = self._shared.get(endpoint)
        if shared is None:
            shared = self._shared[endpoint] = _Shared(_new_client(sdk, endpoint))
        shared.lease_count += 1
        return shared.client

    async def release(self, endpoint: Endpoint) -> None:
        """Give back what `acquire` returned once; the last one closes the connections."""
        shared = self._shared.get(endpoint)
        if shared is None:
            return
        shared.lease_count -= 1
        if shared.lease_count <= 0:
            del self._shared[endpoint]
            await shared.client.close()

    async def close(self) -> None:
        """Close all connections, whoever still holds a client."""
        while self._shared:
            _, shared = self._shared.popitem()
            await shared.client.close()


def _new_client(sdk: Any, endpoint: Endpoint) -> Any:
    # Every credential is given, if only as empty: the SDK would look in the environment for
    # what is None and send the operator's own key to the address that an agent's file names.
    client = sdk.AsyncOpenAI(
        base_url=endpoint.base_url,
        api_key=endpoint.api_key or "",
        admin_api_key="",
        organization="",
        project="",
        timeout=None,  # `asyncio.timeout` around the call is the one deadline
        max_retries=0,  # ours know when to stop
        _enforce_credentials=False,
    )
    client.organization = None
    client.project = None
    return client
