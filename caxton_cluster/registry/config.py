"""Settings of the registry: how soon it tells, how often it compares, how much it keeps."""

from dataclasses import dataclass

from caxton_cluster.errors import InvalidSetting

__all__ = ["RegistryConfig"]


@dataclass(frozen=True, slots=True, kw_only=True)
class RegistryConfig:
    """Tuning of one node's registry. Nodes of one cluster may differ.

    Raises:
        InvalidSetting: A value is out of its range.
    """

    coalesce_s: float = 0.03
    """How long a change waits for others to share its delta."""
    digest_interval_s: float = 1.0
    """How often one peer, each in turn, is told what we have. Repair takes about as long."""
    pull_jitter_s: float = 0.05
    """Longest wait before a pull, drawn evenly: many who miss the same do not ask at once, and
    what was merely late arrives."""
    pull_timeout_s: float = 10.0
    """How long a pull may go without a chunk."""
    pull_backoff_max_s: float = 10.0
    """Longest wait after a pull failed; the first is 0.1 s, doubling."""
    pulls_max: int = 8
    """Pulls at once, each of another owner. The others wait."""
    chunk_size_bytes: int = 256 * 1024
    """Size at which a delta is cut; one record may still go over it."""
    vector_owners_max: int = 40
    """Up to so many owners a digest has a line for each; beyond, they take turns."""
    rotating_owners: int = 8
    """Lines of a digest in which owners take turns, our own not counted."""
    load_interval_s: float = 5.0
    """How often the load of one agent may change."""
    keep_gone_s: float = 600.0
    """How long records of a gone node are kept, hidden: one that comes back needs no transfer."""
    remember_gone_s: float = 86_400.0
    """How long a dropped (owner, epoch) is refused, so that a slow peer cannot bring it back."""
    tombstone_age_min_s: float = 60.0
    """A tombstone that every live member has is kept for so long all the same."""
    tombstone_age_max_s: float = 3600.0
    """After so long a tombstone goes whoever has it; who missed it starts over."""
    check_interval_s: float = 60.0
    """How often at most one owner's records are fetched anew because their checksum differs."""
    bootstrap_peers: int = 3
    """How many peers a newcomer hears before it trusts that it knows what there is."""
    owners_max: int = 2048
    """Most owners held, the gone included, and most remembered ones."""
    records_per_owner_max: int = 100_000
    """Most records and tombstones of one owner; larger states are refused and counted."""

    def __post_init__(self) -> None:
        for name in (
            "coalesce_s",
            "digest_interval_s",
            "pull_timeout_s",
            "pull_backoff_max_s",
            "load_interval_s",
            "keep_gone_s",
            "remember_gone_s",
            "tombstone_age_max_s",
            "check_interval_s",
        ):
            _require(getattr(self, name) > 0, name, "must be positive")
        for name in ("pull_jitter_s", "tombstone_age_min_s"):
            _require(getattr(self, name) >= 0, name, "must not be negative")
        for name in (
            "pulls_max",
            "vector_owners_max",
            "rotating_owners",
            "bootstrap_peers",
            "owners_max",
            "records_per_owner_max",
        ):
            _require(getattr(self, name) >= 1, name, "must be at least 1")
        _require(
            256 <= self.chunk_size_bytes <= 256 * 1024,
            "chunk_size_bytes",
            "must be in 256..262144, so that a chunk fits a frame",
        )


def _require(is_valid: bool, name: str, problem: str) -> None:
    if not is_valid:
        raise InvalidSetting(name, problem)
