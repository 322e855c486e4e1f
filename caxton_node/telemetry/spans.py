"""Spans of the traces that are recorded, from their beginning until somebody exports them.

Whether a trace is recorded is decided once, where it begins, and travels with it in
`traceparent`. For all others, which are nearly all, a span is one shared object that does nothing
and the cost is that of looking at a character. A span that is recorded is a plain object in a
bounded queue; `caxton_node.telemetry.otlp` makes it what OpenTelemetry's exporters take, on a
thread of its own.

Content of messages, prompts and answers is never put into a span.

Reference: W3C Trace Context; OpenTelemetry "Tracing API", parent-based sampling; the semantic
conventions for HTTP, RPC, messaging and generative AI, whose names stand in `names`.
"""

import os
from collections import deque
from collections.abc import Callable, Mapping
from enum import Enum
from types import TracebackType
from typing import Final, Self

from caxton_node.domain.errors import CaxtonError
from caxton_node.telemetry.trace import Trace, is_sampled, new_trace, parse_traceparent

__all__ = ["NO_SPAN", "QUEUE_MAX", "Attribute", "Kind", "NoSpan", "Span", "Tracing"]

QUEUE_MAX: Final = 10_000
"""Spans that may wait for export. Those beyond are dropped and counted."""

TEXT_LENGTH_MAX: Final = 256
"""Characters of an attribute."""

Attribute = str | int | float | bool


class Kind(Enum):
    """What part of an exchange a span is."""

    INTERNAL = "internal"
    SERVER = "server"
    CLIENT = "client"
    PRODUCER = "producer"
    CONSUMER = "consumer"


class NoSpan:
    """Stands for a span that nobody records. There is one, `NO_SPAN`."""

    __slots__ = ()

    trace: None = None

    def __bool__(self) -> bool:
        return False

    @property
    def traceparent(self) -> None:
        """None: whatever comes after keeps the parent that there was."""

    def set(self, name: str, value: Attribute | None) -> None:
        """Do nothing."""

    def fail(self, error: BaseException | str) -> None:
        """Do nothing."""

    def end(self) -> None:
        """Do nothing."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        return None


NO_SPAN: Final = NoSpan()


class Span:
    """One piece of work in a recorded trace. Leave its block, or call `end`, once."""

    __slots__ = (
        "_take",
        "attributes",
        "ended_at_ns",
        "error",
        "kind",
        "name",
        "parent_id",
        "started_at_ns",
        "trace",
    )

    def __init__(
        self,
        name: str,
        kind: Kind,
        trace: Trace,
        *,
        parent_id: str | None,
        started_at_ns: int,
        attributes: dict[str, Attribute],
        take: Callable[["Span"], None],
    ) -> None:
        self.name = name
        self.kind = kind
        self.trace = trace
        self.parent_id = parent_id
        self.started_at_ns = started_at_ns
        self.ended_at_ns = 0
        self.attributes = attributes
        self.error: str | None = None
        """Stable code of what went wrong, if something did."""
        self._take = take

    def __bool__(self) -> bool:
        return True

    @property
    def traceparent(self) -> str:
        """What makes others children of this span."""
        return self.trace.traceparent

    def set(self, name: str, value: Attribute | None) -> None:
        """Note a fact under a name of `names.SPAN_ATTRIBUTES`; None is no fact."""
        if value is not None:
            self.attributes[name] = value[:TEXT_LENGTH_MAX] if isinstance(value, str) else value

    def fail(self, error: BaseException | str) -> None:
        """Note what went wrong: the code of an error, never its text, which may quote content."""
        if isinstance(error, CaxtonError):
            error = error.code
        elif isinstance(error, BaseException):
            error = type(error).__name__
        self.error = error
        self.attributes["error.type"] = error

    def end(self) -> None:
        """Hand the span over for export. A second call does nothing."""
        if not self.ended_at_ns:
            self._take(self)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, _: type[BaseException] | None, error: BaseException | None, __: TracebackType | None
    ) -> None:
        if error is not None:
            self.fail(error)
        self.end()


class Tracing:
    """Decides which traces are recorded, and keeps what they leave until it is exported.

    Args:
        clock_ns: Returns nanoseconds since 1970, UTC.
        ratio: Returns the share of traces begun here that are recorded, 0 to 1.
        is_recording: Whether anybody takes the spans. Without, traces only pass through.
    """

    def __init__(
        self, clock_ns: Callable[[], int], *, ratio: Callable[[], float], is_recording: bool
    ) -> None:
        self._clock_ns = clock_ns
        self._ratio = ratio
        self.is_recording = is_recording
        self.finished: deque[Span] = deque()
        """What waits for export. Its other end is a thread's."""
        self.dropped_count = 0
        self.exported_count = 0
        self.failed_count = 0
        """Spans that the receiver did not take. Written by the exporter's thread alone."""

    @classmethod
    def off(cls) -> "Tracing":
        """Return one that records nothing."""
        return cls(lambda: 0, ratio=lambda: 0.0, is_recording=False)

    def enter(
        self,
        header: str | None,
        name: str,
        attributes: Mapping[str, Attribute],
        *,
        may_begin: bool = True,
    ) -> tuple[Trace, Span | NoSpan]:
        """Begin serving a request from outside.

        Args:
            header: Its `traceparent`, if it came with one.
            name: Of the span.
            attributes: Copied where they are kept.
            may_begin: Whether a trace that begins here may be recorded.

        Returns:
            The trace that it belongs to, and the span to end with its answer.
        """
        parent = parse_traceparent(header)
        if not self.is_recording:
            # Without a span of its own the node passes on the one that it was given.
            return (new_trace() if parent is None else parent), NO_SPAN
        ratio = self._ratio() if may_begin else 0.0
        trace = new_trace(ratio) if parent is None else parent
        if not trace.is_sampled:
            return trace, NO_SPAN
        if parent is not None:
            trace = Trace(parent.trace_id, _span_id(), is_sampled=True)
        parent_id = None if parent is None else parent.span_id
        span = self._span(name, Kind.SERVER, trace, parent_id, dict(attributes))
        return trace, span

    def begin(
        self,
        name: str,
        kind: Kind,
        parent: str | None,
        attributes: Mapping[str, Attribute | None],
    ) -> Span | NoSpan:
        """Begin a span below a parent, if its trace is recorded.

        Args:
            name: Of the span.
            kind: What part of an exchange it is.
            parent: The `traceparent` of what it belongs to.
            attributes: Facts known from the beginning; None is no fact.
        """
        if not self.is_recording or not is_sampled(parent):
            return NO_SPAN
        above = parse_traceparent(parent)
        if above is None:
            return NO_SPAN
        trace = Trace(above.trace_id, _span_id(), is_sampled=True)
        span = self._span(name, kind, trace, above.span_id, {})
        for key, value in attributes.items():
            span.set(key, value)
        return span

    def _span(
        self,
        name: str,
        kind: Kind,
        trace: Trace,
        parent_id: str | None,
        attributes: dict[str, Attribute],
    ) -> Span:
        return Span(
            name[:TEXT_LENGTH_MAX],
            kind,
            trace,
            parent_id=parent_id,
            started_at_ns=self._clock_ns(),
            attributes=attributes,
            take=self._take,
        )

    def _take(self, span: Span) -> None:
        span.ended_at_ns = max(self._clock_ns(), span.started_at_ns, 1)
        if len(self.finished) >= QUEUE_MAX:
            self.dropped_count += 1
            return
        self.finished.append(span)


def _span_id() -> str:
    return os.urandom(8).hex()
