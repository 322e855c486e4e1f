"""Membership for a cluster of processes: who is here, who is gone, told to everyone in seconds.

SWIM with Lifeguard on HashiCorp memberlist's wire, so that serf and memberlist peers can share a
ring with these members. Use `Cluster` to join a ring; use `caxton_cluster.swim` to run the
protocol on a clock and a network of your own.
"""

from caxton_cluster.cluster import Cluster, ClusterSettings
from caxton_cluster.config import SwimConfig, fast, lan, local, wan
from caxton_cluster.types import Address, Member, MemberState

__all__ = [
    "Address",
    "Cluster",
    "ClusterSettings",
    "Member",
    "MemberState",
    "SwimConfig",
    "fast",
    "lan",
    "local",
    "wan",
]
