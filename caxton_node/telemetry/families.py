"""Families of time series, made from a name in the table and its values by labels."""

from collections.abc import Mapping
from typing import Final

from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
)

from caxton_node.telemetry.histogram import Histogram
from caxton_node.telemetry.names import METRICS

__all__ = ["BY_NAME", "counter", "gauge", "histogram"]

BY_NAME: Final = {metric.name: metric for metric in METRICS}


def gauge(name: str, values: Mapping[tuple[str, ...], float]) -> GaugeMetricFamily:
    """Return the family of `name`: what is now."""
    metric = BY_NAME[name]
    family = GaugeMetricFamily(name, metric.description, labels=metric.labels)
    for labels, value in values.items():
        family.add_metric(labels, value)
    return family


def counter(name: str, values: Mapping[tuple[str, ...], float]) -> CounterMetricFamily:
    """Return the family of `name`: what was counted since the start."""
    metric = BY_NAME[name]
    family = CounterMetricFamily(name, metric.description, labels=metric.labels)
    for labels, value in values.items():
        family.add_metric(labels, value)
    return family


def histogram(name: str, values: Mapping[tuple[str, ...], Histogram]) -> HistogramMetricFamily:
    """Return the family of `name`: how values were distributed since the start."""
    metric = BY_NAME[name]
    family = HistogramMetricFamily(name, metric.description, labels=metric.labels)
    for labels, one in values.items():
        family.add_metric(labels, one.buckets(), one.sum)
    return family
