"""Whether a node is a member of a ring, and where: decided from settings alone.

A node that was not asked to join a ring opens no port for one, so that two plain nodes share a
machine without a thought.
"""

from typing import Final

from caxton_node.config.settings import ClusterSettings

__all__ = ["DEFAULT_ADDRESS", "address_of", "announced_address", "gossip_address"]

DEFAULT_ADDRESS: Final = "127.0.0.1:7946"

_EVERYWHERE: Final = frozenset({"0.0.0.0", "::"})  # noqa: S104 - compared, not bound


def gossip_address(cluster: ClusterSettings) -> tuple[str, int] | None:
    """Return the host and the port that the ring listens on, or None where there is no ring."""
    is_wanted = cluster.is_enabled
    if is_wanted is None:
        is_wanted = cluster.gossip is not None or bool(cluster.peers)
    return address_of(cluster.gossip or DEFAULT_ADDRESS) if is_wanted else None


def address_of(text: str) -> tuple[str, int]:
    """Return the host, without brackets, and the port of `host:port`."""
    host, _, port = text.rpartition(":")
    return host.strip("[]"), int(port)


def announced_address(host: str, port: int, ring_host: str) -> str:
    """Return where others reach what listens on `host`, as `host:port`.

    What listens everywhere is reached where the ring reaches this node.
    """
    host = ring_host if host in _EVERYWHERE else host
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
