"""Metrics of the cluster, as one node sees it. A node outside of any ring has none."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from prometheus_client.core import Metric

from caxton_node.telemetry.families import counter, gauge

__all__ = ["ClusterSnapshot", "cluster_families"]

_MODES: Final = ("majority", "minority", "isolated")


@dataclass(frozen=True, slots=True, kw_only=True)
class ClusterSnapshot:
    """What a node knows of its cluster at the moment of a scrape."""

    mode: str
    alive_count: int
    expected_count: int
    agent_count: int
    agents_taken: int
    agents_left: int


def cluster_families(now: ClusterSnapshot) -> Iterator[Metric]:
    """Yield the families of a cluster."""
    yield gauge("caxton_cluster_mode", {(mode,): int(mode == now.mode) for mode in _MODES})
    yield gauge(
        "caxton_cluster_nodes",
        {("alive",): now.alive_count, ("expected",): now.expected_count},
    )
    yield gauge("caxton_cluster_agents", {(): now.agent_count})
    yield counter(
        "caxton_cluster_agents_moved_total",
        {("taken",): now.agents_taken, ("left",): now.agents_left},
    )
