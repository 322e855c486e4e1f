"""Metrics in the text format of Prometheus."""

import asyncio
import shutil
from dataclasses import asdict
from typing import Final

from prometheus_client.core import Metric

from caxton_node.api.table import Document, Endpoint, NoQuery, Request, Shape
from caxton_node.domain.agent import AgentState
from caxton_node.runtime.fleet import Fleet
from caxton_node.runtime.node import Node
from caxton_node.telemetry.cluster_metrics import ClusterSnapshot
from caxton_node.telemetry.metrics import (
    EXPOSITION_MEDIA_TYPE,
    OPENMETRICS_MEDIA_TYPE,
    HttpMetrics,
    NodeSnapshot,
    expose,
    families,
    resident_bytes,
)

__all__ = ["ENDPOINTS", "read_metrics"]


async def get_metrics(request: Request[NoQuery, None], node: Node) -> Document:
    """Return all metrics of this node."""
    snapshot = _snapshot(node, await _loop_lag_s())
    body, media_type = expose(
        snapshot, request.edge.metrics, is_openmetrics=request.wants_openmetrics
    )
    return Document(body, media_type)


async def read_metrics(node: Node, http: HttpMetrics) -> list[Metric]:
    """Return all metrics of a node as they are now."""
    return list(families(_snapshot(node, await _loop_lag_s()), http))


async def _loop_lag_s() -> float:
    """Return how long a callback waits for its turn right now."""
    loop = asyncio.get_running_loop()
    asked_at_s = loop.time()
    called: asyncio.Future[float] = loop.create_future()
    loop.call_soon(lambda: called.set_result(loop.time() - asked_at_s))
    return await called


def _snapshot(node: Node, loop_lag_s: float) -> NodeSnapshot:
    seats = list(node.roster)
    disk = shutil.disk_usage(node.data_dir)
    tracing = node.tracing
    return NodeSnapshot(
        node=node.name,
        version=node.version,
        uptime_s=max(0, node.clock.now_ms() - node.started_at) / 1000,
        counts=node.counts,
        agents_by_state={
            state.value: sum(seat.state is state for seat in seats) for state in AgentState
        },
        queued=sum(len(seat.mailbox) for seat in seats),
        unplaced=len(node.pipeline.unplaced),
        fullest_mailbox_ratio=max(
            (len(seat.mailbox) / seat.mailbox.capacity for seat in seats), default=0.0
        ),
        turns_under_way=node.supervisor.turns_under_way,
        store_backlog=node.store.backlog,
        answers_awaited=len(node.answers),
        loop_lag_s=loop_lag_s,
        resident_bytes=resident_bytes(),
        free_bytes=disk.free,
        size_bytes=disk.total,
        certificate_ends_at_s=node.certificate_ends_at_s(),
        spans={
            "exported": tracing.exported_count,
            "failed": tracing.failed_count,
            "dropped": tracing.dropped_count,
        },
        etcd_state=node.metadata.state.connection.value,
        etcd=asdict(node.metadata.counts),
        ring=None if node.ring is None else node.ring.snapshot(),
        cluster=None if node.cluster is None else _cluster(node.cluster.fleet),
    )


def _cluster(fleet: Fleet) -> ClusterSnapshot:
    partition, (taken, left) = fleet.partition, fleet.moved_counts
    failover = fleet.failover
    return ClusterSnapshot(
        mode=partition.mode,
        alive_count=partition.alive_count,
        expected_count=partition.expected_count,
        agent_count=len(fleet.agent_names()),
        agents_taken=taken,
        agents_left=left,
        failover_right=failover.right,
        takeovers_granted=failover.granted_count,
        takeovers_refused=failover.refused_count,
        links=fleet.links,
    )


ENDPOINTS: Final = (
    Endpoint(
        method="GET",
        path="/metrics",
        summary="Read metrics",
        tag="node",
        handle=get_metrics,
        description=f"With `Accept: {OPENMETRICS_MEDIA_TYPE.partition(';')[0]}` they are told in "
        "the format of OpenMetrics, whose histograms name recorded traces as exemplars.",
        responses={200: Shape("Metrics for Prometheus.", media_type=EXPOSITION_MEDIA_TYPE)},
    ),
)
