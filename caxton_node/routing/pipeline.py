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
from collections.abc import Callable, Collection, Iterable, Sequence
from typing import Final, assert_never

import msgspec

from caxton_node.domain.delivery import DeliveryMode, DeliveryStatus
from caxton_node.domain.errors import CaxtonError, Conflict, Failed, NotFound, Unavailable
from caxton_node.domain.message import BROADCAST, Message, encode_message
from caxton_node.domain.performatives import Performative
from caxton_node.routing.authorise import authorise_reply_to
from caxton_node.routing.deliver import admit, deliver, withdraw
from caxton_node.routing.directory import Inbox
from caxton_node.routing.endings import ALONE, Endings
from caxton_node.routing.envelope import OVER, Envelope, OnAccepted
from caxton_node.routing.recovery import Begun, LookedUp, Lost, TryAgain, Wait, after_restart
from caxton_node.routing.route import (
    Await,
    Deliver,
    FanOut,
    HandToClient,
    Undeliverable,
    route,
)
from caxton_node.routing.validate import validate
from caxton_node.store.protocol import Mark, Settlement, StoredMessage

__all__ = ["COPY_MARK", "Pipeline"]

ACCEPT_TIMEOUT_S: Final = 10.0

LOST_AFTER_S: Final = 30.0
"""How long an accepted message whose agent no node is known to have is kept all the same: a node
that began anew has not heard all others, and an agent that died with its node starts elsewhere."""

_LAST: Final = 2**62
"""A number after that of any message."""

COPY_MARK: Final = "~"
"""Parts the id of a message to several agents from the number of a copy. No other id holds it."""

# Python 3.11 looks a member of an enum up by a function call; this is asked at every message.
_AT_MOST_ONCE: Final = DeliveryMode.AT_MOST_ONCE
_EXACTLY_ONCE: Final = DeliveryMode.EXACTLY_ONCE


class Pipeline(Endings):
    """Takes messages in, hands them to agents and clients, and sees each to its end.

    Everything here runs on the event loop's thread.
    """

    # In.

    def submit(
        self,
        message: Message,
        on_accepted: OnAccepted | None = None,
        is_internal: bool = False,
        is_doubtful: bool = False,
    ) -> Envelope:
        """Take a message in. Returns at once; `on_accepted` tells when it is on disk.

        Args:
            message: New; its id was never used here.
            on_accepted: Told when the message is on disk, or could not be put there.
            is_internal: From an agent's turn, which a stopping node lets finish.
            is_doubtful: Another node may know its id: a client chose it, or the turn that sends
                it may have begun there.

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
            # On this way arguments go by position: the interpreter enters such calls directly.
            validate(message, 0 if message.reply_by is None else self._clock_ms())
            if message.delivery is not _AT_MOST_ONCE:
                self._journal.check_room()
            if message.reply_to is not None:
                authorise_reply_to(message, self._directory)
            inbox = self._directory.inbox(message.receiver)
            if inbox is None and message.capability is None and message.receiver != BROADCAST:
                inbox = self.elsewhere.inbox(message.receiver)
            if inbox is not None:
                # An agent, named, and there is one: `route` would decide the same.
                return self._submit_to(inbox, message, on_accepted, is_doubtful)
            return self._submit_routed(message, on_accepted, is_doubtful)
        except CaxtonError:
            self._counts.messages_refused += 1
            raise

    async def send(
        self, message: Message, *, is_internal: bool = False, is_doubtful: bool = False
    ) -> Envelope:
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

        envelope = self.submit(
            message, on_accepted, is_internal=is_internal, is_doubtful=is_doubtful
        )
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

    def _submit_routed(
        self, message: Message, on_accepted: OnAccepted | None, is_doubtful: bool
    ) -> Envelope:
        """Take in a message whose receiver is to be found."""
        self._turn += 1
        match route(message, self._directory, self.elsewhere, self._turn):
            case Deliver() as decision:
                return self._submit_to(decision.inbox, message, on_accepted, is_doubtful)
            case FanOut(inboxes):
                return self._fan_out(message, inboxes, on_accepted)
            case HandToClient(client):
                return self._keep_for_client(message, client, on_accepted)
            case Await():
                return self._submit_to(self._unplaced, message, on_accepted, is_doubtful)
            case Undeliverable() as nowhere:
                raise nowhere.error()
            case _ as unreachable:
                assert_never(unreachable)

    def _submit_to(
        self, inbox: Inbox, message: Message, on_accepted: OnAccepted | None, is_doubtful: bool
    ) -> Envelope:
        """Take in a message for one agent."""
        if is_doubtful and self.in_flight.find(message.id) is not None:
            raise Conflict("already_exists", f"{message.id!r} came from another node just now")
        if self.order is not None and (len(self._unplaced) or self.order.left):
            inbox = self._behind_others(message, inbox)
        admit(message, inbox, False)
        if message.delivery is _AT_MOST_ONCE:
            envelope = Envelope(0, message, inbox, on_accepted)
            self._deliver(envelope)
            return envelope
        seq = self._journal.next_seq()
        envelope = Envelope(seq, message, inbox, on_accepted)
        marks = () if message.delivery is not _EXACTLY_ONCE else self._marks_of(envelope)
        try:
            packed = encode_message(message)
            self._journal.write(
                ((seq, message),),
                (),
                functools.partial(self._committed, envelope),
                marks,
                (packed,),
            )
        except BaseException:
            withdraw(envelope)
            raise
        if inbox.node is not None:
            envelope.packed = packed
        if is_doubtful:
            envelope.is_doubtful = True
            self.in_flight.add(envelope)
        return envelope

    def _behind_others(self, message: Message, inbox: Inbox) -> Inbox:
        """Return where a new message would wait, so that those that wait are bounded."""
        if self.order is None or message.delivery is _AT_MOST_ONCE:
            return inbox
        probe = Envelope(_LAST, message, inbox)
        return self.order.detour(probe) or inbox

    def _marks_of(self, envelope: Envelope) -> Sequence[Mark]:
        """Return what goes to disk with a message that must have its effect once: where it goes."""
        inbox = envelope.inbox
        if inbox.node is None:
            return ()
        envelope.marked_for = inbox.node
        return (Mark(envelope.seq, self._clock_ms(), inbox.agent, node=inbox.node),)

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
            if envelope.inbox is self._unplaced:
                self._find_at_last(envelope)
            self._deliver(envelope)
            return
        withdraw(envelope)
        if envelope.is_tracked:
            self.in_flight.remove(envelope)
        self._counts.messages_refused += 1
        if envelope.on_accepted is not None:
            envelope.on_accepted(error)

    def _find_at_last(self, envelope: Envelope) -> None:
        """Change the place of a message whose agent came while it was being written."""
        match route(envelope.message, self._directory, self.elsewhere, self._turn):
            case Deliver() as decision:
                withdraw(envelope)
                admit(envelope.message, decision.inbox, is_forced=True)
                envelope.inbox = decision.inbox
            case _:
                pass

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

    # From other nodes.

    def arrived(self, envelope: Envelope) -> None:
        """Deliver what another node handed over, once it is on disk where it has to be."""
        if envelope.message.in_reply_to is not None:
            self._deliver_reply(envelope)
        else:
            self._deliver(envelope)

    def hand_to_client(self, answer: Message) -> None:
        """Give an answer from another node to whoever waits for it here."""
        self._give_to_client(answer)

    def own_end(self, seq: int, client: str) -> Settlement:
        """Return the end of an answer that its client can read."""
        return self._end(seq, DeliveryStatus.DELIVERED, client)

    def answer_again(self, answer: Message) -> None:
        """Send an answer once more, to another home than it was sent to first."""
        inbox = self._inbox_away(answer)
        if inbox is not None:
            admit(answer, inbox, is_forced=True)
            deliver(Envelope(0, answer, inbox, is_doubtful=True))

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
            self.recover(stored, is_revived=True)
        return stored

    def recover(
        self, stored: StoredMessage, *, is_revived: bool = False, begun_by: str | None = None
    ) -> None:
        """Take a message that was accepted before a restart to its agent again.

        Args:
            stored: As the journal has it. One that was sent to another node, and must have its
                effect once, goes there and nowhere else until that node has told of it.
            is_revived: It was a dead letter.
            begun_by: The agent of this node that began its turn, where it must have its effect
                once.
        """
        envelope = Envelope(stored.seq, stored.message, is_recovered=True, is_revived=is_revived)
        envelope.begun_by = begun_by
        if stored.node is not None and stored.message.delivery is _EXACTLY_ONCE:
            envelope.sent_to = envelope.marked_for = stored.node
            envelope.sent_agent = stored.agent
        self.in_flight.add(envelope)
        if self._place(envelope):
            self._deliver(envelope)

    def place_again(self, envelopes: Iterable[Envelope]) -> None:
        """Find another place for messages that lost theirs: their agent moved, or its node died.

        Args:
            envelopes: In order of acceptance. Those that are over are left out.
        """
        for envelope in envelopes:
            if envelope.phase != OVER and self._place(envelope):
                self._hand_on(envelope)

    def reconsider(self, agents: Collection[str] | None = None) -> None:
        """Look again for those for whom nobody was there.

        Args:
            agents: Whose place changed; None is everybody's.
        """
        if len(self._unplaced):
            self.place_again(self._unplaced.take(agents))

    def _place(self, envelope: Envelope) -> bool:
        """Find an inbox for an accepted message; False when that was its end."""
        self._turn += 1
        inbox: Inbox
        if envelope.sent_to is not None:
            return self._place_there(envelope, envelope.sent_to)
        match after_restart(
            envelope.message,
            self._directory,
            self.elsewhere,
            turn=self._turn,
            begun_by=envelope.begun_by,
        ):
            case TryAgain(found):
                inbox = found
            case Wait():
                inbox = self._unplaced
            case Begun(unknown, reason):
                self.give_up(envelope, unknown, reason)
                return False
            case LookedUp():
                self.finish(envelope, None)
                return False
            case Lost(error, reason):
                if not self._is_awaited_still(envelope):
                    self.give_up(envelope, error, reason)
                    return False
                inbox = self._unplaced
            case _ as unreachable:
                assert_never(unreachable)
        if inbox is not self._unplaced:
            envelope.lost_at = None
        envelope.went_to = None
        admit(envelope.message, inbox, is_forced=True)
        envelope.inbox = inbox
        return True

    def _place_there(self, envelope: Envelope, node: str) -> bool:
        """Take a message back to the node that alone knows whether it had its effect."""
        agent = envelope.sent_agent or envelope.message.receiver
        inbox = self.elsewhere.at(node, agent)
        if inbox is None:
            unknown = Failed("outcome_unknown", f"{node} had the message, and is no node any more")
            self.give_up(envelope, unknown, f"{unknown.code}: {unknown.detail}")
            return False
        envelope.went_to = None
        admit(envelope.message, inbox, is_forced=True)
        envelope.inbox = inbox
        return True

    def _is_awaited_still(self, envelope: Envelope) -> bool:
        """Return whether an accepted message for nobody is kept: others may not have said yet."""
        if self.elsewhere is ALONE:
            return False
        now_ms = self._clock_ms()
        if envelope.lost_at is None:
            envelope.lost_at = now_ms
            self._clock.call_later(LOST_AFTER_S + 0.1, self.reconsider)
        return now_ms - envelope.lost_at < LOST_AFTER_S * 1000
