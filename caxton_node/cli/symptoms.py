"""What a node's metrics give away: the symptoms of the operations guide, for `caxton doctor`.

Each row is one alert of `deploy/observability/rules.yaml` that a single look can tell, with the
same name, and what the guide says to do about it.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from caxton_node.cli.checks import Finding

__all__ = ["SYMPTOMS", "Sample", "read_samples", "symptoms"]

CERTIFICATE_DAYS_MIN: Final = 30
DISK_RATIO_MIN: Final = 0.2
MAILBOX_RATIO_MAX: Final = 0.9
BACKLOG_MAX: Final = 10_000
QUEUED_MAX: Final = 1_000

_DAY_S: Final = 86_400
_SAMPLE: Final = re.compile(r"(?P<name>[a-z_]+)(?:\{(?P<labels>[^}]*)\})? (?P<value>\S+)")
_LABEL: Final = re.compile(r'(\w+)="([^"]*)"')

Samples = Mapping[str, Mapping[str, float]]
"""Metric → value of its only label, or nothing, → value."""


@dataclass(frozen=True, slots=True)
class Sample:
    """What one symptom looks at, and when it is one."""

    alert: str
    """Its name among the alert rules."""
    tell: Callable[[Samples, float], str | None]
    """Takes what was read and the time; returns what is wrong, or None."""
    good: str
    fix: str


def _partition(found: Samples, _: float) -> str | None:
    for mode in ("minority", "isolated"):
        if found.get("caxton_cluster_mode", {}).get(mode):
            return f"This node is on the {mode} side of a partition: agents cannot be changed here"
    return None


def _missing(found: Samples, _: float) -> str | None:
    nodes = found.get("caxton_cluster_nodes", {})
    alive, expected = nodes.get("alive", 0), nodes.get("expected", 0)
    return f"{alive:.0f} of {expected:.0f} nodes are alive" if alive < expected else None


def _disk(found: Samples, _: float) -> str | None:
    disk = found.get("caxton_data_dir_bytes", {})
    size, free = disk.get("size", 0), disk.get("free", 0)
    return (
        f"{free / size:.0%} of the disk is left" if size and free / size < DISK_RATIO_MIN else None
    )


def _certificate(found: Samples, now_s: float) -> str | None:
    ends_at_s = found.get("caxton_certificate_expiry_timestamp_seconds", {}).get("")
    if ends_at_s is None or ends_at_s - now_s >= CERTIFICATE_DAYS_MIN * _DAY_S:
        return None
    days = (ends_at_s - now_s) / _DAY_S
    return f"The certificate ends in {days:.0f} days" if days > 0 else "The certificate has ended"


def _mailbox(found: Samples, _: float) -> str | None:
    ratio = found.get("caxton_mailbox_fullest_ratio", {}).get("", 0)
    return f"A mailbox is {ratio:.0%} full" if ratio >= MAILBOX_RATIO_MAX else None


def _queue(found: Samples, _: float) -> str | None:
    count = found.get("caxton_queued_messages", {}).get("", 0)
    return f"{count:,.0f} messages wait" if count > QUEUED_MAX else None


def _store(found: Samples, _: float) -> str | None:
    count = found.get("caxton_store_backlog", {}).get("", 0)
    return f"{count:,.0f} entries wait for the disk" if count > BACKLOG_MAX else None


def _traces(found: Samples, _: float) -> str | None:
    spans = found.get("caxton_trace_spans_total", {})
    lost = spans.get("failed", 0) + spans.get("dropped", 0)
    return f"{lost:,.0f} spans were lost since the start" if lost else None


def _etcd(found: Samples, _: float) -> str | None:
    is_lost = found.get("caxton_etcd_state", {}).get("degraded")
    return "etcd does not answer; messages are not affected" if is_lost else None


SYMPTOMS: Final = (
    Sample(
        "CaxtonPartition",
        _partition,
        "In the majority",
        "see who is missing: caxton cluster members; mend the network, or say of nodes that will "
        "not come back: caxton cluster remove NAME",
    ),
    Sample(
        "CaxtonNodeMissing",
        _missing,
        "All nodes are alive",
        "start it again, or if it will not come back: caxton cluster remove NAME",
    ),
    Sample(
        "CaxtonDiskFull",
        _disk,
        "There is room on the disk",
        "free some space, enlarge the volume, or lower limits.retention",
    ),
    Sample(
        "CaxtonCertificateEnds",
        _certificate,
        "No certificate is about to end",
        "caxton security renew-cert; a node that runs takes the new one by itself",
    ),
    Sample(
        "CaxtonMailboxFull",
        _mailbox,
        "Mailboxes have room",
        "find the slow agent: caxton agent list; raise its limits.concurrency, or its replicas",
    ),
    Sample(
        "CaxtonQueueLong",
        _queue,
        "Few messages wait",
        "find the slow agent: caxton agent list; look at its model and its tools",
    ),
    Sample(
        "CaxtonStoreBehind",
        _store,
        "The disk keeps up",
        "look at the disk of the data directory: it takes commits more slowly than they come",
    ),
    Sample(
        "CaxtonTracesLost",
        _traces,
        "No traces are lost",
        "look at the receiver named by telemetry.otlp_endpoint, and the log for its reason",
    ),
    Sample(
        "CaxtonEtcdLost",
        _etcd,
        "etcd is there, or not wanted",
        "look at the members of etcd: caxton cluster status",
    ),
)


def read_samples(text: str) -> Samples:
    """Return the metrics in a text of Prometheus that have one label or none."""
    found: dict[str, dict[str, float]] = {}
    for match in _SAMPLE.finditer(text):
        labels = _LABEL.findall(match["labels"] or "")
        if len(labels) <= 1:
            try:
                value = float(match["value"])
            except ValueError:
                continue
            found.setdefault(match["name"], {})[labels[0][1] if labels else ""] = value
    return found


def symptoms(text: str, *, now_s: float) -> Iterator[Finding]:
    """Yield what the metrics of a node give away.

    Args:
        text: As `/metrics` returns it.
        now_s: Seconds since 1970, UTC.
    """
    found = read_samples(text)
    for one in SYMPTOMS:
        wrong = one.tell(found, now_s)
        yield Finding(f"symptom.{one.alert}", wrong is None, wrong or one.good, one.fix)
