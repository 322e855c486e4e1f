"""Metrics for Prometheus: what is counted anyway, read when somebody asks.

The hot path counts with plain integers (`Counts`). Only requests over HTTP are observed as they
happen, since only they are distributed over routes. There is no global registry: two nodes in one
process, as in tests, do not meet.
"""

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from resource import RUSAGE_SELF, getpagesize, getrusage
from sys import platform
from typing import Final

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import Metric
from prometheus_client.openmetrics import exposition as openmetrics
from prometheus_client.registry import Collector

from caxton_node.telemetry.cluster_metrics import ClusterSnapshot, cluster_families
from caxton_node.telemetry.counts import Counts
from caxton_node.telemetry.families import counter, gauge, histogram
from caxton_node.telemetry.guest_metrics import guest_families
from caxton_node.telemetry.histogram import Histogram
from caxton_node.telemetry.names import LATENCY_BUCKETS_S
from caxton_node.telemetry.ring_metrics import RingSnapshot, ring_families

__all__ = [
    "EXPOSITION_MEDIA_TYPE",
    "OPENMETRICS_MEDIA_TYPE",
    "HttpMetrics",
    "NodeSnapshot",
    "expose",
    "families",
    "resident_bytes",
]

EXPOSITION_MEDIA_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"
OPENMETRICS_MEDIA_TYPE: Final = "application/openmetrics-text; version=1.0.0; charset=utf-8"

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
    unplaced: int
    fullest_mailbox_ratio: float
    turns_under_way: int
    store_backlog: int
    answers_awaited: int
    loop_lag_s: float
    resident_bytes: int
    free_bytes: int
    """Of the file system that holds the data directory."""
    size_bytes: int
    """Of that file system."""
    certificate_ends_at_s: float | None
    """Seconds since 1970; None without certificates."""
    spans: Mapping[str, int]
    """By outcome."""
    etcd_state: str
    etcd: Mapping[str, int]
    ring: RingSnapshot | None
    """None outside of any ring."""
    cluster: ClusterSnapshot | None
    """Likewise."""
    """By name of the field in `MetadataCounts`."""


class HttpMetrics(Collector):
    """Counts and times requests. One per application."""

    def __init__(self) -> None:
        self._requests: dict[tuple[str, str, int], int] = {}
        self._timers: dict[str, Histogram] = {}

    def observe(
        self,
        route: str,
        method: str,
        status: int,
        duration_s: float | None,
        trace_id: str | None = None,
    ) -> None:
        """Count a request.

        Args:
            route: Template of its address, never the address itself.
            method: One of the methods that the server knows, or `other`.
            status: Of the response.
            duration_s: Until the response was ready; None for a stream.
            trace_id: Of the trace that was recorded of it, if one was.
        """
        key = (route, method, status)
        self._requests[key] = self._requests.get(key, 0) + 1
        if duration_s is None:
            return
        timer = self._timers.get(route)
        if timer is None:
            timer = self._timers[route] = Histogram(LATENCY_BUCKETS_S)
        if trace_id is None:
            timer.observe(duration_s)
        else:
            timer.observe_traced(duration_s, trace_id, time.time())

    def collect(self) -> Iterator[Metric]:
        """Yield the families of requests and durations."""
        yield counter(
            "caxton_http_requests_total",
            {
                (route, method, str(status)): number
                for (route, method, status), number in sorted(self._requests.items())
            },
        )
        yield histogram(
            "caxton_http_request_duration_seconds",
            {(route,): timer for route, timer in sorted(self._timers.items())},
        )


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
        yield histogram("caxton_message_duration_seconds", {(): counts.message_s})
        yield histogram("caxton_turn_duration_seconds", {(): counts.turn_s})
        yield counter("caxton_model_calls_total", {(): counts.model_calls})
        yield counter("caxton_model_errors_total", {(): counts.model_errors})
        yield histogram("caxton_model_call_duration_seconds", {(): counts.model_s})
        yield counter(
            "caxton_model_tokens_total",
            {("input",): counts.model_input_tokens, ("output",): counts.model_output_tokens},
        )
        succeeded = counts.tool_calls - counts.tool_errors
        yield counter(
            "caxton_tool_calls_total", {("ok",): succeeded, ("error",): counts.tool_errors}
        )
        yield histogram("caxton_tool_call_duration_seconds", {(): counts.tool_s})
        yield from guest_families(counts)
        yield gauge(
            "caxton_agents", {(state,): number for state, number in now.agents_by_state.items()}
        )
        yield gauge("caxton_queued_messages", {(): now.queued})
        yield gauge("caxton_unplaced_messages", {(): now.unplaced})
        yield gauge("caxton_mailbox_fullest_ratio", {(): now.fullest_mailbox_ratio})
        yield gauge("caxton_store_backlog", {(): now.store_backlog})
        yield gauge("caxton_answers_awaited", {(): now.answers_awaited})
        yield gauge("caxton_event_loop_lag_seconds", {(): now.loop_lag_s})
        yield gauge("caxton_process_resident_memory_bytes", {(): now.resident_bytes})
        yield gauge("caxton_data_dir_bytes", {("free",): now.free_bytes, ("size",): now.size_bytes})
        ends_at_s = now.certificate_ends_at_s
        yield gauge(
            "caxton_certificate_expiry_timestamp_seconds",
            {} if ends_at_s is None else {(): ends_at_s},
        )
        yield counter(
            "caxton_trace_spans_total", {(outcome,): n for outcome, n in now.spans.items()}
        )
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


def families(snapshot: NodeSnapshot, http: HttpMetrics) -> Iterator[Metric]:
    """Yield all metrics of a node, as they were when the snapshot was taken."""
    yield from _NodeCollector(snapshot).collect()
    yield from http.collect()


def expose(
    snapshot: NodeSnapshot, http: HttpMetrics, *, is_openmetrics: bool = False
) -> tuple[bytes, str]:
    """Return everything in a text format of Prometheus, and the name of that format.

    Args:
        snapshot: What the node does.
        http: What was asked of it.
        is_openmetrics: Whether in the format that carries exemplars.
    """
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_NodeCollector(snapshot))
    registry.register(http)
    if is_openmetrics:
        text: bytes = openmetrics.generate_latest(registry)  # type: ignore[no-untyped-call]  # it has no types
        return text, OPENMETRICS_MEDIA_TYPE
    return generate_latest(registry), EXPOSITION_MEDIA_TYPE


def resident_bytes(read: Callable[[], str] = _STATM.read_text) -> int:
    """Return the memory that this process holds: now on Linux, at most so far elsewhere."""
    try:
        return int(read().split()[1]) * getpagesize()
    except (OSError, ValueError, IndexError):
        peak = getrusage(RUSAGE_SELF).ru_maxrss
        return peak if platform == "darwin" else peak * 1024
