"""Every key of an agent file: what it wants, where its value goes, what it is for.

The reader of files, the errors' suggestions and `docs/reference/agent-file.md` follow this
table. A key that is accepted before the server acts upon it stands in `inert` too.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from caxton_node.agentfile.guest_rows import GRANT_ROWS, GUEST_LIMIT_ROWS, WASM_ROWS
from caxton_node.agentfile.rules import (
    AgentName,
    CapabilityName,
    CronLine,
    PlacementTerms,
    SecretReference,
    Version,
)
from caxton_node.agentfile.template import PLACEHOLDER_NAME
from caxton_node.documents.hosts import HOST
from caxton_node.documents.readers import (
    Boolean,
    Choice,
    Duration,
    Integer,
    ListOf,
    Number,
    Reader,
    Table,
    Text,
    Url,
)

__all__ = ["FIELDS", "FREE_TABLES", "TABLES", "Field"]

CAPABILITY_COUNT_MAX: Final = 20
TOOL_COUNT_MAX: Final = 100
DESCRIPTION_LENGTH_MAX: Final = 500
PROMPT_LENGTH_MAX: Final = 200_000
DOCUMENTATION_LENGTH_MAX: Final = 1_000_000

_WORD: Final = re.compile(r"[A-Za-z][A-Za-z0-9_.:-]{0,99}")
_TOOL: Final = Text(
    length_max=100, pattern=_WORD, form="a tool's name, of letters, digits and _ . : -"
)
_SENDER: Final = Text(
    length_max=100,
    pattern=re.compile(r"[A-Za-z][A-Za-z0-9_.:-]*\*?|\*"),
    form='an agent\'s name or the beginning of one, such as "reviewer" or "team-*"',
)
_DEPENDENCY: Final = Text(
    length_max=100, pattern=_WORD, form="the name of an agent or of a capability"
)
_TIMEZONE: Final = Text(
    length_max=64,
    pattern=re.compile(r"[A-Za-z]+(?:[/_+-][A-Za-z0-9]+)*"),
    form='a time zone such as "UTC" or "Europe/Paris"',
)
_HANDLER: Final = Text(
    length_max=200,
    pattern=re.compile(r"[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*:[A-Za-z_]\w*", re.ASCII),
    form='a class spelled "package.module:Class"',
)
_MODEL: Final = Text(length_max=200)
_LABEL: Final = Text(length_max=200)
_COMPATIBLE: Final = 'For an OpenAI-compatible endpoint write provider = "openai" and its base_url'


@dataclass(frozen=True, slots=True, kw_only=True)
class Field:
    """One key of an agent file."""

    key: str
    """As it is written, with its table: `llm.timeout`."""
    target: str | None
    """Where the value goes in `AgentSpec`: `llm.timeout_s`. None: it stays in the file."""
    reader: Reader
    doc: str
    is_required: bool = False
    is_expanded: bool = False
    """`${VAR}` in its texts is replaced from the environment."""


def _field(key: str, target: str | None, reader: Reader, doc: str) -> Field:
    return Field(
        key=key,
        target=target,
        reader=reader,
        doc=doc,
        is_required=key in {"name", "capabilities"},
        is_expanded=key.startswith(("llm.", "tool_config")),
    )


_ROWS: Final = (
    _field("name", "name", AgentName(), "What the agent is called; messages are sent to it."),
    _field(
        "capabilities",
        "capabilities",
        ListOf(
            item=CapabilityName(),
            count_min=1,
            count_max=CAPABILITY_COUNT_MAX,
            name="a list of capabilities",
            fix='Write ["data-analysis"]',
        ),
        "What the agent can be asked for by those who do not know its name: lower-case words "
        "joined by `-`, from the general to the particular by `.`, with an optional version "
        "(`translate:v2`).",
    ),
    _field(
        "kind",
        "kind",
        Choice(("llm", "python", "wasm")),
        "`llm` is a prompt, a model and tools; `python` is a class that the operator allowed; "
        "`wasm` is a guest in a sandbox.",
    ),
    _field("version", "version", Version(), "Semantic version, as the author counts it."),
    _field(
        "description",
        "description",
        Text(length_max=DESCRIPTION_LENGTH_MAX, is_blank_allowed=True),
        "One or two sentences for people who choose an agent.",
    ),
    _field(
        "system_prompt",
        "system_prompt",
        Text(length_max=PROMPT_LENGTH_MAX),
        'Who the agent is and how it works. Required for `kind = "llm"`. May contain placeholders.',
    ),
    _field(
        "user_prompt_template",
        "user_prompt_template",
        Text(length_max=PROMPT_LENGTH_MAX),
        "How a message becomes the model's input. May contain placeholders.",
    ),
    _field(
        "tools",
        "tools",
        ListOf(
            item=_TOOL,
            count_max=TOOL_COUNT_MAX,
            name="a list of tools' names",
            fix='Write ["http_client"]',
        ),
        "The tools that the agent may call; none by default.",
    ),
    _field(
        "tool_config",
        "tool_config",
        Table(key=_TOOL, item=Table(), name="a table with one table for each tool"),
        "Settings for tools, one table for each: `[tool_config.http_client]`.",
    ),
    _field(
        "parameters",
        "parameters",
        Table(
            key=Text(
                length_max=64, pattern=PLACEHOLDER_NAME, form="a name of letters, digits and _"
            )
        ),
        "Values of your own for placeholders in the prompts.",
    ),
    _field(
        "documentation",
        "documentation",
        Text(length_max=DOCUMENTATION_LENGTH_MAX, is_blank_allowed=True),
        "Markdown for people. In a Markdown file it is the body.",
    ),
    _field(
        "depends_on",
        "depends_on",
        ListOf(item=_DEPENDENCY, count_max=50, name="a list of names"),
        "Agents or capabilities that this agent needs.",
    ),
    _field(
        "handler",
        "handler",
        _HANDLER,
        "The class of a Python agent, as `package.module:Class`. Required for "
        '`kind = "python"`; the node\'s `python.allow` must name it.',
    ),
    _field("author", None, _LABEL, "Who wrote the agent."),
    _field("license", None, _LABEL, "Under which licence the file may be used."),
    _field("tags", None, ListOf(item=_LABEL, count_max=50), "Words to find the file by."),
    _field(
        "llm.provider",
        "llm.provider",
        Choice(
            ("openai", "offline"),
            fixes=dict.fromkeys(
                (
                    "anthropic",
                    "azure",
                    "groq",
                    "litellm",
                    "llama",
                    "local",
                    "mistral",
                    "ollama",
                    "vllm",
                    "custom",
                    "google",
                    "gemini",
                ),
                _COMPATIBLE,
            )
            | {"mock": 'Write "offline", which answers without a model'},
        ),
        "`openai` is any OpenAI-compatible endpoint; `offline` answers without a model.",
    ),
    _field("llm.model", "llm.model", _MODEL, "The model's name at the provider."),
    _field(
        "llm.temperature",
        "llm.temperature",
        Number(minimum=0.0, maximum=2.0),
        "0 repeats itself, 2 surprises.",
    ),
    _field(
        "llm.max_tokens",
        "llm.max_tokens",
        Integer(minimum=1, maximum=10_000_000),
        "The longest reply, in tokens.",
    ),
    _field("llm.base_url", "llm.base_url", Url(), "Address of an OpenAI-compatible endpoint."),
    _field(
        "llm.api_key",
        "llm.api_key",
        SecretReference(),
        'A reference such as `"${OPENAI_API_KEY}"`; never the key itself.',
    ),
    _field(
        "llm.timeout",
        "llm.timeout_s",
        Duration(maximum_s=3_600.0),
        "How long one call of the model may take.",
    ),
    _field(
        "llm.retries",
        "llm.retry_count_max",
        Integer(minimum=0, maximum=20),
        "How often a failed call is tried again.",
    ),
    _field(
        "llm.fallback",
        "llm.fallback",
        ListOf(item=_MODEL, count_max=10, name="a list of models"),
        "Models to try in turn after `model` has failed for good, as `model` or `provider/model`.",
    ),
    _field("memory.enabled", "memory.is_enabled", Boolean(), "Whether the agent remembers."),
    _field(
        "memory.scope",
        "memory.scope",
        Choice(("agent", "workspace", "global"), fixes={"session": 'Write "agent"'}),
        "With whom the agent shares what it remembers.",
    ),
    *(
        _field(
            f"budget.tokens_per_{span}",
            f"budget.tokens_per_{span}",
            Integer(minimum=1),
            f"Tokens that the agent may spend in one {span}.",
        )
        for span in ("call", "conversation", "day")
    ),
    *(
        _field(
            f"budget.cost_per_{span}",
            f"budget.cost_per_{span}",
            Number(minimum=0.0, is_above=True),
            f"US dollars that the agent may spend in one {span}.",
        )
        for span in ("call", "conversation", "day")
    ),
    _field(
        "budget.overflow",
        "budget.overflow",
        Choice(("abort", "warn", "summarize"), synonyms={"summarise": "summarize"}),
        "What happens when the budget is spent: `abort` ends the turn, `warn` goes on and says "
        "so, `summarize` asks for a last answer without tools.",
    ),
    _field(
        "supervision.strategy",
        "supervision.strategy",
        Choice(("restart", "stop")),
        "`restart` tries again with backoff; `stop` fails the agent at the first failure.",
    ),
    _field(
        "supervision.intensity",
        "supervision.intensity",
        Integer(minimum=1, maximum=1_000),
        "Failures within `period` before the agent is given up.",
    ),
    _field(
        "supervision.period",
        "supervision.period_s",
        Duration(minimum_s=1.0),
        "The time in which failures are counted.",
    ),
    _field(
        "limits.time",
        "limits.time_s",
        Duration(maximum_s=86_400.0),
        "How long one turn may take, tools and model included.",
    ),
    _field(
        "limits.concurrency",
        "limits.concurrency",
        Integer(minimum=1, maximum=1_000),
        "Conversations served at once.",
    ),
    _field(
        "limits.mailbox",
        "limits.mailbox",
        Integer(minimum=1, maximum=1_000_000),
        "Messages that may wait; one more is answered `agent_busy`.",
    ),
    _field(
        "limits.tool_rounds",
        "limits.tool_rounds",
        Integer(minimum=0, maximum=100),
        "Rounds of tool calls in one turn.",
    ),
    *(
        _field(f"limits.{row.key}", f"limits.{row.target}", row.reader, row.doc)
        for row in GUEST_LIMIT_ROWS
    ),
    *(_field(f"wasm.{row.key}", f"wasm.{row.target}", row.reader, row.doc) for row in WASM_ROWS),
    *(
        _field(f"grants.{row.key}", f"grants.{row.target}", row.reader, row.doc)
        for row in GRANT_ROWS
    ),
    _field(
        "permissions.network_hosts",
        "permissions.network_hosts",
        ListOf(item=HOST, count_max=100, name="a list of hosts"),
        "The only hosts that `http_client` may reach, as `host`, `host:port` or `*.host`; all that "
        "the node allows when empty.",
    ),
    _field(
        "permissions.files",
        "permissions.files",
        Choice(("own", "none")),
        "`own` is the agent's folder.",
    ),
    _field(
        "permissions.senders",
        "permissions.senders",
        ListOf(item=_SENDER, count_max=100, name="a list of senders"),
        "Who may send to this agent; everyone when empty. `*` at the end matches a prefix.",
    ),
    _field(
        "permissions.approvals",
        "permissions.approvals",
        ListOf(item=_TOOL, count_max=TOOL_COUNT_MAX, name="a list of tools' names"),
        "Tools that need a person's approval.",
    ),
    _field(
        "deployment.replicas",
        "deployment.replicas",
        Integer(minimum=1, maximum=100),
        "How many nodes of a cluster run it at once.",
    ),
    _field(
        "deployment.placement",
        "deployment.placement",
        PlacementTerms(),
        "Where it runs: `spread` over the nodes, `pack` onto few or `least-loaded` first, and on "
        "which nodes: `node=NAME`, or labels that a node must have, such as `zone=eu`; several "
        "are parted by commas.",
    ),
    _field(
        "schedule.cron",
        "schedule.cron",
        CronLine(),
        "When the clock wakes the agent: minute, hour, day, month, weekday.",
    ),
    _field("schedule.timezone", "schedule.timezone", _TIMEZONE, "Whose clock that is."),
)

FIELDS: Final[Mapping[str, Field]] = MappingProxyType({row.key: row for row in _ROWS})
"""By key, in the order of the reference."""

TABLES: Final = tuple(dict.fromkeys(key.partition(".")[0] for key in FIELDS if "." in key))
"""The tables with keys of ours: `llm`, `memory`, …"""

FREE_TABLES: Final = frozenset({"parameters", "tool_config"})
"""The tables whose keys are the author's."""
