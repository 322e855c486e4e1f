"""What the metadata store holds and says: keys with values, changes, conditions, its own state.

Keys are texts below the store's prefix, such as `locks/janitor`; values are bytes. Revisions are
etcd's: one counter for the whole store that rises with every write, so that "before" and "after"
mean the same to everyone.

Reference: etcd v3, "Data model".
"""

from dataclasses import dataclass
from enum import Enum
from typing import Final

from caxton_cluster.errors import MetadataRefused

__all__ = [
    "KEY_SIZE_BYTES_MAX",
    "VALUE_SIZE_BYTES_MAX",
    "WRITES_MAX",
    "Absent",
    "Change",
    "Connection",
    "Delete",
    "Gone",
    "Guard",
    "KeyValue",
    "LockInfo",
    "Put",
    "Snapshot",
    "StillMade",
    "StoreState",
    "Unchanged",
    "Write",
    "check_key",
    "check_value",
]

KEY_SIZE_BYTES_MAX: Final = 512
"""Longest key, without the store's prefix, in UTF-8."""

VALUE_SIZE_BYTES_MAX: Final = 256 * 1024
"""Largest value. Etcd's own limit of a whole request is 1.5 MB; metadata is small."""

WRITES_MAX: Final = 100
"""Most writes of one transaction. Etcd takes 128 operations; the conditions need some."""


class Connection(Enum):
    """How the store does, in one word."""

    OFF = "off"
    """None is configured."""
    CONNECTED = "connected"
    """A majority of its members answered when it was last asked."""
    DEGRADED = "degraded"
    """It is configured and cannot be used now."""


@dataclass(frozen=True, slots=True)
class StoreState:
    """How the store does, why, and since when."""

    connection: Connection
    reason: str
    """For a person; empty while connected."""
    since_ms: int
    """Milliseconds since 1970, UTC."""


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyValue:
    """A key, as it was at some revision."""

    key: str
    value: bytes
    create_revision: int
    """Of the write that made it. Deleting and making it again raises this."""
    mod_revision: int
    """Of the last write to it."""
    lease_id: int = 0
    """The lease that it ends with; 0 is none."""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """All keys of a folder at one revision, in the order of the keys."""

    items: tuple[KeyValue, ...]
    revision: int


@dataclass(frozen=True, slots=True)
class Gone:
    """A key was deleted, or its lease ended."""

    key: str
    mod_revision: int


@dataclass(frozen=True, slots=True)
class Change:
    """What one or more consecutive writes did, in their order. Never a part of a transaction."""

    events: tuple[KeyValue | Gone, ...]
    revision: int
    """Of the last of them. Everything up to here has been told."""


@dataclass(frozen=True, slots=True)
class Put:
    """Write a value, and let it end with the lease, if one is given."""

    key: str
    value: bytes
    lease_id: int = 0


@dataclass(frozen=True, slots=True)
class Delete:
    """Delete a key, if it is there."""

    key: str


Write = Put | Delete


@dataclass(frozen=True, slots=True)
class Absent:
    """Only if the key is not there."""

    key: str


@dataclass(frozen=True, slots=True)
class Unchanged:
    """Only if the key was last written by this revision."""

    key: str
    mod_revision: int


@dataclass(frozen=True, slots=True)
class StillMade:
    """Only if the key is there, and was made by this revision: what a lock's token proves."""

    key: str
    create_revision: int


Guard = Absent | Unchanged | StillMade


@dataclass(frozen=True, slots=True, kw_only=True)
class LockInfo:
    """A lock that somebody holds or waits for."""

    name: str
    holder: str
    token: int
    """Fencing token: it rises with every holder."""
    lease_id: int
    waiting_count: int


def check_key(key: str) -> str:
    """Return `key` if it can be one.

    Raises:
        MetadataRefused: It is empty, too long, or begins or ends with a slash.
    """
    size_bytes = len(key.encode(errors="surrogateescape"))
    if not 0 < size_bytes <= KEY_SIZE_BYTES_MAX:
        raise MetadataRefused(f"a key has 1 to {KEY_SIZE_BYTES_MAX} bytes, not {size_bytes}")
    if key.startswith("/") or key.endswith("/"):
        raise MetadataRefused(f"a key neither begins nor ends with a slash: {key!r}")
    return key


def check_value(value: bytes) -> bytes:
    """Return `value` if it can be stored.

    Raises:
        MetadataRefused: It is too large.
    """
    if len(value) > VALUE_SIZE_BYTES_MAX:
        raise MetadataRefused(
            f"a value has at most {VALUE_SIZE_BYTES_MAX:,} bytes, not {len(value):,}"
        )
    return value
