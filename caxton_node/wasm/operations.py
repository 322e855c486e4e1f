"""The operations that a guest may ask of its host: one table behind every guest interface.

A component sees them as functions of `caxton:guest/…` (proto/wit/host.wit), a core module as
names for `caxton.call`. Both arrive as a name and a JSON object, and are answered by a JSON object
with `ok` or `error`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from types import MappingProxyType
from typing import Any, Final

import msgspec

__all__ = ["OPERATIONS", "PACKAGE_VERSION", "Kind", "Operation", "error_answer", "ok_answer"]

PACKAGE_VERSION: Final = "1.0.0"
"""Of `caxton:guest`."""


class Kind(Enum):
    """The types that occur in host.wit."""

    TEXT = "string"
    JSON = "json"
    """JSON as text for a component, any value for a core module."""
    U32 = "u32"
    F64 = "f64"
    BOOL = "bool"
    LEVEL = "level"
    UNIT = "unit"
    OPTIONAL_JSON = "option<json>"


@dataclass(frozen=True, slots=True)
class Operation:
    """One row."""

    name: str
    """`interface.function`, as in host.wit."""
    parameters: tuple[tuple[str, Kind], ...]
    result: Kind
    is_fallible: bool = True
    """Its result in WIT is a `result<…, error>`."""

    @property
    def interface(self) -> str:
        """The WIT interface: also the name of the grant, where one is needed."""
        return self.name.partition(".")[0]


def _rows() -> tuple[Operation, ...]:
    text, json, unit = Kind.TEXT, Kind.JSON, Kind.UNIT
    key, path = ("key", text), ("path", text)
    return (
        Operation("log.write", (("level", Kind.LEVEL), ("text", text)), unit, is_fallible=False),
        Operation("clock.now-ms", (), Kind.F64, is_fallible=False),
        Operation("clock.sleep-ms", (("duration", Kind.F64),), unit, is_fallible=False),
        Operation("clock.random-hex", (("byte_count", Kind.U32),), text, is_fallible=False),
        Operation("config.parameters", (), json, is_fallible=False),
        Operation(
            "messaging.send",
            (("receiver", text), ("performative", text), ("content", json)),
            text,
        ),
        Operation(
            "messaging.request",
            (("receiver", text), ("content", json), ("timeout_ms", Kind.U32)),
            json,
        ),
        Operation("memory.add", (("scope", text), ("name", text), ("text", text)), unit),
        Operation("memory.search", (("scope", text), ("query", text), ("limit", Kind.U32)), json),
        Operation("kv.get", (key,), Kind.OPTIONAL_JSON),
        Operation("kv.set", (key, ("value", json)), unit),
        Operation("kv.delete", (key,), Kind.BOOL),
        Operation("kv.keys", (("prefix", text),), json),
        Operation("http.fetch", (("request", json),), json),
        Operation("tools.call", (("name", text), ("arguments", json)), json),
        Operation("model.complete", (("request", json),), json),
        Operation("files.read", (path,), text),
        Operation("files.write", (path, ("text", text)), unit),
        Operation("files.delete", (path,), Kind.BOOL),
        Operation("files.paths", (("prefix", text),), json),
        Operation("secrets.names", (), json, is_fallible=False),
    )


OPERATIONS: Final[Mapping[str, Operation]] = MappingProxyType({row.name: row for row in _rows()})


def ok_answer(value: Any) -> bytes:
    """Return the answer that carries a JSON value."""
    return b'{"ok":' + msgspec.json.encode(value) + b"}"


def error_answer(code: str, message: str) -> bytes:
    """Return the answer that says what went wrong."""
    return msgspec.json.encode({"error": {"code": code, "message": message}})
