"""How messages end: with an answer or without, given up, expired, called off, reported.

The second half of the pipeline. A reply and the settlement of its request are one journal entry:
after a crash either both are there or neither is. Whoever handed a message over from another node
is told of its end, after it is on disk.
"""

import functools
from collections.abc import Callable, Iterable, Sequence
from typing import Final, assert_never

from caxton_node.domain.delivery import DeliveryMode, DeliveryStatus
from caxton_node.domain.errors import CaxtonError, Failed, TimedOut, Unavailable
from caxton_node.domain.ids import IdFactory
from caxton_node.domain.message import Message, encode_content, reply_to_message
from caxton_node.domain.performatives import positive_reply
from caxton_node.routing.clock import Clock
from caxton_node.routing.deliver import admit, deliver, withdraw
from caxton_node.routing.directory import Directory, Inbox
from caxton_node.routing.elsewhere import Elsewhere, Nowhere
from caxton_node.routing.envelope import AWAY, OVER, RETRYING, WAITING, Envelope
from caxton_node.routing.gathering import Gathering
from caxton_node.routing.in_flight import InFlight, tell_end
from caxton_node.routing.journal import Journal
from caxton_node.routing.order import Order
from caxton_node.routing.redelivery import GiveUp, RetryIn
from caxton_node.routing.replies import failure_reply
from caxton_node.routing.unplaced import Unplaced
from caxton_node.routing.waiting import Answers, is_ask
from caxton_node.store.protocol import RECEIVER, Settlement
from caxton_node.telemetry.counts import Counts
from caxton_node.telemetry.events import Events
from caxton_node.telemetry.message_spans import note_received
from caxton_node.telemetry.spans import Tracing
from caxton_node.telemetry.trace import is_sampled, parse_traceparent

__all__ = ["ALONE", "Endings"]

REWRITE_AFTER_S: Final = 1.0
"""An answer that could not be written is written again after this long, until it is kept."""

REASON_LENGTH_MAX: Final = 1_000

# Python 3.11 looks a member of an enum up by a function call; these are asked at every message.
_AT_MOST_ONCE: Final = DeliveryMode.AT_MOST_ONCE
_DELIVERED: Final = DeliveryStatus.DELIVERED

ALONE: Final = Nowhere()
"""The `elsewhere` of a node in no ring."""

AfterFailure = Callable[[CaxtonError, int], RetryIn | GiveUp]
"""Takes the error and the number of attempts so far."""

_Then = Callable[[], None]


class Endings:
    """Sees messages to their end, and delivers the answers.

    Everything here runs on the event loop's thread.
    """

    def __init__(  # noqa: PLR0913 - the parts that the pipeline connects
        self,
        *,
        journal: Journal,
        directory: Directory,
        answers: Answers,
        events: Events,
        counts: Counts,
        new_id: IdFactory,
        clock: Clock,
        after_failure: AfterFailure,
        tracing: Tracing,
    ) -> None:
        self._journal = journal
        self._directory = directory
        self._answers = answers
        self._events = events
        self._counts = counts
        self._new_id = new_id
        self._clock = clock
        self._clock_ms = clock.now_ms
        self._after_failure = after_failure
        self._tracing = tracing
        self.elsewhere: Elsewhere = ALONE
        """Agents of other nodes. Set by whoever connects the node to them."""
        self.order: Order | None = None
        """Keeps conversations in order while agents move. Set together with `elsewhere`."""
        self.in_flight = InFlight()
        """What other nodes know of."""
        self._gathering = Gathering(
            self.in_flight, lambda ends, told: self._write_until_kept((), ends, told)
        )
        self.is_draining = False
        """Set when the node is stopping: nothing new from outside is accepted."""
        self.unplaced = self._unplaced = Unplaced(self._call_off_unplaced)
        """Messages without a place."""
        self._turn = 0

    @property
    def journal(self) -> Journal:
        """Where messages are written."""
        return self._journal

    @property
    def directory(self) -> Directory:
        """The agents of this node."""
        return self._directory

    @property
    def clock(self) -> Clock:
        """The time, and alarms."""
        return self._clock

    # On the way.

    def _deliver(self, envelope: Envelope) -> None:
        message = envelope.message
        self._counts.messages_accepted += 1
        if envelope.on_accepted is not None:
            envelope.on_accepted(None)
            envelope.on_accepted = None
        if message.reply_by is not None:
            delay_s = max(0.0, (message.reply_by - self._clock_ms()) / 1000)
            envelope.alarm = self._clock.call_later(
                delay_s, functools.partial(self._too_late, envelope)
            )
        if self._events.has_watchers:
            self._publish("message.accepted", message, agent=envelope.inbox.agent)
        if self.order is None:
            deliver(envelope)
        else:
            self._hand_on(envelope)

    def _hand_on(self, envelope: Envelope) -> None:
        """Take a message to its inbox, or to where it waits behind earlier ones."""
        if self.order is not None:
            detour = self.order.detour(envelope)
            if detour is not None:
                withdraw(envelope)
                detour.reserve(True)
                envelope.inbox = detour
        deliver(envelope)

    def _note_handed_over(self, message: Message, client: str) -> None:
        if self._tracing.is_recording and is_sampled(message.traceparent):
            note_received(self._tracing, message, client)
        self._counts.messages_accepted += 1
        self._counts.messages_delivered += 1
        if self._events.has_watchers:
            self._publish("message.delivered", message, agent=client)

    # Out.

    def finish(
        self,
        envelope: Envelope,
        reply: Message | None,
        status: DeliveryStatus = _DELIVERED,
        reason: str | None = None,
        ended_at: int | None = None,
    ) -> None:
        """See a message to its end, together with the answer to it.

        Args:
            envelope: Whose turn is over, or who will get none.
            reply: The answer, if any. It takes the same way as any message.
            status: How it ended.
            reason: For a dead message.
            ended_at: Milliseconds since 1970, UTC, from who just looked; None for now.
        """
        assert envelope.phase != OVER, "a message ends once"
        envelope.phase = OVER
        if envelope.alarm is not None:
            envelope.alarm.cancel()
            envelope.alarm = None
        if status is _DELIVERED:
            self._counts.messages_delivered += 1
        else:
            self._count_end(status)
        if self._events.has_watchers:
            agent = envelope.inbox.agent if envelope.inbox is not None else ""
            self._publish(f"message.{status}", envelope.message, agent=agent)
        told, is_gathered = None, False
        if envelope.is_tracked:
            is_told_alone = reply is None and envelope.after is None and envelope.seq > 0
            is_gathered = is_told_alone and envelope.origin is not None
            if not is_gathered:
                told = self._close(envelope, status, reason)
        now_ms = self._clock_ms() if ended_at is None else ended_at
        self._time(envelope.message, now_ms)
        settlement = None
        if envelope.seq:
            settlement = Settlement(
                envelope.seq,
                status,
                now_ms,
                _whose(envelope),
                envelope.started_at,
                envelope.attempts,
                reason,
                envelope.went_to,
            )
            if is_gathered:
                self._gathering.add(envelope, settlement)
                return
        if reply is not None:
            self._reply(reply, envelope.message, settlement, told)
        elif told is not None:
            self._write_until_kept((), () if settlement is None else (settlement,), told)
        elif settlement is not None:
            self._journal.settle(settlement)

    def finish_away(self, envelopes: Iterable[Envelope]) -> None:
        """See to their end messages that were delivered on another node: one write for all."""
        # As `finish` does, for many at once: nothing is asked twice that is the same for all.
        now_ms = self._clock_ms()
        is_watched = self._events.has_watchers
        remove = self.in_flight.remove
        settlements: list[Settlement] = []
        for envelope in envelopes:
            if envelope.origin is not None or envelope.alarm is not None or not envelope.seq:
                self.finish(envelope, None)
                continue
            envelope.phase = OVER
            remove(envelope)
            if envelope.message.home is None:
                self._time(envelope.message, now_ms)
            if is_watched:
                self._publish("message.delivered", envelope.message, agent=envelope.inbox.agent)
            settlements.append(
                Settlement(
                    envelope.seq,
                    _DELIVERED,
                    now_ms,
                    _whose(envelope) or RECEIVER,
                    envelope.started_at,
                    envelope.attempts,
                    None,
                    envelope.went_to,
                )
            )
            if envelope.after is not None:
                envelope.after()
        self._counts.messages_delivered += len(settlements)
        if settlements:
            self._journal.write((), settlements, None)

    def _time(self, message: Message, now_ms: int) -> None:
        """Count how long a message took that this node accepted."""
        if message.home is not None:
            return
        duration_s = (now_ms - message.created_at) / 1000
        if self._tracing.is_recording and is_sampled(message.traceparent):
            trace = parse_traceparent(message.traceparent)
            if trace is not None:
                self._counts.message_s.observe_traced(duration_s, trace.trace_id, now_ms / 1000)
                return
        self._counts.message_s.observe(duration_s)

    def park(self, envelope: Envelope) -> None:
        """Keep a message until its agent is somewhere; `reconsider` looks again."""
        self._unplaced.reserve(True)
        envelope.inbox = self._unplaced
        self._unplaced.put(envelope)

    def _close(
        self, envelope: Envelope, status: DeliveryStatus, reason: str | None
    ) -> _Then | None:
        """Forget a message that other nodes know of; return what tells them, if they wait."""
        self.in_flight.remove(envelope)
        if envelope.origin is None:
            return envelope.after
        told = functools.partial(tell_end, envelope.origin, status, reason)
        return told if envelope.after is None else functools.partial(_both, told, envelope.after)

    def _count_end(self, status: DeliveryStatus) -> None:
        counts = self._counts
        match status:
            case DeliveryStatus.DELIVERED:
                counts.messages_delivered += 1
            case DeliveryStatus.DEAD:
                counts.messages_dead += 1
            case DeliveryStatus.EXPIRED:
                counts.messages_expired += 1
            case DeliveryStatus.CANCELLED:
                counts.messages_cancelled += 1
            case DeliveryStatus.ACCEPTED:
                raise AssertionError("accepted is no end")
            case _ as unreachable:
                assert_never(unreachable)

    def _reply(
        self,
        reply: Message,
        request: Message,
        settlement: Settlement | None,
        told: _Then | None = None,
    ) -> None:
        """Send an answer, written in one with the end of its request."""
        is_journaled = reply.delivery is not _AT_MOST_ONCE
        reply_seq = self._journal.next_seq() if is_journaled else 0
        inbox = self._directory.inbox(reply.receiver)
        is_away = inbox is None and self.elsewhere is not ALONE
        if is_away:
            inbox = self._inbox_away(reply)
        deliver_it = self._deliver if is_away else self._deliver_reply
        if inbox is not None:
            try:
                # Its request paid for the place of an answer, but only with whoever sent it.
                admit(reply, inbox, is_forced=reply.receiver == request.sender)
            except CaxtonError as refusal:
                reason = f"{refusal.code}: {refusal.detail}"
                self._bury_reply(reply_seq, reply, settlement, reason, told)
                return
            envelope = Envelope(reply_seq, reply, inbox)
            if told is not None and is_away:
                # Whoever hears of the end of its request forgets it, and this node may die
                # before the answer is out: first the answer arrives, then the end is told.
                envelope.after, told = told, None
                self.in_flight.add(envelope)
            then = functools.partial(deliver_it, envelope)
            own_end: tuple[Settlement, ...] = ()
        else:
            then = functools.partial(self._give_to_client, reply)
            own_end = (self._end(reply_seq, _DELIVERED, reply.receiver),) if is_journaled else ()
        if told is not None:
            then = functools.partial(_both, told, then)
        settled = () if settlement is None else (settlement,)
        if is_journaled:
            self._write_until_kept(((reply_seq, reply),), (*settled, *own_end), then)
        else:
            if settled:
                self._journal.settle(settled[0])
            then()

    def _inbox_away(self, reply: Message) -> Inbox | None:
        """Return where an answer for nobody of this node goes; None for a client of this one."""
        inbox = self.elsewhere.inbox(reply.receiver)
        if inbox is None and reply.home is not None:
            inbox = self.elsewhere.client(reply.home)
        return inbox

    def _deliver_reply(self, envelope: Envelope) -> None:
        reply = envelope.message
        if self._answers.give(reply) or is_ask(reply.in_reply_to):
            # The agent that asked waits within a turn, or will look the answer up when that turn
            # resumes: no turn of its own for this.
            withdraw(envelope)
            self._counts.messages_accepted += 1
            self.finish(envelope, None)
        else:
            self._deliver(envelope)

    def _give_to_client(self, reply: Message) -> None:
        self._note_handed_over(reply, reply.receiver)
        self._answers.give(reply)

    def _bury_reply(
        self,
        reply_seq: int,
        reply: Message,
        settlement: Settlement | None,
        reason: str,
        told: _Then | None,
    ) -> None:
        """Keep an answer that its `reply_to` does not take as a dead letter."""
        self._counts.messages_dead += 1
        settled = () if settlement is None else (settlement,)
        if reply_seq:
            end = self._end(reply_seq, DeliveryStatus.DEAD, reply.receiver, reason)
            self._write_until_kept(((reply_seq, reply),), (*settled, end), told or _nothing)
        elif settled:
            self._journal.settle(settled[0])

    def _end(
        self, seq: int, status: DeliveryStatus, agent: str, reason: str | None = None
    ) -> Settlement:
        return Settlement(seq, status, self._clock_ms(), agent, reason=reason)

    def _write_until_kept(
        self,
        accepted: Sequence[tuple[int, Message]],
        settled: Sequence[Settlement],
        then: Callable[[], None],
    ) -> None:
        """Write an answer and the end of its request, again while the disk refuses.

        The turn was taken and its answer is known; there is nobody to tell but by writing it. As
        many wait here as messages are in flight.
        """
        # No closures that name each other: each answer would leave a cycle to the collector.
        self._journal.write(
            accepted, settled, functools.partial(self._kept, accepted, settled, then)
        )

    def _kept(
        self,
        accepted: Sequence[tuple[int, Message]],
        settled: Sequence[Settlement],
        then: Callable[[], None],
        error: Unavailable | None,
    ) -> None:
        """Go on with an answer that is on disk, or write it again a little later."""
        if error is None:
            then()
            return
        again = functools.partial(self._write_until_kept, accepted, settled, then)
        self._clock.call_later(REWRITE_AFTER_S, again)

    # When it does not go well.

    def fail(self, envelope: Envelope, error: CaxtonError) -> RetryIn | None:
        """Decide what follows a failed turn.

        Returns:
            When to try again; None when the message was given up, its sender told.
        """
        match self._after_failure(error, envelope.attempts):
            case RetryIn() as retry:
                self._counts.messages_retried += 1
                return retry
            case GiveUp(reason):
                self.give_up(envelope, error, reason)
                return None

    def give_up(self, envelope: Envelope, error: CaxtonError, reason: str) -> None:
        """Keep a message as a dead letter and tell its sender."""
        self.finish(
            envelope,
            self._failure(envelope, error),
            status=DeliveryStatus.DEAD,
            reason=reason[:REASON_LENGTH_MAX],
        )

    def expire(self, envelope: Envelope) -> None:
        """End a message that came too late, and tell its sender."""
        error = TimedOut("expired", "reply_by passed before an answer was ready")
        self.finish(envelope, self._failure(envelope, error), status=DeliveryStatus.EXPIRED)

    def cancel(self, envelope: Envelope, *, partial: str = "") -> None:
        """End a message that was called off, and tell its sender, with what there is so far."""
        facts: dict[str, object] = {"partial": partial} if partial else {}
        error = Failed("cancelled", "called off before the turn was done", facts=facts)
        self.finish(envelope, self._failure(envelope, error), status=DeliveryStatus.CANCELLED)

    def call_off(self, waiting: Iterable[Envelope], request: Envelope) -> None:
        """Act on a `cancel` for what waits outside a seat, and answer it.

        Args:
            waiting: Messages of its conversation that no turn was begun for.
            request: The `cancel`.

        Reference: FIPA SC00037J, `cancel`: only the initiator of an action may call it off.
        """
        message = request.message
        count = 0
        for envelope in waiting:
            if envelope.message.sender == message.sender:
                envelope.inbox.discard(envelope)
                self.cancel(envelope)
                count += 1
        answer = reply_to_message(
            message,
            message_id=self._new_id("msg"),
            sender=message.receiver or "caxton",
            performative=positive_reply(message.performative),
            content=encode_content({"cancelled": count}),
            now_ms=self._clock_ms(),
        )
        self.finish(request, answer)

    def _call_off_unplaced(self, unplaced: Unplaced, request: Envelope) -> None:
        self.call_off(unplaced.waiting(request.message.conversation_id), request)

    def _failure(self, envelope: Envelope, error: CaxtonError) -> Message | None:
        sender = (envelope.inbox is not None and envelope.inbox.agent) or "caxton"
        return failure_reply(
            envelope.message,
            error,
            sender=sender,
            message_id=self._new_id("msg"),
            now_ms=self._clock_ms(),
        )

    def _too_late(self, envelope: Envelope) -> None:
        """End a message whose `reply_by` passed outside a turn. Whoever runs a turn ends it."""
        if envelope.phase in (WAITING, RETRYING):
            envelope.inbox.discard(envelope)
            self.expire(envelope)
        elif envelope.phase == AWAY:
            envelope.inbox.expire(envelope)

    def _publish(self, kind: str, message: Message, *, agent: str) -> None:
        self._events.publish(
            kind,
            message_id=message.id,
            conversation_id=message.conversation_id,
            performative=message.performative.value,
            sender=message.sender,
            receiver=message.receiver or agent,
            agent=agent,
        )


def _whose(envelope: Envelope) -> str | None:
    """Return who took a message's turn, as a `Settlement` says it."""
    inbox = envelope.inbox
    agent = None if inbox is None else inbox.agent or None
    return RECEIVER if agent == envelope.message.receiver else agent


def _both(first: _Then, second: _Then) -> None:
    first()
    second()


def _nothing() -> None:
    """There is nobody to tell."""
