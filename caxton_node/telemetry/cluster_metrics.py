"""Metrics of the cluster, as one node sees it. A node outside of any ring has none."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from prometheus_client.core import Metric

from caxton_node.telemetry.families import counter, gauge

__all__ = ["ClusterSnapshot", "LinkSnapshot", "cluster_families"]

_MODES: Final = ("majority", "minority", "isolated")
_RIGHTS: Final = ("majority", "lease", "degraded", "withheld")


@dataclass(frozen=True, slots=True, kw_only=True)
class LinkSnapshot:
    """What a link to another node has counted since this node started."""

    peer: str
    is_up: bool
    waiting_count: int
    """Messages that were not sent yet."""
    round_trip_s: float | None
    """None before the first echo."""
    sent_count: int
    received_count: int
    sent_again_count: int
    """Frames that were sent once more after a break of the stream."""
    break_count: int
    """Times that the link went down."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ClusterSnapshot:
    """What a node knows of its cluster at the moment of a scrape."""

    mode: str
    alive_count: int
    expected_count: int
    agent_count: int
    agents_taken: int
    agents_left: int
    failover_right: str
    takeovers_granted: int
    takeovers_refused: int
    links: Sequence[LinkSnapshot]


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
    yield gauge(
        "caxton_failover_right", {(one,): int(one == now.failover_right) for one in _RIGHTS}
    )
    yield counter(
        "caxton_failover_permits_total",
        {("granted",): now.takeovers_granted, ("refused",): now.takeovers_refused},
    )
    yield from _link_families(now.links)


def _link_families(links: Sequence[LinkSnapshot]) -> Iterator[Metric]:
    yield gauge("caxton_link_up", {(link.peer,): int(link.is_up) for link in links})
    yield gauge(
        "caxton_link_waiting_messages", {(link.peer,): link.waiting_count for link in links}
    )
    yield gauge(
        "caxton_link_round_trip_seconds",
        {(link.peer,): link.round_trip_s for link in links if link.round_trip_s is not None},
    )
    moved: dict[tuple[str, ...], float] = {}
    for link in links:
        moved[link.peer, "out"] = link.sent_count
        moved[link.peer, "in"] = link.received_count
    yield counter("caxton_link_messages_total", moved)
    yield counter(
        "caxton_link_frames_sent_again_total",
        {(link.peer,): link.sent_again_count for link in links},
    )
    yield counter("caxton_link_breaks_total", {(link.peer,): link.break_count for link in links})
