"""Metrics of guests in WebAssembly, of all sandboxes together."""

from collections.abc import Iterator

from prometheus_client.core import Metric

from caxton_node.telemetry.counts import Counts
from caxton_node.telemetry.families import counter, histogram

__all__ = ["guest_families"]


def guest_families(counts: Counts) -> Iterator[Metric]:
    """Return what guests in WebAssembly did."""
    broken = counts.guest_refused + counts.guest_stopped + counts.guest_broken
    yield counter(
        "caxton_guest_calls_total",
        {
            ("ok",): counts.guest_calls - broken,
            ("refused",): counts.guest_refused,
            ("stopped",): counts.guest_stopped,
            ("broken",): counts.guest_broken,
        },
    )
    yield histogram("caxton_guest_call_duration_seconds", {(): counts.guest_s})
    failed = counts.guest_denied + counts.guest_operations_failed
    yield counter(
        "caxton_guest_operations_total",
        {
            ("ok",): counts.guest_operations - failed,
            ("denied",): counts.guest_denied,
            ("error",): counts.guest_operations_failed,
        },
    )
