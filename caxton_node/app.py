"""The composition root: builds every part and connects them by constructor.

Nothing else in the server builds parts. The result is a `Node`, without its edges; `process` adds
them and runs it.
"""

import asyncio
import functools
import logging
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from fnmatch import fnmatchcase
from random import Random, SystemRandom
from typing import Final

from caxton import __version__
from caxton_node.config import LoadedSettings, Settings
from caxton_node.config.live import LiveSettings
from caxton_node.domain.agent import AgentState
from caxton_node.domain.delivery import DeliveryMode
from caxton_node.domain.errors import CaxtonError
from caxton_node.domain.ids import boot_token, id_factory
from caxton_node.llm.openai_clients import OpenAiClients
from caxton_node.metadata import NodeMetadata, open_metadata
from caxton_node.node_agents import build_agent, tool_servers
from caxton_node.node_cluster import join_cluster, next_epoch
from caxton_node.node_guests import NodeGuests, open_guests
from caxton_node.node_memory import NodeMemory, open_memory
from caxton_node.offer import what_it_offers
from caxton_node.ring import ClusterRing, open_ring
from caxton_node.routing.directory import Directory
from caxton_node.routing.journal import Journal
from caxton_node.routing.pipeline import Pipeline
from caxton_node.routing.recovery import had_effect
from caxton_node.routing.redelivery import RetrySettings, after_failure
from caxton_node.routing.waiting import Answers
from caxton_node.runtime.context import Speech
from caxton_node.runtime.deployments import Deployments
from caxton_node.runtime.guest_building import GuestBuilder
from caxton_node.runtime.guest_caller import HostParts
from caxton_node.runtime.llm_agent import LlmParts
from caxton_node.runtime.node import Node
from caxton_node.runtime.past import Pasts
from caxton_node.runtime.rollouts import Rollouts
from caxton_node.runtime.roster import Roster
from caxton_node.runtime.supervisor import Supervisor
from caxton_node.security.tls_files import TlsFiles
from caxton_node.store.protocol import Store, StoredMessage
from caxton_node.store.sqlite import SqliteStore
from caxton_node.telemetry.counts import Counts
from caxton_node.telemetry.events import Events
from caxton_node.telemetry.otlp import export_spans
from caxton_node.telemetry.resource import node_resource
from caxton_node.telemetry.spans import Tracing
from caxton_node.tools.builtin import builtin_tools
from caxton_node.tools.registry import ToolRegistry

__all__ = ["SystemClock", "forget_before", "open_node"]

RECOVERY_PAGE: Final = 1_000

JANITOR_EVERY_S: Final = 60.0
JANITOR_PAGE: Final = 1_000

_log = logging.getLogger("caxton.node")


class SystemClock:
    """The machine's clock and the event loop's timers."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._is_closed = False

    def now_ms(self) -> int:
        """Return milliseconds since 1970, UTC."""
        return time.time_ns() // 1_000_000

    def call_later(self, delay_s: float, callback: Callable[[], None]) -> asyncio.TimerHandle:
        """Call back on the event loop after `delay_s` seconds, unless the node has closed."""
        return self._loop.call_later(delay_s, self._ring, callback)

    def _ring(self, callback: Callable[[], None]) -> None:
        if not self._is_closed:
            callback()

    def close(self) -> None:
        """Let no alarm ring any more: what it would act on is gone."""
        self._is_closed = True


@asynccontextmanager
async def open_node(
    loaded: LoadedSettings,
    *,
    environment: Mapping[str, str],
    store: Store | None = None,
    live: LiveSettings | None = None,
    files: TlsFiles | None = None,
) -> AsyncIterator[Node]:
    """Build a node, recover what it had accepted, and drain it at the end.

    Args:
        loaded: The settings in force.
        environment: What agent files may refer to as `${VAR}`.
        store: Another store than the one on disk.
        live: Where settings change while it runs, for whoever else follows them.
        files: Its certificates, by which other nodes know it; None where channels are plain.

    Raises:
        CaxtonError: A part cannot be built: the data directory, the store, a setting.
    """
    settings = loaded.settings
    async with AsyncExitStack() as stack:
        store = _own_store(settings) if store is None else store
        await store.open()
        stack.push_async_callback(store.close)
        hosts = settings.tools.allowed_private_hosts
        tools = await stack.enter_async_context(builtin_tools(allowed_private_hosts=hosts))
        clock = SystemClock(asyncio.get_running_loop())
        clients = OpenAiClients()
        stack.push_async_callback(clients.close)
        # Closed before the rest, after the drain: the others see the node leave, not fail.
        epoch = await next_epoch(store, clock.now_ms())
        ring = await stack.enter_async_context(
            open_ring(settings, version=__version__, epoch=epoch)
        )
        live = LiveSettings(loaded) if live is None else live
        tracing = await stack.enter_async_context(_open_tracing(live))
        metadata = await stack.enter_async_context(
            open_metadata(settings, live, now_ms=clock.now_ms)
        )
        memory = await stack.enter_async_context(open_memory(settings, clock.now_ms))
        guests = await stack.enter_async_context(open_guests(settings))
        async with asyncio.TaskGroup() as tasks:
            resources = _Resources(
                store,
                ToolRegistry((*tools, *memory.tools())),
                clients,
                tasks,
                clock,
                ring,
                memory,
                metadata,
                tracing,
                files,
                guests,
            )
            node = _connect(live, environment, resources)
            await node.tool_servers.restore()
            async with join_cluster(settings, node, ring, files=files, tasks=tasks) as node:
                await _recover(node)
                chores = _start_chores(tasks, node, live)
                chores += metadata.start(tasks, node.events, lambda: what_it_offers(node))
                chores += memory.start(tasks, node.roster)
                try:
                    yield node
                finally:
                    node.pipeline.is_draining = True
                    await node.supervisor.drain(node.roster, settings.limits.drain_timeout_s)
                    clock.close()
                    for chore in chores:
                        chore.cancel()


def _start_chores(
    tasks: asyncio.TaskGroup, node: Node, live: LiveSettings
) -> list[asyncio.Task[None]]:
    return [
        tasks.create_task(node.supervisor.sweep()),
        tasks.create_task(node.rollouts.watch()),
        tasks.create_task(_forget_old(node, live)),
    ]


def _own_store(settings: Settings) -> Store:
    return SqliteStore(settings.node.data_dir / "caxton.db", is_synced=settings.node.is_synced)


@dataclass(frozen=True, slots=True)
class _Resources:
    """What was opened for a node and is closed after it."""

    store: Store
    tools: ToolRegistry
    clients: OpenAiClients
    tasks: asyncio.TaskGroup
    clock: SystemClock
    ring: ClusterRing | None
    memory: NodeMemory
    metadata: NodeMetadata
    tracing: Tracing
    files: TlsFiles | None
    guests: NodeGuests


@asynccontextmanager
async def _open_tracing(live: LiveSettings) -> AsyncIterator[Tracing]:
    """Record traces where somebody receives them, and send what is left at the end."""
    settings = live.settings
    endpoint = settings.telemetry.otlp_endpoint
    tracing = Tracing(
        time.time_ns,
        ratio=lambda: live.settings.telemetry.sample_ratio,
        is_recording=endpoint is not None,
    )
    if endpoint is None:
        yield tracing
        return
    label = settings.cluster.label
    async with export_spans(
        tracing,
        endpoint=endpoint,
        protocol="http" if settings.telemetry.otlp_protocol == "http" else "grpc",
        resource=node_resource(settings.node.name, version=__version__, label=label),
    ):
        yield tracing


def _connect(live: LiveSettings, environment: Mapping[str, str], resources: _Resources) -> Node:
    """Connect routing, runtime and capabilities into a node."""
    settings, store, files = live.settings, resources.store, resources.files
    clock = resources.clock
    counts, directory = Counts(), Directory()
    speech = _speech(live, resources, counts, directory)
    supervisor = Supervisor(tasks=resources.tasks, speech=speech, counts=counts)
    roster = Roster(directory)
    pasts = Pasts(store)
    parts = _llm_parts(settings, resources, counts, pasts)
    secrets = visible_to_agents(environment, settings.agents.environment)
    guests = _guest_builder(resources, parts, speech.events, secrets)
    clients = resources.clients
    build = functools.partial(
        build_agent, settings=settings, clients=clients, parts=parts, guests=guests
    )
    deployments = Deployments(
        roster=roster,
        supervisor=supervisor,
        speech=speech,
        build=build,
        environment=secrets,
        tools=resources.tools,
    )
    return Node(
        name=settings.node.name,
        version=__version__,
        started_at=clock.now_ms(),
        store=store,
        pipeline=speech.pipeline,
        directory=directory,
        answers=speech.answers,
        roster=roster,
        deployments=deployments,
        rollouts=Rollouts(deployments=deployments, roster=roster, speech=speech, build=build),
        supervisor=supervisor,
        pasts=pasts,
        tools=resources.tools,
        guests=resources.guests.guests,
        tool_servers=tool_servers(guests, settings, clients),
        events=speech.events,
        counts=counts,
        tracing=resources.tracing,
        clock=clock,
        new_id=speech.new_id,
        settings_in_force=live.sources,
        ring=resources.ring,
        cluster=None,
        metadata=resources.metadata,
        data_dir=settings.node.data_dir,
        certificate_ends_at_s=lambda: None if files is None else files.ends_at_s(),
        components=lambda: (
            _components(store, roster, resources.ring)
            | {"memory": resources.memory.state}
            | resources.metadata.components()
        ),
        memory=resources.memory.memory,
    )


def _llm_parts(settings: Settings, resources: _Resources, counts: Counts, pasts: Pasts) -> LlmParts:
    """Return what agents with a model are made of."""
    return LlmParts(
        tools=resources.tools,
        store=resources.store,
        pasts=pasts,
        clock=resources.clock,
        counts=counts,
        agents_folder=settings.node.data_dir / "agents",
        memory=resources.memory.memory,
    )


def _speech(
    live: LiveSettings, resources: _Resources, counts: Counts, directory: Directory
) -> Speech:
    """Build the pipeline and what speaks through it."""
    store, clock = resources.store, resources.clock
    events, answers = Events(clock.now_ms), Answers()
    new_id = id_factory(boot_token(clock.now_ms(), SystemRandom()))
    jitter = Random()  # noqa: S311 - it spreads retries; nothing secret hangs on it
    pipeline = Pipeline(
        journal=Journal(store),
        directory=directory,
        answers=answers,
        events=events,
        counts=counts,
        new_id=new_id,
        clock=clock,
        tracing=resources.tracing,
        after_failure=lambda error, attempts: after_failure(
            error, attempts=attempts, settings=_retry(live.settings), random=jitter
        ),
    )
    return Speech(
        pipeline=pipeline,
        answers=answers,
        store=store,
        events=events,
        clock=clock,
        new_id=new_id,
        tracing=resources.tracing,
    )


def _retry(settings: Settings) -> RetrySettings:
    return RetrySettings(
        attempts_max=settings.retry.attempts,
        initial_s=settings.retry.initial_s,
        factor=settings.retry.factor,
        delay_max_s=settings.retry.max_s,
    )


def _components(store: Store, roster: Roster, ring: ClusterRing | None) -> dict[str, str]:
    """Return how each part does that can be doing badly."""
    failed = [seat.agent for seat in roster if seat.state is AgentState.FAILED]
    states = {
        "store": "ready" if store.trouble is None else f"failed: {store.trouble}",
        "agents": "ready" if not failed else f"degraded: {len(failed)} gave up after crashes",
    }
    if ring is not None:
        # A node that finds nobody still serves its own agents.
        states["ring"] = "ready" if ring.trouble is None else f"degraded: {ring.trouble}"
    return states


def visible_to_agents(environment: Mapping[str, str], patterns: Sequence[str]) -> Mapping[str, str]:
    """Return the variables that agent files may refer to.

    Whoever may deploy an agent could otherwise have any secret of the node sent anywhere. The
    node's own variables are hidden whatever the patterns say.
    """
    return {
        name: value
        for name, value in environment.items()
        if not name.startswith("CAXTON_") and any(fnmatchcase(name, one) for one in patterns)
    }


def _guest_builder(
    resources: _Resources, parts: LlmParts, events: Events, secrets: Mapping[str, str]
) -> GuestBuilder:
    return GuestBuilder(
        guests=resources.guests.guests,
        host=HostParts(
            tools=resources.tools,
            memory=resources.memory.memory,
            kv=resources.guests.guests.kv,
            fetcher=resources.guests.fetcher,
            events=events,
            clock=resources.clock,
            counts=parts.counts,
            tracing=resources.tracing,
            store=resources.store,
            pasts=parts.pasts,
            secrets=secrets,
        ),
        store=resources.store,
        clock=resources.clock,
        tasks=resources.tasks,
        agents_folder=parts.agents_folder,
    )


async def _recover(node: Node) -> None:
    """Take up every message that was accepted and not settled before the node stopped."""
    after_seq, count = 0, 0
    while page := await node.store.unsettled(after_seq=after_seq, limit=RECOVERY_PAGE):
        for stored in page:
            node.pipeline.recover(stored, begun_by=await _begun_by(node, stored))
        count += len(page)
        after_seq = page[-1].seq
    if count:
        _log.info("recovered %d accepted messages", count)


async def _begun_by(node: Node, stored: StoredMessage) -> str | None:
    """Return which agent of this node may have had the effect of a message, wanted once."""
    if (
        stored.message.delivery is not DeliveryMode.EXACTLY_ONCE
        or stored.started_at is None
        or stored.node is not None
    ):
        return None
    return stored.agent if had_effect(await node.store.steps(stored.message.id)) else None


async def forget_before(store: Store, before: int) -> int:
    """Delete every message that was settled before an instant; return how many.

    A page is one transaction, so that what arrives meanwhile is written between two pages.
    """
    count = 0
    while True:
        deleted = await store.prune(before=before, limit=JANITOR_PAGE)
        count += deleted
        if deleted < JANITOR_PAGE:
            return count


async def _forget_old(node: Node, live: LiveSettings) -> None:
    """Delete settled messages older than the retention, for ever, every so often."""
    while True:
        await asyncio.sleep(JANITOR_EVERY_S)
        before = node.clock.now_ms() - int(live.settings.limits.retention_s * 1000)
        try:
            await forget_before(node.store, before)
        except CaxtonError as problem:
            _log.warning("old messages could not be deleted: %s", problem)
