"""Cluster metadata, as the runtime and the edges see it.

Where no etcd is configured it is there all the same, and says so: `state` is `off`, and what
needs a store is refused. Nothing of it is on the path of a message.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from caxton_cluster.metadata import LockInfo, MetadataStore, StoreState

__all__ = ["ClusterSetting", "Metadata", "MetadataCounts"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ClusterSetting:
    """What the whole cluster was told of one setting."""

    key: str
    value: Any
    """JSON, as a person would write it."""
    set_by: str
    """The node that was asked to."""
    set_at: int
    """Milliseconds since 1970, UTC."""
    revision: int


@dataclass(frozen=True, slots=True, kw_only=True)
class MetadataCounts:
    """What the store has done since the node started."""

    calls: int = 0
    failures: int = 0
    losses: int = 0
    member_changes: int = 0
    watch_resumptions: int = 0
    relistings: int = 0
    mirror_backlog: int = 0
    mirror_refused: int = 0


class Metadata(Protocol):
    """What the whole cluster agrees on."""

    @property
    def store(self) -> MetadataStore:
        """Keys, locks and leases, for parts of the node that need them."""
        ...

    @property
    def state(self) -> StoreState:
        """How the store does, why, and since when."""
        ...

    @property
    def counts(self) -> MetadataCounts:
        """What it has done."""
        ...

    async def locks(self) -> Sequence[LockInfo]:
        """Return the locks that are held in the cluster, by name.

        Raises:
            Conflict: `state_conflict`: no store is configured.
            Unavailable: `metadata_unavailable`.
        """
        ...

    async def cluster_settings(self) -> Sequence[ClusterSetting]:
        """Return what the whole cluster was told, by key.

        Raises:
            Conflict: `state_conflict`: no store is configured.
            Unavailable: `metadata_unavailable`.
        """
        ...

    async def set_cluster_setting(self, key: str, value: Any) -> ClusterSetting:
        """Tell the whole cluster; each node follows as soon as it hears.

        Raises:
            NotFound: `key_not_found`: it cannot be told this.
            Rejected: `invalid_settings`: it cannot be that.
            Conflict: `state_conflict`: no store is configured.
            Unavailable: `metadata_unavailable`.
            Failed: `outcome_unknown`.
        """
        ...

    async def unset_cluster_setting(self, key: str) -> None:
        """Let every node follow its own value again.

        Raises:
            NotFound: `key_not_found`: the cluster was not told this.
            Conflict: `state_conflict`: no store is configured.
            Unavailable: `metadata_unavailable`.
            Failed: `outcome_unknown`.
        """
        ...
