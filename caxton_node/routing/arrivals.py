"""Messages that another node accepted and hands to this one: the way in for peers.

They were promised a place by whoever accepted them, so a full mailbox does not turn them away; the
sending node keeps count. A batch is one entry of the journal, and its commit is what the other node
hears as an ack. What it sends as doubtful (again, after one of the two began anew, or after the
message was elsewhere first) is looked up: what has its end is reported, what is under way is
followed, and only what was never here is taken.
"""

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

import msgspec

from caxton_node.domain.delivery import DeliveryMode, DeliveryStatus
from caxton_node.domain.errors import CaxtonError, Conflict, NotFound, Unavailable
from caxton_node.domain.message import Message, encode_message
from caxton_node.routing.authorise import authorise, authorise_reply_to
from caxton_node.routing.deliver import admit, withdraw
from caxton_node.routing.envelope import AWAY, Envelope
from caxton_node.routing.in_flight import Origin
from caxton_node.routing.pipeline import Pipeline
from caxton_node.routing.validate import validate
from caxton_node.store.protocol import Settlement, StoredMessage

__all__ = ["Arrival", "Arrivals"]

_AT_MOST_ONCE: Final = DeliveryMode.AT_MOST_ONCE
_DELIVERED: Final = DeliveryStatus.DELIVERED


class Arrival(msgspec.Struct):
    """One message that came from another node."""

    message: Message
    sequence: int
    """Its number, by which the other node is told of it."""
    agent: str | None = None
    """Who it is for, where it does not name it; empty for a client of this node."""
    is_doubtful: bool = False
    is_revived: bool = False
    """A dead letter that is tried again."""
    packed: bytes | None = None
    """The message as it came, for the journal."""


@dataclass(slots=True)
class _Batch:
    """What one entry of the journal is made of."""

    origin: Origin
    accepted: list[tuple[int, Message]]
    packed: list[bytes]
    """The same messages, for the journal."""
    settled: list[Settlement]
    waiting: list[Envelope]
    answers: list[tuple[Message, int]]
    """For clients of this node, with their numbers."""

    def accept(self, seq: int, arrival: "Arrival") -> None:
        """Add a message under its number in the journal."""
        self.accepted.append((seq, arrival.message))
        self.packed.append(arrival.packed or encode_message(arrival.message))


class Arrivals:
    """Takes in what peers send. Everything here runs on the event loop's thread."""

    def __init__(self, pipeline: Pipeline) -> None:
        self._pipeline = pipeline
        self._journal = pipeline.journal
        self._directory = pipeline.directory

    def take(
        self, arrivals: Sequence[Arrival], origin: Origin, on_done: Callable[[], None]
    ) -> None:
        """Take in messages that were never here.

        Args:
            arrivals: In order.
            origin: Is told of their ends.
            on_done: Called once all are on disk or refused.
        """
        batch = _Batch(origin, [], [], [], [], [])
        for arrival in arrivals:
            try:
                self._take(arrival, batch)
            except CaxtonError as error:
                origin.refused(arrival.sequence, error)
        if batch.accepted:
            committed = functools.partial(self._committed, batch, on_done)
            self._journal.write(batch.accepted, batch.settled, committed, packed=batch.packed)
        else:
            on_done()

    async def take_doubtful(
        self, arrivals: Sequence[Arrival], origin: Origin, on_done: Callable[[], None]
    ) -> None:
        """Take in messages of which some may have been here before. Arguments as `take`.

        Raises:
            CaxtonError: The store cannot be read. Nothing was taken.
        """
        fresh = [
            arrival
            for arrival in arrivals
            if not arrival.is_doubtful or not await self._is_known(arrival, origin)
        ]
        # Between the look-up and here others may have come: under another link, or from a client.
        unknown = [one for one in fresh if not self._is_under_way(one, origin)]
        self.take(unknown, origin, on_done)

    def _is_under_way(self, arrival: Arrival, origin: Origin) -> bool:
        """Follow a message that has no end yet; False when there is none."""
        if not arrival.is_doubtful:
            return False
        envelope = self._pipeline.in_flight.find(arrival.message.id)
        if envelope is None:
            return False
        if envelope.phase == AWAY and envelope.inbox.node == origin.node:
            # Our own comes back from the node that it went to: its agent is here by now, or that
            # node believes so. Taking it and sending it there again would never end.
            if self._directory.inbox(envelope.inbox.agent) is None:
                gone = NotFound("agent_not_found", f"{envelope.inbox.agent!r} is not on this node")
                origin.refused(arrival.sequence, gone)
                return True
            envelope.inbox.discard(envelope)
            envelope.sent_to = None  # that node passes on only what it has not begun
            self._pipeline.place_again((envelope,))
        envelope.origin = (origin, arrival.sequence, envelope.origin)
        return True

    async def _is_known(self, arrival: Arrival, origin: Origin) -> bool:
        if self._is_under_way(arrival, origin):
            return True
        stored = await self._journal.find(arrival.message.id)
        if stored is None or self._pipeline.in_flight.find(arrival.message.id) is not None:
            return False
        if stored.status is DeliveryStatus.ACCEPTED:
            # Its end is being written, or it is being taken from a client: neither takes long.
            busy = Conflict("already_exists", "it is being accepted or ended here right now")
            origin.refused(arrival.sequence, busy)
            return True
        if arrival.is_revived and stored.status is DeliveryStatus.DEAD:
            await self._pipeline.revive(arrival.message.id)
            return self._is_under_way(arrival, origin)
        origin.ended(arrival.sequence, stored.status, stored.reason)
        await self._answer_again(arrival.message, stored)
        return True

    async def _answer_again(self, question: Message, stored: StoredMessage) -> None:
        """Send the answer to a question that is asked again from another node.

        Whoever asked first may be gone, and its turn taken over by whoever asks now.
        """
        if question.home == stored.message.home:
            return
        answer = await self._journal.answer_to(question)
        if answer is not None:
            again = msgspec.structs.replace(answer, home=question.home)
            self._pipeline.answer_again(again)

    # One message.

    def _take(self, arrival: Arrival, batch: _Batch) -> None:
        """Find its place.

        Raises:
            CaxtonError: It is not taken.
        """
        message = arrival.message
        validate(message, now_ms=0)
        if self._pipeline.is_draining and message.in_reply_to is None:
            raise Unavailable("node_draining", "this node is stopping")
        if arrival.agent == "" and self._directory.inbox(message.receiver) is None:
            self._take_for_client(arrival, batch)
            return
        name = arrival.agent or message.receiver
        inbox = self._directory.inbox(name)
        if inbox is None:
            raise NotFound("agent_not_found", f"{name!r} is not on this node")
        if message.in_reply_to is None:
            permissions = inbox.permissions
            if permissions.senders:
                authorise(message.sender, inbox.agent, permissions)
            if message.reply_to is not None:
                authorise_reply_to(message, self._directory)
        admit(message, inbox, is_forced=True)
        if message.delivery is _AT_MOST_ONCE:
            self._pipeline.arrived(Envelope(0, message, inbox))
            return
        envelope = Envelope(self._journal.next_seq(), message, inbox)
        envelope.origin = (batch.origin, arrival.sequence, None)
        envelope.is_doubtful = arrival.is_doubtful
        # From an earlier attempt there may be steps, and questions under the same ids.
        envelope.is_recovered = arrival.is_doubtful
        self._pipeline.in_flight.add(envelope)
        batch.accept(envelope.seq, arrival)
        batch.waiting.append(envelope)

    def _take_for_client(self, arrival: Arrival, batch: _Batch) -> None:
        """Keep an answer for a client of this node: it has its end with being here."""
        message = arrival.message
        if message.delivery is _AT_MOST_ONCE:
            self._pipeline.hand_to_client(message)
            return
        seq = self._journal.next_seq()
        batch.accept(seq, arrival)
        batch.settled.append(self._pipeline.own_end(seq, message.receiver))
        batch.answers.append((message, arrival.sequence))

    def _committed(
        self, batch: _Batch, on_done: Callable[[], None], error: Unavailable | None
    ) -> None:
        origin = batch.origin
        if error is None:
            for message, sequence in batch.answers:
                self._pipeline.hand_to_client(message)
                origin.ended(sequence, _DELIVERED, None)
            for envelope in batch.waiting:
                self._pipeline.arrived(envelope)
        else:
            for _, sequence in batch.answers:
                origin.refused(sequence, error)
            for envelope in batch.waiting:
                withdraw(envelope)
                self._pipeline.in_flight.remove(envelope)
                told = envelope.origin
                while told is not None:
                    told[0].refused(told[1], error)
                    told = told[2]
        on_done()
