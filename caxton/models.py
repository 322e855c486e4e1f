"""What the client gives back: plain frozen values with Python's own types."""

import json
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from caxton.errors import Place

__all__ = [
    "Acceptance",
    "Accepted",
    "Agent",
    "AgentDetail",
    "AgentVersion",
    "ChatEvent",
    "Cluster",
    "Conversation",
    "ConversationDetail",
    "Delta",
    "Deployed",
    "LogLine",
    "Member",
    "Message",
    "Missed",
    "Record",
    "Reply",
    "ToolCall",
    "ToolResult",
    "TraceStep",
    "Validation",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """One act of communication."""

    id: str
    performative: str
    """In lower case with `_`, such as `query_ref`."""
    sender: str
    receiver: str
    """Empty when a capability chose the receiver."""
    content: Any
    """JSON values."""
    conversation_id: str
    in_reply_to: str | None = None
    reply_with: str | None = None
    protocol: str | None = None
    capability: str | None = None
    language: str | None = None
    ontology: str | None = None
    encoding: str | None = None
    reply_to: str | None = None
    reply_by: datetime | None = None
    created_at: datetime | None = None
    delivery: str = "at_least_once"
    traceparent: str | None = None
    metadata: dict[str, Any] = field(default_factory=dict)

    @property
    def text(self) -> str:
        """The content as text: itself, or as JSON."""
        return self.content if isinstance(self.content, str) else json.dumps(self.content)

    @property
    def is_negative(self) -> bool:
        """It says that something was not done: a failure, a refusal, or not understood."""
        return self.performative in ("failure", "refuse", "not_understood")


@dataclass(frozen=True, slots=True, kw_only=True)
class Acceptance:
    """The server's word for a message, and its answer where one was waited for."""

    message_id: str
    conversation_id: str
    status: str
    """`accepted`; or a later status of a message that had been sent before."""
    routed_to: tuple[str, ...]
    accepted_at: datetime
    is_duplicate: bool
    """It had been sent before under its id. Nothing was sent now."""
    reply: Message | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """A message and what became of it."""

    message: Message
    status: str
    """`accepted`, `delivered`, `dead`, `expired` or `cancelled`."""
    accepted_at: datetime
    settled_at: datetime | None
    started_at: datetime | None
    agent: str | None
    attempts: int
    reason: str | None


@dataclass(frozen=True, slots=True)
class Missed:
    """A follower read too slowly."""

    count: int


@dataclass(frozen=True, slots=True, kw_only=True)
class TraceStep:
    """One thing that happened to a message."""

    message_id: str
    kind: str
    node: str
    agent: str
    started_at: datetime
    duration: timedelta | None
    detail: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Conversation:
    """The messages that share an id."""

    id: str
    participants: tuple[str, ...]
    message_count: int
    status: str
    created_at: datetime
    last_activity_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class ConversationDetail(Conversation):
    """A conversation with its last messages, in order."""

    records: tuple[Record, ...]
    children: tuple[str, ...]
    """Conversations in which its agents asked others."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Agent:
    """An agent as the cluster knows it."""

    name: str
    kind: str
    state: str
    """`deployed`, `running`, `suspended`, `stopped` or `failed`."""
    version: str
    version_number: int
    capabilities: tuple[str, ...]
    description: str
    tools: tuple[str, ...]
    replicas: int
    nodes: tuple[str, ...]
    deployed_at: datetime | None
    last_activity_at: datetime | None
    turns_completed: int
    turns_failed: int
    mailbox_depth: int


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentDetail(Agent):
    """An agent with its definition."""

    system_prompt: str
    documentation: str
    source: str
    source_format: str


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentVersion:
    """One deployed definition of an agent."""

    number: int
    version: str
    digest: str
    deployed_at: datetime
    is_current: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Deployed:
    """What a deployment came to."""

    agent: Agent
    is_new: bool
    warnings: tuple[Place, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Validation:
    """What is wrong with a definition, if anything."""

    is_valid: bool
    errors: tuple[Place, ...]
    warnings: tuple[Place, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class LogLine:
    """A line of an agent's own log."""

    at: datetime
    level: str
    text: str
    conversation_id: str | None


# What a chat shows, in the order in which it comes: one Accepted, any of the others, one Reply.


@dataclass(frozen=True, slots=True)
class Accepted:
    """The server answers for the question."""

    message_id: str
    conversation_id: str


@dataclass(frozen=True, slots=True)
class Delta:
    """A piece of the answer's text."""

    text: str


@dataclass(frozen=True, slots=True)
class ToolCall:
    """The agent calls a tool."""

    call_id: str
    tool: str
    arguments: dict[str, Any]


@dataclass(frozen=True, slots=True)
class ToolResult:
    """The tool is done."""

    call_id: str
    is_error: bool


@dataclass(frozen=True, slots=True)
class Reply:
    """The answer, which may be a negative one."""

    message: Message

    @property
    def text(self) -> str:
        """The answer's content as text."""
        return self.message.text

    @property
    def conversation_id(self) -> str:
        """Go on with it to be understood in context."""
        return self.message.conversation_id


ChatEvent = Accepted | Delta | ToolCall | ToolResult | Reply
"""One thing that a chat shows."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """A node of the cluster, as the one that answered believes it to be."""

    node_id: str
    state: str
    """`alive`, `suspect`, `dead` or `left`."""
    gossip_address: str
    grpc_address: str
    version: str
    incarnation: int
    epoch: int
    round_trip: timedelta | None
    is_self: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Cluster:
    """The state of the cluster in one view."""

    node_id: str
    cluster: str
    members: dict[str, int]
    """How many members are in each state."""
    agent_count: int
    mode: str | None
    """`majority`, `minority` or `isolated`; None where the node is in no cluster."""
    is_writable: bool
