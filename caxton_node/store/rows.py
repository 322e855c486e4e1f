"""Rows of the database turned into the values that the protocol speaks of."""

from dataclasses import dataclass
from typing import Final

import msgspec
import orjson

from caxton_node.domain.agent import AgentState
from caxton_node.domain.conversation import Conversation, ConversationStatus
from caxton_node.domain.delivery import DeliveryStatus
from caxton_node.domain.message import decode_message
from caxton_node.store.protocol import (
    AgentRecord,
    AgentVersion,
    Definition,
    LogLine,
    Step,
    StepState,
    StoredMessage,
)

__all__ = [
    "Undecodable",
    "agent_records",
    "agent_versions",
    "conversations",
    "definition",
    "log_lines",
    "steps",
    "stored_messages",
    "words",
]


PROBLEM_LENGTH_MAX: Final = 200
"""Characters of what is wrong with a row."""


def _blobs(joined: str | None) -> list[bytes]:
    """Return the blobs in a `group_concat(hex(…), ' ')`."""
    return [] if joined is None else [bytes.fromhex(part) for part in joined.split(" ")]


@dataclass(frozen=True, slots=True)
class Undecodable:
    """A message that is stored but means nothing to this version."""

    seq: int
    id: str
    problem: str


def stored_messages(rows: str, bodies: str | None) -> tuple[list[StoredMessage], list[Undecodable]]:
    """Read the answer of `messages_by_seq`: what can be decoded, and what cannot."""
    found: list[StoredMessage] = []
    undecodable: list[Undecodable] = []
    for row, body in zip(orjson.loads(rows), _blobs(bodies), strict=True):
        seq, message_id, status, accepted_at, settled_at, *end = row
        agent, started_at, attempts, reason, node = end
        try:
            found.append(
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
                    node=node,
                )
            )
        except (msgspec.DecodeError, ValueError) as error:
            undecodable.append(Undecodable(seq, message_id, str(error)[:PROBLEM_LENGTH_MAX]))
    return found, undecodable


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
        AgentRecord(
            name=name,
            state=AgentState(state),
            current=current,
            changed_at=changed_at,
            revision=revision,
            epoch=epoch,
            is_here=bool(is_here),
            replicas=replicas,
            placement=placement,
        )
        for (
            name,
            state,
            current,
            changed_at,
            revision,
            epoch,
            is_here,
            replicas,
            placement,
        ) in orjson.loads(rows)
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


def definition(digest: str, row: str | None) -> Definition | None:
    """Read the answer of `definition`."""
    if row is None:
        return None
    source_format, source = orjson.loads(row)
    return Definition(digest=digest, format=source_format, source=source)


def words(rows: str) -> list[str]:
    """Read an answer that is a list of texts."""
    found: list[str] = orjson.loads(rows)
    return found


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
