"""Following messages as they enter a status on this node."""

from collections.abc import AsyncIterator
from typing import Final

from caxton.v1 import messages_pb2
from caxton_node.grpc_api.wire import ACTS, STATUSES, show_message, wire_timestamp
from caxton_node.runtime.node import Node
from caxton_node.store.protocol import StoredMessage
from caxton_node.telemetry.events import Event

__all__ = ["follow_messages"]

WAIT_S: Final = 15.0
"""How long to wait for an event at a time; a caller that has gone is noticed by gRPC itself."""

PREFIX: Final = "message."


async def follow_messages(
    node: Node, wanted: messages_pb2.MessageFilter
) -> AsyncIterator[messages_pb2.MessagesStreamResponse]:
    """Yield the messages that pass a filter, until the caller hangs up.

    Args:
        node: Whose messages these are. What happens on other nodes is not seen here.
        wanted: What must hold of them.
    """
    statuses = {STATUSES.word(number) for number in wanted.statuses}
    acts = {ACTS.word(number) for number in wanted.performatives}
    agents, conversations = set(wanted.agents), set(wanted.conversation_ids)

    def passes(event: Event) -> bool:
        data = event.data
        return (
            event.kind.startswith(PREFIX)
            and (not statuses or event.kind.removeprefix(PREFIX) in statuses)
            and (not acts or data.get("performative") in acts)
            and (not conversations or data.get("conversation_id") in conversations)
            and (
                not agents
                or not agents.isdisjoint(
                    (data.get("sender"), data.get("receiver"), data.get("agent"))
                )
            )
        )

    missed_count = 0
    with node.events.watch(passes) as watcher:
        while True:
            event = await watcher.next(timeout_s=WAIT_S)
            if watcher.lost_count > missed_count:
                newly_missed = watcher.lost_count - missed_count
                missed_count = watcher.lost_count
                node.counts.events_lost += newly_missed
                yield messages_pb2.MessagesStreamResponse(missed_count=newly_missed)
            if event is None:
                continue
            stored = await node.store.message(event.data["message_id"])
            if stored is None or not _offers(stored, wanted):
                continue
            record = _record(stored)
            # The status that it entered, though it may have entered another one meanwhile.
            record.status = STATUSES.number(event.kind.removeprefix(PREFIX))
            yield messages_pb2.MessagesStreamResponse(record=record)


def _offers(stored: StoredMessage, wanted: messages_pb2.MessageFilter) -> bool:
    if not wanted.capabilities:
        return True
    asked = stored.message.capability
    return asked is not None and any(
        asked == one or asked.startswith((f"{one}.", f"{one}:")) for one in wanted.capabilities
    )


def _record(stored: StoredMessage) -> messages_pb2.MessageRecord:
    return messages_pb2.MessageRecord(
        message=show_message(stored.message),
        accepted_at=wire_timestamp(stored.accepted_at),
        settled_at=None if stored.settled_at is None else wire_timestamp(stored.settled_at),
        agent=stored.agent,
        started_at=None if stored.started_at is None else wire_timestamp(stored.started_at),
        attempts=stored.attempts,
        reason=stored.reason,
    )
