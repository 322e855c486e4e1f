"""Opens the export of a node's metrics, where it is wanted."""

import logging
from contextlib import AbstractAsyncContextManager, nullcontext
from functools import partial

from caxton_node.api.edge import Edge
from caxton_node.api.metrics import read_metrics
from caxton_node.config import Settings
from caxton_node.runtime.node import Node
from caxton_node.telemetry.otlp_metrics import export_metrics
from caxton_node.telemetry.resource import node_resource

__all__ = ["open_metrics"]

_log = logging.getLogger("caxton.telemetry")


def open_metrics(settings: Settings, node: Node, edge: Edge) -> AbstractAsyncContextManager[None]:
    """Return what sends metrics to the receiver of `[telemetry]` as long as its block lasts."""
    telemetry = settings.telemetry
    if telemetry.otlp_metrics_interval_s is None:
        return nullcontext()
    if telemetry.otlp_endpoint is None:
        _log.warning("nobody gets metrics over OTLP: telemetry.otlp_endpoint names no receiver")
        return nullcontext()
    return export_metrics(
        partial(read_metrics, node, edge.metrics),
        endpoint=telemetry.otlp_endpoint,
        protocol="http" if telemetry.otlp_protocol == "http" else "grpc",
        resource=node_resource(node.name, version=node.version, label=settings.cluster.label),
        every_s=telemetry.otlp_metrics_interval_s,
        started_at=node.started_at,
    )
