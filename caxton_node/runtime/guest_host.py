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
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import msgspec
from yarl import URL

from caxton_node.domain.errors import CaxtonError, Denied, Rejected
from caxton_node.domain.performatives import Performative
from caxton_node.domain.trace_headers import with_trace
from caxton_node.domain.wasm import GrantSettings
from caxton_node.llm.model import ChatMessage, Model, ModelRequest
from caxton_node.memory.records import Access, NewFact
from caxton_node.memory.service import Memory
from caxton_node.routing.clock import Clock
from caxton_node.telemetry.events import Events
from caxton_node.tools.arguments import check_arguments
from caxton_node.tools.fetch import Fetcher, FetchFailed, FetchRequest
from caxton_node.tools.network_rule import UrlRefused
from caxton_node.tools.own_files import FileError, FileLimits, OwnFiles
from caxton_node.tools.permissions import needs_approval
from caxton_node.tools.registry import ToolRegistry
from caxton_node.tools.tool import Outbox, ToolContext
from caxton_node.wasm.grants import allows_url, missing_grant
from caxton_node.wasm.kv import KEY_BYTES_MAX, KeyValueStore, NoRoom
from caxton_node.wasm.operations import error_answer, ok_answer
from caxton_node.wasm.rates import Allowance

__all__ = ["Caller", "GuestHost", "HostParts"]

ANSWER_BYTES_MAX: Final = 1_000_000
"""Of what an operation gives back."""

FETCH_TIMEOUT_S: Final = 30.0
HEADERS_MAX: Final = 20
SEARCH_LIMIT_MAX: Final = 50
MESSAGES_MAX: Final = 200
"""Of one call of a model."""

_SECRET: Final = re.compile(r"\$\{secret:([A-Za-z_][A-Za-z0-9_]*)\}")
_FORBIDDEN_HEADERS: Final = frozenset(
    {"host", "content-length", "transfer-encoding", "connection", "upgrade", "te", "trailer"}
)

_AGENTS_ONLY: Final = frozenset({"messaging", "memory", "files"})

_audit = logging.getLogger("caxton.audit")


@dataclass(frozen=True, slots=True, kw_only=True)
class HostParts:
    """The parts of the node that guests reach, through grants."""

    tools: ToolRegistry
    memory: Memory | None
    kv: KeyValueStore
    fetcher: Fetcher
    events: Events
    clock: Clock
    secrets: Mapping[str, str]
    """Variables of the environment that may be granted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Caller:
    """On whose behalf a guest runs, for one call."""

    agent: str
    outbox: Outbox | None
    """None for an MCP server: it does not speak for the agent that calls it."""
    folder: Path | None
    """Of the agent's files; None for an MCP server."""
    left_s: Callable[[], float]
    """What is left of the time."""
    tool_context: Callable[[str], Awaitable[ToolContext]]
    """Makes the context for a tool by its name."""
    traceparent: str | None = None
    """What the call belongs to, for whoever the guest asks in turn."""


class _Refusal(Exception):
    """An operation is answered with an error."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


class GuestHost:
    """The host of one guest.

    Args:
        owner: Name of the agent or server.
        grants: Of its manifest.
        parts: Of the node.
        model: Which model answers; None where it has none.
        kv_owner: Whose keys and values it has: an agent and a server may have one name.
    """

    def __init__(
        self,
        owner: str,
        grants: GrantSettings,
        parts: HostParts,
        model: Callable[[str], Model] | None,
        *,
        kv_owner: str,
    ) -> None:
        self.owner = owner
        self.grants = grants
        self._kv_owner = kv_owner
        self.denied_count = 0
        self._parts = parts
        self._model = model
        self._tokens = Allowance(float(grants.model_tokens))
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
        try:
            values = msgspec.json.decode(arguments, type=dict[str, Any])
            self._check_grant(caller, operation, values)
            result = await self._do(caller, operation, values)
            answer = ok_answer(result)
        except _Refusal as refusal:
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
            raise _Refusal("denied", f"{interface} is for agents, not for servers of tools")
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
        raise _Refusal(
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
                raise _Refusal("not_found", f"there is no operation {operation}")

    # Other agents.

    async def _message(self, caller: Caller, function: str, values: Mapping[str, Any]) -> Any:
        assert caller.outbox is not None, "servers were refused before"
        name = text_of(values, "receiver")
        if name == caller.agent:
            raise _Refusal("conflict", "a guest cannot wait for itself")
        capability = name.removeprefix("capability:") if name.startswith("capability:") else None
        receiver = "" if capability is not None else name
        if function == "send":
            return await caller.outbox.tell(
                receiver=receiver,
                capability=capability,
                performative=Performative(text_of(values, "performative")),
                content=values.get("content"),
            )
        timeout_s = min(number_of(values, "timeout_ms") / 1000, caller.left_s())
        answer = await caller.outbox.ask(
            receiver=receiver,
            capability=capability,
            performative=Performative.REQUEST,
            content=values.get("content"),
            timeout_s=max(0.001, timeout_s),
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
            raise _Refusal("unavailable", "this node keeps no memory")
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
            raise _Refusal("too_large", f"a key has at most {KEY_BYTES_MAX} bytes")
        match function:
            case "get":
                value = await kv.get(owner, key)
                return None if value is None else msgspec.Raw(value)
            case "set":
                encoded = msgspec.json.encode(values.get("value"))
                try:
                    await kv.set(owner, key, encoded, room_bytes=self.grants.kv_bytes)
                except NoRoom as error:
                    raise _Refusal("too_large", str(error)) from None
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
            raise _Refusal("invalid_arguments", "`request` is an object")
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
                raise _Refusal("denied", str(error)) from None
            self._deny(caller, "http.fetch", error.missing)
            raise AssertionError("a denial raises") from None
        except FetchFailed as error:
            raise _Refusal("failed", str(error)) from None
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
            raise _Refusal("invalid_arguments", f"`headers` is an object of at most {HEADERS_MAX}")
        made = {}
        for name, value in headers.items():
            plain = str(name).lower()
            is_name = plain.isascii() and plain.replace("-", "").isalnum() and len(plain) <= 100
            if not is_name or plain in _FORBIDDEN_HEADERS or plain.startswith("proxy-"):
                raise _Refusal("denied", f"the header {plain[:60]!r} is not a guest's to set")
            text = _SECRET.sub(self._secret, str(value))
            if not (text.isascii() and text.isprintable()) or len(text) > 4_096:
                raise _Refusal("invalid_arguments", f"the value of {plain[:60]!r} is no plain text")
            made[str(name)] = text
        return made

    def _secret(self, match: re.Match[str]) -> str:
        value = self._secrets.get(match[1])
        if value is None:
            is_granted = match[1] in self.grants.secrets
            why = "this node has no such variable" if is_granted else "it is not granted"
            raise _Refusal("denied", f'secrets = ["{match[1]}"]: {why}')
        return value

    # Tools and models.

    async def _call_tool(self, caller: Caller, values: Mapping[str, Any]) -> Any:
        name, arguments = text_of(values, "name"), values.get("arguments")
        if name.partition(".")[0] == self.owner and "." in name:
            raise _Refusal("conflict", "a server cannot wait for itself")
        try:
            tool = self._parts.tools.get(name)
        except Rejected as error:
            raise _Refusal("not_found", error.detail) from None
        checked = check_arguments(tool.spec.parameters, {} if arguments is None else arguments)
        if checked.places:
            raise _Refusal("invalid_arguments", checked.places[0].message)
        context = await caller.tool_context(name)
        if needs_approval(name, context.permissions):
            raise _Refusal("denied", f"{name} needs a person's approval, and nobody can be asked")
        result = await tool.call(checked.values, context)
        if result.is_error:
            raise _Refusal("failed", msgspec.json.encode(result.content).decode()[:2_000])
        return result.content

    async def _complete(self, caller: Caller, values: Mapping[str, Any]) -> Any:
        request = values.get("request")
        if not isinstance(request, dict) or self._model is None:
            raise _Refusal("invalid_arguments", "`request` is an object")
        wanted = str(request.get("model", ""))
        if wanted and "*" not in self.grants.model and wanted not in self.grants.model:
            self._deny(caller, "model.complete", f'model = ["{wanted[:100]}"]')
        name = wanted or next((one for one in self.grants.model if one != "*"), "")
        if not self._tokens.take(1, self._parts.clock.now_ms() / 60_000):
            raise _Refusal("rate_limited", "its tokens of this minute are spent")
        prompt = request.get("prompt")
        reply = await self._model(name).complete(
            ModelRequest(
                messages=_chat(request),
                model=name or None,
                temperature=request.get("temperature"),
                max_tokens=request.get("max_tokens"),
                timeout_s=max(0.001, min(60.0, caller.left_s())),
                question=prompt if isinstance(prompt, str) else "",
                traceparent=caller.traceparent,
            )
        )
        self._tokens.charge(reply.usage.total_tokens)
        return {
            "text": reply.text,
            "input_tokens": reply.usage.input_tokens,
            "output_tokens": reply.usage.output_tokens,
            "model": reply.model,
        }


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


def text_of(values: Mapping[str, Any], key: str, *, is_empty_allowed: bool = False) -> str:
    """Return a text among arguments.

    Raises:
        ValueError: There is none.
    """
    value = values.get(key)
    if not isinstance(value, str) or not (value or is_empty_allowed):
        raise ValueError(f"`{key}` is a text")
    return value


def number_of(values: Mapping[str, Any], key: str) -> float:
    """Return a number among arguments.

    Raises:
        ValueError: There is none.
    """
    value = values.get(key)
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError(f"`{key}` is a number")  # noqa: TRY004 - all are answered alike
    return float(value)


def _body(request: Mapping[str, Any]) -> bytes | None:
    text, encoded = request.get("body"), request.get("body_base64")
    if isinstance(text, str):
        return text.encode()
    if isinstance(encoded, str):
        try:
            return base64.b64decode(encoded, validate=True)
        except binascii.Error:
            raise _Refusal("invalid_arguments", "`body_base64` is no base64") from None
    return None


def _chat(request: Mapping[str, Any]) -> tuple[ChatMessage, ...]:
    made = []
    if isinstance(request.get("system"), str):
        made.append(ChatMessage(role="system", content=request["system"]))
    messages = request.get("messages")
    if isinstance(messages, list):
        for one in messages[:MESSAGES_MAX]:
            role, content = one.get("role"), one.get("content")
            if role not in ("system", "user", "assistant") or not isinstance(content, str):
                raise _Refusal("invalid_arguments", "a message has a role and a content")
            made.append(ChatMessage(role=role, content=content))
    elif isinstance(request.get("prompt"), str):
        made.append(ChatMessage(role="user", content=request["prompt"]))
    else:
        raise _Refusal("invalid_arguments", "a prompt or messages are needed")
    return tuple(made)
