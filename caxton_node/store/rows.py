"""Rows of the database turned into the values that the protocol speaks of."""

import orjson

from caxton_node.domain.agent import AgentState
from caxton_node.domain.conversation import Conversation, ConversationStatus
from caxton_node.domain.delivery import DeliveryStatus
from caxton_node.domain.message import decode_message
from caxton_node.store.protocol import (
    AgentRecord,
    AgentVersion,
    LogLine,
    Step,
    StepState,
    StoredMessage,
)

__all__ = [
    "agent_records",
    "agent_versions",
    "conversations",
    "log_lines",
    "steps",
    "stored_messages",
]


def _blobs(joined: str | None) -> list[bytes]:
    """Return the blobs in a `group_concat(hex(…), ' ')`."""
    return [] if joined is None else [bytes.fromhex(part) for part in joined.split(" ")]


def stored_messages(rows: str, bodies: str | None) -> list[StoredMessage]:
    """Read the answer of `messages_by_seq`."""
    return [
        StoredMessage(
            seq=seq,
            message=decode_message(body),
            status=DeliveryStatus(status),
            accepted_at=accepted_at,
            settled_at=settled_at,
            agent=agent,
            started_at=started_at,
            attempts=attempts,
            reason=reason,
        )
        for (
            seq,
            status,
            accepted_at,
            settled_at,
            agent,
            started_at,
            attempts,
            reason,
        ), body in zip(orjson.loads(rows), _blobs(bodies), strict=True)
    ]


def conversations(rows: str) -> list[Conversation]:
    """Read the answer of `conversation_summaries`. One that was pruned meanwhile is left out."""
    found = []
    for conversation_id, (count, open_count, first_at, last_at), participants in orjson.loads(rows):
        if count:
            is_active = open_count > 0
            found.append(
                Conversation(
                    id=conversation_id,
                    participants=tuple(participants),
                    message_count=count,
                    status=(
                        ConversationStatus.ACTIVE if is_active else ConversationStatus.COMPLETED
                    ),
                    created_at=first_at,
                    last_activity_at=last_at,
                )
            )
    return found


def agent_records(rows: str) -> list[AgentRecord]:
    """Read the answer of `agents`."""
    return [
        AgentRecord(name=name, state=AgentState(state), current=current, changed_at=changed_at)
        for name, state, current, changed_at in orjson.loads(rows)
    ]


def agent_versions(agent: str, rows: str) -> list[AgentVersion]:
    """Read the answer of `agent_versions`."""
    return [
        AgentVersion(
            agent=agent,
            number=number,
            version=version,
            source=source,
            format=source_format,
            digest=digest,
            deployed_at=deployed_at,
        )
        for number, version, source, source_format, digest, deployed_at in orjson.loads(rows)
    ]


def steps(message_id: str, rows: str, blobs: str | None) -> list[Step]:
    """Read the answer of `steps`."""
    return [
        Step(
            message_id=message_id,
            number=number,
            kind=kind,
            name=name,
            state=StepState(state),
            started_at=started_at,
            finished_at=finished_at,
            data=data,
        )
        for (number, kind, name, state, started_at, finished_at), data in zip(
            orjson.loads(rows), _blobs(blobs), strict=True
        )
    ]


def log_lines(rows: str) -> list[LogLine]:
    """Read the answer of `log`."""
    return [
        LogLine(at=at, level=level, text=text, conversation_id=conversation_id)
        for at, level, text, conversation_id in orjson.loads(rows)
    ]
