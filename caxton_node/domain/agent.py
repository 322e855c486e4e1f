"""An agent as its author wrote it: one frozen specification, and the states it passes through.

The specification holds what every other part may rely on: it was checked where it was parsed.
How it is spelled in a file is the business of `caxton_node.agentfile`.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType
from typing import Any, Final

from caxton_node.domain.capability import Capability
from caxton_node.domain.wasm import NO_GRANTS, NO_MODULE, GrantSettings, WasmSettings

__all__ = [
    "AGENT_NAME",
    "EMPTY",
    "TRANSITIONS",
    "AgentKind",
    "AgentSpec",
    "AgentState",
    "BudgetSettings",
    "DeploymentSettings",
    "LimitSettings",
    "LlmSettings",
    "MemorySettings",
    "PermissionSettings",
    "ScheduleSettings",
    "SupervisionSettings",
]

AGENT_NAME: Final = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,63}")
"""What an agent may be called. Match the whole name."""


class _Empty(Mapping[str, Any]):
    """The mapping without entries.

    Unlike a mappingproxy it has a hash, which Python 3.11 asks of a dataclass field's default,
    and `dataclasses.asdict` can copy it.
    """

    __slots__ = ()

    def __getitem__(self, key: str) -> Any:
        raise KeyError(key)

    def __iter__(self) -> Iterator[str]:
        return iter(())

    def __len__(self) -> int:
        return 0

    def __hash__(self) -> int:
        return 0

    def __repr__(self) -> str:
        return "{}"


EMPTY: Final[Mapping[str, Any]] = _Empty()


class AgentKind(StrEnum):
    """What runs when a message arrives."""

    LLM = "llm"
    """A prompt, a model and tools, all from the file."""
    PYTHON = "python"
    """A class that the node's operator allowed by name."""
    WASM = "wasm"
    """A guest in WebAssembly, in a sandbox."""


class AgentState(StrEnum):
    """Where in its life an agent is."""

    DEPLOYED = "deployed"
    """Known and checked; not yet taking turns."""
    RUNNING = "running"
    SUSPENDED = "suspended"
    """Takes no turns; messages wait."""
    STOPPED = "stopped"
    """Takes no turns until it is restarted; messages wait."""
    FAILED = "failed"
    """Gave up after too many failures in a row; messages wait for a restart."""


TRANSITIONS: Final[Mapping[AgentState, frozenset[AgentState]]] = MappingProxyType(
    {
        AgentState.DEPLOYED: frozenset({AgentState.RUNNING, AgentState.FAILED}),
        AgentState.RUNNING: frozenset(
            {AgentState.SUSPENDED, AgentState.STOPPED, AgentState.FAILED, AgentState.RUNNING}
        ),
        AgentState.SUSPENDED: frozenset({AgentState.RUNNING, AgentState.STOPPED}),
        AgentState.STOPPED: frozenset({AgentState.RUNNING}),
        AgentState.FAILED: frozenset({AgentState.RUNNING, AgentState.STOPPED}),
    }
)
"""Which state may follow which. `running` after `running` is a restart."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LlmSettings:
    """`[llm]`: which model answers, and how it is called."""

    provider: str | None = None
    """`openai` (any OpenAI-compatible endpoint) or `offline`; None takes the node's default."""
    model: str | None = None
    temperature: float | None = None
    """0.0 to 2.0; None leaves it to the provider."""
    max_tokens: int | None = None
    base_url: str | None = None
    api_key: str | None = field(default=None, repr=False)
    """Resolved from `${VAR}` in the file; never shown."""
    timeout_s: float = 60.0
    """For one call of the model."""
    retry_count_max: int = 2
    fallback: tuple[str, ...] = ()
    """Models to try in turn after `model` has failed for good, as `provider/model` or `model`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MemorySettings:
    """`[memory]`: whether and for whom the agent remembers."""

    is_enabled: bool = False
    scope: str = "agent"
    """`agent`, `workspace` or `global`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BudgetSettings:
    """`[budget]`: how much the agent may spend. None is no limit."""

    tokens_per_call: int | None = None
    tokens_per_conversation: int | None = None
    tokens_per_day: int | None = None
    cost_per_call: float | None = None
    """In US dollars, as are the next two."""
    cost_per_conversation: float | None = None
    cost_per_day: float | None = None
    overflow: str = "abort"
    """`abort` ends the turn, `warn` goes on and says so, `summarize` asks for a last answer
    without tools."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SupervisionSettings:
    """`[supervision]`: what happens when a turn fails."""

    strategy: str = "restart"
    """`restart` tries again with backoff; `stop` fails the agent at the first failure."""
    intensity: int = 5
    """Failures within `period_s` before the agent is given up."""
    period_s: float = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class LimitSettings:
    """`[limits]`: the bounds of one agent."""

    time_s: float = 120.0
    """For one turn, tools and model included."""
    concurrency: int = 8
    """Conversations served at once. Within one conversation turns never overlap."""
    mailbox: int = 1_000
    """Messages that may wait. One more is answered `agent_busy`."""
    tool_rounds: int = 10
    """Rounds of tool calls in one turn."""
    memory_bytes: int | None = None
    """For a sandboxed guest."""
    fuel: int | None = None
    """Instructions of one turn, for a sandboxed guest."""
    cpu_s: float | None = None
    """Processor time of one turn, for a sandboxed guest."""
    host_call_rate: int | None = None
    """What a sandboxed guest may ask of the host in a second."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PermissionSettings:
    """`[permissions]`: what the agent may reach, and who may talk to it."""

    network_hosts: tuple[str, ...] = ()
    """Hosts or `host:port` that this agent may reach; empty is all that the node allows. It only
    narrows: what lies inside the node's network is opened by the node's own settings."""
    files: str = "own"
    """`own` (the agent's folder) or `none`."""
    senders: tuple[str, ...] = ()
    """Who may send to this agent; empty is everyone. `*` at the end matches a prefix."""
    approvals: tuple[str, ...] = ()
    """Tools that need a person's approval. Until approvals can be given, they are refused."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DeploymentSettings:
    """`[deployment]`: how many, and where."""

    replicas: int = 1
    placement: str = "spread"


@dataclass(frozen=True, slots=True, kw_only=True)
class ScheduleSettings:
    """`[schedule]`: when the agent is woken by the clock."""

    cron: str
    timezone: str = "UTC"


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentSpec:
    """Everything that a file says of an agent, checked and with defaults filled in."""

    name: str
    capabilities: tuple[Capability, ...]
    kind: AgentKind = AgentKind.LLM
    version: str = "1.0.0"
    """Semantic version, as the author counts it."""
    description: str = ""
    tools: tuple[str, ...] = ()
    tool_config: Mapping[str, Mapping[str, Any]] = field(default=EMPTY, repr=False)
    """By tool. It may hold expanded secrets, so it is never shown."""
    system_prompt: str = ""
    user_prompt_template: str = "{{message}}"
    documentation: str = ""
    parameters: Mapping[str, Any] = EMPTY
    """Values for the prompts' own placeholders."""
    depends_on: tuple[str, ...] = ()
    handler: str = ""
    """`package.module:Class` of a Python agent."""
    wasm: WasmSettings = NO_MODULE
    grants: GrantSettings = NO_GRANTS
    llm: LlmSettings = LlmSettings()
    memory: MemorySettings = MemorySettings()
    budget: BudgetSettings = BudgetSettings()
    supervision: SupervisionSettings = SupervisionSettings()
    limits: LimitSettings = LimitSettings()
    permissions: PermissionSettings = PermissionSettings()
    deployment: DeploymentSettings = DeploymentSettings()
    schedule: ScheduleSettings | None = None

    def __post_init__(self) -> None:
        assert AGENT_NAME.fullmatch(self.name), "names are checked where files are parsed"
        assert self.capabilities, "an agent without capabilities cannot be found"
