"""Being a process: a node with its edges, signals, and a clean end.

`run` is the body of the `caxton-node` program.
"""

import asyncio
import functools
import gc
import logging
import os
import signal
import sys
from collections.abc import Callable, Mapping
from typing import Final

import uvloop

from caxton_node.api.listener import open_http
from caxton_node.api.server import build_application
from caxton_node.app import open_node
from caxton_node.config import LoadedSettings, Settings
from caxton_node.config.live import CLUSTER_WIDE, LiveSettings
from caxton_node.domain.errors import CaxtonError
from caxton_node.edges import open_edges
from caxton_node.grpc_api.server import Port, open_grpc
from caxton_node.node_metrics import open_metrics
from caxton_node.open_files import allot, raise_limit
from caxton_node.sd_notify import notify, notify_reloading, watchdog
from caxton_node.security.tls_files import TlsFiles
from caxton_node.telemetry.logging import configure_logging

__all__ = [
    "COLLECT_EVERY",
    "SWITCH_INTERVAL_S",
    "grpc_ports",
    "open_certificates",
    "run",
    "serve",
]

COLLECT_EVERY: Final = (50_000, 20, 100)
"""Thresholds of the garbage collector. Messages in flight are many and short-lived, and hold no
cycles; Python's default of 700 objects would look through them thousands of times a second."""

SWITCH_INTERVAL_S: Final = 0.0001
"""How long the event loop may keep the writer's thread waiting for the interpreter. With Python's
default of 5 ms a busy loop holds up each commit several times: measured here, 40,000 messages/s
instead of 55,000, and a p99 of 40 ms instead of 7 ms at half load. The thread needs it for some
30 µs a commit, so a short interval costs the loop nothing that could be measured; against 0.5 ms
it took a third off the p99 of 5,000 questions a second."""

LAST_RESORT_S: Final = 15.0
"""For everything after the drain. Then the process ends, whatever still runs in it."""

_log = logging.getLogger("caxton.node")


async def serve(
    loaded: LoadedSettings,
    *,
    environment: Mapping[str, str],
    on_ready: Callable[[str], None],
    stop: asyncio.Event,
    live: LiveSettings | None = None,
) -> None:
    """Run a node with its edges until `stop` is set, then drain.

    Args:
        loaded: The settings in force.
        environment: What agent files may refer to.
        on_ready: Told the node's URL once it answers.
        stop: Set it to stop.
        live: Where settings change while it runs.
    """
    settings = loaded.settings
    files = open_certificates(settings)
    connections = allot(raise_limit())
    async with (
        open_node(loaded, environment=environment, live=live, files=files) as node,
        open_edges(node) as edges,
        open_grpc(
            grpc_ports(settings, files),
            edges.services,
            message_bytes_max=settings.grpc.max_message_bytes,
            connection_count_max=connections.grpc,
            tracing=node.tracing,
        ) as grpc,
    ):
        for (host, port), how in zip(grpc, _manners(settings, files), strict=True):
            _log.info("gRPC listens at %s:%d, %s", host, port, how)
        application = build_application(
            node, edges.rest, body_bytes_max=settings.http.max_body_bytes
        )
        async with (
            open_http(
                application,
                edges.rest,
                settings.http.address,
                connection_count_max=connections.http,
            ) as (host, port),
            open_metrics(settings, node, edges.rest),
        ):
            if node.ring is not None:
                node.ring.announce_http(host, port)
                # The last one is where nodes call.
                node.ring.announce_grpc(*grpc[-1])
            # What was built so far stays for good: no collection needs to look at it again.
            gc.collect()
            gc.freeze()
            on_ready(f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}")
            notify("READY=1", environment)
            with watchdog(environment):
                await stop.wait()
            # From here a manager waits for the drain, by its own patience.
            notify("STOPPING=1", environment)
            # An agent's code that ignores every cancellation must not keep the process for ever.
            # What it holds is journaled: its turn is taken again after the start.
            asyncio.get_running_loop().call_later(
                settings.limits.drain_timeout_s + LAST_RESORT_S, os._exit, 1
            )
            _log.info("stopping: %d turns under way", node.supervisor.turns_under_way)
            if node.cluster is not None:
                # Others take the agents over, with what waits, while this node still answers.
                await node.cluster.fleet.drain(settings.limits.drain_timeout_s)
            node.pipeline.is_draining = True
            if node.cluster is not None:
                await node.cluster.depart()


def open_certificates(settings: Settings) -> TlsFiles | None:
    """Read the node's certificates, where the settings name them.

    Raises:
        Rejected: `invalid_settings`.
    """
    return TlsFiles.of(
        authority=settings.security.ca_file,
        certificate=settings.security.cert_file,
        key=settings.security.key_file,
        node=settings.node.name,
    )


def grpc_ports(settings: Settings, files: TlsFiles | None) -> tuple[Port, ...]:
    """Return where gRPC listens: for clients first, for other nodes last."""
    if settings.grpc.peer_bind is None:
        return (Port(settings.grpc.bind, files),)
    return (
        Port(settings.grpc.bind, files, is_certificate_required=False),
        Port(settings.grpc.peer_bind, files),
    )


def _manners(settings: Settings, files: TlsFiles | None) -> tuple[str, ...]:
    """Return who gets in by each port of gRPC, for the log."""
    if files is None:
        return ("without encryption",) * len(grpc_ports(settings, files))
    if settings.grpc.peer_bind is None:
        return ("with certificates",)
    return ("clients without a certificate", "nodes and clients with certificates")


def run(loaded: LoadedSettings, reread: Callable[[], LoadedSettings] | None = None) -> int:
    """Be a node.

    Args:
        loaded: The settings in force.
        reread: Reads the settings again, on SIGHUP. Only those that may change while a node runs
            do, see `caxton_node.config.live`; the others wait for a restart.

    Returns:
        The exit code: 0 after a clean stop, 1 when the node could not start or broke.
    """
    settings = loaded.settings
    gc.set_threshold(*COLLECT_EVERY)
    sys.setswitchinterval(SWITCH_INTERVAL_S)
    logs = configure_logging(
        level=settings.log.level,
        format=settings.log.format,
        node=settings.node.name,
        stream=sys.stderr,
    )
    live = LiveSettings(loaded)
    live.on_change(lambda changed: logs.set_level(changed.log.level))
    failures: list[BaseException] = []
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(_main(loaded, live, reload=functools.partial(_reload, live, reread)))
    except* (CaxtonError, OSError) as problems:
        # What a person can mend is said in a sentence. Anything else is a bug and shows itself.
        failures.extend(_leaves(problems))
    finally:
        logs.close()
    for failure in failures:
        sys.stderr.write(f"caxton-node: {failure}\n")
    return 1 if failures else 0


def _leaves(group: BaseExceptionGroup[BaseException]) -> list[BaseException]:
    leaves: list[BaseException] = []
    for inner in group.exceptions:
        leaves += _leaves(inner) if isinstance(inner, BaseExceptionGroup) else [inner]
    return leaves


def _reload(live: LiveSettings, reread: Callable[[], LoadedSettings] | None) -> None:
    """Bring into force what can be changed while the node runs."""
    if reread is None:
        return
    notify_reloading(os.environ)
    try:
        live.reload(reread())
    except CaxtonError as problem:
        _log.error("the settings were not reloaded: %s", problem)
        return
    finally:
        notify("READY=1", os.environ)
    _log.warning(
        "settings reloaded: log.level is %s; others than %s need a restart",
        live.settings.log.level,
        ", ".join(CLUSTER_WIDE),
    )


async def _main(loaded: LoadedSettings, live: LiveSettings, *, reload: Callable[[], None]) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGHUP, reload)
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)

    def on_ready(url: str) -> None:
        sys.stdout.write(f"caxton-node {loaded.settings.node.name} ready at {url}\n")
        sys.stdout.flush()

    await serve(loaded, environment=os.environ, on_ready=on_ready, stop=stop, live=live)
