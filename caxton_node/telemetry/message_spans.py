"""The spans that every message leaves, by the semantic conventions for messaging.

    send (PRODUCER, where it is handed in) ─▶ process (CONSUMER, where its turn is taken)
                                                        └▶ receive (CONSUMER, where a client waits)

What carries a trace from node to node is the message: `traceparent` names the span that its turn,
wherever it is taken, belongs to. A message of a trace that is not recorded passes unchanged.

Reference: OpenTelemetry semantic conventions, "Messaging spans".
"""

import msgspec

from caxton_node.domain.message import Message
from caxton_node.telemetry.spans import NO_SPAN, Attribute, Kind, NoSpan, Span, Tracing
from caxton_node.telemetry.trace import is_sampled

__all__ = ["begin_process", "begin_send", "note_received"]


def begin_send(tracing: Tracing, message: Message) -> tuple[Message, Span | NoSpan]:
    """Begin to hand a message in.

    Returns:
        The message as it is to be sent, and the span to end when it is accepted.
    """
    if not tracing.is_recording or not is_sampled(message.traceparent):
        return message, NO_SPAN
    destination = message.receiver or message.capability or ""
    span = tracing.begin(
        f"send {destination}",
        Kind.PRODUCER,
        message.traceparent,
        _facts(message, "send", destination),
    )
    if not span:
        return message, NO_SPAN
    return msgspec.structs.replace(message, traceparent=span.traceparent), span


def begin_process(
    tracing: Tracing, message: Message, agent: str, *, attempt: int, wait_ms: int
) -> Span | None:
    """Begin a turn on a message whose trace may be recorded; None where it is not."""
    facts = _facts(message, "process", agent)
    facts["caxton.attempt"] = attempt
    facts["caxton.wait_ms"] = max(0, wait_ms)
    span = tracing.begin(f"process {agent}", Kind.CONSUMER, message.traceparent, facts)
    return span if isinstance(span, Span) else None


def note_received(tracing: Tracing, answer: Message, client: str) -> None:
    """Note that an answer is where its client can read it."""
    facts = _facts(answer, "receive", client)
    tracing.begin(f"receive {client}", Kind.CONSUMER, answer.traceparent, facts).end()


def _facts(message: Message, operation: str, destination: str) -> dict[str, Attribute | None]:
    return {
        "messaging.system": "caxton",
        "messaging.operation.name": operation,
        "messaging.operation.type": operation,
        "messaging.destination.name": destination,
        "messaging.message.id": message.id,
        "messaging.message.conversation_id": message.conversation_id,
        "messaging.message.body.size": len(message.content),
        "caxton.performative": message.performative.value,
    }
