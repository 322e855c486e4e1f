"""Keeps conversations in order while their agents move from node to node.

A message may go to its agent when each earlier one of its conversation, as this node counts, has
its end or is where the message would go. Otherwise it waits: at the seat that this node is leaving,
behind the turn that still runs there, or among those without a place. Nothing is counted as long as
nothing moves: what is out at another node is looked through when a message asks for the first time.

Two nodes that accepted messages of one conversation each keep their own in order. Should they ever
wait for each other, the wait ends after `BEHIND_S`.

State and decisions only.
"""

from collections.abc import Callable, Iterable
from typing import Final, Protocol

from caxton_node.domain.performatives import Performative
from caxton_node.forwarding.inbox import RemoteInbox
from caxton_node.routing.clock import Clock
from caxton_node.routing.directory import Inbox
from caxton_node.routing.envelope import Envelope
from caxton_node.routing.unplaced import Unplaced

__all__ = ["BEHIND_S", "ConversationOrder", "Seated"]

BEHIND_S: Final = 180.0
"""How long a message waits for earlier ones elsewhere: longer than a turn, and not for ever."""

_CANCEL: Final = Performative.CANCEL


class Seated(Inbox, Protocol):
    """A seat that this node is leaving."""

    def holds(self, conversation_id: str) -> bool:
        """Return whether messages of a conversation wait there, or a turn of it runs."""
        ...


class ConversationOrder:
    """Implements `caxton_node.routing.order.Order`.

    Args:
        unplaced: Where messages wait.
        clock: The time, and alarms.
        out: Returns all messages that an inbox has out and that have no end.
        look_again: Finds places for what waits for an agent.
    """

    def __init__(
        self,
        unplaced: Unplaced,
        clock: Clock,
        *,
        out: Callable[[RemoteInbox], Iterable[Envelope]],
        look_again: Callable[[str], None],
    ) -> None:
        self._unplaced = unplaced
        self._clock = clock
        self._out = out
        self._look_again = look_again
        self._inboxes: dict[str, list[RemoteInbox]] = {}
        self._alarms: set[str] = set()
        """Agents that are looked at again when `BEHIND_S` is over."""
        self._freed: set[str] = set()
        """Agents to look at again in a moment."""
        self.left: dict[str, list[Seated]] = {}
        """Agent → the seats that this node is leaving. Whoever leaves them keeps this."""

    def know(self, inbox: RemoteInbox) -> None:
        """Take note of an inbox on another node."""
        self._inboxes.setdefault(inbox.agent, []).append(inbox)

    def detour(self, envelope: Envelope) -> Inbox | None:
        """Return where a message waits; None when it may go to its inbox now."""
        message, inbox = envelope.message, envelope.inbox
        agent = message.receiver
        others = self._inboxes.get(agent)
        # Asked at every message, and nearly always nothing moves.
        is_settled = others is None or (len(others) == 1 and others[0] is inbox)
        if is_settled and not self.left and not len(self._unplaced):
            return None
        if not envelope.seq or not agent or inbox.agent != agent or envelope.sent_to is not None:
            return None
        if message.performative is _CANCEL:
            return None
        conversation_id = message.conversation_id
        for seat in self.left.get(agent, ()):
            if seat is not inbox and seat.holds(conversation_id):
                return seat
        if self._is_behind(envelope, others or ()) and self._has_patience(envelope):
            return self._unplaced
        return None

    def _is_behind(self, envelope: Envelope, others: Iterable[RemoteInbox]) -> bool:
        message, seq = envelope.message, envelope.seq
        if self._unplaced.has_before(seq, message.receiver, message.conversation_id):
            return True
        for inbox in others:
            if inbox.outstanding and inbox is not envelope.inbox:
                if inbox.conversations is None:
                    self._count(inbox)
                earlier = (inbox.conversations or {}).get(message.conversation_id)
                if earlier and min(earlier) < seq:
                    return True
        return False

    def _has_patience(self, envelope: Envelope) -> bool:
        now_ms = self._clock.now_ms()
        if envelope.behind_since is None:
            envelope.behind_since = now_ms
        agent = envelope.message.receiver
        if agent not in self._alarms:
            self._alarms.add(agent)
            self._clock.call_later(BEHIND_S + 0.1, lambda: self._patience_is_over(agent))
        return now_ms - envelope.behind_since < BEHIND_S * 1000

    def _patience_is_over(self, agent: str) -> None:
        self._alarms.discard(agent)
        self._look_again(agent)

    # What is out, counted from the first question on until nothing is.

    def _count(self, inbox: RemoteInbox) -> None:
        inbox.conversations = {}
        for envelope in self._out(inbox):
            self.went(inbox, envelope)

    def went(self, inbox: RemoteInbox, envelope: Envelope) -> None:
        """Take note of a message that is sent to another node, where that is counted."""
        # One that waits for a node that died keeps nobody waiting.
        if inbox.conversations is not None and envelope.seq and envelope.sent_to is None:
            conversation_id = envelope.message.conversation_id
            inbox.conversations.setdefault(conversation_id, set()).add(envelope.seq)

    def came_back(self, inbox: RemoteInbox, envelope: Envelope) -> None:
        """Take note of a message that is out no longer, where that is counted."""
        if inbox.conversations is None:
            return
        conversation_id = envelope.message.conversation_id
        seqs = inbox.conversations.get(conversation_id)
        if seqs is None:
            return
        seqs.discard(envelope.seq)
        if not seqs:
            del inbox.conversations[conversation_id]
            if not inbox.conversations:
                inbox.conversations = None
            self.free(inbox.agent)

    def free(self, agent: str) -> None:
        """See to it that what waits for an agent is looked at again, in a moment."""
        if not len(self._unplaced) or agent in self._freed:
            return
        self._freed.add(agent)
        if len(self._freed) == 1:
            self._clock.call_later(0, self._look_at_freed)

    def _look_at_freed(self) -> None:
        freed, self._freed = sorted(self._freed), set()
        for agent in freed:
            self._look_again(agent)
