"""What a store does for the rest of the node.

Two kinds of writing. The *journal* is the hot path: `append` never blocks and never awaits; the
store gathers what arrives, writes it in one transaction, syncs, and calls back on the event loop.
Everything else is a coroutine that returns once its row is on disk. Both go through one writer,
in order.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, Generic, Protocol, TypeVar

import msgspec

from caxton_node.domain.agent import AgentState
from caxton_node.domain.conversation import Conversation
from caxton_node.domain.delivery import DeliveryStatus
from caxton_node.domain.errors import Unavailable
from caxton_node.domain.message import Message

__all__ = [
    "RECEIVER",
    "AgentRecord",
    "AgentVersion",
    "Committed",
    "Definition",
    "LogLine",
    "Mark",
    "Page",
    "Settlement",
    "Step",
    "StepState",
    "Store",
    "StoredMessage",
    "UsageTotal",
]

Item = TypeVar("Item")

RECEIVER: Final = ""
"""In `Settlement.agent`: the agent that the message names. Nobody is called so."""

Committed = Callable[[Unavailable | None], None]
"""Called on the event loop after the commit; with `storage_unavailable` when it failed and
nothing of the call was kept."""


class Settlement(msgspec.Struct, frozen=True, gc=False):
    """How one accepted message ended. All instants in milliseconds since 1970, UTC."""

    seq: int
    status: DeliveryStatus
    settled_at: int
    agent: str | None = None
    """Who took the turn, or where a client reads it; `RECEIVER` where that is the receiver."""
    started_at: int | None = None
    """When the last attempt began."""
    attempts: int = 0
    reason: str | None = None
    """For `dead`: a `DeadReason`, or a code of the error table, with a detail after a colon."""
    node: str | None = None
    """The node that had the turn, where that is another one; then `started_at` is when the message
    was last sent there."""


class Mark(msgspec.Struct, frozen=True, gc=False):
    """How far a message came that has no end yet: on disk before it goes one step further.

    Written for what must have its effect once. After a crash it tells who may have begun.
    """

    seq: int
    at: int
    """When the turn begins here, or when it is sent away: milliseconds since 1970, UTC."""
    agent: str | None = None
    """Who takes the turn."""
    attempts: int = 0
    """Of this node, the one that begins included."""
    node: str | None = None
    """The node that it is sent to; None where its turn begins here."""


@dataclass(frozen=True, slots=True)
class StoredMessage:
    """A message and what became of it.

    Of one without an end, `started_at` and `node` are those of its last `Mark`.
    """

    seq: int
    message: Message
    status: DeliveryStatus
    accepted_at: int
    settled_at: int | None = None
    agent: str | None = None
    started_at: int | None = None
    attempts: int = 0
    reason: str | None = None
    node: str | None = None


@dataclass(frozen=True, slots=True)
class Page(Generic[Item]):
    """Part of a list."""

    items: tuple[Item, ...]
    next_cursor: str | None
    """Pass it back for the next part; None at the end."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentVersion:
    """One deployed definition of an agent, kept for ever (until the agent is deleted)."""

    agent: str
    number: int
    """1, 2, 3, … in order of deployment."""
    version: str
    """As the author counts it."""
    source: str
    """The definition as it was given."""
    format: str
    """`toml`, `markdown` or `json`."""
    digest: str
    """SHA-256 of the source, hexadecimal."""
    deployed_at: int


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentRecord:
    """What a restart must know of an agent."""

    name: str
    state: AgentState
    current: int
    """Number of the version in force."""
    changed_at: int
    revision: int = 1
    """Grows when the agent becomes another one: deployed, rolled back, scaled, placed anew. Of
    nodes that run one agent, the one with the highest is right about what it is."""
    epoch: int = 1
    """Grows when a node takes the agent over from another: it fences the one before."""
    is_here: bool = True
    """Whether this node runs it. What moved to another node is kept for its versions and log."""
    replicas: int | None = None
    """How many nodes are to run it; None as its definition says."""
    placement: str | None = None
    """Where; None as its definition says."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Definition:
    """The text of an agent's definition, by its content."""

    digest: str
    """SHA-256 of the source, hexadecimal."""
    format: str
    """`toml`, `markdown` or `json`."""
    source: str


class StepState(StrEnum):
    """How far a step of a turn came."""

    STARTED = "started"
    DONE = "done"


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One model call or tool call of one turn, recorded so that it is never made twice."""

    message_id: str
    number: int
    """0, 1, 2, … within the turn."""
    kind: str
    """`model` or `tool`."""
    name: str
    """The model's or the tool's."""
    state: StepState
    started_at: int
    finished_at: int | None = None
    data: bytes = b""
    """The result, JSON; empty while started."""


@dataclass(frozen=True, slots=True)
class UsageTotal:
    """What was spent."""

    input_tokens: int = 0
    output_tokens: int = 0
    cost: float = 0.0
    """In US dollars."""

    def __add__(self, other: "UsageTotal") -> "UsageTotal":
        """Return what was spent in both."""
        return UsageTotal(
            self.input_tokens + other.input_tokens,
            self.output_tokens + other.output_tokens,
            self.cost + other.cost,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class LogLine:
    """A line of an agent's own log."""

    at: int
    level: str
    """`debug`, `info`, `warning` or `error`."""
    text: str
    conversation_id: str | None = None


class Store(Protocol):
    """All that the node keeps. One owner opens and closes it."""

    async def open(self) -> None:
        """Open or create, migrate, and make ready."""
        ...

    async def close(self) -> None:
        """Write what is waiting, then release everything."""
        ...

    # The journal: the hot path. Called on the event loop only.

    @property
    def last_seq(self) -> int:
        """The highest sequence number ever accepted; 0 in a new store."""
        ...

    @property
    def backlog(self) -> int:
        """Entries that wait for the writer. The pipeline refuses messages above its bound."""
        ...

    @property
    def trouble(self) -> str | None:
        """Why the last batch could not be written; None when it was."""
        ...

    def append(
        self,
        accepted: Sequence[tuple[int, Message]],
        settled: Sequence[Settlement],
        committed: Committed | None = None,
        marks: Sequence[Mark] = (),
        packed: Sequence[bytes] = (),
    ) -> None:
        """Journal new messages and ends of old ones, all or nothing, in one transaction.

        Args:
            accepted: Messages under fresh, rising sequence numbers.
            settled: Ends of messages accepted earlier, or in this very call.
            committed: Called once, after the commit. Marks are never written without one.
            marks: How far messages came that were accepted earlier, or in this very call.
            packed: The messages of `accepted` as `encode_message` packs them, or an earlier version
                did, where that is at hand; otherwise they are packed here.
        """
        ...

    async def flush(self) -> None:
        """Return once everything appended so far is on disk, where reads find it.

        Raises:
            Unavailable: `storage_unavailable`: it cannot be written, or not in time.
        """
        ...

    async def unsettled(self, *, after_seq: int, limit: int) -> Sequence[StoredMessage]:
        """Return accepted messages without an end, in order of acceptance.

        A message that can no longer be decoded is left out here and everywhere else. Here it is
        also settled: as dead, since nobody can deliver it, with the reason `undecodable: …`.
        """
        ...

    # Reading messages.

    async def message(self, message_id: str) -> StoredMessage | None:
        """Return one message, or None."""
        ...

    async def messages(
        self,
        *,
        conversation_id: str | None = None,
        status: DeliveryStatus | None = None,
        cursor: str | None = None,
        limit: int = 50,
    ) -> Page[StoredMessage]:
        """Return messages: of one conversation in order, otherwise newest first."""
        ...

    async def recent_messages(self, conversation_id: str, *, limit: int) -> Sequence[StoredMessage]:
        """Return the last messages of a conversation, oldest first."""
        ...

    async def subconversations(self, conversation_id: str, *, limit: int = 100) -> Sequence[str]:
        """Return the ids of conversations that agents began within this one: `<id>.…`."""
        ...

    async def conversation(self, conversation_id: str) -> Conversation | None:
        """Return one conversation, or None."""
        ...

    async def conversations(
        self, *, cursor: str | None = None, limit: int = 50
    ) -> Page[Conversation]:
        """Return conversations, the most recently active first."""
        ...

    async def status_counts(self) -> dict[DeliveryStatus, int]:
        """Return how many messages are in each state. A state without any may be absent."""
        ...

    async def revive(self, message_id: str, *, seq: int) -> StoredMessage | None:
        """Make a dead message accepted again under a new number; None if it is not dead.

        Steps that had begun and were not done are forgotten: whoever wants it tried again has
        looked at the world.
        """
        ...

    async def drop(self, message_id: str) -> bool:
        """Delete a dead message; False if it is not dead."""
        ...

    async def prune(self, *, before: int, limit: int) -> int:
        """Delete at most `limit` settled messages settled before an instant; return how many."""
        ...

    # Agents.

    async def put_agent(self, record: AgentRecord, version: AgentVersion | None = None) -> None:
        """Write an agent's state and, with it, a new version."""
        ...

    async def agents(self) -> Sequence[AgentRecord]:
        """Return all agents by name."""
        ...

    async def agent_versions(self, agent: str) -> Sequence[AgentVersion]:
        """Return an agent's versions, oldest first."""
        ...

    async def delete_agent(self, agent: str) -> bool:
        """Delete an agent, its versions, usage and log; False if there was none."""
        ...

    # What other nodes run, and what the node knows of itself.

    async def put_definition(self, definition: Definition) -> None:
        """Keep a definition of another node's agent. One that is there already stays."""
        ...

    async def definition(self, digest: str) -> Definition | None:
        """Return a definition: of another node's agent, or any version of an agent of our own."""
        ...

    async def definition_digests(self) -> Sequence[str]:
        """Return the digests of the definitions put, sorted; those of our own agents are not."""
        ...

    async def delete_definitions(self, digests: Sequence[str]) -> int:
        """Forget definitions that were put; return how many there were."""
        ...

    async def node_number(self, name: str) -> int | None:
        """Return a number that the node keeps of itself, or None before it was put."""
        ...

    async def node_numbers(self, prefix: str) -> Mapping[str, int]:
        """Return the numbers whose names begin with `prefix`, by name, in its order."""
        ...

    async def put_node_number(self, name: str, value: int) -> None:
        """Keep a number of the node's own, in place of what it was."""
        ...

    async def delete_node_number(self, name: str) -> None:
        """Keep a number no longer. Unknown names are fine."""
        ...

    # Turns.

    async def put_step(self, step: Step) -> None:
        """Write a step, or finish one that was started."""
        ...

    async def steps(self, message_id: str) -> Sequence[Step]:
        """Return the steps of a message's turn, in order."""
        ...

    async def add_usage(
        self, *, agent: str, conversation_id: str, day: str, usage: UsageTotal
    ) -> None:
        """Add to what an agent spent in a conversation, on a day (`2026-01-31`, UTC)."""
        ...

    async def usage(
        self, *, agent: str, conversation_id: str | None = None, day: str | None = None
    ) -> UsageTotal:
        """Return what an agent spent: in a conversation, on a day, or ever."""
        ...

    # Logs.

    async def put_log(self, agent: str, lines: Sequence[LogLine]) -> None:
        """Add to an agent's log, which keeps the last 1,000 lines."""
        ...

    async def log(self, agent: str, *, tail: int = 100) -> Sequence[LogLine]:
        """Return the last lines of an agent's log, oldest first."""
        ...
