"""Metrics for Prometheus: what is counted anyway, read when somebody asks.

The hot path counts with plain integers (`Counts`). Only requests over HTTP are observed as they
happen, since only they are distributed over routes. There is no global registry: two nodes in one
process, as in tests, do not meet.
"""

from bisect import bisect_left
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path
from resource import RUSAGE_SELF, getpagesize, getrusage
from sys import platform
from typing import Final

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import (
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector

from caxton_node.telemetry.cluster_metrics import ClusterSnapshot, cluster_families
from caxton_node.telemetry.counts import Counts
from caxton_node.telemetry.families import BY_NAME, counter, gauge
from caxton_node.telemetry.names import HTTP_BUCKETS_S
from caxton_node.telemetry.ring_metrics import RingSnapshot, ring_families

__all__ = [
    "EXPOSITION_MEDIA_TYPE",
    "HttpMetrics",
    "NodeSnapshot",
    "expose",
    "resident_bytes",
]

EXPOSITION_MEDIA_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"

_OUTCOMES: Final = (
    "accepted",
    "delivered",
    "dead",
    "expired",
    "cancelled",
    "refused",
    "retried",
    "duplicate",
)
_ETCD_STATES: Final = ("off", "connected", "degraded")
_STATM: Final = Path("/proc/self/statm")


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeSnapshot:
    """What a node is doing at the moment of a scrape."""

    node: str
    version: str
    uptime_s: float
    counts: Counts
    agents_by_state: Mapping[str, int]
    queued: int
    fullest_mailbox_ratio: float
    turns_under_way: int
    store_backlog: int
    answers_awaited: int
    loop_lag_s: float
    resident_bytes: int
    etcd_state: str
    etcd: Mapping[str, int]
    ring: RingSnapshot | None
    """None outside of any ring."""
    cluster: ClusterSnapshot | None
    """Likewise."""
    """By name of the field in `MetadataCounts`."""


class _Timer:
    """How long requests of one route took, in buckets."""

    def __init__(self) -> None:
        self._counts = [0] * (len(HTTP_BUCKETS_S) + 1)
        self._sum_s = 0.0

    def observe(self, duration_s: float) -> None:
        self._counts[bisect_left(HTTP_BUCKETS_S, duration_s)] += 1
        self._sum_s += duration_s

    def buckets(self) -> list[tuple[str, float]]:
        """Return (upper bound, how many were at most that), the last bound infinite."""
        bounds = [*(f"{bound:g}" for bound in HTTP_BUCKETS_S), "+Inf"]
        return list(zip(bounds, accumulate(self._counts), strict=True))

    @property
    def sum_s(self) -> float:
        """All durations together, in seconds."""
        return self._sum_s


class HttpMetrics(Collector):
    """Counts and times requests. One per application."""

    def __init__(self) -> None:
        self._requests: dict[tuple[str, str, int], int] = {}
        self._timers: dict[str, _Timer] = {}

    def observe(self, route: str, method: str, status: int, duration_s: float | None) -> None:
        """Count a request.

        Args:
            route: Template of its address, never the address itself.
            method: One of the methods that the server knows, or `other`.
            status: Of the response.
            duration_s: Until the response was ready; None for a stream.
        """
        key = (route, method, status)
        self._requests[key] = self._requests.get(key, 0) + 1
        if duration_s is None:
            return
        timer = self._timers.get(route)
        if timer is None:
            timer = self._timers[route] = _Timer()
        timer.observe(duration_s)

    def collect(self) -> Iterator[Metric]:
        """Yield the families of requests and durations."""
        yield counter(
            "caxton_http_requests_total",
            {
                (route, method, str(status)): number
                for (route, method, status), number in sorted(self._requests.items())
            },
        )
        metric = BY_NAME["caxton_http_request_duration_seconds"]
        family = HistogramMetricFamily(metric.name, metric.description, labels=metric.labels)
        for route, timer in sorted(self._timers.items()):
            family.add_metric((route,), timer.buckets(), timer.sum_s)
        yield family


class _NodeCollector(Collector):
    """Turns a snapshot into metric families."""

    def __init__(self, snapshot: NodeSnapshot) -> None:
        self._snapshot = snapshot

    def collect(self) -> Iterator[Metric]:
        now, counts = self._snapshot, self._snapshot.counts
        yield gauge("caxton_node", {(now.node, now.version): 1})
        yield gauge("caxton_uptime_seconds", {(): now.uptime_s})
        yield counter(
            "caxton_messages_total",
            {(outcome,): getattr(counts, f"messages_{outcome}") for outcome in _OUTCOMES},
        )
        yield counter(
            "caxton_turns_total",
            {("finished",): counts.turns_finished, ("failed",): counts.turns_failed},
        )
        yield gauge("caxton_turns_under_way", {(): now.turns_under_way})
        yield counter("caxton_model_calls_total", {(): counts.model_calls})
        yield counter(
            "caxton_model_tokens_total",
            {("input",): counts.model_input_tokens, ("output",): counts.model_output_tokens},
        )
        succeeded = counts.tool_calls - counts.tool_errors
        yield counter(
            "caxton_tool_calls_total", {("ok",): succeeded, ("error",): counts.tool_errors}
        )
        yield gauge(
            "caxton_agents", {(state,): number for state, number in now.agents_by_state.items()}
        )
        yield gauge("caxton_queued_messages", {(): now.queued})
        yield gauge("caxton_mailbox_fullest_ratio", {(): now.fullest_mailbox_ratio})
        yield gauge("caxton_store_backlog", {(): now.store_backlog})
        yield gauge("caxton_answers_awaited", {(): now.answers_awaited})
        yield gauge("caxton_event_loop_lag_seconds", {(): now.loop_lag_s})
        yield gauge("caxton_process_resident_memory_bytes", {(): now.resident_bytes})
        if now.ring is not None:
            yield from ring_families(now.ring)
        if now.cluster is not None:
            yield from cluster_families(now.cluster)
        yield from _etcd_metrics(now.etcd_state, now.etcd)


def _etcd_metrics(state: str, counts: Mapping[str, int]) -> Iterator[Metric]:
    yield gauge("caxton_etcd_state", {(one,): int(one == state) for one in _ETCD_STATES})
    yield counter("caxton_etcd_calls_total", {(): counts["calls"]})
    yield counter("caxton_etcd_attempts_failed_total", {(): counts["failures"]})
    yield counter("caxton_etcd_losses_total", {(): counts["losses"]})
    yield counter(
        "caxton_etcd_watch_resumptions_total",
        {("resumed",): counts["watch_resumptions"], ("relisted",): counts["relistings"]},
    )
    yield gauge("caxton_etcd_mirror_backlog", {(): counts["mirror_backlog"]})
    yield counter("caxton_etcd_mirror_refused_total", {(): counts["mirror_refused"]})


def expose(snapshot: NodeSnapshot, http: HttpMetrics) -> bytes:
    """Return everything in the text format of Prometheus."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_NodeCollector(snapshot))
    registry.register(http)
    return generate_latest(registry)


def resident_bytes(read: Callable[[], str] = _STATM.read_text) -> int:
    """Return the memory that this process holds: now on Linux, at most so far elsewhere."""
    try:
        return int(read().split()[1]) * getpagesize()
    except (OSError, ValueError, IndexError):
        peak = getrusage(RUSAGE_SELF).ru_maxrss
        return peak if platform == "darwin" else peak * 1024
