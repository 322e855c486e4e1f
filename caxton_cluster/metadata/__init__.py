"""Optional metadata of a cluster in etcd: agreed values, locks with fencing tokens, leases.

A cluster works without it. Where it is configured it adds what gossip cannot give: one order of
events for everyone, and the certainty that only one holds a lock. Losing it takes only that away.

`MetadataStore` is what a program sees. `EtcdStore`, in `.etcd`, is the one that stores; it is
imported by those who open one, because gRPC is heavy. `NoStore` says that there is none.
`LeaderLease`, in `.leader`, and `Mirror`, in `.mirror`, are built on any of them.
"""

from caxton_cluster.metadata.lease import Lease
from caxton_cluster.metadata.lock import Lock
from caxton_cluster.metadata.settings import EtcdSettings
from caxton_cluster.metadata.store import MetadataStore, NoStore
from caxton_cluster.metadata.values import (
    Absent,
    Change,
    Connection,
    Delete,
    Gone,
    KeyValue,
    LockInfo,
    Put,
    Snapshot,
    StillMade,
    StoreState,
    Unchanged,
)

__all__ = [
    "Absent",
    "Change",
    "Connection",
    "Delete",
    "EtcdSettings",
    "Gone",
    "KeyValue",
    "Lease",
    "Lock",
    "LockInfo",
    "MetadataStore",
    "NoStore",
    "Put",
    "Snapshot",
    "StillMade",
    "StoreState",
    "Unchanged",
]
