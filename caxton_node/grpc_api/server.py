"""The node's one gRPC server, for clients and for other nodes.

It is given its services and knows nothing of what they do; health and reflection, by the libraries
of gRPC's authors, come with it. Around every call: who may call it, a
trace, and one shape for whatever goes wrong (`caxton_node.grpc_api.shell`).

Who may call what: with certificates, a node's opens the service for nodes and nothing else, and a
client's everything else. A second port may let clients in without one; there, nobody is a node.
"""

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Final

import grpc
from grpc_health.v1.health import SERVICE_NAME as HEALTH
from grpc_health.v1.health import aio as health_aio
from grpc_health.v1.health_pb2 import HealthCheckResponse
from grpc_health.v1.health_pb2_grpc import add_HealthServicer_to_server
from grpc_reflection.v1alpha.reflection import SERVICE_NAME as REFLECTION
from grpc_reflection.v1alpha.reflection import enable_server_reflection

from caxton_node.domain.errors import Conflict
from caxton_node.grpc_api.shell import Shell
from caxton_node.security.tls_files import TlsFiles, TlsMaterial
from caxton_node.telemetry.spans import Tracing

__all__ = ["STOP_GRACE_S", "Port", "Service", "changes_of", "open_grpc"]

STOP_GRACE_S: Final = 5.0
"""For calls under way when the node stops. The streams of clients are ended at once."""

CALLS_MAX: Final = 10_000
"""Calls under way at once, streams included. Those beyond are answered RESOURCE_EXHAUSTED."""

CONNECTION_COUNT_MAX: Final = 10_000

HANDSHAKE_S_MAX: Final = 20
"""A connection must have said by then that it speaks HTTP/2."""

STREAMS_PER_CONNECTION_MAX: Final = 1_000
METADATA_BYTES_MAX: Final = 16_384

_OPTIONS: Final = (
    # A second node on the same port must fail, not take every other connection.
    ("grpc.so_reuseport", 0),
    ("grpc.max_concurrent_streams", STREAMS_PER_CONNECTION_MAX),
    ("grpc.max_metadata_size", METADATA_BYTES_MAX),
    ("grpc.server_handshake_timeout_ms", HANDSHAKE_S_MAX * 1_000),
    ("grpc.keepalive_time_ms", 30_000),
    ("grpc.keepalive_timeout_ms", 10_000),
    ("grpc.keepalive_permit_without_calls", 1),
    # Clients may ping this often; more often is taken for an attack.
    ("grpc.http2.min_recv_ping_interval_without_data_ms", 5_000),
)

_STANDARD: Final = frozenset({HEALTH, REFLECTION})
"""Served on every server, to whoever may connect."""


@dataclass(frozen=True, slots=True)
class Service:
    """What is served under one name."""

    name: str
    """With its package, such as `caxton.v1.Agents`."""
    add_to: Callable[[grpc.aio.Server], None]
    is_for_nodes: bool = False
    """Only other nodes may call it, and clients everything else."""


@dataclass(frozen=True, slots=True)
class Port:
    """Where to listen, and what callers must show."""

    address: str
    """`host:port`; port 0 takes a free one."""
    files: TlsFiles | None = None
    """None is a plain port."""
    is_certificate_required: bool = True
    """Whoever connects must present a certificate. Without effect on a plain port."""


@asynccontextmanager
async def open_grpc(
    ports: Sequence[Port],
    services: Sequence[Service],
    *,
    message_bytes_max: int,
    connection_count_max: int = CONNECTION_COUNT_MAX,
    tracing: Tracing | None = None,
) -> AsyncIterator[tuple[tuple[str, int], ...]]:
    """Serve until the block ends.

    Args:
        ports: Where.
        services: What.
        message_bytes_max: The largest message, either way.
        connection_count_max: Connections at once on one port; more are closed as they come.
        tracing: Records calls; None records none.

    Yields:
        Host and port of each of `ports`, as they turned out.

    Raises:
        Conflict: `state_conflict`: nothing can listen there.
    """
    shell = Shell(
        for_nodes=frozenset(one.name for one in services if one.is_for_nodes),
        for_all=_STANDARD,
        tracing=Tracing.off() if tracing is None else tracing,
    )
    server = grpc.aio.server(
        interceptors=(shell,),
        options=(
            *_OPTIONS,
            ("grpc.max_receive_message_length", message_bytes_max),
            ("grpc.max_send_message_length", message_bytes_max),
            ("grpc.max_allowed_incoming_connections", connection_count_max),
        ),
        maximum_concurrent_rpcs=CALLS_MAX,
    )
    health = health_aio.HealthServicer()
    for service in services:
        service.add_to(server)
        await health.set(service.name, HealthCheckResponse.SERVING)
    add_HealthServicer_to_server(health, server)
    enable_server_reflection(sorted({one.name for one in services} | _STANDARD), server)
    bound = tuple(_listen(server, port) for port in ports)
    await server.start()
    try:
        yield bound
    finally:
        await health.enter_graceful_shutdown()
        shell.end_streams()
        await server.stop(STOP_GRACE_S)


def _listen(server: grpc.aio.Server, port: Port) -> tuple[str, int]:
    host = port.address.rpartition(":")[0].strip("[]")
    try:
        if port.files is None:
            number = server.add_insecure_port(port.address)
        else:
            credentials = _credentials(port.files, is_required=port.is_certificate_required)
            number = server.add_secure_port(port.address, credentials)
    except RuntimeError:
        number = 0
    if number == 0:
        raise Conflict(
            "state_conflict",
            f"gRPC cannot listen on {port.address}",
            hint="something listens there already, or it is no address of this machine; "
            "choose another one with --grpc",
        )
    return host, number


def _credentials(files: TlsFiles, *, is_required: bool) -> grpc.ServerCredentials:
    """Return credentials that follow the files: every handshake takes what is in force by then."""
    material = files.current()
    return grpc.dynamic_ssl_server_credentials(
        _configuration(material),
        changes_of(files, material),  # type: ignore[arg-type]  # None is an answer, too
        require_client_authentication=is_required,
    )


def changes_of(
    files: TlsFiles, material: TlsMaterial
) -> Callable[[], grpc.ServerCertificateConfiguration | None]:
    """Return what tells gRPC of certificates that changed, and nothing while they have not.

    gRPC asks before each handshake and replaces what it has by any answer, without a care for
    handshakes under way in other threads: to answer each time what is in force ends the process
    within some thousand handshakes (grpc/grpc#36693). What is left of it is the moment of a change.

    Args:
        files: The certificates.
        material: What gRPC has already.
    """

    def changed() -> grpc.ServerCertificateConfiguration | None:
        # One call at a time: gRPC holds a lock of the port.
        nonlocal material
        found = files.current()
        if found is material:
            return None
        material = found
        return _configuration(found)

    return changed


def _configuration(material: TlsMaterial) -> grpc.ServerCertificateConfiguration:
    return grpc.ssl_server_certificate_configuration(
        [(material.key, material.certificate)], material.authority
    )
