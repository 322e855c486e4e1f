"""What the rest of a program sees of cluster metadata: one small Protocol, and a store that is not.

`EtcdStore` is the one that stores. `NoStore` is what a program has that configured none: it says
so, and whoever asks it for something is told so too.
"""

from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any, NoReturn, Protocol

from caxton_cluster.errors import MetadataOff
from caxton_cluster.metadata.lease import Lease
from caxton_cluster.metadata.lock import Lock
from caxton_cluster.metadata.values import (
    Change,
    Connection,
    Guard,
    KeyValue,
    LockInfo,
    Snapshot,
    StoreState,
    Write,
)

__all__ = ["MetadataStore", "NoStore"]


class MetadataStore(Protocol):
    """Keys and values that the whole cluster agrees on.

    Every call ends in time: it returns, or raises a `MetadataError` that says what the caller can
    do. Nothing here is for the path of a message.
    """

    @property
    def state(self) -> StoreState:
        """How it does, why, and since when."""
        ...

    @property
    def losses_count(self) -> int:
        """How often it was lost since it was opened."""
        ...

    def on_change(self, tell: Callable[[StoreState], None], /) -> None:
        """Call `tell`, which must not block, whenever the store is lost or found."""
        ...

    async def get(self, key: str, /) -> KeyValue | None:
        """Return what is at a key."""
        ...

    async def list(self, folder: str, /) -> Snapshot:
        """Return all keys of a folder, `locks/` or the empty text for all, at one revision."""
        ...

    async def put(self, key: str, value: bytes, /, *, lease_id: int = 0) -> int:
        """Write one value and return the revision.

        Raises:
            OutcomeUnknown: It was sent, and the answer got lost.
        """
        ...

    async def delete(self, key: str, /) -> bool:
        """Delete a key; return whether it was there.

        Raises:
            OutcomeUnknown: It was sent, and the answer got lost.
        """
        ...

    async def commit(
        self, writes: Sequence[Write], /, *, only_if: Sequence[Guard] = ()
    ) -> int | None:
        """Write all or nothing; return the revision, or None where a condition does not hold.

        Raises:
            OutcomeUnknown: It was sent, and the answer got lost.
        """
        ...

    def watch(self, folder: str, /) -> AsyncGenerator[Snapshot | Change]:
        """Yield all keys of a folder, then every change, in order; again all where some got lost.

        An outage ends nothing: it goes on where it was, once etcd is back. Close it with
        `contextlib.aclosing` where its loop may be left.

        Raises:
            MetadataDenied: Etcd does not let us.
        """
        ...

    def lease(self, ttl_s: float, /) -> AbstractAsyncContextManager[Lease]:
        """Hold a lease, renewed inside of the block and revoked at its end."""
        ...

    def lock(
        self, name: str, /, *, holder: str, ttl_s: float, timeout_s: float
    ) -> AbstractAsyncContextManager[Lock]:
        """Hold a lock inside of the block.

        Args:
            name: Which.
            holder: Who asks, for others to see.
            ttl_s: How long it stays taken after the holder died without a word.
            timeout_s: How long to wait for it.

        Raises:
            LockBusy: It did not become free in time.
        """
        ...

    async def locks(self) -> Sequence[LockInfo]:
        """Return the locks that are held, by name."""
        ...


class NoStore:
    """The store of a program that configured none."""

    def __init__(self, now_ms: int) -> None:
        self.state = StoreState(Connection.OFF, "not configured", now_ms)
        self.losses_count = 0

    def on_change(self, _tell: Callable[[StoreState], None], /) -> None:
        """Nothing ever changes."""

    async def get(self, _key: str, /) -> KeyValue | None:
        """Raise `MetadataOff`."""
        _refuse()

    async def list(self, _folder: str, /) -> Snapshot:
        """Raise `MetadataOff`."""
        _refuse()

    async def put(self, _key: str, _value: bytes, /, **_: Any) -> int:
        """Raise `MetadataOff`."""
        _refuse()

    async def delete(self, _key: str, /) -> bool:
        """Raise `MetadataOff`."""
        _refuse()

    async def commit(self, _writes: Sequence[Write], /, **_: Any) -> int | None:
        """Raise `MetadataOff`."""
        _refuse()

    def watch(self, _folder: str, /) -> AsyncGenerator[Snapshot | Change]:
        """Raise `MetadataOff`."""
        _refuse()

    def lease(self, _ttl_s: float, /) -> AbstractAsyncContextManager[Lease]:
        """Raise `MetadataOff`."""
        _refuse()

    def lock(self, _name: str, /, **_: Any) -> AbstractAsyncContextManager[Lock]:
        """Raise `MetadataOff`."""
        _refuse()

    async def locks(self) -> Sequence[LockInfo]:
        """Raise `MetadataOff`."""
        _refuse()


def _refuse() -> NoReturn:
    raise MetadataOff
