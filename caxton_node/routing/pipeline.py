"""The shell of the one way through: it calls the steps in order and acts on what they decide.

    submit ─▶ validate ─▶ route, admit ─▶ journal ┄commit┄▶ deliver ─▶ mailbox ─▶ turn
       ▲                                                                          │
       └───────────────────────── finish: reply + settlement ◀────────────────────┘

`submit` runs to the journal without awaiting; the commit calls back and the message is
delivered. A reply and the settlement of its request are one journal entry: after a crash either
both are there or neither is.
"""

import asyncio
from collections.abc import Callable
from typing import Final

import msgspec

from caxton_node.domain.delivery import DeadReason, DeliveryMode, DeliveryStatus
from caxton_node.domain.errors import CaxtonError, Failed, TimedOut, Unavailable
from caxton_node.domain.ids import IdFactory
from caxton_node.domain.message import Message
from caxton_node.routing.clock import Clock
from caxton_node.routing.deliver import admit, deliver, withdraw
from caxton_node.routing.directory import Directory, Inbox
from caxton_node.routing.envelope import Envelope, OnAccepted
from caxton_node.routing.journal import Journal
from caxton_node.routing.redelivery import GiveUp, RetryIn
from caxton_node.routing.replies import failure_reply
from caxton_node.routing.route import Deliver, FanOut, HandToClient, Undeliverable, route
from caxton_node.routing.validate import validate
from caxton_node.routing.waiting import Answers, is_ask
from caxton_node.store.protocol import Settlement, StoredMessage
from caxton_node.telemetry.counts import Counts
from caxton_node.telemetry.events import Events

__all__ = ["Pipeline"]

ACCEPT_TIMEOUT_S: Final = 10.0

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
        is_journaled = message.delivery is not DeliveryMode.AT_MOST_ONCE
        if is_journaled:
            self._journal.check_room()
        self._turn += 1
        match route(message, self._directory, turn=self._turn):
            case Deliver(inbox):
                admit(message, inbox, is_forced=False)
                envelope = Envelope(self._journal.next_seq() if is_journaled else 0, message, inbox)
                envelope.on_accepted = on_accepted
                return self._accept(envelope)
            case FanOut(inboxes):
                return self._fan_out(message, inboxes, on_accepted)
            case HandToClient(client):
                envelope = Envelope(self._journal.next_seq() if is_journaled else 0, message)
                envelope.on_accepted = on_accepted
                return self._hand_over(envelope, client, None)
            case Undeliverable() as nowhere:
                raise nowhere.error()

    def _accept(self, envelope: Envelope) -> Envelope:
        """Journal one message for one agent, then deliver it."""
        if not envelope.seq:
            self._deliver(envelope)
            return envelope

        def committed(error: Unavailable | None) -> None:
            if error is None:
                self._deliver(envelope)
            else:
                withdraw(envelope)
                self._counts.messages_refused += 1
                if envelope.on_accepted is not None:
                    envelope.on_accepted(error)

        self._journal.write(((envelope.seq, envelope.message),), (), committed)
        return envelope

    def _deliver(self, envelope: Envelope) -> None:
        message = envelope.message
        self._counts.messages_accepted += 1
        if envelope.on_accepted is not None:
            envelope.on_accepted(None)
            envelope.on_accepted = None
        if message.reply_by is not None:
            self._watch_deadline(envelope, message.reply_by)
        if self._events.has_watchers:
            self._publish("message.accepted", message, agent=envelope.inbox.agent)
        deliver(envelope)

    def _fan_out(
        self, message: Message, inboxes: tuple[Inbox, ...], on_accepted: OnAccepted | None
    ) -> Envelope:
        """Journal a message with one copy for each receiver, all or nothing, then deliver."""
        is_journaled = message.delivery is not DeliveryMode.AT_MOST_ONCE
        original = Envelope(self._journal.next_seq() if is_journaled else 0, message)
        copies = []
        for number, inbox in enumerate(inboxes, start=1):
            try:
                admit(message, inbox, is_forced=False)
            except CaxtonError:
                # One full or closed mailbox does not keep the message from the others.
                self._counts.messages_refused += 1
                continue
            copy = msgspec.structs.replace(
                message,
                id=f"{message.id}.{number}",
                receiver=inbox.agent,
                capability=None,
                reply_with=message.answers_go_under,
            )
            copies.append(Envelope(self._journal.next_seq() if is_journaled else 0, copy, inbox))

        def committed(error: Unavailable | None) -> None:
            for copy in copies:
                if error is None:
                    self._deliver(copy)
                else:
                    withdraw(copy)
            if on_accepted is not None:
                on_accepted(error)

        if not is_journaled:
            committed(None)
            return original
        receivers = ",".join(copy.inbox.agent for copy in copies)[:256]
        self._journal.write(
            [(original.seq, message), *((copy.seq, copy.message) for copy in copies)],
            (Settlement(original.seq, DeliveryStatus.DELIVERED, self._clock_ms(), receivers),),
            committed,
        )
        return original

    def _hand_over(
        self, envelope: Envelope, client: str, settlement: Settlement | None
    ) -> Envelope:
        """Keep an answer for a client in its conversation and give it to whoever waits."""
        message = envelope.message

        def committed(error: Unavailable | None) -> None:
            if envelope.on_accepted is not None:
                envelope.on_accepted(error)
            if error is not None:
                return
            self._counts.messages_accepted += 1
            self._counts.messages_delivered += 1
            self._answers.give(message)
            if self._events.has_watchers:
                self._publish("message.delivered", message, agent=client)

        if not envelope.seq and settlement is None:
            committed(None)
            return envelope
        settled = () if settlement is None else (settlement,)
        if envelope.seq:
            own_end = Settlement(envelope.seq, DeliveryStatus.DELIVERED, self._clock_ms(), client)
            self._journal.write(((envelope.seq, message),), (*settled, own_end), committed)
        else:
            self._journal.write((), settled, committed)
        return envelope

    # Out.

    def finish(
        self,
        envelope: Envelope,
        reply: Message | None,
        *,
        status: DeliveryStatus = DeliveryStatus.DELIVERED,
        reason: str | None = None,
    ) -> None:
        """See a message to its end, together with the answer to it.

        Args:
            envelope: Whose turn is over.
            reply: The agent's answer, if any. It takes the same way as any message.
            status: How it ended.
            reason: For a dead message.
        """
        assert not envelope.is_over, "a message ends once"
        envelope.is_over = True
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
        self._count_end(envelope, status)
        if reply is not None:
            self._reply(reply, settlement)
        elif settlement is not None:
            self._journal.settle(settlement)

    def _count_end(self, envelope: Envelope, status: DeliveryStatus) -> None:
        counts = self._counts
        match status:
            case DeliveryStatus.DELIVERED:
                counts.messages_delivered += 1
            case DeliveryStatus.DEAD:
                counts.messages_dead += 1
            case DeliveryStatus.EXPIRED:
                counts.messages_expired += 1
            case _:
                counts.messages_cancelled += 1
        if self._events.has_watchers:
            agent = envelope.inbox.agent if envelope.inbox is not None else ""
            self._publish(f"message.{status}", envelope.message, agent=agent)

    def _reply(self, reply: Message, settlement: Settlement | None) -> None:
        """Send an answer, written in one with the end of its request.

        The way of `submit`, but for what cannot be refused any more: its place is paid for.
        """
        is_journaled = reply.delivery is not DeliveryMode.AT_MOST_ONCE
        self._turn += 1
        decision = route(reply, self._directory, turn=self._turn)
        if not isinstance(decision, Deliver):
            client = reply.receiver
            envelope = Envelope(self._journal.next_seq() if is_journaled else 0, reply)
            self._hand_over(envelope, client, settlement)
            return
        admit(reply, decision.inbox, is_forced=True)
        envelope = Envelope(self._journal.next_seq() if is_journaled else 0, reply, decision.inbox)

        def committed(error: Unavailable | None) -> None:
            if error is not None:
                withdraw(envelope)
            elif self._answers.give(reply) or is_ask(reply.in_reply_to):
                # The agent that asked waits within a turn, or will look the answer up when that
                # turn resumes: no turn of its own for this.
                withdraw(envelope)
                self._counts.messages_accepted += 1
                self.finish(envelope, None)
            else:
                self._deliver(envelope)

        settled = () if settlement is None else (settlement,)
        if envelope.seq:
            self._journal.write(((envelope.seq, reply),), settled, committed)
        else:
            if settled:
                self._journal.settle(settled[0])
            committed(None)

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
            reason=reason[:1_000],
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

    def _watch_deadline(self, envelope: Envelope, reply_by: int) -> None:
        def too_late() -> None:
            # A turn that has begun is ended by whoever runs it.
            if not envelope.is_over and envelope.started_at is None:
                self.expire(envelope)

        self._clock.call_later(max(0.0, (reply_by - self._clock_ms()) / 1000), too_late)

    # Again, after a restart or at an operator's wish.

    async def revive(self, message_id: str) -> StoredMessage | None:
        """Give a dead letter another try, as if it had just been accepted.

        Returns:
            The message under its new number; None when it is not dead.

        Raises:
            Unavailable: `node_busy`, `node_draining`, `storage_unavailable`.
        """
        if self.is_draining:
            raise Unavailable("node_draining", "this node is stopping", hint="Ask another node.")
        self._journal.check_room()
        stored = await self._journal.revive(message_id)
        if stored is not None:
            self.recover(stored)
        return stored

    def recover(self, stored: StoredMessage) -> None:
        """Take a message that was accepted before a restart to its agent again."""
        envelope = Envelope(stored.seq, stored.message, is_recovered=True)
        if is_ask(stored.message.in_reply_to):
            self.finish(envelope, None)
            return
        self._turn += 1
        match route(stored.message, self._directory, turn=self._turn):
            case Deliver(inbox):
                inbox.reserve(is_forced=True)
                envelope.inbox = inbox
                self._deliver(envelope)
            case Undeliverable(code, detail, _) as nowhere:
                reason = (
                    DeadReason.NO_PROVIDER if code == "no_provider" else DeadReason.AGENT_NOT_FOUND
                )
                self.give_up(envelope, nowhere.error(), f"{reason}: {detail}")
            case HandToClient() | FanOut():
                # Both are journaled with their end; only an interrupted older version leaves one.
                self.finish(envelope, None)

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
