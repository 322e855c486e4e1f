"""The composition root: builds every part, connects them by constructor, and runs the node.

Nothing else in the server builds parts. `open_node` is the whole node without its edges; `serve`
adds the edges and runs until told to stop; `run` is the process.
"""

import asyncio
import functools
import gc
import logging
import os
import signal
import sys
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from random import Random, SystemRandom
from typing import Final

import uvloop
from aiohttp import web

from caxton import __version__
from caxton_node.api.server import build_application
from caxton_node.config import LoadedSettings, Settings
from caxton_node.domain.agent import AgentKind, AgentSpec
from caxton_node.domain.errors import CaxtonError
from caxton_node.domain.ids import boot_token, id_factory
from caxton_node.llm.choose import ModelChooser
from caxton_node.routing.directory import Directory
from caxton_node.routing.journal import Journal
from caxton_node.routing.pipeline import Pipeline
from caxton_node.routing.redelivery import RetrySettings, after_failure
from caxton_node.routing.waiting import Answers
from caxton_node.runtime.agent import Agent
from caxton_node.runtime.context import Speech
from caxton_node.runtime.deployments import Deployments
from caxton_node.runtime.llm_agent import LlmAgent, LlmParts
from caxton_node.runtime.node import Node
from caxton_node.runtime.python_agent import PythonAgent, load_handler
from caxton_node.runtime.roster import Roster
from caxton_node.runtime.spending import Spending
from caxton_node.runtime.supervisor import Supervisor
from caxton_node.sd_notify import notify
from caxton_node.store.protocol import Store, UsageTotal
from caxton_node.store.sqlite import SqliteStore
from caxton_node.telemetry.counts import Counts
from caxton_node.telemetry.events import Events
from caxton_node.telemetry.logging import configure_logging
from caxton_node.tools.builtin import builtin_tools
from caxton_node.tools.registry import ToolRegistry

__all__ = ["SystemClock", "open_node", "run", "serve"]

SWITCH_INTERVAL_S: Final = 0.0005
"""How long the event loop may keep the writer's thread waiting for the interpreter. Python's
default of 5 ms is longer than a whole commit."""

RECOVERY_PAGE: Final = 1_000

JANITOR_EVERY_S: Final = 60.0
JANITOR_ROWS_MAX: Final = 10_000

_log = logging.getLogger("caxton.node")


class SystemClock:
    """The machine's clock and the event loop's timers."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop

    def now_ms(self) -> int:
        """Return milliseconds since 1970, UTC."""
        return int(time.time() * 1000)

    def call_later(self, delay_s: float, callback: Callable[[], None]) -> object:
        """Call back on the event loop after `delay_s` seconds."""
        return self._loop.call_later(delay_s, callback)


@asynccontextmanager
async def open_node(
    loaded: LoadedSettings,
    *,
    environment: Mapping[str, str],
    store: Store | None = None,
) -> AsyncIterator[Node]:
    """Build a node, recover what it had accepted, and drain it at the end.

    Args:
        loaded: The settings in force.
        environment: What agent files may refer to as `${VAR}`.
        store: Another store than the one on disk, for tests.

    Raises:
        CaxtonError: A part cannot be built: the data directory, the store, a setting.
    """
    settings = loaded.settings
    data_dir = Path(settings.node.data_dir)
    async with AsyncExitStack() as stack:
        if store is None:
            data_dir.mkdir(parents=True, exist_ok=True)
            store = SqliteStore(data_dir / "caxton.db", is_synced=settings.node.is_synced)
        await store.open()
        stack.push_async_callback(store.close)
        tools = await stack.enter_async_context(
            builtin_tools(allowed_private_hosts=settings.tools.allowed_private_hosts)
        )
        models = ModelChooser(
            default_provider=settings.llm.provider,
            default_model=settings.llm.model,
            default_base_url=settings.llm.base_url,
            default_api_key=settings.llm.secret(),
        )
        stack.push_async_callback(models.close)
        async with asyncio.TaskGroup() as tasks:
            node = _connect(
                loaded, environment, store=store, tools=tools, models=models, tasks=tasks
            )
            await node.deployments.restore()
            await _recover(node)
            housekeeping = tasks.create_task(
                _housekeeping(node, retention_s=settings.limits.retention_s)
            )
            sweeping = tasks.create_task(node.supervisor.sweep())
            try:
                yield node
            finally:
                node.pipeline.is_draining = True
                await node.supervisor.drain(node.roster, settings.limits.drain_timeout_s)
                housekeeping.cancel()
                sweeping.cancel()


def _connect(
    loaded: LoadedSettings,
    environment: Mapping[str, str],
    *,
    store: Store,
    tools: ToolRegistry,
    models: ModelChooser,
    tasks: asyncio.TaskGroup,
) -> Node:
    settings = loaded.settings
    clock = SystemClock(asyncio.get_running_loop())
    new_id = id_factory(boot_token(clock.now_ms(), SystemRandom()))
    counts, events = Counts(), Events(clock.now_ms)
    directory, answers = Directory(), Answers()
    retry = RetrySettings(
        attempts_max=settings.retry.attempts,
        initial_s=settings.retry.initial_s,
        factor=settings.retry.factor,
        delay_max_s=settings.retry.max_s,
    )
    jitter = Random()  # noqa: S311 - spreads retries; nothing secret hangs on it
    pipeline = Pipeline(
        journal=Journal(store),
        directory=directory,
        answers=answers,
        events=events,
        counts=counts,
        new_id=new_id,
        clock=clock,
        after_failure=lambda error, attempts: after_failure(
            error, attempts=attempts, settings=retry, random=jitter
        ),
    )
    speech = Speech(
        pipeline=pipeline,
        answers=answers,
        store=store,
        events=events,
        clock=clock,
        new_id=new_id,
    )
    supervisor = Supervisor(tasks=tasks, speech=speech, counts=counts)
    roster = Roster(directory)
    parts = LlmParts(
        tools=tools,
        store=store,
        clock=clock,
        counts=counts,
        agents_folder=Path(settings.node.data_dir) / "agents",
    )
    deployments = Deployments(
        roster=roster,
        supervisor=supervisor,
        speech=speech,
        build=functools.partial(build_agent, settings=settings, models=models, parts=parts),
        environment=environment,
        known_tools=tools.names,
    )
    return Node(
        name=settings.node.name,
        version=__version__,
        started_at=clock.now_ms(),
        store=store,
        pipeline=pipeline,
        directory=directory,
        answers=answers,
        roster=roster,
        deployments=deployments,
        supervisor=supervisor,
        tools=tools,
        events=events,
        counts=counts,
        clock=clock,
        new_id=new_id,
        settings_in_force=loaded.sources,
        components=lambda: {"store": "ready", "model": models.describe()},
    )


def build_agent(
    spec: AgentSpec, *, settings: Settings, models: ModelChooser, parts: LlmParts
) -> Agent:
    """Build what takes the turns of a definition.

    Raises:
        CaxtonError: The definition asks for what this node does not have or allow.
    """
    match spec.kind:
        case AgentKind.PYTHON:
            return PythonAgent(load_handler(spec.handler, settings.python.allow), spec.parameters)
        case AgentKind.LLM:
            model = models.choose(spec.llm)
            prices = settings.llm.price_table()

            def new_spending(in_conversation: UsageTotal, today: UsageTotal) -> Spending:
                return Spending(
                    budget=spec.budget,
                    prices=prices,
                    provider=model.provider,
                    in_conversation=in_conversation,
                    today=today,
                )

            parts.tools.specs(spec.tools)
            return LlmAgent(spec, model=model, parts=parts, new_spending=new_spending)


async def _recover(node: Node) -> None:
    """Take up every message that was accepted and not settled before the node stopped."""
    after_seq, count = 0, 0
    while page := await node.store.unsettled(after_seq=after_seq, limit=RECOVERY_PAGE):
        for stored in page:
            node.pipeline.recover(stored)
        count += len(page)
        after_seq = page[-1].seq
    if count:
        _log.info("recovered %d accepted messages", count)


async def _housekeeping(node: Node, *, retention_s: float) -> None:
    """Forget settled messages that are older than the retention, a bounded number at a time."""
    while True:
        await asyncio.sleep(JANITOR_EVERY_S)
        before = node.clock.now_ms() - int(retention_s * 1000)
        try:
            await node.store.prune(before=before, limit=JANITOR_ROWS_MAX)
        except CaxtonError as problem:
            _log.warning("old messages could not be forgotten: %s", problem)


async def serve(
    loaded: LoadedSettings,
    *,
    environment: Mapping[str, str],
    on_ready: Callable[[str], None],
    stop: asyncio.Event,
) -> None:
    """Run a node with its edges until `stop` is set, then drain.

    Args:
        loaded: The settings in force.
        environment: What agent files may refer to.
        on_ready: Told the node's URL once it answers.
        stop: Set it to stop.
    """
    settings = loaded.settings
    async with open_node(loaded, environment=environment) as node:
        application = build_application(node, body_bytes_max=settings.http.max_body_bytes)
        runner = web.AppRunner(application, access_log=None, shutdown_timeout=5.0)
        await runner.setup()
        try:
            host, port = settings.http.address
            site = web.TCPSite(runner, host, port, reuse_address=True)
            await site.start()
            # What was built so far stays: no collection needs to look at it again.
            gc.collect()
            gc.freeze()
            on_ready(_url(runner))
            notify("READY=1", environment)
            await stop.wait()
            notify("STOPPING=1", environment)
            _log.info("stopping: %d turns under way", node.supervisor.turns_under_way)
            node.pipeline.is_draining = True
        finally:
            await runner.cleanup()


def _url(runner: web.AppRunner) -> str:
    host, port = runner.addresses[0][:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def run(loaded: LoadedSettings) -> int:
    """Be a node: the body of the `caxton-node` program.

    Returns:
        The exit code: 0 after a clean stop, 1 when the node could not start.
    """
    settings = loaded.settings
    sys.setswitchinterval(SWITCH_INTERVAL_S)
    logs = configure_logging(
        level=settings.log.level,
        format=settings.log.format,
        node=settings.node.name,
        stream=sys.stderr,
    )
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(_main(loaded))
    except* CaxtonError as problems:
        for problem in problems.exceptions:
            sys.stderr.write(f"caxton-node: {problem}\n")
        return 1
    except* OSError as problems:
        for problem in problems.exceptions:
            sys.stderr.write(f"caxton-node: {problem}\n")
        return 1
    finally:
        logs.close()
    return 0


async def _main(loaded: LoadedSettings) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)

    def on_ready(url: str) -> None:
        sys.stdout.write(f"caxton-node {loaded.settings.node.name} ready at {url}\n")
        sys.stdout.flush()

    await serve(loaded, environment=os.environ, on_ready=on_ready, stop=stop)
