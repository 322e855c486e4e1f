"""What the host does for guests in WebAssembly: every operation, after its grant was looked at.

A guest's arguments are the words of a stranger: each is checked here, each result is bounded. A
refusal is answered, never raised, and a refusal for want of a grant is written to the audit log.
Secrets are put into headers on this side and struck out of whatever goes back.
"""

import asyncio
import base64
import binascii
import logging
import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, Final

import msgspec
from yarl import URL

from caxton_node.domain.errors import CaxtonError, Denied, Rejected
from caxton_node.domain.performatives import Performative
from caxton_node.domain.tool import ToolResult
from caxton_node.domain.trace_headers import with_trace
from caxton_node.domain.wasm import GrantSettings
from caxton_node.llm.model import Model
from caxton_node.memory.records import Access, NewFact
from caxton_node.runtime.guest_caller import Caller, HostParts, Refusal, number_of, text_of
from caxton_node.runtime.guest_model import GuestModel
from caxton_node.telemetry.spans import Kind
from caxton_node.tools.arguments import check_arguments
from caxton_node.tools.fetch import FetchFailed, FetchRequest
from caxton_node.tools.network_rule import UrlRefused
from caxton_node.tools.own_files import FileError, FileLimits, OwnFiles
from caxton_node.tools.permissions import needs_approval
from caxton_node.tools.tool import Tool, ToolContext
from caxton_node.wasm.grants import allows_url, missing_grant
from caxton_node.wasm.kv import KEY_BYTES_MAX, NoRoom
from caxton_node.wasm.operations import error_answer, ok_answer

__all__ = ["GuestHost"]

ANSWER_BYTES_MAX: Final = 1_000_000
"""Of what an operation gives back."""

FETCH_TIMEOUT_S: Final = 30.0
HEADERS_MAX: Final = 20
SEARCH_LIMIT_MAX: Final = 50

_SECRET: Final = re.compile(r"\$\{secret:([A-Za-z_][A-Za-z0-9_]*)\}")
_FORBIDDEN_HEADERS: Final = frozenset(
    {"host", "content-length", "transfer-encoding", "connection", "upgrade", "te", "trailer"}
)

_AGENTS_ONLY: Final = frozenset({"messaging", "memory", "files"})

_audit = logging.getLogger("caxton.audit")


class GuestHost:
    """The host of one guest.

    Args:
        owner: Name of the agent or server.
        grants: Of its manifest.
        parts: Of the node.
        model: Which model answers to a name.
        kv_owner: Whose keys and values it has: an agent and a server may have one name.
    """

    def __init__(
        self,
        owner: str,
        grants: GrantSettings,
        parts: HostParts,
        model: Callable[[str], Model],
        *,
        kv_owner: str,
    ) -> None:
        self.owner = owner
        self.grants = grants
        self._kv_owner = kv_owner
        self.denied_count = 0
        self.counts = parts.counts
        self._parts = parts
        self._model = GuestModel(grants, parts, model)
        self._secrets = {
            name: parts.secrets[name] for name in grants.secrets if parts.secrets.get(name)
        }

    def redact(self, text: str) -> str:
        """Return a text with the guest's secrets struck out."""
        for name, value in self._secrets.items():
            text = text.replace(value, f"${{secret:{name}}}")
        return text

    async def answer(self, caller: Caller, operation: str, arguments: bytes) -> bytes:
        """Answer an operation. Never raises for what a guest does.

        Args:
            caller: On whose behalf the guest runs.
            operation: As `caxton_node.wasm.operations` has it.
            arguments: A JSON object.
        """
        self.counts.guest_operations += 1
        answer = await self._answered(caller, operation, arguments)
        if answer.startswith(b'{"error"'):
            is_denied = answer.startswith(b'{"error":{"code":"denied"')
            self.counts.guest_denied += is_denied
            self.counts.guest_operations_failed += not is_denied
        return answer

    async def _answered(self, caller: Caller, operation: str, arguments: bytes) -> bytes:
        try:
            values = msgspec.json.decode(arguments, type=dict[str, Any])
            self._check_grant(caller, operation, values)
            result = await self._do(caller, operation, values)
            answer = ok_answer(result)
        except Refusal as refusal:
            return error_answer(refusal.code, self.redact(str(refusal)))
        except Denied as error:
            return error_answer("denied", self.redact(error.detail))
        except CaxtonError as error:
            return error_answer(_CODES.get(error.code, "failed"), self.redact(error.detail))
        except (OSError, FileError) as error:
            return error_answer("failed", str(error)[:500])
        except (msgspec.DecodeError, msgspec.EncodeError, TypeError, ValueError) as error:
            return error_answer("invalid_arguments", str(error)[:500])
        if len(answer) > ANSWER_BYTES_MAX:
            return error_answer("too_large", f"the answer has more than {ANSWER_BYTES_MAX:,} bytes")
        return answer

    def _check_grant(self, caller: Caller, operation: str, values: Mapping[str, Any]) -> None:
        interface = operation.partition(".")[0]
        if interface in _AGENTS_ONLY and caller.outbox is None:
            raise Refusal("denied", f"{interface} is for agents, not for servers of tools")
        missing = missing_grant(operation, values, self.grants)
        if missing is not None:
            self._deny(caller, operation, missing)

    def _deny(self, caller: Caller, operation: str, missing: str) -> None:
        self.denied_count += 1
        _audit.warning(
            "denied: %s of %s lacks the grant %s", operation, self.owner, self.redact(missing)
        )
        self._parts.events.publish(
            "guest.denied",
            guest=self.owner,
            agent=caller.agent,
            operation=operation,
            grant=self.redact(missing),
        )
        raise Refusal(
            "denied", f"{operation} needs the grant {missing} in [grants] of {self.owner}"
        )

    async def _do(self, caller: Caller, operation: str, values: Mapping[str, Any]) -> Any:
        interface, _, function = operation.partition(".")
        match interface:
            case "messaging":
                return await self._message(caller, function, values)
            case "memory":
                return await self._remember(caller, function, values)
            case "kv":
                return await self._keep(function, values)
            case "http":
                return await self._fetch(caller, values)
            case "tools":
                return await self._call_tool(caller, values)
            case "model":
                return await self._complete(caller, values)
            case "files":
                return await self._file(caller, function, values)
            case _:
                raise Refusal("not_found", f"there is no operation {operation}")

    # Other agents.

    async def _message(self, caller: Caller, function: str, values: Mapping[str, Any]) -> Any:
        assert caller.outbox is not None, "servers were refused before"
        name = text_of(values, "receiver")
        if name == caller.agent:
            raise Refusal("conflict", "a guest cannot wait for itself")
        capability = name.removeprefix("capability:") if name.startswith("capability:") else None
        receiver = "" if capability is not None else name
        if function == "send":
            return await caller.outbox.tell(
                receiver=receiver,
                capability=capability,
                performative=Performative(text_of(values, "performative")),
                content=values.get("content"),
            )
        timeout_s = caller.time_s(number_of(values, "timeout_ms") / 1000)
        answer = await caller.outbox.ask(
            receiver=receiver,
            capability=capability,
            performative=Performative.REQUEST,
            content=values.get("content"),
            timeout_s=timeout_s,
        )
        return {
            "performative": answer.performative.value,
            "sender": answer.sender,
            "content": msgspec.Raw(answer.content),
        }

    # Memory, keys and values, files.

    async def _remember(self, caller: Caller, function: str, values: Mapping[str, Any]) -> Any:
        memory = self._parts.memory
        if memory is None:
            raise Refusal("unavailable", "this node keeps no memory")
        kind = text_of(values, "scope")
        own = Access.of_agent(caller.agent, kind)
        scope = next(one for one in own.reads if one.kind == kind)
        access = Access.only(scope)
        if function == "add":
            fact = NewFact(entity=text_of(values, "name"), text=text_of(values, "text"))
            await memory.remember(access, scope, [fact])
            return None
        limit = min(max(1, int(number_of(values, "limit"))), SEARCH_LIMIT_MAX)
        found = await memory.recall(access, text_of(values, "query"), limit=limit)
        return [
            {"name": hit.observation.entity, "text": hit.observation.text, "score": hit.score}
            for hit in found.hits
        ]

    async def _keep(self, function: str, values: Mapping[str, Any]) -> Any:
        kv, owner = self._parts.kv, self._kv_owner
        if function == "keys":
            return await kv.keys(owner, text_of(values, "prefix", is_empty_allowed=True))
        key = text_of(values, "key")
        if len(key.encode()) > KEY_BYTES_MAX:
            raise Refusal("too_large", f"a key has at most {KEY_BYTES_MAX} bytes")
        match function:
            case "get":
                value = await kv.get(owner, key)
                return None if value is None else msgspec.Raw(value)
            case "set":
                encoded = msgspec.json.encode(values.get("value"))
                try:
                    await kv.set(owner, key, encoded, room_bytes=self.grants.kv_bytes)
                except NoRoom as error:
                    raise Refusal("too_large", str(error)) from None
                return None
            case _:
                return await kv.delete(owner, key)

    async def _file(self, caller: Caller, function: str, values: Mapping[str, Any]) -> Any:
        assert caller.folder is not None, "servers were refused before"
        files = OwnFiles(caller.folder / "files", FileLimits())
        if function == "paths":
            prefix = text_of(values, "prefix", is_empty_allowed=True)
            found = await asyncio.to_thread(files.list, prefix)
            return [file.path for file in found]
        path = text_of(values, "path")
        match function:
            case "read":
                data = await asyncio.to_thread(files.read, path)
                return data.decode("utf-8", "replace")
            case "write":
                text = text_of(values, "text", is_empty_allowed=True)
                await asyncio.to_thread(files.write, path, text.encode())
                return None
            case _:
                return await asyncio.to_thread(files.delete, path)

    # The web.

    async def _fetch(self, caller: Caller, values: Mapping[str, Any]) -> Any:
        request = values.get("request")
        if not isinstance(request, dict):
            raise Refusal("invalid_arguments", "`request` is an object")
        method = str(request.get("method", "GET")).upper()
        timeout_s = min(FETCH_TIMEOUT_S, caller.left_s())
        wanted = request.get("timeout_ms")
        if isinstance(wanted, int | float) and not isinstance(wanted, bool) and wanted > 0:
            timeout_s = min(timeout_s, wanted / 1000)

        def permits(method: str, url: URL) -> str | None:
            is_allowed = allows_url(
                self.grants.http,
                method=method,
                scheme=url.scheme,
                host=(url.raw_host or "").lower(),
                port=url.port or 0,
            )
            if is_allowed:
                return None
            return f'http = ["{method} {url.scheme}://{url.raw_host}:{url.port}"]'

        headers = self._headers(request.get("headers") or {})
        try:
            fetched = await self._parts.fetcher.fetch(
                FetchRequest(
                    url=text_of(request, "url"),
                    method=method,
                    headers=with_trace(headers, caller.traceparent),
                    body=_body(request),
                    permits=permits,
                    timeout_s=max(0.001, timeout_s),
                    body_bytes_max=ANSWER_BYTES_MAX // 2,
                )
            )
        except UrlRefused as error:
            if error.missing is None:
                raise Refusal("denied", str(error)) from None
            self._deny(caller, "http.fetch", error.missing)
            raise AssertionError("a denial raises") from None
        except FetchFailed as error:
            raise Refusal("failed", str(error)) from None
        answer: dict[str, Any] = {"status": fetched.status, "media_type": fetched.media_type}
        answer["url"] = self.redact(str(fetched.url))
        try:
            answer["body"] = self.redact(fetched.body.decode())
        except UnicodeDecodeError:
            answer["body_base64"] = base64.b64encode(self._redact_bytes(fetched.body)).decode()
        return answer

    def _redact_bytes(self, data: bytes) -> bytes:
        for name, value in self._secrets.items():
            data = data.replace(value.encode(), f"${{secret:{name}}}".encode())
        return data

    def _headers(self, headers: Any) -> dict[str, str]:
        if not isinstance(headers, dict) or len(headers) > HEADERS_MAX:
            raise Refusal("invalid_arguments", f"`headers` is an object of at most {HEADERS_MAX}")
        made = {}
        for name, value in headers.items():
            plain = str(name).lower()
            is_name = plain.isascii() and plain.replace("-", "").isalnum() and len(plain) <= 100
            if not is_name or plain in _FORBIDDEN_HEADERS or plain.startswith("proxy-"):
                raise Refusal("denied", f"the header {plain[:60]!r} is not a guest's to set")
            text = _SECRET.sub(self._secret, str(value))
            if not (text.isascii() and text.isprintable()) or len(text) > 4_096:
                raise Refusal("invalid_arguments", f"the value of {plain[:60]!r} is no plain text")
            made[str(name)] = text
        return made

    def _secret(self, match: re.Match[str]) -> str:
        value = self._secrets.get(match[1])
        if value is None:
            is_granted = match[1] in self.grants.secrets
            why = "this node has no such variable" if is_granted else "it is not granted"
            raise Refusal("denied", f'secrets = ["{match[1]}"]: {why}')
        return value

    # Tools and models.

    async def _call_tool(self, caller: Caller, values: Mapping[str, Any]) -> Any:
        name, arguments = text_of(values, "name"), values.get("arguments")
        if name.partition(".")[0] == self.owner and "." in name:
            raise Refusal("conflict", "a server cannot wait for itself")
        try:
            tool = self._parts.tools.get(name)
        except Rejected as error:
            raise Refusal("not_found", error.detail) from None
        checked = check_arguments(tool.spec.parameters, {} if arguments is None else arguments)
        if checked.places:
            raise Refusal("invalid_arguments", checked.places[0].message)
        context = await caller.tool_context(name)
        if needs_approval(name, context.permissions):
            raise Refusal("denied", f"{name} needs a person's approval, and nobody can be asked")
        result = await self._called(caller, tool, checked.values, context)
        if result.is_error:
            raise Refusal("failed", msgspec.json.encode(result.content).decode()[:2_000])
        return result.content

    async def _called(
        self, caller: Caller, tool: Tool, arguments: Mapping[str, Any], context: ToolContext
    ) -> ToolResult:
        """Call a tool, counted, timed and recorded."""
        counts, clock, name = self._parts.counts, self._parts.clock, tool.spec.name
        facts = {
            "gen_ai.operation.name": "execute_tool",
            "gen_ai.tool.name": name,
            "gen_ai.tool.type": "function",
            "gen_ai.agent.name": caller.agent,
            "gen_ai.conversation.id": caller.conversation_id,
        }
        counts.tool_calls += 1
        with caller.span(f"execute_tool {name}", Kind.INTERNAL, facts) as span:
            began_at, is_good = clock.now_ms(), False
            try:
                traceparent = span.traceparent or context.traceparent
                result = await tool.call(arguments, replace(context, traceparent=traceparent))
                is_good = not result.is_error
            finally:
                counts.tool_errors += not is_good
                counts.tool_s.observe((clock.now_ms() - began_at) / 1000)
            if result.is_error:
                span.fail("tool_failed")
        return result

    async def _complete(self, caller: Caller, values: Mapping[str, Any]) -> Any:
        request = values.get("request")
        if not isinstance(request, dict):
            raise Refusal("invalid_arguments", "`request` is an object")
        wanted = str(request.get("model", ""))
        if wanted and "*" not in self.grants.model and wanted not in self.grants.model:
            self._deny(caller, "model.complete", f'model = ["{wanted[:100]}"]')
        name = wanted or next((one for one in self.grants.model if one != "*"), "")
        return await self._model.complete(caller, request, name)


_CODES: Final = {
    "timed_out": "timed_out",
    "expired": "timed_out",
    "agent_not_found": "not_found",
    "no_provider": "not_found",
    "agent_busy": "unavailable",
    "node_busy": "unavailable",
    "node_draining": "unavailable",
    "unreachable": "unavailable",
    "invalid_message": "invalid_arguments",
    "invalid_request": "invalid_arguments",
}


def _body(request: Mapping[str, Any]) -> bytes | None:
    text, encoded = request.get("body"), request.get("body_base64")
    if isinstance(text, str):
        return text.encode()
    if isinstance(encoded, str):
        try:
            return base64.b64decode(encoded, validate=True)
        except binascii.Error:
            raise Refusal("invalid_arguments", "`body_base64` is no base64") from None
    return None
