"""Keeps a member's keys on disk as the ring rotates them, and recalls them when it starts.

What to begin with is decided by `keyfile`; here it is read and written, one write at a time and
off the event loop. A write that fails is told and tried again: the ring goes on meanwhile.
"""

import asyncio
from pathlib import Path

from caxton_cluster.keyfile import KeyRecord, choose_keys, read_keys, write_keys
from caxton_cluster.swim.secrecy import KeyRing

__all__ = ["KeyKeeper"]


class KeyKeeper:
    """The file of one key ring.

    Args:
        key_ring: What to keep; None where the settings name no key, and nothing is kept.
        path: Where.
    """

    def __init__(self, key_ring: KeyRing | None, path: Path) -> None:
        self._key_ring = key_ring
        self._path = path
        self._settings_keys = self._keys()
        self._kept = self._seen = self._settings_keys
        self._turn = asyncio.Lock()

    def _keys(self) -> tuple[bytes, ...]:
        return self._key_ring.keys if self._key_ring is not None else ()

    @property
    def has_news(self) -> bool:
        """Whether the keys changed since they were last kept, or tried to be."""
        return self._keys() != self._seen

    async def recall(self) -> list[str]:
        """Let the ring have the keys to begin with; return what the operator should know."""
        record, problem = await asyncio.to_thread(read_keys, self._path)
        choice = choose_keys(self._settings_keys, record)
        if self._key_ring is not None:
            self._key_ring.replace(choice.keys)
        self._kept = self._seen = self._keys()
        return [text for text in (problem, choice.problem) if text is not None]

    async def keep(self) -> str | None:
        """Return once the file says what the ring holds, or why it does not."""
        async with self._turn:
            keys = self._seen = self._keys()
            if keys == self._kept:
                return None
            record = KeyRecord.of(keys, self._settings_keys)
            try:
                await asyncio.to_thread(write_keys, self._path, record)
            except OSError as error:
                return f"the keys cannot be kept over a restart: {error}"
            self._kept = keys
            return None
