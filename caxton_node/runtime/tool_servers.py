"""MCP servers in WebAssembly: deployed on this node, their tools offered like all others.

What is deployed is written down before it is in force, and is there again after a restart. Versions
are kept, so that the one before can be brought back.
"""

import asyncio
import functools
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import msgspec

from caxton_node.agentfile.server_manifest import parse_server_manifest
from caxton_node.domain.errors import CaxtonError, Conflict, Failed, NotFound, Rejected
from caxton_node.domain.tool import ToolResult, ToolSpec
from caxton_node.domain.trace_headers import with_trace_meta
from caxton_node.domain.wasm import NO_GRANTS, ToolServerSpec
from caxton_node.llm.model import Model
from caxton_node.routing.clock import Clock
from caxton_node.runtime.guest_caller import Caller, HostParts
from caxton_node.runtime.guest_calls import counted
from caxton_node.runtime.guest_host import GuestHost
from caxton_node.runtime.guest_log import GuestLog
from caxton_node.runtime.guest_tools import server_tool_context
from caxton_node.runtime.guests import Guests
from caxton_node.runtime.server_tools import read_result, read_tools
from caxton_node.store.protocol import Store
from caxton_node.telemetry.spans import Tracing
from caxton_node.tools.tool import ToolContext
from caxton_node.wasm.box import Box, Plan
from caxton_node.wasm.errors import (
    GuestRefused,
    OverLimit,
    SandboxFailed,
    Trapped,
    UnfitModule,
    WorkerLost,
)
from caxton_node.wasm.grants import added_rights
from caxton_node.wasm.operations import error_answer
from caxton_node.wasm.quarantine import Quarantine
from caxton_node.wasm.shapes import Shape

__all__ = ["DeployedServer", "ServerTool", "ToolServers"]

VERSIONS_KEPT_MAX: Final = 20
OWNER: Final = "(servers)"
ROOM_BYTES: Final = 100_000_000

_log = logging.getLogger("caxton.wasm")


class Version(msgspec.Struct):
    """A manifest that was deployed."""

    number: int
    version: str
    source: str
    deployed_at: int
    listed: msgspec.Raw
    """The tools as the server listed them, so that they are known before it runs."""


class _Kept(msgspec.Struct):
    current: int
    versions: list[Version]


@dataclass(slots=True, eq=False)
class DeployedServer:
    """A server that is in force."""

    spec: ToolServerSpec
    number: int
    deployed_at: int
    box: Box
    host: GuestHost
    shape: Shape
    tracing: Tracing
    tools: tuple[ToolSpec, ...] = ()
    calls: int = 0
    failures: int = 0
    busy_s: float = 0.0
    last_error: str | None = None
    quarantine: Quarantine = field(default_factory=Quarantine)

    @property
    def state(self) -> str:
        """`available` or `quarantined`."""
        return "quarantined" if self.quarantine.is_closed else "available"

    def granted(self) -> tuple[str, ...]:
        """Return what it may ask the host for, as it stands in the manifest."""
        return added_rights(NO_GRANTS, self.spec.grants)

    async def call(
        self, name: str, arguments: Mapping[str, Any], context: ToolContext
    ) -> ToolResult:
        """Call a tool of the server.

        Args:
            name: Of the tool, without the server's.
            arguments: That were checked against its schema.
            context: Of the call.

        Raises:
            Failed: `tool_failed`: the server is in quarantine.
        """
        if self.quarantine.is_closed:
            raise Failed(
                "tool_failed",
                f"the server {self.spec.name!r} is in quarantine: it was stopped too often",
                hint="Deploy it again when it is mended.",
            )
        params: dict[str, Any] = {"name": name, "arguments": arguments}
        if self.shape is Shape.STDIO_SERVER:
            params = with_trace_meta(params, context.traceparent)
        data = msgspec.json.encode(params)
        answer = functools.partial(self.host.answer, _caller(context, self.tracing))
        self.calls += 1
        started_s = time.perf_counter()
        try:
            async with asyncio.timeout(context.timeout_s):
                with counted(self.host.counts):
                    called = await self.box.call("handle_tool_call", data, answer)
                return read_result(called)
        except GuestRefused as error:
            return self._failed(str(error), code=error.code)
        except OverLimit as error:
            if self.quarantine.note(time.monotonic()):
                _log.error("the server %s is in quarantine", self.spec.name)
            return self._failed(f"the tool was stopped: {error}", code="stopped")
        except Trapped as error:
            return self._failed(f"the tool broke: {error}", code="failed")
        except TimeoutError:
            return self._failed("the turn's time is over", code="timed_out")
        except WorkerLost as error:
            raise Failed("tool_failed", str(error)) from None
        except UnfitModule as error:
            raise Failed("tool_failed", error.detail) from None
        finally:
            self.busy_s += time.perf_counter() - started_s

    def _failed(self, text: str, *, code: str) -> ToolResult:
        self.failures += 1
        self.last_error = text
        return ToolResult(content={"error": self.host.redact(text), "code": code}, is_error=True)


def _caller(context: ToolContext, tracing: Tracing) -> Caller:
    return Caller(
        agent=context.agent,
        conversation_id=context.conversation_id,
        outbox=None,
        folder=None,
        left_s=lambda: context.timeout_s,
        tool_context=server_tool_context(context),
        traceparent=context.traceparent,
        span=lambda name, kind, facts: tracing.begin(name, kind, context.traceparent, facts),
        purse=None,
    )


class ServerTool:
    """One tool of a server, as turns see it. Implements `Tool`."""

    def __init__(self, server: DeployedServer, spec: ToolSpec) -> None:
        self.spec = spec
        self._server = server

    async def call(self, arguments: Mapping[str, Any], context: ToolContext) -> ToolResult:
        """Call it."""
        return await self._server.call(self.spec.name.partition(".")[2], arguments, context)


class ToolServers:
    """The servers of a node. One change at a time.

    Args:
        guests: Makes sandboxes.
        parts: What guests reach.
        store: Keeps logs.
        clock: Tells the time.
        tasks: Owns the writing of logs.
        model: Chooses a model by its name.
    """

    def __init__(
        self,
        *,
        guests: Guests,
        parts: HostParts,
        store: Store,
        clock: Clock,
        tasks: asyncio.TaskGroup,
        model: Callable[[str], Model],
    ) -> None:
        self._guests = guests
        self._parts = parts
        self._store = store
        self._clock = clock
        self._tasks = tasks
        self._model = model
        self._servers: dict[str, DeployedServer] = {}
        self._changing = asyncio.Lock()

    def all(self) -> Sequence[DeployedServer]:
        """Return the servers by name."""
        return [self._servers[name] for name in sorted(self._servers)]

    def get(self, name: str) -> DeployedServer:
        """Return a server.

        Raises:
            NotFound: `server_not_found`.
        """
        server = self._servers.get(name)
        if server is None:
            raise NotFound("server_not_found", f"there is no server of tools {name!r}")
        return server

    async def deploy(
        self, source: str, *, file: str | None = None, has_approval: bool = False
    ) -> DeployedServer:
        """Bring a manifest into force: a new server, or a new version of one.

        Args:
            source: The manifest.
            file: What errors call it.
            has_approval: A person agrees to what it may do more than the running one.

        Raises:
            Rejected: `invalid_module`.
            Conflict: `state_conflict`: it asks for more than the running one.
        """
        spec = parse_server_manifest(source, file=file)
        async with self._changing:
            running = self._servers.get(spec.name)
            added = () if running is None else added_rights(running.spec.grants, spec.grants)
            if added and not has_approval:
                raise Conflict(
                    "state_conflict",
                    f"the new version of {spec.name!r} asks for more: {'; '.join(added)[:1_000]}",
                    hint="Deploy it with --approve-grants if that is wanted.",
                    facts={"added_grants": list(added)},
                )
            kept = await self._kept(spec.name)
            number = kept.versions[-1].number + 1 if kept.versions else 1
            now_ms = self._clock.now_ms()
            server = await self._open(spec, number, now_ms)
            listed = await self._listed(server)
            kept.versions.append(Version(number, spec.version, source, now_ms, listed))
            kept.versions = kept.versions[-VERSIONS_KEPT_MAX:]
            kept.current = number
            await self._keep(spec.name, kept)
            await self._put(server)
            return server

    async def rollback(self, name: str, number: int | None = None) -> DeployedServer:
        """Bring an earlier version into force again, the one before by default.

        Raises:
            NotFound: `server_not_found`, `version_not_found`.
        """
        async with self._changing:
            current = self.get(name).number
            kept = await self._kept(name)
            earlier = [one.number for one in kept.versions if one.number < current]
            wanted = max(earlier, default=0) if number is None else number
            found = next((one for one in kept.versions if one.number == wanted), None)
            if found is None:
                raise NotFound("version_not_found", f"{name!r} has no version number {wanted}")
            spec = parse_server_manifest(found.source)
            server = await self._open(spec, found.number, self._clock.now_ms())
            await self._listed(server)
            kept.current = found.number
            await self._keep(name, kept)
            await self._put(server)
            return server

    async def versions(self, name: str) -> Sequence[Version]:
        """Return the versions that are kept, oldest first.

        Raises:
            NotFound: `server_not_found`.
        """
        self.get(name)
        return (await self._kept(name)).versions

    async def remove(self, name: str) -> None:
        """Take a server off the node, with its keys and values.

        Raises:
            NotFound: `server_not_found`.
        """
        async with self._changing:
            server = self.get(name)
            await self._guests.kv.delete(OWNER, name)
            await self._guests.kv.forget(_owner(name))
            del self._servers[name]
            self._parts.tools.serve(name, ())
            await server.box.close()

    async def restore(self) -> int:
        """Offer what was deployed before the node stopped; return how many servers there are.

        Nothing runs until it is called. A server whose file is refused by now is left out, with an
        error in the log.
        """
        for name in await self._guests.kv.keys(OWNER, ""):
            kept = await self._kept(name)
            version = next((one for one in kept.versions if one.number == kept.current), None)
            if version is None:
                continue
            try:
                spec = parse_server_manifest(version.source)
                server = await self._open(spec, version.number, version.deployed_at)
                server.tools = read_tools(name, bytes(version.listed))
                await self._put(server)
            except CaxtonError as problem:
                _log.error("the server of tools %s cannot be restored: %s", name, problem)
        return len(self._servers)

    async def _open(self, spec: ToolServerSpec, number: int, deployed_at: int) -> DeployedServer:
        """Make a server that can be started."""
        admitted = await self._guests.admit(spec.name, spec.version, spec.wasm, limits=spec.limits)
        if admitted.shape.is_agent:
            raise Rejected(
                "invalid_module",
                f"the file of {spec.name!r} is an agent, not a server of tools",
                hint="Deploy it with: caxton deploy FILE.wasm --manifest …",
            )
        owner = _owner(spec.name)
        host = GuestHost(spec.name, spec.grants, self._parts, self._model, kv_owner=owner)
        log = GuestLog(spec.name, self._store, self._clock, self._tasks, host.redact)
        plan = Plan(
            name=spec.name,
            version=spec.version,
            file=admitted.compiled.file,
            shape=admitted.shape,
            limits=spec.limits,
            policy=spec.wasm.instance,
            parameters=msgspec.json.encode(dict(spec.parameters or {})),
            secret_names=spec.grants.secrets,
            environment=dict(spec.grants.environment or {}),
            log=log.write,
            on_snapshot=_forget,
        )
        box = self._guests.open(plan, spec.wasm.isolation)
        tracing = self._parts.tracing
        return DeployedServer(spec, number, deployed_at, box, host, admitted.shape, tracing)

    async def _listed(self, server: DeployedServer) -> msgspec.Raw:
        """Start a server and have it list its tools; return the list as it gave it."""
        name = server.spec.name
        try:
            listed = await server.box.call("list_tools", None, _not_now)
            server.tools = read_tools(name, listed)
        except (SandboxFailed, UnfitModule) as error:
            await server.box.close()
            raise Rejected(
                "invalid_module", f"the server {name!r} does not list its tools: {error}"
            ) from None
        except BaseException:
            await server.box.close()
            raise
        assert listed is not None, "a server without a list is refused"
        return msgspec.Raw(listed)

    async def _put(self, server: DeployedServer) -> None:
        """Put a started server in force; the one before goes when its calls have ended."""
        before = self._servers.get(server.spec.name)
        self._servers[server.spec.name] = server
        tools = [ServerTool(server, spec) for spec in server.tools]
        self._parts.tools.serve(server.spec.name, tools)
        if before is not None:
            await before.box.close()

    async def _kept(self, name: str) -> _Kept:
        data = await self._guests.kv.get(OWNER, name)
        return _Kept(0, []) if data is None else msgspec.json.decode(data, type=_Kept)

    async def _keep(self, name: str, kept: _Kept) -> None:
        encoded = msgspec.json.encode(kept)
        await self._guests.kv.set(OWNER, name, encoded, room_bytes=ROOM_BYTES)


def _owner(name: str) -> str:
    """Return under which name a server's keys and values are kept."""
    return f"server/{name}"


def _forget(_: bytes) -> None:
    """Servers of tools keep their state in keys and values, if anywhere."""


async def _not_now(operation: str, _: bytes) -> bytes:
    return error_answer("denied", f"{operation} is not answered while a server lists its tools")
