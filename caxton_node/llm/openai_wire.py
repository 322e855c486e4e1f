"""Our requests and replies ⇄ the Chat Completions wire, as many endpoints speak it.

Only plain values: a request becomes keyword arguments, chunks and answers come in as they were
parsed from JSON, and `ReplyAssembly` puts a reply together from either. Endpoints differ, so
reading is lenient (a missing index, an id given twice, a call sent whole) and writing is strict.

Arguments of a tool call that are no JSON object do not fail the call of the model: it may have
said more, and it can mend them when told. They are reported in `ModelReply.malformed_calls`.

Reference: OpenAI API reference, "Chat Completions" and "Streaming".
"""

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

from caxton_node.domain.errors import Failed
from caxton_node.domain.tool import ToolCall, ToolSpec
from caxton_node.llm.estimate import estimate_usage
from caxton_node.llm.model import ChatMessage, ModelReply, ModelRequest, Usage

__all__ = ["ReplyAssembly", "WireNames", "wire_request"]

TEXT_LENGTH_MAX: Final = 1_000_000
"""Characters of one reply."""

CALL_COUNT_MAX: Final = 64
"""Tool calls in one reply."""

ARGUMENTS_LENGTH_MAX: Final = 1_000_000
"""Characters of the arguments of one call, before they are parsed."""

_NAME_LENGTH_MAX: Final = 64
_UNSAFE: Final = re.compile(r"[^A-Za-z0-9_-]")
_OPENAI_HOST: Final = re.compile(r"https?://api\.openai\.com(?:[:/]|$)")


class WireNames:
    """Names of tools ⇄ what the wire allows: 64 letters, digits, `_` and `-`.

    Tools of other servers have dots, slashes and blanks in their names.
    """

    def __init__(self, names: Sequence[str]) -> None:
        self._wire: dict[str, str] = {}
        self._own: dict[str, str] = {}
        for name in names:
            safe = _UNSAFE.sub("_", name)[:_NAME_LENGTH_MAX] or "tool"
            number = 1
            while safe in self._own:
                number += 1
                suffix = f"_{number}"
                safe = _UNSAFE.sub("_", name)[: _NAME_LENGTH_MAX - len(suffix)] + suffix
            self._wire[name] = safe
            self._own[safe] = name

    def to_wire(self, name: str) -> str:
        """Return the name to send. A tool that is offered no more is still in the history."""
        return self._wire.get(name) or _UNSAFE.sub("_", name)[:_NAME_LENGTH_MAX] or "tool"

    def from_wire(self, name: str) -> str:
        """Return our name; a name that we never sent stays what it is."""
        return self._own.get(name, name)


def wire_request(
    request: ModelRequest, *, model: str, base_url: str, names: WireNames, is_stream: bool
) -> dict[str, Any]:
    """Return the arguments of `chat.completions.create`."""
    body: dict[str, Any] = {
        "model": request.model or model,
        "messages": [_message(message, names) for message in request.messages],
    }
    if request.tools:
        body["tools"] = [_tool(tool, names) for tool in request.tools]
    if request.temperature is not None:
        body["temperature"] = request.temperature
    if request.max_tokens is not None:
        # OpenAI's own newer models refuse the old name; most other servers know only that one.
        is_openai = _OPENAI_HOST.match(base_url) is not None
        body["max_completion_tokens" if is_openai else "max_tokens"] = request.max_tokens
    if is_stream:
        body["stream"] = True
        body["stream_options"] = {"include_usage": True}
    return body


def _tool(tool: ToolSpec, names: WireNames) -> dict[str, Any]:
    function = {
        "name": names.to_wire(tool.name),
        "description": tool.description,
        "parameters": dict(tool.parameters) or {"type": "object", "properties": {}},
    }
    return {"type": "function", "function": function}


def _message(message: ChatMessage, names: WireNames) -> dict[str, Any]:
    if message.role == "tool":
        return {
            "role": "tool",
            "tool_call_id": message.tool_call_id or "",
            "content": message.content,
        }
    wire: dict[str, Any] = {"role": message.role, "content": message.content}
    if message.tool_calls:
        wire["tool_calls"] = [
            {
                "id": call.id,
                "type": "function",
                "function": {
                    "name": names.to_wire(call.name),
                    "arguments": json.dumps(dict(call.arguments), ensure_ascii=False),
                },
            }
            for call in message.tool_calls
        ]
        wire["content"] = message.content or None
    return wire


class _Call:
    """One tool call as its pieces arrive."""

    def __init__(self) -> None:
        self.id = ""
        self.name = ""
        self.pieces: list[str] = []
        self.length = 0


class ReplyAssembly:
    """Puts a reply together, from chunks or from one answer.

    Args:
        names: As given to `wire_request`.
    """

    def __init__(self, names: WireNames) -> None:
        self._names = names
        self._texts: list[str] = []
        self._text_length = 0
        self._calls: list[_Call] = []
        self._call_at: dict[int, _Call] = {}
        self._usage: Usage | None = None
        self._model = ""
        self._finish_reason = ""
        self._is_refusal = False

    @property
    def is_finished(self) -> bool:
        """The endpoint said why it stopped; a stream that ends before that was cut."""
        return bool(self._finish_reason)

    def take(self, answer: Mapping[str, Any], *, part: str) -> str:
        """Take a chunk (`part` is `delta`) or an answer (`message`); return its new text.

        Raises:
            Failed: `model_failed`, when it exceeds a limit.
        """
        self._model = _text(answer.get("model")) or self._model
        self._usage = _usage(answer.get("usage")) or self._usage
        choices = _list(answer.get("choices"))
        if not choices or not isinstance(choices[0], Mapping):
            return ""
        choice = choices[0]
        self._finish_reason = _text(choice.get("finish_reason")) or self._finish_reason
        body = choice.get(part)
        if not isinstance(body, Mapping):
            return ""
        for position, call in enumerate(_list(body.get("tool_calls"))):
            if isinstance(call, Mapping):
                self._take_call(call, position)
        refusal = _text(body.get("refusal"))
        self._is_refusal = self._is_refusal or bool(refusal)
        text = _text(body.get("content")) + refusal
        self._text_length += len(text)
        if self._text_length > TEXT_LENGTH_MAX:
            raise _too_much(f"a text of more than {TEXT_LENGTH_MAX} characters")
        if text:
            self._texts.append(text)
        return text

    def _take_call(self, piece: Mapping[str, Any], position: int) -> None:
        index = piece.get("index")
        place = index if isinstance(index, int) else position
        call_id = _text(piece.get("id"))
        call = self._call_at.get(place)
        # Some servers number every call 0; a new id is then all that tells two calls apart.
        if call is None or (call_id and call.id and call_id != call.id):
            if len(self._calls) >= CALL_COUNT_MAX:
                raise _too_much(f"more than {CALL_COUNT_MAX} tool calls")
            call = _Call()
            self._calls.append(call)
            self._call_at[place] = call
        call.id = call_id or call.id
        function = piece.get("function")
        if not isinstance(function, Mapping):
            return
        call.name = _text(function.get("name")) or call.name
        arguments = function.get("arguments")
        if isinstance(arguments, Mapping):
            arguments = json.dumps(arguments)
        call.pieces.append(_text(arguments))
        call.length += len(call.pieces[-1])
        if call.length > ARGUMENTS_LENGTH_MAX:
            raise _too_much(f"arguments of more than {ARGUMENTS_LENGTH_MAX} characters")

    def reply(self, request: ModelRequest, *, provider: str, model: str) -> ModelReply:
        """Return what was put together. Usage is estimated if the endpoint was silent."""
        calls: list[ToolCall] = []
        malformed: dict[str, str] = {}
        for number, call in enumerate(self._calls):
            call_id = call.id or f"call_{len(request.messages)}_{number}"
            arguments, mistake = _arguments("".join(call.pieces))
            if mistake:
                malformed[call_id] = mistake
            name = self._names.from_wire(call.name)
            calls.append(ToolCall(id=call_id, name=name, arguments=arguments))
        text = "".join(self._texts)
        metadata: dict[str, Any] = {"refusal": True} if self._is_refusal else {}
        usage = self._usage
        if usage is None:
            usage = estimate_usage(request, text, calls)
            metadata["usage_estimated"] = True
        return ModelReply(
            text=text,
            tool_calls=tuple(calls),
            usage=usage,
            provider=provider,
            model=self._model or request.model or model,
            finish_reason=self._finish_reason or ("tool_calls" if calls else "stop"),
            malformed_calls=malformed,
            metadata=metadata,
        )


def _arguments(text: str) -> tuple[dict[str, Any], str]:
    """Return arguments and what is wrong with them, if anything."""
    if not text.strip():
        return {}, ""
    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as error:
        shown = text if len(text) <= 200 else text[:200] + "…"
        return {}, f"The arguments are not JSON ({error}). You sent: {shown}"
    if not isinstance(value, dict):
        return {}, f"The arguments must be a JSON object, not {type(value).__name__}."
    return value, ""


def _usage(value: object) -> Usage | None:
    if not isinstance(value, Mapping):
        return None
    counts = [value.get("prompt_tokens"), value.get("completion_tokens")]
    known = [count for count in counts if isinstance(count, int) and count >= 0]
    if len(known) != len(counts) or not any(known):
        return None
    return Usage(input_tokens=known[0], output_tokens=known[1])


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""


def _list(value: object) -> Sequence[Any]:
    return value if isinstance(value, list | tuple) else ()


def _too_much(what: str) -> Failed:
    return Failed(
        "model_failed",
        f"The model sent {what}.",
        hint="Set `max_tokens` in [llm], or ask for less.",
    )
