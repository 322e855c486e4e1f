"""How a call to somebody else says which trace it belongs to.

Whoever is called (a web service, an endpoint of models, a server of tools) goes on with the trace
if it records any. The ids are random and say nothing else.

Reference: W3C Trace Context, level 1, section 3.2; for MCP, `_meta` of its specification.
"""

from collections.abc import Mapping
from typing import Any

__all__ = ["with_trace", "with_trace_meta"]


def with_trace(headers: Mapping[str, str], traceparent: str | None) -> dict[str, str]:
    """Return the headers of a request to somebody else, with the trace that it belongs to.

    Args:
        headers: Whatever they say of a trace themselves stands.
        traceparent: Of what is being done; None where it belongs to no trace.
    """
    if traceparent is None or any(name.lower() == "traceparent" for name in headers):
        return dict(headers)
    return {"traceparent": traceparent, **headers}


def with_trace_meta(params: Mapping[str, Any], traceparent: str | None) -> dict[str, Any]:
    """Return the parameters of a request of MCP with the trace that it belongs to."""
    if traceparent is None:
        return dict(params)
    return {**params, "_meta": {"traceparent": traceparent}}
