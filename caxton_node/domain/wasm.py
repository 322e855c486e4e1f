"""What a manifest says of a WebAssembly guest: which file, within which limits, with which grants.

Everything is denied that is not granted. The values were checked where they were read.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

__all__ = [
    "KV_BYTES_MAX",
    "NO_GRANTS",
    "NO_MODULE",
    "GrantSettings",
    "GuestLimits",
    "HttpGrant",
    "InstancePolicy",
    "Isolation",
    "ToolServerSpec",
    "WasmSettings",
]

KV_BYTES_MAX: Final = 64_000_000
"""The largest store of keys and values that can be granted."""


class Isolation(StrEnum):
    """Where a guest runs."""

    WORKER = "worker"
    """In a process of the node's pool, without network."""
    SHARED = "shared"
    """In the node's own process: only what the operator trusts."""


class InstancePolicy(StrEnum):
    """How long the sandbox of an MCP server lives."""

    KEPT = "kept"
    FRESH = "fresh"
    """One call each, so that nothing leaks from one to the next."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WasmSettings:
    """`[wasm]`: which file, and how it is run."""

    sha256: str = ""
    """Of the file, hexadecimal."""
    module: str = ""
    """Path of the file beside the manifest, for the command line."""
    signature: str = ""
    """Ed25519, base64."""
    signer: str = ""
    """Name of the key."""
    isolation: Isolation = Isolation.WORKER
    instance: InstancePolicy = InstancePolicy.KEPT


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpGrant:
    """One place of the web that a guest may reach."""

    methods: frozenset[str]
    scheme: str
    host: str
    """Lower case; `*.example.com` for all below."""
    port: int

    def __str__(self) -> str:
        return f"{','.join(sorted(self.methods))} {self.scheme}://{self.host}:{self.port}"


@dataclass(frozen=True, slots=True, kw_only=True)
class GrantSettings:
    """`[grants]`: what the guest may ask the host for. Empty is nothing."""

    messaging: tuple[str, ...] = ()
    """Names, `team-*`, `capability:…` or `*`."""
    memory: tuple[str, ...] = ()
    """Of `agent`, `workspace` and `global`."""
    kv_bytes: int = 0
    http: tuple[HttpGrant, ...] = ()
    tools: tuple[str, ...] = ()
    """Names, `server.*` or `*`."""
    model: tuple[str, ...] = ()
    """Names of models, or `*`."""
    model_tokens: int = 10_000
    """Tokens a minute."""
    files: tuple[str, ...] = ()
    """Of `read` and `write`."""
    secrets: tuple[str, ...] = ()
    """Variables of the node that are put into headers of requests."""
    environment: Mapping[str, str] | None = None
    """What WASI shows as environment variables."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GuestLimits:
    """How much a guest may take. Beyond time, processor time, memory or fuel it is stopped."""

    memory_bytes: int = 64_000_000
    time_s: float = 30.0
    """For one call, sleep and host calls included."""
    cpu_s: float = 2.0
    """Processor time of one call."""
    fuel: int | None = None
    """Instructions of one call; None counts none."""
    host_calls_per_s: int = 1_000


NO_MODULE: Final = WasmSettings()
NO_GRANTS: Final = GrantSettings()
"""Of whoever is no guest, and of a guest that was granted nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolServerSpec:
    """The manifest of an MCP server."""

    name: str
    version: str = "1.0.0"
    description: str = ""
    wasm: WasmSettings = NO_MODULE
    limits: GuestLimits = GuestLimits()
    grants: GrantSettings = NO_GRANTS
    parameters: Mapping[str, Any] | None = None
