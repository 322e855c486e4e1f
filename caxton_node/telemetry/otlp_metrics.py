"""Sends metrics to a receiver of OTLP now and then, for those who do not scrape `/metrics`.

The same values under the same names as a scrape at that moment would give: counters are cumulative
since the node's start, so that a receiver that was away misses points and no counts. They are read
on the event loop, which takes about a millisecond, and packed and sent on a thread; the libraries
are imported there, by the first round. Exemplars stay with `/metrics`: OTLP wants a span beside the
trace, and a histogram knows the trace alone.

Headers, certificates and compression are taken from OpenTelemetry's own variables, as for traces.

Reference: OTLP specification 1.x; OpenTelemetry, "Prometheus and OpenMetrics Compatibility".
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Any, Final

from prometheus_client.core import Metric

from caxton_node.telemetry.otlp import CLOSE_TIMEOUT_S, Protocol, signal_address

__all__ = ["HTTP_PATH", "export_metrics"]

HTTP_PATH: Final = "/v1/metrics"

ReadMetrics = Callable[[], Awaitable[Sequence[Metric]]]

_log = logging.getLogger("caxton.telemetry")


@asynccontextmanager
async def export_metrics(
    read: ReadMetrics,
    *,
    endpoint: str,
    protocol: Protocol,
    resource: Mapping[str, str],
    every_s: float,
    started_at: int,
) -> AsyncIterator[None]:
    """Send until the block ends, and once more then, within `CLOSE_TIMEOUT_S`.

    Args:
        read: Returns all metrics as they are now. Called on the event loop.
        endpoint: Such as `http://collector:4317`; `https` is encrypted.
        protocol: Of the receiver.
        resource: Facts about this node that all its metrics share.
        every_s: From one round to the next.
        started_at: When counting began, in milliseconds since 1970, UTC.
    """
    address = signal_address(endpoint, protocol, HTTP_PATH)
    rounds = _Rounds(read, address, protocol, resource, started_at)
    async with asyncio.TaskGroup() as tasks:
        sending = tasks.create_task(rounds.run(every_s), name="metrics over OTLP")
        try:
            yield
        finally:
            sending.cancel()
            with suppress(TimeoutError):
                async with asyncio.timeout(CLOSE_TIMEOUT_S):
                    await rounds.send()
                    await asyncio.to_thread(rounds.close)


class _Rounds:
    """One round after the other; what a receiver does not take is said once."""

    def __init__(
        self,
        read: ReadMetrics,
        address: str,
        protocol: Protocol,
        resource: Mapping[str, str],
        started_at: int,
    ) -> None:
        self._read = read
        self._address = address
        self._protocol = protocol
        self._resource = resource
        self._started_at = started_at
        self._sender: Any = None
        self._is_refused = False

    async def run(self, every_s: float) -> None:
        """Send until cancelled."""
        while True:
            await asyncio.sleep(every_s)
            await self.send()

    async def send(self) -> None:
        """Send what there is now."""
        try:
            is_taken = await asyncio.to_thread(self._export, await self._read())
        except Exception:
            # Whatever a library does, the rounds go on, and the node with them.
            _log.exception("metrics could not be exported to %s", self._address)
            is_taken = False
        if is_taken is self._is_refused:
            self._is_refused = not is_taken
            if is_taken:
                _log.info("%s takes metrics again", self._address)
            else:
                reason = "" if self._sender is None else self._sender.reason
                _log.warning("%s does not take metrics: %s", self._address, reason)

    def _export(self, metrics: Sequence[Metric]) -> bool:
        """Send, on a thread of the pool."""
        if self._sender is None:
            from caxton_node.telemetry.otlp_metrics_wire import (  # noqa: PLC0415 - half a second
                MetricSender,
            )

            self._sender = MetricSender(
                self._address, self._protocol, self._resource, started_at=self._started_at
            )
        return bool(self._sender.send(metrics))

    def close(self) -> None:
        """Release the connection."""
        if self._sender is not None:
            self._sender.close()
