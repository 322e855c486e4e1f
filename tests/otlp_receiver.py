"""A receiver of OTLP in the test's own process, over gRPC and HTTP, that keeps what it gets."""

import gzip
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import grpc
from opentelemetry.proto.collector.metrics.v1 import (
    metrics_service_pb2,
    metrics_service_pb2_grpc,
)
from opentelemetry.proto.collector.trace.v1 import (
    trace_service_pb2,
    trace_service_pb2_grpc,
)
from opentelemetry.proto.trace.v1 import trace_pb2


@dataclass(frozen=True)
class Received:
    """A span as it came over the wire."""

    name: str
    node: str
    trace_id: str
    span_id: str
    parent_id: str
    kind: str
    error: str
    attributes: dict[str, Any]
    duration_ms: float


@dataclass
class Receiver:
    """Where spans arrive."""

    grpc: str = ""
    http: str = ""
    spans: list[Received] = field(default_factory=list)
    metrics: dict[str, Any] = field(default_factory=dict)
    """The latest of each name, as it came over the wire."""
    metric_nodes: set[str] = field(default_factory=set)
    """Whose they were."""
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def take(self, request: trace_service_pb2.ExportTraceServiceRequest) -> None:
        with self._lock:
            for of_resource in request.resource_spans:
                resource = _values(of_resource.resource.attributes)
                for of_scope in of_resource.scope_spans:
                    self.spans += (_received(span, resource) for span in of_scope.spans)

    def take_metrics(self, request: metrics_service_pb2.ExportMetricsServiceRequest) -> None:
        with self._lock:
            for of_resource in request.resource_metrics:
                resource = _values(of_resource.resource.attributes)
                self.metric_nodes.add(resource["service.instance.id"])
                for of_scope in of_resource.scope_metrics:
                    self.metrics |= {metric.name: metric for metric in of_scope.metrics}

    def of(self, trace_id: str) -> dict[str, Received]:
        """Return the spans of a trace by id."""
        with self._lock:
            return {span.span_id: span for span in self.spans if span.trace_id == trace_id}


def _received(span: trace_pb2.Span, resource: dict[str, Any]) -> Received:
    return Received(
        name=span.name,
        node=resource["service.instance.id"],
        trace_id=span.trace_id.hex(),
        span_id=span.span_id.hex(),
        parent_id=span.parent_span_id.hex(),
        kind=trace_pb2.Span.SpanKind.Name(span.kind).removeprefix("SPAN_KIND_").lower(),
        error=span.status.message if span.status.code == trace_pb2.Status.STATUS_CODE_ERROR else "",
        attributes=_values(span.attributes),
        duration_ms=(span.end_time_unix_nano - span.start_time_unix_nano) / 1e6,
    )


def _values(attributes: Any) -> dict[str, Any]:
    return {one.key: getattr(one.value, one.value.WhichOneof("value")) for one in attributes}


@contextmanager
def otlp_receiver() -> Iterator[Receiver]:
    """Listen on two free ports of loopback until the block ends."""
    receiver = Receiver()

    class Servicer(trace_service_pb2_grpc.TraceServiceServicer):
        def Export(self, request, context):  # noqa: N802 - named by the protocol
            receiver.take(request)
            return trace_service_pb2.ExportTraceServiceResponse()

    class MetricsServicer(metrics_service_pb2_grpc.MetricsServiceServicer):
        def Export(self, request, context):  # noqa: N802 - named by the protocol
            receiver.take_metrics(request)
            return metrics_service_pb2.ExportMetricsServiceResponse()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            body = self.rfile.read(int(self.headers["Content-Length"]))
            if self.headers.get("Content-Encoding") == "gzip":
                body = gzip.decompress(body)
            match self.path:
                case "/v1/traces":
                    receiver.take(trace_service_pb2.ExportTraceServiceRequest.FromString(body))
                case "/v1/metrics":
                    request = metrics_service_pb2.ExportMetricsServiceRequest.FromString(body)
                    receiver.take_metrics(request)
            is_known = self.path in ("/v1/traces", "/v1/metrics")
            self.send_response(200 if is_known else 404)
            self.send_header("Content-Type", "application/x-protobuf")
            self.end_headers()

        def log_message(self, *_):
            pass

    server = grpc.server(ThreadPoolExecutor(2))
    trace_service_pb2_grpc.add_TraceServiceServicer_to_server(Servicer(), server)
    metrics_service_pb2_grpc.add_MetricsServiceServicer_to_server(MetricsServicer(), server)
    receiver.grpc = f"http://127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
    server.start()
    web = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    receiver.http = f"http://127.0.0.1:{web.server_address[1]}"
    serving = threading.Thread(target=web.serve_forever)
    serving.start()
    try:
        yield receiver
    finally:
        web.shutdown()
        web.server_close()
        serving.join()
        server.stop(None).wait()
