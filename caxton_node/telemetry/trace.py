"""The W3C trace context of what is being done: read, made, and handed on.

One request of a client is one trace. Its id reaches the log lines written on the way, the
message that the request becomes, and the problem document when it fails.

Reference: W3C Trace Context, level 1, section 3.2.
"""

import os
import re
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Final

__all__ = [
    "CURRENT_TRACE",
    "Trace",
    "child_of",
    "is_chosen",
    "is_sampled",
    "new_trace",
    "parse_traceparent",
]

_TRACEPARENT: Final = re.compile(
    r"(?P<version>[0-9a-f]{2})-(?P<trace>[0-9a-f]{32})-(?P<span>[0-9a-f]{16})-(?P<flags>[0-9a-f]{2})"
    r"(?P<rest>-.*)?",
    re.ASCII,
)
_ODD: Final = frozenset("13579bdf")
_NO_TRACE: Final = "0" * 32
_NO_SPAN: Final = "0" * 16


@dataclass(frozen=True, slots=True)
class Trace:
    """Where in which trace something happens."""

    trace_id: str
    """32 hexadecimal digits, not all zero."""
    span_id: str
    """16 hexadecimal digits, not all zero."""
    is_sampled: bool = False
    """Whether whoever began the trace wants to see it; everyone on its way does as they did."""

    @property
    def traceparent(self) -> str:
        """The header, and the field of a message, that says so to others."""
        return f"00-{self.trace_id}-{self.span_id}-{'01' if self.is_sampled else '00'}"


CURRENT_TRACE: ContextVar[Trace | None] = ContextVar("caxton_trace", default=None)
"""The trace of the request being served, for log lines. Set by the edges only."""


def parse_traceparent(text: str | None) -> Trace | None:
    """Return the trace that a header names, or None where it names none."""
    if text is None or len(text) > 256:
        return None
    match = _TRACEPARENT.fullmatch(text.strip())
    if match is None or match["version"] == "ff":
        return None
    if match["version"] == "00" and match["rest"] is not None:
        return None
    if match["trace"] == _NO_TRACE or match["span"] == _NO_SPAN:
        return None
    return Trace(match["trace"], match["span"], bool(int(match["flags"], 16) & 1))


def is_sampled(traceparent: str | None) -> bool:
    """Return whether a well-formed `traceparent` says that its trace is to be recorded.

    Asked for every message: it looks at one character and believes the rest.
    """
    return traceparent is not None and traceparent[-1:] in _ODD


def is_chosen(trace_id: str, ratio: float) -> bool:
    """Return whether a trace is among the share that is recorded.

    It hangs on the id alone, so that everyone who decides by the same share decides alike.

    Args:
        trace_id: 32 hexadecimal digits, of which the last 16 decide.
        ratio: From 0, none, to 1, all.

    Reference: OpenTelemetry, "Tracing SDK", TraceIdRatioBased.
    """
    return int(trace_id[16:], 16) < ratio * 0x1_0000_0000_0000_0000


def new_trace(ratio: float = 0.0) -> Trace:
    """Begin a trace, to be recorded with a probability. Its ids are random.

    Args:
        ratio: The share of traces that is recorded.
    """
    random = os.urandom(24).hex()
    trace_id = random[:32]
    return Trace(trace_id, random[32:], ratio > 0 and is_chosen(trace_id, ratio))


def child_of(parent: Trace) -> Trace:
    """Return a span of our own in the trace of whoever called."""
    return Trace(parent.trace_id, os.urandom(8).hex(), parent.is_sampled)
