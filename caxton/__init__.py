"""The client of Caxton: deploy agents, talk to them, send messages, watch the cluster.

    async with CaxtonClient("localhost:50051") as client:
        reply = await client.chat("DataAnalyzer", "What is in sales.csv?")
        print(reply.text)

`SyncCaxtonClient` is its twin for programs without asyncio. This package stays light (grpcio and
protobuf) and never imports the server.
"""

import importlib
from typing import Any, Final

__all__ = ["__version__"]

__version__ = "0.1.0"

_HOMES: Final = {
    "CaxtonClient": "client",
    "SyncCaxtonClient": "sync_client",
    "Tls": "connection",
    **dict.fromkeys(
        (
            "CaxtonError",
            "Conflict",
            "Denied",
            "Failed",
            "NotFound",
            "Rejected",
            "TimedOut",
            "Unavailable",
        ),
        "errors",
    ),
}


def __getattr__(name: str) -> Any:
    """Import what is asked for: whoever wants the version alone does not pay for gRPC."""
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{home}"), name)
