"""A lock that one process of the cluster holds at a time, with a token that proves it.

Who wants a lock puts a key of its own into the lock's folder, under a lease of its own. The key
that was made first holds. Each of the others waits for the one before it to go, so that a release
wakes one of them and the order is kept.

A process can be stopped for longer than its lease lasts and act when it wakes up, before it looks
at any clock. No lock can prevent that. Hence the *fencing token*, which rises with every holder:
pass it along with what is done under the lock, and let the other side refuse a token below one it
has seen. Writes to this store use `Lock.guard`, and are refused by etcd itself.

Reference: Kleppmann, "How to do distributed locking", 2016; etcd's recipe `concurrency.Mutex`.
"""

import re
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from caxton_cluster.errors import MetadataRefused
from caxton_cluster.metadata.lease import Lease
from caxton_cluster.metadata.values import KeyValue, LockInfo, StillMade

__all__ = ["LOCKS_FOLDER", "Lock", "lock_folder", "lock_key", "read_locks"]

LOCKS_FOLDER: Final = "locks/"

_NAME: Final = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._:@-]{0,198}[A-Za-z0-9])?", re.ASCII)


@dataclass(frozen=True, slots=True)
class Lock:
    """A lock that is held, as long as its lease is."""

    name: str
    token: int
    """Fencing token: higher than that of every earlier holder."""
    key: str
    lease: Lease

    @property
    def is_held(self) -> bool:
        """Whether it is still ours, at this moment."""
        return self.lease.is_alive

    @property
    def guard(self) -> StillMade:
        """Make a write conditional on our still holding it; etcd decides, not our clock."""
        return StillMade(self.key, self.token)


def lock_folder(name: str) -> str:
    """Return the folder of a lock's keys.

    Raises:
        MetadataRefused: No lock can be called so.
    """
    if not _NAME.fullmatch(name):
        raise MetadataRefused(
            f"a lock is called by 1 to 200 letters, digits and . _ : @ -, not {name[:200]!r}"
        )
    return f"{LOCKS_FOLDER}{name}/"


def lock_key(name: str, lease_id: int) -> str:
    """Return the key by which a lease wants a lock."""
    return f"{lock_folder(name)}{lease_id:016x}"


def read_locks(items: Iterable[KeyValue]) -> list[LockInfo]:
    """Return who holds which lock, by name, from all keys in `LOCKS_FOLDER`."""
    wanted: dict[str, list[KeyValue]] = defaultdict(list)
    for item in items:
        name, _, _ = item.key.removeprefix(LOCKS_FOLDER).rpartition("/")
        if name:
            wanted[name].append(item)
    locks = []
    for name, keys in sorted(wanted.items()):
        first = min(keys, key=lambda item: item.create_revision)
        locks.append(
            LockInfo(
                name=name,
                holder=first.value.decode(errors="replace"),
                token=first.create_revision,
                lease_id=first.lease_id,
                waiting_count=len(keys) - 1,
            )
        )
    return locks
