"""When the metrics of one scrape show a symptom: each sign returns what is wrong, or None. Pure.

The thresholds are those of the alert of the same name in `deploy/observability/rules.yaml`. Where
that looks at the last minutes, a single look sees everything since the start, and says so.
"""

from collections.abc import Callable
from typing import Final

from caxton_node.cli.samples import Samples

__all__ = [
    "Sign",
    "certificate_ends",
    "disk_full",
    "etcd_lost",
    "event_loop_slow",
    "http_errors",
    "mailbox_full",
    "messages_fail",
    "messages_slow",
    "messages_unplaced",
    "models_fail",
    "name_taken",
    "node_missing",
    "on_the_small_side",
    "queue_long",
    "store_behind",
    "traces_lost",
]

Sign = Callable[[Samples, float], str | None]
"""Takes what was read and the time, in seconds since 1970, UTC."""

CERTIFICATE_DAYS_MIN: Final = 30
DISK_RATIO_MIN: Final = 0.2
DISK_FREE_BYTES_MIN: Final = 20e9
"""More is enough for a while, however large the disk."""

MAILBOX_RATIO_MAX: Final = 0.9
BACKLOG_MAX: Final = 10_000
QUEUED_MAX: Final = 1_000
LOOP_LAG_S_MAX: Final = 0.1
FAILED_RATIO_MAX: Final = 0.01
SLOW_S: Final = 1.0
SLOW_RATIO_MAX: Final = 0.01
HTTP_ERRORS_RATIO_MAX: Final = 0.05
MODEL_ERRORS_RATIO_MAX: Final = 0.05

_DAY_S: Final = 86_400


def on_the_small_side(found: Samples, _: float) -> str | None:
    """Tell a node that sees no majority."""
    for mode in ("minority", "isolated"):
        if found.value("caxton_cluster_mode", mode=mode):
            return f"This node is on the {mode} side of a partition: agents cannot be changed here"
    return None


def node_missing(found: Samples, _: float) -> str | None:
    """Tell fewer nodes than there should be."""
    alive = found.value("caxton_cluster_nodes", count="alive") or 0
    expected = found.value("caxton_cluster_nodes", count="expected") or 0
    return f"{alive:.0f} of {expected:.0f} nodes are alive" if alive < expected else None


def name_taken(found: Samples, _: float) -> str | None:
    """Tell two nodes of one name."""
    count = found.value("caxton_ring_name_conflicts_total")
    return "Two nodes had one name since the start; the later one was not let in" if count else None


def disk_full(found: Samples, _: float) -> str | None:
    """Tell a disk that fills up."""
    size = found.value("caxton_data_dir_bytes", count="size") or 0
    free = found.value("caxton_data_dir_bytes", count="free") or 0
    is_full = size > 0 and free / size < DISK_RATIO_MIN and free < DISK_FREE_BYTES_MIN
    return f"{free / size:.0%} of the disk is left" if is_full else None


def certificate_ends(found: Samples, now_s: float) -> str | None:
    """Tell a certificate that ends soon, or has ended."""
    ends_at_s = found.value("caxton_certificate_expiry_timestamp_seconds")
    if ends_at_s is None or ends_at_s - now_s >= CERTIFICATE_DAYS_MIN * _DAY_S:
        return None
    days = (ends_at_s - now_s) / _DAY_S
    return f"The certificate ends in {days:.0f} days" if days > 0 else "The certificate has ended"


def mailbox_full(found: Samples, _: float) -> str | None:
    """Tell an agent that is about to answer that it is busy."""
    ratio = found.value("caxton_mailbox_fullest_ratio") or 0
    return f"A mailbox is {ratio:.0%} full" if ratio >= MAILBOX_RATIO_MAX else None


def queue_long(found: Samples, _: float) -> str | None:
    """Tell messages that come faster than they are taken."""
    count = found.value("caxton_queued_messages") or 0
    return f"{count:,.0f} messages wait" if count > QUEUED_MAX else None


def messages_unplaced(found: Samples, _: float) -> str | None:
    """Tell messages whose agent is nowhere."""
    count = found.value("caxton_unplaced_messages") or 0
    return f"{count:,.0f} messages wait for agents that no node in reach has" if count else None


def messages_fail(found: Samples, _: float) -> str | None:
    """Tell too many messages that were given up or came too late."""
    ends = found.by("caxton_messages_total", "outcome")
    failed = ends.get("dead", 0) + ends.get("expired", 0)
    return _share(
        failed,
        failed + ends.get("delivered", 0),
        FAILED_RATIO_MAX,
        "of the messages since the start were given up or came too late",
    )


def messages_slow(found: Samples, _: float) -> str | None:
    """Tell more than one message in a hundred that took longer than a second."""
    name = "caxton_message_duration_seconds"
    quick = [
        count for bound, count in found.by(f"{name}_bucket", "le").items() if float(bound) == SLOW_S
    ]
    count = found.value(f"{name}_count") or 0
    slow = count - quick[0] if quick else 0
    return _share(slow, count, SLOW_RATIO_MAX, "of the messages since the start took over a second")


def http_errors(found: Samples, _: float) -> str | None:
    """Tell too many requests that ended in errors of the server."""
    by_status = found.by("caxton_http_requests_total", "status")
    return _share(
        sum(count for status, count in by_status.items() if status.startswith("5")),
        sum(by_status.values()),
        HTTP_ERRORS_RATIO_MAX,
        "of the requests since the start ended in errors of the server",
    )


def models_fail(found: Samples, _: float) -> str | None:
    """Tell too many calls of models that failed for good."""
    errors = found.total("caxton_model_errors_total")
    calls = found.total("caxton_model_calls_total")
    return _share(
        errors,
        errors + calls,
        MODEL_ERRORS_RATIO_MAX,
        "of the calls of models since the start failed for good",
    )


def store_behind(found: Samples, _: float) -> str | None:
    """Tell a disk that takes commits too slowly."""
    count = found.value("caxton_store_backlog") or 0
    return f"{count:,.0f} entries wait for the disk" if count > BACKLOG_MAX else None


def event_loop_slow(found: Samples, _: float) -> str | None:
    """Tell a node on which everything waits."""
    lag_s = found.value("caxton_event_loop_lag_seconds") or 0
    return (
        f"Everything waits {lag_s * 1000:,.0f} ms for its turn" if lag_s > LOOP_LAG_S_MAX else None
    )


def traces_lost(found: Samples, _: float) -> str | None:
    """Tell spans that no receiver took."""
    spans = found.by("caxton_trace_spans_total", "outcome")
    lost = spans.get("failed", 0) + spans.get("dropped", 0)
    return f"{lost:,.0f} spans were lost since the start" if lost else None


def etcd_lost(found: Samples, _: float) -> str | None:
    """Tell an etcd that does not answer."""
    is_lost = found.value("caxton_etcd_state", state="degraded")
    return "etcd does not answer; messages are not affected" if is_lost else None


def _share(part: float, whole: float, ratio_max: float, text: str) -> str | None:
    return f"{part / whole:.0%} {text}" if whole and part / whole > ratio_max else None
