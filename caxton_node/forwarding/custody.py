"""Who holds which message: what was sent to other nodes, and what is done when they answer or die.

The node that accepted a message keeps it until the holder has told its end. It follows it over
restarts of either, and routes it anew when its holder dies or never had its agent. Only a message
that must have its effect once stays with the node that may have begun it.
"""

import functools
import itertools
import logging
from collections.abc import Callable, Iterable, Mapping
from typing import Final

import msgspec

from caxton_node.domain.delivery import DeliveryMode, DeliveryStatus
from caxton_node.domain.errors import ERRORS, Failed, Unavailable, error_from_code
from caxton_node.domain.message import encode_away
from caxton_node.forwarding.inbox import RemoteInbox
from caxton_node.forwarding.link import Link
from caxton_node.forwarding.order import ConversationOrder
from caxton_node.forwarding.outbox import Parcel
from caxton_node.routing.envelope import AWAY, JOURNALING, Envelope
from caxton_node.routing.pipeline import Pipeline
from caxton_node.store.protocol import Mark

__all__ = ["LINK_BYTES_MAX", "LINK_MESSAGES_MAX", "Custody"]

LINK_MESSAGES_MAX: Final = 20_000
LINK_BYTES_MAX: Final = 64_000_000
"""What may wait for one link. A sender beyond it is told that the agent is busy."""

LOOK_AGAIN_S: Final = 0.2
"""When a message that was not taken is routed again, if nothing is heard of its agent before."""

OVERDUE_CHECK_S: Final = 1.0
"""How long a linked node may take to report what expired there."""

_EXACTLY_ONCE: Final = DeliveryMode.EXACTLY_ONCE
_DELIVERED: Final = DeliveryStatus.DELIVERED

_NOT_NOW: Final = frozenset(
    {"agent_not_found", "already_exists", "node_busy", "node_draining", "storage_unavailable"}
)
"""Why a message is not taken that may be taken later, there or elsewhere."""

_log = logging.getLogger("caxton.custody")


class Custody:
    """Sends messages away and sees what becomes of them. Implements `Desk`.

    Args:
        node: This node's name, the home of its clients.
        pipeline: Ends messages, and finds other places for them.
        links: By name of the node.
        is_alive: Whether a node is held alive.
    """

    def __init__(
        self,
        node: str,
        pipeline: Pipeline,
        links: Callable[[str], Link],
        is_alive: Callable[[str], bool],
    ) -> None:
        self._home = msgspec.msgpack.encode(node)
        self._pipeline = pipeline
        self._link = links
        self._is_alive = is_alive
        self._clock = pipeline.clock
        self._waiting_bytes: dict[str, int] = {}
        self._shut: list[RemoteInbox] = []
        self._is_to_look_again = False
        self._marking: dict[int, Envelope] = {}
        """Messages that go once the journal says where."""
        self.order = ConversationOrder(
            pipeline.unplaced,
            pipeline.clock,
            out=self._out,
            look_again=lambda agent: pipeline.reconsider((agent,)),
        )
        """Keeps conversations in order while agents move."""
        self.on_look_again: Callable[[], None] = pipeline.reconsider
        """Routes anew what waits. The links set it."""

    def waiting_bytes(self) -> Mapping[str, int]:
        """Return how many bytes wait for each link, or are not acked yet."""
        return self._waiting_bytes

    def _out(self, inbox: RemoteInbox) -> Iterable[Envelope]:
        """Return what is out at an inbox, or about to be."""
        parcels = self._link(inbox.node).machine.outbox.parcels()
        marking = (one for one in self._marking.values() if one.inbox is inbox)
        return itertools.chain(marking, (one.cargo for one in parcels if one.cargo.inbox is inbox))

    # As inboxes ask.

    def has_room(self, node: str) -> bool:
        """Return whether one more message may wait for the link to a node."""
        return (
            self._waiting_bytes.get(node, 0) < LINK_BYTES_MAX
            and self._link(node).machine.outbox.pending_count < LINK_MESSAGES_MAX
        )

    def dispatch(self, inbox: RemoteInbox, envelope: Envelope) -> None:
        """Send a message on its way."""
        if inbox.is_shut:
            self._pipeline.park(envelope)
            return
        message = envelope.message
        if message.delivery is _EXACTLY_ONCE and not self._is_marked(inbox, envelope):
            return
        parcel = Parcel(
            encode_away(message, self._home, envelope.packed),
            envelope,
            None if message.receiver == inbox.agent else inbox.agent,
            # What came from another node may come back there.
            envelope.is_doubtful or envelope.is_recovered or envelope.origin is not None,
            envelope.is_revived,
            envelope.seq > 0,
        )
        envelope.packed = None
        envelope.phase = AWAY
        envelope.parcel = parcel
        envelope.went_to = inbox.node
        envelope.started_at = self._clock.now_ms()
        if not envelope.is_tracked and envelope.seq:
            self._pipeline.in_flight.add(envelope)
        inbox.outstanding += 1
        if inbox.conversations is not None:
            self.order.went(inbox, envelope)
        node = inbox.node
        self._waiting_bytes[node] = self._waiting_bytes.get(node, 0) + len(parcel.body)
        link = self._link(node)
        link.send(parcel)
        if not link.is_up and inbox.agent and not self._is_alive(node):
            # It was being written while that node died.
            self._look_again_soon()

    def _is_marked(self, inbox: RemoteInbox, envelope: Envelope) -> bool:
        """Return whether the journal says where a message goes; else write that, and send it then.

        After a restart of this node it tells which other one may have begun the turn.
        """
        if envelope.marked_for == inbox.node or not envelope.seq or not inbox.agent:
            return True
        envelope.phase = AWAY
        mark = Mark(envelope.seq, self._clock.now_ms(), inbox.agent, node=inbox.node)
        self._pipeline.journal.mark(mark, functools.partial(self._marked, inbox, envelope))
        self._marking[id(envelope)] = envelope
        inbox.outstanding += 1
        self.order.went(inbox, envelope)
        return False

    def _marked(self, inbox: RemoteInbox, envelope: Envelope, error: Unavailable | None) -> None:
        self._marking.pop(id(envelope), None)
        inbox.outstanding -= 1
        self.order.came_back(inbox, envelope)
        if envelope.phase != AWAY or envelope.inbox is not inbox or envelope.parcel is not None:
            return  # it has ended, or goes elsewhere
        if error is None:
            envelope.marked_for = inbox.node
            self.dispatch(inbox, envelope)
        else:
            self._pipeline.park(envelope)
            self._look_again_soon()

    def take_back(self, inbox: RemoteInbox, envelope: Envelope) -> None:
        """Let go of a message; what becomes of it over there is of no interest any more."""
        parcel: Parcel | None = envelope.parcel
        if parcel is None:
            envelope.phase = JOURNALING  # its mark is being written: nothing is on its way
            return
        if self._link(inbox.node).machine.outbox.withdraw(parcel):
            self._note_left(inbox.node, len(parcel.body))
            parcel.body = b""
        self._let_go(parcel)

    def too_late(self, inbox: RemoteInbox, envelope: Envelope) -> None:
        """End a message whose `reply_by` has passed, unless the other node is about to."""
        link, parcel = self._link(inbox.node), envelope.parcel
        was_sent = parcel is not None and parcel.was_sent
        if link.is_up and was_sent:
            envelope.alarm = self._clock.call_later(
                OVERDUE_CHECK_S, lambda: self._still_too_late(inbox, envelope)
            )
            return
        may_have_begun = was_sent or envelope.sent_to is not None
        self.take_back(inbox, envelope)
        if may_have_begun and envelope.message.delivery is _EXACTLY_ONCE:
            unknown = Failed(
                "outcome_unknown", f"{inbox.node} had the message and has not told its end"
            )
            self._pipeline.give_up(envelope, unknown, f"outcome_unknown: {unknown.detail}")
        else:
            self._pipeline.expire(envelope)

    def _still_too_late(self, inbox: RemoteInbox, envelope: Envelope) -> None:
        if envelope.phase == AWAY and envelope.inbox is inbox:
            self.too_late(inbox, envelope)

    def interrupt(self, inbox: RemoteInbox, envelope: Envelope) -> None:
        """Send a `cancel` after what it calls off; what was not sent yet is called off here."""
        link = self._link(inbox.node)
        conversation_id = envelope.message.conversation_id
        unsent = [
            parcel.cargo
            for parcel in link.machine.outbox.pending
            if parcel.cargo.message.conversation_id == conversation_id
        ]
        if unsent and not link.is_up:
            self._pipeline.call_off(unsent, envelope)
        else:
            self.dispatch(inbox, envelope)

    # As links tell.

    def acked(self, node: str, parcels: Iterable[Parcel]) -> None:
        """Take note that another node has messages on disk, or in memory at most once."""
        left_bytes = 0
        for parcel in parcels:
            left_bytes += len(parcel.body)
            parcel.body = b""
            if not parcel.is_followed and self._let_go(parcel):
                self._pipeline.finish(parcel.cargo, None)
        self._note_left(node, left_bytes)

    def ended(self, parcels: Iterable[Parcel], status: DeliveryStatus, reason: str | None) -> None:
        """End messages as they ended on another node. Their senders were told from there."""
        if status is _DELIVERED:
            self._pipeline.finish_away([one.cargo for one in parcels if self._let_go(one)])
            return
        for parcel in parcels:
            if self._let_go(parcel):
                self._pipeline.finish(parcel.cargo, None, status=status, reason=reason)

    def refused(self, parcel: Parcel, code: str, detail: str) -> None:
        """Keep a message that was not taken for another try, or give it up."""
        envelope = parcel.cargo
        inbox = envelope.inbox
        if not self._let_go(parcel):
            return
        if code != "already_exists":
            # It looked its journal up: it never had the message.
            envelope.sent_to = None
        if code in _NOT_NOW:
            if not inbox.is_shut and envelope.sent_to is None:
                inbox.is_shut = True
                self._shut.append(inbox)
            self._pipeline.park(envelope)
            self._look_again_soon()
            return
        error = error_from_code(code if code in ERRORS else "internal", detail)
        self._pipeline.give_up(envelope, error, f"{code}: {detail}")

    def left_over(self, link: Link, parcels: Iterable[Parcel]) -> None:
        """Route anew what has no outcome, in order: a node died, or began another life."""
        self._waiting_bytes.pop(link.node, None)
        for parcel in sorted(parcels, key=_seq_of):
            envelope: Envelope = parcel.cargo
            inbox = envelope.inbox
            if not self._let_go(parcel):
                continue
            if envelope.sent_to == link.node:
                self.dispatch(inbox, envelope)
            elif not parcel.was_sent:
                self._pipeline.place_again((envelope,))
            elif not parcel.is_followed:
                self._pipeline.finish(
                    envelope, None, status=DeliveryStatus.DEAD, reason="unreachable: at most once"
                )
            else:
                envelope.is_doubtful = True
                if envelope.message.delivery is _EXACTLY_ONCE:
                    envelope.sent_to, envelope.sent_agent = link.node, inbox.agent
                    self.dispatch(inbox, envelope)
                else:
                    self._pipeline.place_again((envelope,))

    def give_up_on(self, node: str, why: str) -> None:
        """End what only a node could have told of: it `why`."""
        unknown = Failed("outcome_unknown", f"{node} had the message, and {why}")
        for parcel in sorted(self._link(node).machine.outbox.parcels(), key=_seq_of):
            envelope: Envelope = parcel.cargo
            if envelope.parcel is parcel and envelope.sent_to == node:
                self.take_back(envelope.inbox, envelope)
                self._pipeline.give_up(envelope, unknown, f"outcome_unknown: {unknown.detail}")

    def open_inboxes(self) -> bool:
        """Let messages go again to agents that were not where they were sought.

        Returns:
            Whether there were such: then those that wait go first, for whomever they are.
        """
        shut, self._shut = self._shut, []
        for inbox in shut:
            inbox.is_shut = False
        return bool(shut)

    def _let_go(self, parcel: Parcel) -> bool:
        """Count a message as no longer away; False when that happened before."""
        envelope: Envelope = parcel.cargo
        if envelope.parcel is not parcel:
            return False
        envelope.parcel = None
        inbox = envelope.inbox
        inbox.outstanding -= 1
        if inbox.conversations is not None:
            self.order.came_back(inbox, envelope)
        return True

    def _note_left(self, node: str, size_bytes: int) -> None:
        left = self._waiting_bytes.get(node, 0) - size_bytes
        self._waiting_bytes[node] = max(0, left)

    def _look_again_soon(self) -> None:
        if not self._is_to_look_again:
            self._is_to_look_again = True
            self._clock.call_later(LOOK_AGAIN_S, self._look_again)

    def _look_again(self) -> None:
        self._is_to_look_again = False
        self.on_look_again()


def _seq_of(parcel: Parcel) -> int:
    return int(parcel.cargo.seq)
