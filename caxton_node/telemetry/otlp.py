"""Sends finished spans to a receiver of OTLP, over gRPC or HTTP, from a thread of its own.

The event loop only appends to a queue; packing, connecting and waiting happen here. The libraries
are imported by the first span: a node that records nothing never loads them, and one that does is
ready before they are. What a receiver does not take is lost and counted, never kept for later:
traces are a help, and messages must not wait for them.

Headers, certificates and compression are taken from the environment variables that
OpenTelemetry has for them (`OTEL_EXPORTER_OTLP_…`), and so are additional facts about the node
(`OTEL_RESOURCE_ATTRIBUTES`).

Reference: OTLP specification 1.x; OpenTelemetry SDK environment variables.
"""

import asyncio
import logging
import threading
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any, Final, Literal
from urllib.parse import urlsplit

from caxton_node.telemetry.spans import Span, Tracing

__all__ = ["CLOSE_TIMEOUT_S", "HTTP_PATH", "Protocol", "export_spans", "signal_address"]

EVERY_S: Final = 1.0
"""How often what has come together is sent."""

BATCH_MAX: Final = 512
"""Spans in one request."""

CLOSE_TIMEOUT_S: Final = 5.0
"""For sending what is left when the node stops."""

HTTP_PATH: Final = "/v1/traces"

Protocol = Literal["grpc", "http"]

_log = logging.getLogger("caxton.telemetry")


def signal_address(endpoint: str, protocol: Protocol, path: str) -> str:
    """Return where one kind of telemetry goes.

    Args:
        endpoint: As it stands in the settings.
        protocol: Of the receiver.
        path: Of this kind, by HTTP. One that the endpoint names itself stands, but for that of
            traces, in whose place the path of this kind comes.
    """
    if protocol != "http":
        return endpoint
    if endpoint.endswith(HTTP_PATH):
        return endpoint.removesuffix(HTTP_PATH) + path
    return endpoint if urlsplit(endpoint).path not in ("", "/") else endpoint.rstrip("/") + path


@asynccontextmanager
async def export_spans(
    tracing: Tracing, *, endpoint: str, protocol: Protocol, resource: Mapping[str, str]
) -> AsyncIterator[None]:
    """Export until the block ends, then send what is left, within `CLOSE_TIMEOUT_S`.

    Args:
        tracing: Whose spans.
        endpoint: Such as `http://collector:4317`; `https` is encrypted.
        protocol: Of the receiver.
        resource: Facts about this node that all its spans share.
    """
    exporting = _Exporting(
        tracing, signal_address(endpoint, protocol, HTTP_PATH), protocol, resource
    )
    exporting.thread.start()
    try:
        yield
    finally:
        exporting.stop.set()
        await asyncio.to_thread(exporting.thread.join, CLOSE_TIMEOUT_S)


class _Exporting:
    """The thread."""

    def __init__(
        self, tracing: Tracing, address: str, protocol: Protocol, resource: Mapping[str, str]
    ) -> None:
        self._tracing = tracing
        self._address = address
        self._protocol = protocol
        self._resource = resource
        self._exporter: Any = None
        self._is_refused = False
        self.stop = threading.Event()
        self.thread = threading.Thread(target=self._run, name="otlp", daemon=True)

    def _run(self) -> None:
        while not self.stop.wait(EVERY_S):
            self._send_all()
        self._send_all()
        if self._exporter is not None:
            self._exporter.close()

    def _send_all(self) -> None:
        finished = self._tracing.finished
        while finished:
            batch = [finished.popleft() for _ in range(min(BATCH_MAX, len(finished)))]
            is_taken = False
            try:
                is_taken = self._send(batch)
            except Exception:
                # Whatever a library does, the thread goes on, and the node with it.
                _log.exception("spans could not be exported to %s", self._address)
            self._count(len(batch), is_taken=is_taken)
            if not is_taken and self.stop.is_set():
                return

    def _count(self, count: int, *, is_taken: bool) -> None:
        if is_taken:
            self._tracing.exported_count += count
        else:
            self._tracing.failed_count += count
        if is_taken is self._is_refused:
            self._is_refused = not is_taken
            if is_taken:
                _log.info("%s takes traces again", self._address)
            else:
                reason = "" if self._exporter is None else self._exporter.reason
                _log.warning(
                    "%s does not take traces; they are lost meanwhile: %s", self._address, reason
                )

    def _send(self, batch: list[Span]) -> bool:
        if self._exporter is None:
            from caxton_node.telemetry.otlp_wire import SpanSender  # noqa: PLC0415 - half a second

            self._exporter = SpanSender(self._address, self._protocol, self._resource)
        return bool(self._exporter.send(batch))
