"""Counters of the hot path: plain integers, read by the metrics endpoint when it is asked."""

import msgspec

from caxton_node.telemetry.histogram import Histogram
from caxton_node.telemetry.names import LATENCY_BUCKETS_S, WORK_BUCKETS_S

__all__ = ["Counts"]


class Counts(msgspec.Struct):
    """What the pipeline and the turns have done since the node started."""

    messages_accepted: int = 0
    messages_delivered: int = 0
    messages_dead: int = 0
    messages_expired: int = 0
    messages_cancelled: int = 0
    messages_refused: int = 0
    """Never accepted: invalid, denied, nobody there, busy."""
    messages_retried: int = 0
    messages_duplicate: int = 0
    turns_finished: int = 0
    turns_failed: int = 0
    model_calls: int = 0
    model_errors: int = 0
    model_input_tokens: int = 0
    model_output_tokens: int = 0
    tool_calls: int = 0
    tool_errors: int = 0
    guest_calls: int = 0
    """Calls of guests in WebAssembly, also those that the next three count."""
    guest_refused: int = 0
    guest_stopped: int = 0
    guest_broken: int = 0
    guest_operations: int = 0
    """What guests asked of the host, also what was denied or failed."""
    guest_denied: int = 0
    guest_operations_failed: int = 0
    events_lost: int = 0
    message_s: Histogram = msgspec.field(default_factory=lambda: Histogram(LATENCY_BUCKETS_S))
    """From acceptance to the end, in seconds."""
    turn_s: Histogram = msgspec.field(default_factory=lambda: Histogram(WORK_BUCKETS_S))
    model_s: Histogram = msgspec.field(default_factory=lambda: Histogram(WORK_BUCKETS_S))
    tool_s: Histogram = msgspec.field(default_factory=lambda: Histogram(WORK_BUCKETS_S))
    guest_s: Histogram = msgspec.field(default_factory=lambda: Histogram(LATENCY_BUCKETS_S))
