"""What a manifest may say of a WebAssembly guest: the tables `wasm`, `grants` and some limits.

Agents' files and the manifests of MCP servers share these rows.
Reference: docs/reference/wasm-manifest.md.
"""

import base64
import binascii
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from caxton_node.documents.document import Flaw
from caxton_node.documents.readers import (
    Choice,
    Duration,
    Flawed,
    Integer,
    ListOf,
    Reader,
    Size,
    Table,
    Text,
    found,
)
from caxton_node.domain.wasm import KV_BYTES_MAX, HttpGrant, InstancePolicy, Isolation

__all__ = ["GRANT_ROWS", "GUEST_LIMIT_ROWS", "WASM_ROWS", "GuestRow"]

LIST_LENGTH_MAX: Final = 100

METHODS: Final = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})

_HTTP: Final = re.compile(
    r"(?:(?P<methods>[A-Z]+(?:,[A-Z]+)*) )?(?P<scheme>https?)://"
    r"(?P<host>(?:\*\.)?[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?|\[[0-9A-Fa-f:.]{2,45}\])"
    r"(?::(?P<port>[0-9]{1,5}))?/?",
    re.ASCII,
)
_DEFAULT_PORTS: Final = {"http": 80, "https": 443}


@dataclass(frozen=True, slots=True)
class GuestRow:
    """One key of a table."""

    key: str
    target: str
    """Name in the value."""
    reader: Reader
    doc: str


@dataclass(frozen=True, slots=True)
class HttpPlace:
    """A place of the web: methods, scheme, host, port."""

    @property
    def wanted(self) -> str:
        """What a value must be."""
        return 'a place such as "https://api.example.com" or "GET,POST https://host:8443"'

    def read(self, value: Any) -> HttpGrant:
        """Return the place."""
        match = _HTTP.fullmatch(value) if isinstance(value, str) and len(value) <= 500 else None
        if match is None:
            rule = "form" if isinstance(value, str) else "wrong_type"
            raise Flawed(Flaw(f"must be {self.wanted}, not {found(value)}", rule))
        methods = frozenset((match["methods"] or "GET,HEAD").split(","))
        unknown = sorted(methods - METHODS)
        if unknown:
            raise Flawed(Flaw(f"names no method of HTTP: {unknown[0]}", "form"))
        port = int(match["port"] or _DEFAULT_PORTS[match["scheme"]])
        if not 1 <= port <= 65_535:
            raise Flawed(Flaw("has a port that is not between 1 and 65535", "range"))
        return HttpGrant(
            methods=methods,
            scheme=match["scheme"],
            host=match["host"].lower().strip("[]"),
            port=port,
        )

    def from_text(self, text: str) -> Any:
        """Return `text`."""
        return text


@dataclass(frozen=True, slots=True)
class Digest:
    """A SHA-256 in hexadecimal."""

    @property
    def wanted(self) -> str:
        """What a value must be."""
        return "a SHA-256 of 64 hexadecimal digits"

    def read(self, value: Any) -> str:
        """Return the digest in lower case."""
        if isinstance(value, str) and re.fullmatch(r"[0-9A-Fa-f]{64}", value):
            return value.lower()
        raise Flawed(Flaw(f"must be {self.wanted}, not {found(value)}", "form"))

    def from_text(self, text: str) -> Any:
        """Return `text`."""
        return text


@dataclass(frozen=True, slots=True)
class Signature:
    """An Ed25519 signature in base64."""

    @property
    def wanted(self) -> str:
        """What a value must be."""
        return "a signature of 64 bytes in base64"

    def read(self, value: Any) -> str:
        """Return the signature as it is written."""
        try:
            if isinstance(value, str) and len(base64.b64decode(value, validate=True)) == 64:
                return value
        except (binascii.Error, ValueError):
            pass
        raise Flawed(Flaw(f"must be {self.wanted}, not {found(value)}", "form"))

    def from_text(self, text: str) -> Any:
        """Return `text`."""
        return text


@dataclass(frozen=True, slots=True)
class One:
    """One of an enumeration's values."""

    choice: Choice
    kind: type

    @property
    def wanted(self) -> str:
        """What a value must be."""
        return self.choice.wanted

    def read(self, value: Any) -> Any:
        """Return the member."""
        return self.kind(self.choice.read(value))

    def from_text(self, text: str) -> Any:
        """Return `text`."""
        return text


def _names(pattern: str, form: str, name: str, example: str) -> ListOf:
    item = Text(length_max=200, pattern=re.compile(pattern, re.ASCII), form=form)
    return ListOf(item=item, count_max=LIST_LENGTH_MAX, name=name, fix=f'Write ["{example}"]')


_RECEIVERS: Final = _names(
    r"\*|[A-Za-z][A-Za-z0-9_-]*\*?|capability:[a-z0-9.*-]+(?::v[0-9]+)?",
    'an agent\'s name, the beginning of one such as "team-*", or "capability:…"',
    "a list of receivers",
    "Clerk",
)
_SCOPES: Final = ListOf(
    item=Choice(("agent", "workspace", "global")), count_max=3, name="a list of scopes"
)
_TOOLS: Final = _names(
    r"\*|[A-Za-z][A-Za-z0-9_.:-]*\*?",
    'a tool\'s name or the beginning of one such as "calc.*"',
    "a list of tools",
    "csv_parser",
)
_MODELS: Final = ListOf(
    item=Text(length_max=200), count_max=LIST_LENGTH_MAX, name="a list of models"
)
_VARIABLE: Final = Text(
    length_max=100,
    pattern=re.compile(r"[A-Za-z_][A-Za-z0-9_]*", re.ASCII),
    form="the name of a variable",
)

WASM_ROWS: Final = (
    GuestRow(
        "sha256", "sha256", Digest(), "Digest of the file. `caxton deploy` writes it for `module`."
    ),
    GuestRow(
        "module", "module", Text(length_max=1_000), "Path of the file, for the command line only."
    ),
    GuestRow(
        "signature", "signature", Signature(), "Ed25519 signature of digest, name and version."
    ),
    GuestRow("signer", "signer", Text(length_max=100), "Name of the key that signed."),
    GuestRow(
        "isolation",
        "isolation",
        One(Choice(tuple(Isolation)), Isolation),
        "`worker` is a process apart; `shared` is the node's own, for what its operator trusts.",
    ),
    GuestRow(
        "instance",
        "instance",
        One(Choice(tuple(InstancePolicy)), InstancePolicy),
        "Of an MCP server: `fresh` is a new sandbox for each call.",
    ),
)
"""The table `wasm`."""

GUEST_LIMIT_ROWS: Final = (
    GuestRow(
        "memory",
        "memory_bytes",
        Size(minimum_bytes=65_536, maximum_bytes=1 << 30),
        "Memory of a sandboxed guest.",
    ),
    GuestRow("fuel", "fuel", Integer(minimum=1), "Instructions of a sandboxed guest in one call."),
    GuestRow(
        "cpu",
        "cpu_s",
        Duration(maximum_s=3_600.0),
        "Processor time of a sandboxed guest in one call.",
    ),
    GuestRow(
        "host_calls",
        "host_call_rate",
        Integer(minimum=1, maximum=1_000_000),
        "What a sandboxed guest may ask of the host in a second.",
    ),
)
"""Of the table `limits`, what only guests have."""

GRANT_ROWS: Final = (
    GuestRow("messaging", "messaging", _RECEIVERS, "Whom the guest may address."),
    GuestRow("memory", "memory", _SCOPES, "Which memories it may search and add to."),
    GuestRow(
        "kv", "kv_bytes", Size(maximum_bytes=KV_BYTES_MAX), "Room for keys and values of its own."
    ),
    GuestRow(
        "http",
        "http",
        ListOf(item=HttpPlace(), count_max=LIST_LENGTH_MAX, name="a list of places"),
        "Where on the web it may go, by methods, scheme, host and port.",
    ),
    GuestRow("tools", "tools", _TOOLS, "Which tools of the node it may call."),
    GuestRow("model", "model", _MODELS, "Which models it may use."),
    GuestRow("model_tokens", "model_tokens", Integer(minimum=1), "Tokens of models in a minute."),
    GuestRow(
        "files",
        "files",
        ListOf(item=Choice(("read", "write")), count_max=2, name="a list of rights"),
        "What it may do with files in its own folder.",
    ),
    GuestRow(
        "secrets",
        "secrets",
        ListOf(item=_VARIABLE, count_max=LIST_LENGTH_MAX, name="a list of names"),
        "Secrets that the host puts into headers of its requests.",
    ),
    GuestRow(
        "environment",
        "environment",
        Table(key=_VARIABLE, item=Text(length_max=4_096, is_blank_allowed=True), name="a table"),
        "What WASI shows as environment variables.",
    ),
)
"""The table `grants`."""


def keys_of(rows: tuple[GuestRow, ...]) -> Mapping[str, GuestRow]:
    """Return rows by key."""
    return {row.key: row for row in rows}
