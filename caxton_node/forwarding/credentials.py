"""How one node calls another and knows that it is the one it meant.

With certificates, a channel demands the node's own name of whoever answers, whatever address it
was found at, and presents this node's certificate. Without them (loopback, or `--insecure`) a
channel is plain and nothing is proven.

A channel keeps the certificate that it was opened with. Whoever reconnects opens a new one, and so
presents what the files hold by then.
"""

from collections.abc import Sequence
from typing import Any, Final

import grpc

from caxton_node.security.identity import Identity, dns_name_of, identity_of
from caxton_node.security.tls_files import TlsFiles

__all__ = ["KEEPALIVE", "caller_of", "open_channel"]

KEEPALIVE: Final = (
    ("grpc.keepalive_time_ms", 10_000),
    ("grpc.keepalive_timeout_ms", 5_000),
    ("grpc.keepalive_permit_without_calls", 0),
    ("grpc.http2.max_pings_without_data", 0),
)
"""Notices a peer that fell silent without a word, while a call is under way."""


def open_channel(
    address: str,
    *,
    node: str,
    files: TlsFiles | None,
    options: Sequence[tuple[str, Any]] = (),
) -> grpc.aio.Channel:
    """Open a channel to a node.

    Args:
        address: `host:port` of its gRPC.
        node: Its name. Whoever answers must prove it.
        files: This node's certificates; None for a plain channel.
        options: Of gRPC, besides those for keeping alive.
    """
    options = (*KEEPALIVE, *options)
    if files is None:
        return grpc.aio.insecure_channel(address, options=options)
    material = files.current()
    credentials = grpc.ssl_channel_credentials(
        material.authority, material.key, material.certificate
    )
    named = ("grpc.ssl_target_name_override", dns_name_of("node", node))
    return grpc.aio.secure_channel(address, credentials, options=(*options, named))


def caller_of(context: grpc.aio.ServicerContext[Any, Any]) -> Identity:
    """Return who calls, as its certificate says."""
    return identity_of(context.auth_context())
