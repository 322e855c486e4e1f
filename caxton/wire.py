"""Values of this package and of the wire, one into the other."""

import json
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from google.protobuf.descriptor import EnumDescriptor
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message as Wire
from google.protobuf.timestamp_pb2 import Timestamp

from caxton import models
from caxton.errors import Place
from caxton.v1 import agents_pb2, cluster_pb2, errors_pb2, messages_pb2

__all__ = [
    "ACTS",
    "DELIVERIES",
    "FORMATS",
    "LEVELS",
    "MODES",
    "STATES",
    "STATUSES",
    "STRATEGIES",
    "Spellings",
    "acceptance",
    "agent",
    "agent_detail",
    "chat_event",
    "cluster",
    "conversation",
    "conversation_detail",
    "duration",
    "json_bytes",
    "log_line",
    "member",
    "message",
    "places",
    "record",
    "timestamp",
    "trace_step",
    "version",
]


class Spellings:
    """The words of an enumeration of the wire: `PERFORMATIVE_CFP` is `cfp`.

    Args:
        wire: Of the wire.
        prefix: What its names begin with.
    """

    def __init__(self, wire: EnumDescriptor, prefix: str) -> None:
        self._words = {
            value.number: value.name.removeprefix(prefix).lower()
            for value in wire.values
            if value.number
        }
        self._numbers = {word: number for number, word in self._words.items()}

    def word(self, number: int) -> str:
        """Return the word of a number; empty where it has none."""
        return self._words.get(number, "")

    def number(self, word: str | None) -> Any:
        """Return the number of a word in any case and hyphenation; 0 for None.

        Raises:
            ValueError: There is no such word.
        """
        if word is None:
            return 0
        spelled = word.strip().lower().replace("-", "_").replace(" ", "_")
        if spelled not in self._numbers:
            raise ValueError(f"{word!r} is none of {', '.join(sorted(self._numbers))}")
        return self._numbers[spelled]


ACTS: Final = Spellings(messages_pb2.Performative.DESCRIPTOR, "PERFORMATIVE_")
DELIVERIES: Final = Spellings(messages_pb2.DeliveryMode.DESCRIPTOR, "DELIVERY_MODE_")
STRATEGIES: Final = Spellings(messages_pb2.RoutingStrategy.DESCRIPTOR, "ROUTING_STRATEGY_")
STATUSES: Final = Spellings(messages_pb2.DeliveryStatus.DESCRIPTOR, "DELIVERY_STATUS_")
KINDS: Final = Spellings(agents_pb2.AgentKind.DESCRIPTOR, "AGENT_KIND_")
STATES: Final = Spellings(agents_pb2.AgentState.DESCRIPTOR, "AGENT_STATE_")
FORMATS: Final = Spellings(agents_pb2.DefinitionFormat.DESCRIPTOR, "DEFINITION_FORMAT_")
LEVELS: Final = Spellings(agents_pb2.LogLevel.DESCRIPTOR, "LOG_LEVEL_")
MEMBER_STATES: Final = Spellings(cluster_pb2.MemberState.DESCRIPTOR, "MEMBER_STATE_")
MODES: Final = Spellings(cluster_pb2.PartitionMode.DESCRIPTOR, "PARTITION_MODE_")


def _given(wire: Wire, field: str) -> Any:
    """Return a field that may be absent; None where it is."""
    return getattr(wire, field) if wire.HasField(field) else None


def _instant(at: Timestamp) -> datetime:
    return at.ToDatetime(UTC)


def _instant_or_none(wire: Wire, field: str) -> datetime | None:
    at: Timestamp | None = _given(wire, field)
    return None if at is None else _instant(at)


def _length_or_none(wire: Wire, field: str) -> timedelta | None:
    length: Duration | None = _given(wire, field)
    return None if length is None else length.ToTimedelta()


def timestamp(at: datetime) -> Timestamp:
    """Return an instant for the wire.

    Raises:
        ValueError: It names no time zone.
    """
    if at.tzinfo is None:
        raise ValueError("give the instant a time zone, such as datetime.UTC")
    made = Timestamp()
    made.FromDatetime(at)
    return made


def duration(seconds: float) -> Duration:
    """Return a length of time for the wire."""
    made = Duration()
    made.FromTimedelta(timedelta(seconds=seconds))
    return made


def json_bytes(value: Any) -> bytes:
    """Return the JSON text of a value.

    Raises:
        TypeError: It has no JSON form.
        ValueError: It holds a number that JSON has not: NaN or an infinity.
    """
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    return text.encode()


def message(wire: messages_pb2.Message) -> models.Message:
    """Return a message."""
    return models.Message(
        id=wire.id,
        performative=ACTS.word(wire.performative),
        sender=wire.sender,
        receiver=wire.receiver,
        content=json.loads(wire.content) if wire.content else None,
        conversation_id=wire.conversation_id,
        in_reply_to=_given(wire, "in_reply_to"),
        reply_with=_given(wire, "reply_with"),
        protocol=_given(wire, "protocol"),
        capability=_given(wire, "capability"),
        language=_given(wire, "language"),
        ontology=_given(wire, "ontology"),
        encoding=_given(wire, "encoding"),
        reply_to=_given(wire, "reply_to"),
        reply_by=_instant_or_none(wire, "reply_by"),
        created_at=_instant_or_none(wire, "created_at"),
        delivery=DELIVERIES.word(wire.delivery),
        traceparent=_given(wire, "traceparent"),
        metadata=json.loads(wire.metadata) if wire.metadata else {},
    )


def acceptance(
    wire: messages_pb2.Acceptance, reply: messages_pb2.Message | None = None
) -> models.Acceptance:
    """Return the server's word for a message."""
    return models.Acceptance(
        message_id=wire.message_id,
        conversation_id=wire.conversation_id,
        status=STATUSES.word(wire.status),
        routed_to=tuple(wire.routed_to),
        accepted_at=_instant(wire.accepted_at),
        is_duplicate=wire.is_duplicate,
        reply=None if reply is None else message(reply),
    )


def record(wire: messages_pb2.MessageRecord) -> models.Record:
    """Return a message and what became of it."""
    return models.Record(
        message=message(wire.message),
        status=STATUSES.word(wire.status),
        accepted_at=_instant(wire.accepted_at),
        settled_at=_instant_or_none(wire, "settled_at"),
        started_at=_instant_or_none(wire, "started_at"),
        agent=_given(wire, "agent"),
        attempts=wire.attempts,
        reason=_given(wire, "reason"),
    )


def trace_step(wire: messages_pb2.TraceStep) -> models.TraceStep:
    """Return one thing that happened to a message."""
    return models.TraceStep(
        message_id=wire.message_id,
        kind=wire.kind,
        node=wire.node,
        agent=wire.agent,
        started_at=_instant(wire.started_at),
        duration=_length_or_none(wire, "duration"),
        detail=wire.detail,
    )


def conversation(wire: messages_pb2.Conversation) -> models.Conversation:
    """Return a conversation."""
    return models.Conversation(**_conversation(wire))


def conversation_detail(
    wire: messages_pb2.MessagesGetConversationResponse,
) -> models.ConversationDetail:
    """Return a conversation with its last messages."""
    return models.ConversationDetail(
        **_conversation(wire.conversation),
        records=tuple(map(record, wire.records)),
        children=tuple(wire.children),
    )


def _conversation(wire: messages_pb2.Conversation) -> dict[str, Any]:
    return {
        "id": wire.id,
        "participants": tuple(wire.participants),
        "message_count": wire.message_count,
        "status": wire.status,
        "created_at": _instant(wire.created_at),
        "last_activity_at": _instant(wire.last_activity_at),
    }


def agent(wire: agents_pb2.Agent) -> models.Agent:
    """Return an agent."""
    return models.Agent(**_agent(wire))


def agent_detail(wire: agents_pb2.AgentsGetResponse) -> models.AgentDetail:
    """Return an agent with its definition."""
    return models.AgentDetail(
        **_agent(wire.agent),
        system_prompt=wire.spec.system_prompt,
        documentation=wire.spec.documentation,
        source=wire.source.text,
        source_format=FORMATS.word(wire.source.format),
    )


def _agent(wire: agents_pb2.Agent) -> dict[str, Any]:
    return {
        "name": wire.name,
        "kind": KINDS.word(wire.kind),
        "state": STATES.word(wire.state),
        "version": wire.version,
        "version_number": wire.version_number,
        "capabilities": tuple(wire.capabilities),
        "description": wire.description,
        "tools": tuple(wire.tools),
        "replicas": wire.replicas,
        "nodes": tuple(wire.nodes),
        "deployed_at": _instant_or_none(wire, "deployed_at"),
        "last_activity_at": _instant_or_none(wire, "last_activity_at"),
        "turns_completed": wire.activity.turns_completed,
        "turns_failed": wire.activity.turns_failed,
        "mailbox_depth": wire.activity.mailbox_depth,
    }


def version(wire: agents_pb2.AgentVersion) -> models.AgentVersion:
    """Return one deployed definition."""
    return models.AgentVersion(
        number=wire.number,
        version=wire.version,
        digest=wire.digest,
        deployed_at=_instant(wire.deployed_at),
        is_current=wire.is_current,
    )


def places(wire: Sequence[errors_pb2.Place]) -> tuple[Place, ...]:
    """Return where in an input something is odd or wrong."""
    return tuple(
        Place(**{"message": "", **{field.name: value for field, value in one.ListFields()}})
        for one in wire
    )


def log_line(wire: agents_pb2.LogLine) -> models.LogLine:
    """Return a line of a log."""
    return models.LogLine(
        at=_instant(wire.at),
        level=LEVELS.word(wire.level),
        text=wire.text,
        conversation_id=_given(wire, "conversation_id"),
    )


def chat_event(wire: agents_pb2.ChatEvent) -> models.ChatEvent | None:
    """Return one thing that a chat shows; None for what this version does not know."""
    match wire.WhichOneof("event"):
        case "accepted":
            return models.Accepted(wire.accepted.message_id, wire.accepted.conversation_id)
        case "delta":
            return models.Delta(wire.delta.text)
        case "tool_call":
            call = wire.tool_call
            arguments = json.loads(call.arguments) if call.arguments else {}
            return models.ToolCall(call.call_id, call.tool, arguments)
        case "tool_result":
            return models.ToolResult(wire.tool_result.call_id, wire.tool_result.is_error)
        case "reply":
            return models.Reply(message(wire.reply))
        case _:
            return None


def member(wire: cluster_pb2.Member) -> models.Member:
    """Return a node of the cluster."""
    return models.Member(
        node_id=wire.node_id,
        state=MEMBER_STATES.word(wire.state),
        gossip_address=wire.gossip_address,
        grpc_address=wire.grpc_address,
        version=wire.version,
        incarnation=wire.incarnation,
        epoch=wire.epoch,
        round_trip=_length_or_none(wire, "round_trip"),
        is_self=wire.is_self,
    )


def cluster(wire: cluster_pb2.ClusterStatusResponse) -> models.Cluster:
    """Return the state of the cluster."""
    return models.Cluster(
        node_id=wire.node_id,
        cluster=wire.cluster,
        members={MEMBER_STATES.word(one.state): one.count for one in wire.members},
        agent_count=wire.agent_count,
        mode=MODES.word(wire.partition.mode) or None,
        is_writable=wire.partition.is_writable,
    )
