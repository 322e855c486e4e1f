"""Families of Prometheus as the SDK of OpenTelemetry has them, and its exporters: knows both sides.

Importing it takes half a second, so that only `otlp_metrics` does, when there is something to send.
Names go over without `_total`, which receivers that keep Prometheus' names put back.

Reference: OpenTelemetry, "Prometheus and OpenMetrics Compatibility".
"""

import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from opentelemetry.exporter.otlp.proto.grpc.metric_exporter import (
    OTLPMetricExporter as GrpcExporter,
)
from opentelemetry.exporter.otlp.proto.http.metric_exporter import (
    OTLPMetricExporter as HttpExporter,
)
from opentelemetry.sdk.metrics import export as sdk
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from prometheus_client.core import Metric

from caxton_node.telemetry.otlp import Protocol
from caxton_node.telemetry.otlp_wire import ATTEMPT_TIMEOUT_S, LastWords

__all__ = ["MetricSender", "metrics_data"]

_SCOPE: Final = InstrumentationScope("caxton")
_CUMULATIVE: Final = sdk.AggregationTemporality.CUMULATIVE


class MetricSender:
    """Sends rounds of metrics to one receiver. Not for the event loop: it blocks.

    Args:
        address: With the path, for HTTP.
        protocol: Of the receiver.
        resource: Facts that all metrics share.
        started_at: When counting began, in milliseconds since 1970, UTC.
    """

    def __init__(
        self, address: str, protocol: Protocol, resource: Mapping[str, str], *, started_at: int
    ) -> None:
        self._words = LastWords.listening()
        self._resource = Resource.create(dict(resource))
        self._started_at_ns = started_at * 1_000_000
        self._exporter: sdk.MetricExporter
        if protocol == "grpc":
            self._exporter = GrpcExporter(
                endpoint=address,
                insecure=address.startswith("http://"),
                timeout=ATTEMPT_TIMEOUT_S,
            )
        else:
            self._exporter = HttpExporter(endpoint=address, timeout=ATTEMPT_TIMEOUT_S)

    @property
    def reason(self) -> str:
        """Why the receiver did not take the last ones, in the words of the library."""
        return self._words.said

    def send(self, metrics: Sequence[Metric]) -> bool:
        """Return whether the receiver took them."""
        data = metrics_data(
            metrics,
            self._resource,
            started_at_ns=self._started_at_ns,
            now_ns=time.time_ns(),
        )
        timeout_ms = ATTEMPT_TIMEOUT_S * 1000
        result = self._exporter.export(data, timeout_millis=timeout_ms)
        return result is sdk.MetricExportResult.SUCCESS

    def close(self) -> None:
        """Release the connection."""
        self._exporter.shutdown()
        self._words.close()


def metrics_data(
    metrics: Sequence[Metric], resource: Resource, *, started_at_ns: int, now_ns: int
) -> sdk.MetricsData:
    """Return metrics as the SDK has them.

    Args:
        metrics: As Prometheus has them: counters, gauges, histograms.
        resource: Facts that they share.
        started_at_ns: When counting began.
        now_ns: When they were read. Both in nanoseconds since 1970, UTC.
    """
    made = [_metric(one, started_at_ns, now_ns) for one in metrics if one.samples]
    scope = sdk.ScopeMetrics(_SCOPE, made, "")
    return sdk.MetricsData([sdk.ResourceMetrics(resource, [scope], "")])


def _metric(metric: Metric, started_at_ns: int, now_ns: int) -> sdk.Metric:
    data: sdk.Sum | sdk.Gauge | sdk.Histogram
    if metric.type == "histogram":
        data = sdk.Histogram(list(_distributions(metric, started_at_ns, now_ns)), _CUMULATIVE)
    else:
        points = [
            sdk.NumberDataPoint(dict(sample.labels), started_at_ns, now_ns, float(sample.value))
            for sample in metric.samples
        ]
        is_counter = metric.type == "counter"
        data = sdk.Sum(points, _CUMULATIVE, is_monotonic=True) if is_counter else sdk.Gauge(points)
    return sdk.Metric(metric.name, metric.documentation, "", data)


def _distributions(
    metric: Metric, started_at_ns: int, now_ns: int
) -> Iterator[sdk.HistogramDataPoint]:
    """Yield a point for each set of labels; their samples follow each other."""
    below: list[tuple[float, float]] = []
    count = 0.0
    for sample in metric.samples:
        labels = dict(sample.labels)
        match sample.name.removeprefix(metric.name):
            case "_bucket":
                below.append((float(labels["le"]), sample.value))
            case "_count":
                count = sample.value
            case "_sum":
                totals = [int(total) for _, total in below]
                yield sdk.HistogramDataPoint(
                    attributes=labels,
                    start_time_unix_nano=started_at_ns,
                    time_unix_nano=now_ns,
                    count=int(count),
                    sum=sample.value,
                    # Prometheus counts in each class the ones below it too; OTLP does not.
                    bucket_counts=[a - b for a, b in zip(totals, [0, *totals], strict=False)],
                    explicit_bounds=[bound for bound, _ in below[:-1]],
                    min=None,  # type: ignore[arg-type]  # the wire has it as optional
                    max=None,  # type: ignore[arg-type]  # optional on the wire
                )
                below = []
            case _:
                pass  # `_created`, which ours do not have
