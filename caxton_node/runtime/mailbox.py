"""One agent's waiting messages: bounded, fair between conversations, in order within each.

A conversation has a *lane*. At most one message of a lane is ready or in a turn; the rest of the
lane waits behind it. So two turns of one conversation never overlap, a slow conversation holds up
nobody else, and taking the next message is constant work.

Arithmetic and state only; the seat decides when to take.
"""

from collections import deque
from collections.abc import Iterator

from caxton_node.routing.envelope import WAITING, Envelope

__all__ = ["Mailbox"]

_NOBODY_BEHIND: deque[Envelope] = deque(maxlen=0)
"""The lane of a conversation with one message: shared, so that the common case allocates less."""


class Mailbox:
    """Reserve a slot, fill it, take the message, release its conversation."""

    def __init__(self, capacity: int) -> None:
        assert capacity >= 1, "a mailbox holds something"
        self.capacity = capacity
        self.ready: deque[Envelope] = deque()
        """What could be taken now, one message a conversation. Look, but use `take`."""
        self._lanes: dict[str, deque[Envelope]] = {}
        self._reserved = 0
        self._waiting = 0

    def __len__(self) -> int:
        """Messages that wait, ready or not, without those in a turn."""
        return self._waiting

    def reserve(self, is_forced: bool, /) -> bool:
        """Keep a slot; False when all are taken and the wish is not forced."""
        if not is_forced and self._reserved + self._waiting >= self.capacity:
            return False
        self._reserved += 1
        return True

    def unreserve(self) -> None:
        """Give back a slot that is not going to be filled."""
        assert self._reserved, "only a reserved slot can be given back"
        self._reserved -= 1

    def put(self, envelope: Envelope) -> None:
        """Fill a reserved slot."""
        assert self._reserved, "a slot is reserved before it is filled"
        self._reserved -= 1
        self._waiting += 1
        envelope.phase = WAITING
        conversation_id = envelope.message.conversation_id
        lane = self._lanes.get(conversation_id)
        if lane is None:
            self._lanes[conversation_id] = _NOBODY_BEHIND
            self.ready.append(envelope)
        elif lane is _NOBODY_BEHIND:
            self._lanes[conversation_id] = deque((envelope,))
        else:
            lane.append(envelope)

    def take(self) -> Envelope | None:
        """Return the next message; its conversation is closed to others until `release`."""
        if not self.ready:
            return None
        self._waiting -= 1
        return self.ready.popleft()

    def discard(self, envelope: Envelope) -> None:
        """Remove a message that waits: it ended before its turn. Its slot is free at once."""
        self._waiting -= 1
        conversation_id = envelope.message.conversation_id
        lane = self._lanes[conversation_id]
        if envelope in lane:
            lane.remove(envelope)
        else:
            self.ready.remove(envelope)
            self.release(conversation_id)

    def release(self, conversation_id: str) -> None:
        """Open a conversation again: its turn is over."""
        lane = self._lanes[conversation_id]
        if lane:
            self.ready.append(lane.popleft())
        else:
            del self._lanes[conversation_id]

    def put_back(self, envelope: Envelope) -> None:
        """Return a message whose turn is to be taken again, before all others of its lane.

        Its conversation stayed closed since it was taken.
        """
        assert envelope.message.conversation_id in self._lanes, "its conversation is still closed"
        self._waiting += 1
        envelope.phase = WAITING
        self.ready.append(envelope)

    def holds(self, conversation_id: str) -> bool:
        """Return whether a conversation has messages here, waiting or in a turn."""
        return conversation_id in self._lanes

    def waiting(self, conversation_id: str | None = None) -> Iterator[Envelope]:
        """Yield what waits, of one conversation or of all, in order within each."""
        for envelope in self.ready:
            if conversation_id in (None, envelope.message.conversation_id):
                yield envelope
        for lane_id, lane in self._lanes.items():
            if conversation_id in (None, lane_id):
                yield from lane
