"""Agents as REST shows them, for the wire; and definitions of the wire as REST takes them."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec
from google.protobuf.message import Message as AnyMessage

from caxton.v1 import agents_pb2, errors_pb2
from caxton_node.documents.strict_json import decode_json
from caxton_node.domain.errors import Place, Rejected
from caxton_node.domain.quantities import format_duration
from caxton_node.grpc_api.wire import Spellings, show_duration, show_instant

__all__ = [
    "FORMATS",
    "LEVELS",
    "STATES",
    "definition_body",
    "show_agent",
    "show_places",
    "show_source",
    "show_spec",
    "source_format",
]

STATES: Final = Spellings(agents_pb2.AgentState.DESCRIPTOR, "AGENT_STATE_")
KINDS: Final = Spellings(agents_pb2.AgentKind.DESCRIPTOR, "AGENT_KIND_")
FORMATS: Final = Spellings(agents_pb2.DefinitionFormat.DESCRIPTOR, "DEFINITION_FORMAT_")
LEVELS: Final = Spellings(agents_pb2.LogLevel.DESCRIPTOR, "LOG_LEVEL_")

_SUFFIXES: Final = {".toml": "toml", ".md": "markdown", ".markdown": "markdown", ".json": "json"}

_RENAMED: Final = {
    "is_enabled": "enabled",
    "retry_count_max": "retries",
    "memory_bytes": "memory",
    "host_call_rate": "host_calls",
    "kv_bytes": "kv",
}
"""Fields of the wire whose key in a definition is another one."""

_JSON_FIELDS: Final = frozenset({"tool_config", "parameters"})


def show_agent(view: Mapping[str, Any]) -> agents_pb2.Agent:
    """Return an agent for the wire.

    Args:
        view: A summary or a detail of REST, or what a deployment came to.
    """
    counts = view.get("counts") or {}
    nodes = view.get("nodes") or ([view["node"]] if view.get("node") else [])
    return agents_pb2.Agent(
        name=view["name"],
        kind=KINDS.number(view.get("kind")),
        state=STATES.number(view.get("state")),
        version=view["version"],
        version_number=view.get("number") or 0,
        capabilities=view["capabilities"],
        description=view.get("description") or "",
        tools=view["tools"],
        replicas=view.get("replicas") or 0,
        nodes=nodes,
        deployed_at=show_instant(view.get("deployed_at")),
        last_activity_at=show_instant(view.get("last_activity_at")),
        activity=agents_pb2.AgentActivity(
            turns_completed=counts.get("finished") or 0,
            turns_failed=counts.get("failed") or 0,
            mailbox_depth=view.get("queued") or 0,
            mean_turn_time=show_duration(counts.get("average_ms")),
        ),
    )


def show_spec(detail: Mapping[str, Any]) -> agents_pb2.AgentSpec:
    """Return an agent's definition for the wire, from the detail of REST: without credentials."""
    llm = detail["llm"]
    return agents_pb2.AgentSpec(
        name=detail["name"],
        capabilities=detail["capabilities"],
        kind=KINDS.number(detail["kind"]),
        version=detail["version"],
        description=detail["description"],
        tools=detail["tools"],
        system_prompt=detail["system_prompt"],
        user_prompt_template=detail["user_prompt_template"],
        documentation=detail["documentation"],
        parameters=msgspec.json.encode(detail["parameters"]) if detail["parameters"] else b"",
        llm=agents_pb2.LlmSettings(
            provider=llm["provider"],
            model=llm["model"],
            temperature=llm["temperature"],
            max_tokens=llm["max_tokens"],
        ),
    )


def show_source(view: Mapping[str, Any]) -> agents_pb2.AgentSource:
    """Return a definition as it was given, for the wire."""
    return agents_pb2.AgentSource(text=view["source"], format=FORMATS.number(view["format"]))


def show_places(found: Sequence[Mapping[str, Any]]) -> list[errors_pb2.Place]:
    """Return what REST says is odd or wrong, for the wire."""
    return [
        errors_pb2.Place(**{name: value for name, value in one.items() if value is not None})
        for one in found
    ]


def source_format(source: agents_pb2.AgentSource) -> str:
    """Return how a definition is written: as it says, by its file's name, or by its text."""
    said = FORMATS.word(source.format)
    if said is not None:
        return said
    for suffix, name in _SUFFIXES.items():
        if source.file_name.lower().endswith(suffix):
            return name
    text = source.text.lstrip()
    if text.startswith("---"):
        return "markdown"
    return "json" if text.startswith("{") else "toml"


def definition_body(
    request: agents_pb2.AgentsDeployRequest | agents_pb2.AgentsValidateRequest,
) -> dict[str, Any]:
    """Return the definition of a request as the body that REST takes: the text of a file.

    Raises:
        Rejected: `invalid_request`, when there is none; `malformed_body`.
    """
    match request.WhichOneof("definition"):
        case "source":
            source = request.source
            body = {"source": source.text, "format": source_format(source)}
            return body | ({"file": source.file_name} if source.file_name else {})
        case "spec":
            text = msgspec.json.encode(_table(request.spec)).decode()
            return {"source": text, "format": "json"}
        case _:
            place = Place("`definition` is missing", field="definition", rule="required")
            raise Rejected("invalid_request", "the request breaks a rule", places=[place])


def _table(message: AnyMessage) -> dict[str, Any]:
    """Return a message of the wire as a table of an agent's file."""
    table: dict[str, Any] = {}
    for descriptor, value in message.ListFields():
        name = descriptor.name
        if name in _JSON_FIELDS:
            table[name] = decode_json(value, what=f"`spec.{name}`")
        elif name == "kind":
            table[name] = KINDS.word(value)
        elif name == "environment":
            table[name] = dict(value)
        elif descriptor.is_repeated:
            table[name] = list(value)
        elif descriptor.message_type is None:
            table[_RENAMED.get(name, name)] = value
        elif descriptor.message_type.name == "Duration":
            table[name] = format_duration(value.seconds + value.nanos / 10**9)
        else:
            table[name] = _table(value)
    return table
