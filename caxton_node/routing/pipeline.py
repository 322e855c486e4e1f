"""The shell of the one way through: it calls the steps in order and acts on what they decide.

    submit ─▶ validate ─▶ route, admit ─▶ journal ┄commit┄▶ deliver ─▶ mailbox ─▶ turn
       ▲                                                                          │
       └───────────────────────── finish: reply + settlement ◀────────────────────┘

`submit` runs to the journal without awaiting; the commit calls back and the message is
delivered. A reply and the settlement of its request are one journal entry: after a crash either
both are there or neither is.
"""

import asyncio
import functools
from collections.abc import Callable, Sequence
from typing import Final, assert_never

import msgspec

from caxton_node.domain.delivery import DeliveryMode, DeliveryStatus
from caxton_node.domain.errors import CaxtonError, Failed, NotFound, TimedOut, Unavailable
from caxton_node.domain.ids import IdFactory
from caxton_node.domain.message import Message
from caxton_node.domain.performatives import Performative
from caxton_node.routing.authorise import authorise_reply_to
from caxton_node.routing.clock import Clock
from caxton_node.routing.deliver import admit, deliver, withdraw
from caxton_node.routing.directory import Directory, Inbox
from caxton_node.routing.elsewhere import Elsewhere, Nowhere
from caxton_node.routing.envelope import OVER, RETRYING, WAITING, Envelope, OnAccepted
from caxton_node.routing.journal import Journal
from caxton_node.routing.recovery import LookedUp, Lost, TryAgain, Wait, after_restart
from caxton_node.routing.redelivery import GiveUp, RetryIn
from caxton_node.routing.replies import failure_reply
from caxton_node.routing.route import (
    Await,
    Deliver,
    FanOut,
    HandToClient,
    Undeliverable,
    route,
)
from caxton_node.routing.validate import validate
from caxton_node.routing.waiting import Answers, is_ask
from caxton_node.store.protocol import Settlement, StoredMessage
from caxton_node.telemetry.counts import Counts
from caxton_node.telemetry.events import Events

__all__ = ["COPY_MARK", "Pipeline"]

ACCEPT_TIMEOUT_S: Final = 10.0

REWRITE_AFTER_S: Final = 1.0
"""An answer that could not be written is written again after this long, until it is kept."""

REASON_LENGTH_MAX: Final = 1_000

COPY_MARK: Final = "~"
"""Parts the id of a message to several agents from the number of a copy. No other id holds it."""

# Python 3.11 looks a member of an enum up by a function call; these are asked at every message.
_AT_MOST_ONCE: Final = DeliveryMode.AT_MOST_ONCE
_DELIVERED: Final = DeliveryStatus.DELIVERED

AfterFailure = Callable[[CaxtonError, int], RetryIn | GiveUp]
"""Takes the error and the number of attempts so far."""


class Pipeline:
    """Takes messages in, hands them to agents and clients, and sees each to its end.

    Everything here runs on the event loop's thread.
    """

    def __init__(
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
        self._turn = 0
        self.elsewhere: Elsewhere = Nowhere()
        """Agents of other nodes. Set by whoever connects the node to them."""
        self.is_draining = False
        """Set when the node is stopping: nothing new from outside is accepted."""

    # In.

    def submit(
        self,
        message: Message,
        on_accepted: OnAccepted | None = None,
        *,
        is_internal: bool = False,
    ) -> Envelope:
        """Take a message in. Returns at once; `on_accepted` tells when it is on disk.

        Args:
            message: New; its id was never used.
            on_accepted: Told when the message is on disk, or could not be put there.
            is_internal: From an agent's turn, which a stopping node lets finish.

        Raises:
            Rejected: `invalid_message`.
            NotFound: `agent_not_found`, `no_provider`, with what comes near.
            Denied: `denied`.
            Unavailable: `agent_busy`, `node_busy`, `node_draining`.
            TimedOut: `expired`.
        """
        try:
            if self.is_draining and not is_internal:
                raise Unavailable(
                    "node_draining", "this node is stopping", hint="Ask another node."
                )
            return self._submit(message, on_accepted)
        except CaxtonError:
            self._counts.messages_refused += 1
            raise

    async def send(self, message: Message, *, is_internal: bool = False) -> Envelope:
        """Take a message in and return once it is on disk.

        Raises:
            CaxtonError: As `submit`; also `storage_unavailable`.
        """
        accepted = asyncio.get_running_loop().create_future()

        def on_accepted(error: CaxtonError | None) -> None:
            if accepted.done():
                return
            if error is None:
                accepted.set_result(None)
            else:
                accepted.set_exception(error)

        envelope = self.submit(message, on_accepted, is_internal=is_internal)
        try:
            async with asyncio.timeout(ACCEPT_TIMEOUT_S):
                await accepted
        except TimeoutError:
            raise Unavailable(
                "storage_unavailable",
                f"the journal did not confirm within {ACCEPT_TIMEOUT_S:g} s",
                hint="The message may have been accepted. Ask for it by its id.",
            ) from None
        return envelope

    def _submit(self, message: Message, on_accepted: OnAccepted | None) -> Envelope:
        validate(message, now_ms=0 if message.reply_by is None else self._clock_ms())
        is_journaled = message.delivery is not _AT_MOST_ONCE
        if is_journaled:
            self._journal.check_room()
        if message.reply_to is not None:
            authorise_reply_to(message, self._directory)
        self._turn += 1
        match route(message, self._directory, self.elsewhere, turn=self._turn):
            case Deliver() as decision:
                inbox = decision.inbox
                admit(message, inbox, is_forced=False)
                if not is_journaled:
                    envelope = Envelope(0, message, inbox, on_accepted)
                    self._deliver(envelope)
                    return envelope
                envelope = Envelope(self._journal.next_seq(), message, inbox, on_accepted)
                committed = functools.partial(self._committed, envelope)
                self._write_or_withdraw(((envelope.seq, message),), (), committed, (envelope,))
                return envelope
            case FanOut(inboxes):
                return self._fan_out(message, inboxes, on_accepted)
            case HandToClient(client):
                return self._keep_for_client(message, client, on_accepted)
            case (Undeliverable() as nowhere) | Await(nowhere):
                raise nowhere.error()
            case _ as unreachable:
                assert_never(unreachable)

    def _write_or_withdraw(
        self,
        accepted: Sequence[tuple[int, Message]],
        settled: Sequence[Settlement],
        committed: Callable[[Unavailable | None], None],
        envelopes: Sequence[Envelope],
    ) -> None:
        """Journal what was admitted; give the slots back if it cannot even be packed."""
        try:
            self._journal.write(accepted, settled, committed)
        except BaseException:
            for envelope in envelopes:
                withdraw(envelope)
            raise

    def _committed(self, envelope: Envelope, error: Unavailable | None) -> None:
        """Deliver a message that is on disk, or tell that it could not be put there."""
        if error is None:
            self._deliver(envelope)
            return
        withdraw(envelope)
        self._counts.messages_refused += 1
        if envelope.on_accepted is not None:
            envelope.on_accepted(error)

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
        deliver(envelope)

    def _fan_out(
        self, message: Message, inboxes: tuple[Inbox, ...], on_accepted: OnAccepted | None
    ) -> Envelope:
        """Journal a message with one copy for each receiver, all or nothing, then deliver.

        One full or closed mailbox does not keep the message from the others.
        """
        is_journaled = message.delivery is not DeliveryMode.AT_MOST_ONCE
        original = Envelope(self._journal.next_seq() if is_journaled else 0, message)
        copies = []
        refusal: CaxtonError = NotFound("no_provider", "there is no other running agent")
        for number, inbox in enumerate(inboxes, start=1):
            try:
                admit(message, inbox, is_forced=False)
            except CaxtonError as error:
                refusal = error
                continue
            copy = msgspec.structs.replace(
                message,
                id=f"{message.id}{COPY_MARK}{number}",
                receiver=inbox.agent,
                capability=None,
                reply_with=message.answers_go_under,
            )
            copies.append(Envelope(self._journal.next_seq() if is_journaled else 0, copy, inbox))
        if not copies:
            raise refusal

        def committed(error: Unavailable | None) -> None:
            for copy in copies:
                self._committed(copy, error)
            if on_accepted is not None:
                on_accepted(error)

        if not is_journaled:
            committed(None)
            return original
        receivers = ",".join(copy.inbox.agent for copy in copies)[:256]
        self._write_or_withdraw(
            [(original.seq, message), *((copy.seq, copy.message) for copy in copies)],
            (Settlement(original.seq, DeliveryStatus.DELIVERED, self._clock_ms(), receivers),),
            committed,
            copies,
        )
        return original

    def _keep_for_client(
        self, message: Message, client: str, on_accepted: OnAccepted | None
    ) -> Envelope:
        """Keep one client's message to another in their conversation.

        It completes nobody's wait: what an agent was asked, only the agent answers.
        """
        is_journaled = message.delivery is not DeliveryMode.AT_MOST_ONCE
        envelope = Envelope(self._journal.next_seq() if is_journaled else 0, message, phase=OVER)

        def committed(error: Unavailable | None) -> None:
            if error is None:
                self._note_handed_over(message, client)
            if on_accepted is not None:
                on_accepted(error)

        if is_journaled:
            end = Settlement(envelope.seq, DeliveryStatus.DELIVERED, self._clock_ms(), client)
            self._journal.write(((envelope.seq, message),), (end,), committed)
        else:
            committed(None)
        return envelope

    def _note_handed_over(self, message: Message, client: str) -> None:
        self._counts.messages_accepted += 1
        self._counts.messages_delivered += 1
        if self._events.has_watchers:
            self._publish("message.delivered", message, agent=client)

    # Out.

    def finish(
        self,
        envelope: Envelope,
        reply: Message | None,
        *,
        status: DeliveryStatus = _DELIVERED,
        reason: str | None = None,
    ) -> None:
        """See a message to its end, together with the answer to it.

        Args:
            envelope: Whose turn is over, or who will get none.
            reply: The answer, if any. It takes the same way as any message.
            status: How it ended.
            reason: For a dead message.
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
        settlement = None
        if envelope.seq:
            settlement = Settlement(
                envelope.seq,
                status,
                self._clock_ms(),
                envelope.inbox.agent if envelope.inbox is not None else None,
                envelope.started_at,
                envelope.attempts,
                reason,
            )
        if reply is not None:
            self._reply(reply, envelope.message, settlement)
        elif settlement is not None:
            self._journal.settle(settlement)

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

    def _reply(self, reply: Message, request: Message, settlement: Settlement | None) -> None:
        """Send an answer, written in one with the end of its request."""
        is_journaled = reply.delivery is not _AT_MOST_ONCE
        reply_seq = self._journal.next_seq() if is_journaled else 0
        inbox = self._directory.inbox(reply.receiver)
        if inbox is not None:
            try:
                # Its request paid for the place of an answer, but only with whoever sent it.
                admit(reply, inbox, is_forced=reply.receiver == request.sender)
            except CaxtonError as refusal:
                self._bury_reply(reply_seq, reply, settlement, f"{refusal.code}: {refusal.detail}")
                return
            then = functools.partial(self._deliver_reply, Envelope(reply_seq, reply, inbox))
            own_end: tuple[Settlement, ...] = ()
        else:
            then = functools.partial(self._give_to_client, reply)
            own_end = (self._end(reply_seq, DeliveryStatus.DELIVERED, reply.receiver),)
        settled = () if settlement is None else (settlement,)
        if is_journaled:
            self._write_until_kept(((reply_seq, reply),), (*settled, *own_end), then)
        else:
            if settled:
                self._journal.settle(settled[0])
            then()

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
        self, reply_seq: int, reply: Message, settlement: Settlement | None, reason: str
    ) -> None:
        """Keep an answer that its `reply_to` does not take as a dead letter."""
        self._counts.messages_dead += 1
        settled = () if settlement is None else (settlement,)
        if reply_seq:
            end = self._end(reply_seq, DeliveryStatus.DEAD, reply.receiver, reason)
            self._write_until_kept(((reply_seq, reply),), (*settled, end), lambda: None)
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

    def _failure(self, envelope: Envelope, error: CaxtonError) -> Message | None:
        sender = envelope.inbox.agent if envelope.inbox is not None else "caxton"
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

    # Again, after a restart or at an operator's wish.

    async def revive(self, message_id: str) -> StoredMessage | None:
        """Give a dead letter another try, as if it had just been accepted.

        Returns:
            The message under its new number; None when it is not dead.

        Raises:
            Unavailable: `node_busy`, `node_draining`, `storage_unavailable`, `agent_busy`.
        """
        if self.is_draining:
            raise Unavailable("node_draining", "this node is stopping", hint="Ask another node.")
        self._journal.check_room()
        dead = await self._journal.dead_letter(message_id)
        if dead is None:
            return None
        inbox = self._directory.inbox(dead.message.receiver)
        if inbox is not None and dead.message.performative is not Performative.CANCEL:
            # Only to hear whether there is room; the slot is taken when the message is there.
            admit(dead.message, inbox, is_forced=False)
            inbox.unreserve()
        stored = await self._journal.revive(message_id)
        if stored is not None:
            self.recover(stored)
        return stored

    def recover(self, stored: StoredMessage) -> None:
        """Take a message that was accepted before a restart to its agent again."""
        message = stored.message
        envelope = Envelope(stored.seq, message, is_recovered=True)
        self._turn += 1
        match after_restart(message, self._directory, self.elsewhere, turn=self._turn):
            case TryAgain(inbox):
                admit(message, inbox, is_forced=True)
                envelope.inbox = inbox
                self._deliver(envelope)
            case LookedUp():
                self.finish(envelope, None)
            case Wait():
                raise AssertionError("nobody is awaited yet")
            case Lost(error, reason):
                self.give_up(envelope, error, reason)
            case _ as unreachable:
                assert_never(unreachable)

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
