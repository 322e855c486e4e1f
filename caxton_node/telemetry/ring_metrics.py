"""Metrics of the ring of nodes, as one node sees it. A node outside of any ring has none."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate

from prometheus_client.core import HistogramMetricFamily, Metric

from caxton_node.telemetry.families import BY_NAME, counter, gauge

__all__ = ["RingSnapshot", "ring_families"]


@dataclass(frozen=True, slots=True, kw_only=True)
class RingSnapshot:
    """What a node's member of the ring has counted by the moment of a scrape."""

    members_by_state: Mapping[str, int]
    local_health: int
    probes_answered: int
    probes_failed: int
    suspicions: int
    refutations: int
    stalls: int
    name_conflicts: int
    bytes_by_way: Mapping[tuple[str, ...], int]
    """By direction, `in` or `out`, and transport, `datagram` or `stream`."""
    dropped_by_reason: Mapping[str, int]
    round_trip_bounds_s: Sequence[float]
    round_trip_counts: Sequence[int]
    """One number a class; the last one is of those beyond every bound."""
    round_trip_sum_s: float


def ring_families(now: RingSnapshot) -> Iterator[Metric]:
    """Yield the families of a ring."""
    yield gauge(
        "caxton_ring_members", {(state,): count for state, count in now.members_by_state.items()}
    )
    yield gauge("caxton_ring_local_health", {(): now.local_health})
    yield counter(
        "caxton_ring_probes_total",
        {("answered",): now.probes_answered, ("failed",): now.probes_failed},
    )
    yield counter("caxton_ring_suspicions_total", {(): now.suspicions})
    yield counter("caxton_ring_refutations_total", {(): now.refutations})
    yield counter("caxton_ring_stalls_total", {(): now.stalls})
    yield counter("caxton_ring_name_conflicts_total", {(): now.name_conflicts})
    yield counter("caxton_ring_bytes_total", now.bytes_by_way)
    yield counter(
        "caxton_ring_datagrams_dropped_total",
        {(reason,): count for reason, count in now.dropped_by_reason.items()},
    )
    metric = BY_NAME["caxton_ring_round_trip_seconds"]
    bounds = [*(f"{bound:g}" for bound in now.round_trip_bounds_s), "+Inf"]
    family = HistogramMetricFamily(metric.name, metric.description, labels=metric.labels)
    buckets = list(zip(bounds, accumulate(now.round_trip_counts), strict=True))
    family.add_metric((), buckets, now.round_trip_sum_s)
    yield family
