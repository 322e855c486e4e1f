"""Files of guests in WebAssembly, fetched from the nodes that have them.

They go by their digest, the way definitions do. A node that is asked to keep a definition fetches
the file that it names too: when the holder is dead it is too late.
"""

import logging
import tomllib
from collections.abc import Callable, Collection, Sequence
from typing import Any

from caxton_node.agentfile.parse import AgentFormat
from caxton_node.documents.strict_json import decode_json
from caxton_node.domain.errors import CaxtonError
from caxton_node.forwarding.peer_calls import PeerCalls
from caxton_node.runtime.guests import Guests
from caxton_node.store.protocol import Definition

__all__ = ["GuestFiles", "digest_named"]

_log = logging.getLogger("caxton.placement")


class GuestFiles:
    """Finds files on other nodes.

    Args:
        guests: Keeps them here.
        calls: Ask other nodes.
        peers: Returns the nodes that can be asked.
    """

    def __init__(
        self, guests: Guests, calls: PeerCalls, peers: Callable[[], Sequence[str]]
    ) -> None:
        self._guests = guests
        self._calls = calls
        self._peers = peers

    async def find(self, digest: str) -> bytes | None:
        """Return a file from the first node that has it; None when nobody who answers has."""
        return await self._from(digest, self._peers())

    async def fetch_with(self, definition: Definition, holders: Collection[str]) -> None:
        """Fetch the file that a definition names, unless it is here.

        What cannot be fetched now is fetched when the agent is built.
        """
        digest = digest_named(definition)
        if digest is None or await self._guests.module_size(digest) is not None:
            return
        data = await self._from(digest, holders)
        if data is not None:
            await self._guests.put_module(data)

    async def _from(self, digest: str, nodes: Collection[str]) -> bytes | None:
        for node in nodes:
            try:
                data = await self._calls.module(node, digest)
            except CaxtonError as problem:
                _log.debug("a guest's file was not fetched: %s", problem)
                continue
            if data is not None:
                return data
        return None


def digest_named(definition: Definition) -> str | None:
    """Return the digest of the file that a definition names; None when it names none."""
    document: Any = None
    try:
        if definition.format == AgentFormat.TOML:
            document = tomllib.loads(definition.source)
        elif definition.format == AgentFormat.JSON:
            document = decode_json(definition.source.encode(errors="surrogatepass"))
    except (tomllib.TOMLDecodeError, CaxtonError):
        return None
    wasm = document.get("wasm") if isinstance(document, dict) else None
    digest = wasm.get("sha256") if isinstance(wasm, dict) else None
    if isinstance(digest, str) and len(digest) == 64 and digest.isascii() and digest.isalnum():
        return digest.lower()
    return None
