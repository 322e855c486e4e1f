"""Finished spans as the SDK of OpenTelemetry has them, and its exporters: knows both sides.

Importing it takes half a second, so that only `otlp` does, when there is something to send.
"""

import logging
from collections.abc import Mapping, Sequence
from typing import Final, Literal, Self

from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter as GrpcExporter
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter as HttpExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import SpanContext, SpanKind, Status, StatusCode, TraceFlags

from caxton_node.telemetry.spans import Kind, Span

__all__ = ["ATTEMPT_TIMEOUT_S", "LastWords", "SpanSender", "readable"]

ATTEMPT_TIMEOUT_S: Final = 4.0
"""For one request with its repetitions. Spans that come meanwhile wait in their queue."""

REASON_LENGTH_MAX: Final = 300

_LIBRARIES: Final = logging.getLogger("opentelemetry")
_SCOPE: Final = InstrumentationScope("caxton")
_SAMPLED: Final = TraceFlags(TraceFlags.SAMPLED)
_KINDS: Final = {
    Kind.INTERNAL: SpanKind.INTERNAL,
    Kind.SERVER: SpanKind.SERVER,
    Kind.CLIENT: SpanKind.CLIENT,
    Kind.PRODUCER: SpanKind.PRODUCER,
    Kind.CONSUMER: SpanKind.CONSUMER,
}


class LastWords(logging.Handler):
    """Keeps what the exporters say last. They say it every second, to no one's use."""

    def __init__(self) -> None:
        super().__init__()
        self.said = ""

    @classmethod
    def listening(cls) -> Self:
        """Return one that hears the libraries until it is closed. The log does not any more."""
        words = cls()
        _LIBRARIES.propagate = False
        _LIBRARIES.addHandler(words)
        return words

    def close(self) -> None:
        """Hear no more."""
        _LIBRARIES.removeHandler(self)
        super().close()

    def emit(self, record: logging.LogRecord) -> None:
        """Remember a line."""
        self.said = record.getMessage()[:REASON_LENGTH_MAX]


class SpanSender:
    """Sends batches to one receiver. Not for the event loop: it blocks.

    Args:
        address: With the path, for HTTP.
        protocol: Of the receiver.
        resource: Facts that all spans share.
    """

    def __init__(
        self, address: str, protocol: Literal["grpc", "http"], resource: Mapping[str, str]
    ) -> None:
        self._words = LastWords.listening()
        # Merged with what OTEL_RESOURCE_ATTRIBUTES says.
        self._resource = Resource.create(dict(resource))
        self._exporter: SpanExporter
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

    def send(self, batch: Sequence[Span]) -> bool:
        """Return whether the receiver took them."""
        spans = [readable(span, self._resource) for span in batch]
        return self._exporter.export(spans) is SpanExportResult.SUCCESS

    def close(self) -> None:
        """Release the connection."""
        self._exporter.shutdown()
        self._words.close()


def readable(span: Span, resource: Resource) -> ReadableSpan:
    """Return a finished span as the SDK has it."""
    trace_id = int(span.trace.trace_id, 16)
    parent = None
    if span.parent_id is not None:
        parent = SpanContext(trace_id, int(span.parent_id, 16), is_remote=False)
    status = Status() if span.error is None else Status(StatusCode.ERROR, span.error)
    return ReadableSpan(
        span.name,
        context=SpanContext(
            trace_id, int(span.trace.span_id, 16), is_remote=False, trace_flags=_SAMPLED
        ),
        parent=parent,
        resource=resource,
        attributes=span.attributes,
        kind=_KINDS[span.kind],
        status=status,
        start_time=span.started_at_ns,
        end_time=span.ended_at_ns,
        instrumentation_scope=_SCOPE,
    )
