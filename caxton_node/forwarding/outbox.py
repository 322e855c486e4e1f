"""The sending half of a link: numbering, credit, what is kept until the other side has it.

Messages wait here until credit lets them go, travel in numbered frames, and stay until they are
acked; journaled ones stay until their outcome is known. After a break of the stream the frames that
did not arrive go again, under the same numbers. When one of the two processes has begun anew, the
numbering begins anew, and what has no outcome is handed back to be sent as doubtful.

Arithmetic and state only: no clock, no stream.
"""

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Final

import msgspec

from caxton_node.forwarding.errors import LinkBroken

__all__ = [
    "CHUNK_BYTES",
    "FRAME_BYTES_MAX",
    "FRAME_MESSAGES_MAX",
    "Frame",
    "Outbox",
    "Outcomes",
    "Parcel",
]

FRAME_MESSAGES_MAX: Final = 256
FRAME_BYTES_MAX: Final = 1_000_000
"""Bodies of one frame, added up. gRPC refuses messages of more than four times that."""

CHUNK_BYTES: Final = 256_000
"""A larger message travels in parts of this size, each in a frame of its own."""

FRAME_OUTCOMES_MAX: Final = 2_048

WAVE: Final = range(48, 192)
"""So many messages at once that are sent at most once go in two frames. Who asks so many questions
at a time waits for all answers together otherwise, and two nodes take turns in waiting for each
other; with two frames one works on the first half while the other does on the second."""


class Parcel(msgspec.Struct, eq=False):
    """One message on its way to another node."""

    body: bytes
    """Packed."""
    cargo: Any
    """Whatever the caller wants back with the news of it."""
    agent: str | None = None
    """Who gets it, where the message does not say; empty for a client of the other node."""
    is_doubtful: bool = False
    """The other side may have had it before."""
    is_revived: bool = False
    """A dead letter that is tried again."""
    is_followed: bool = True
    """Its outcome is reported. False for one that nobody keeps a journal of."""
    sequence: int = 0
    """Its number; 0 before it is sent."""
    offset: int = 0
    """Bytes of it that went in parts."""

    @property
    def was_sent(self) -> bool:
        """Whether the other side may have seen it."""
        return self.sequence > 0


class Outcomes(msgspec.Struct):
    """What became of messages of the other side, by sequence number."""

    delivered: list[int] = msgspec.field(default_factory=list)
    ended: list[tuple[int, str, str]] = msgspec.field(default_factory=list)
    """With the status and the reason."""
    refused: list[tuple[int, str, str]] = msgspec.field(default_factory=list)
    """With the code of the error and its detail."""

    def __bool__(self) -> bool:
        return bool(self.delivered or self.ended or self.refused)

    @property
    def is_pressing(self) -> bool:
        """Whether there are so many that they need not gather any longer."""
        return len(self.delivered) >= FRAME_OUTCOMES_MAX or bool(self.ended or self.refused)

    def take(self, count_max: int) -> "Outcomes":
        """Return, and forget, the first of each kind: at most `count_max` of a kind."""
        taken = Outcomes(
            self.delivered[:count_max], self.ended[:count_max], self.refused[:count_max]
        )
        del self.delivered[:count_max], self.ended[:count_max], self.refused[:count_max]
        return taken


class Frame(msgspec.Struct, eq=False):
    """What is sent, acked and sent again as one."""

    number: int
    parcels: Sequence[Parcel] = ()
    """Whole messages, numbered one by one."""
    part: bytes | None = None
    """The next bytes of one large message."""
    last_of: Parcel | None = None
    """The message that is complete with `part`."""
    outcomes: Outcomes | None = None


class Outbox:
    """What goes to one other node, in order."""

    def __init__(self) -> None:
        self._pending: deque[Parcel] = deque()
        self._sent: deque[Frame] = deque()
        self._again: deque[Frame] = deque()
        self._awaiting: dict[int, Parcel] = {}
        self._is_half_sent = False
        self.sent_count = 0
        """Messages sent, over all numberings; those that went again as doubtful count again."""
        self.sent_again_count = 0
        """Frames sent again under their numbers."""
        self.outcomes = Outcomes()
        """What became of messages of the other side and was not told yet. Add to it."""
        self._begin()

    def _begin(self) -> None:
        self._is_half_sent = False
        self._number = 0
        self._acked = 0
        self._sequence = 0
        self._bytes_sent = 0
        self._credit_through = 0
        self._credit_bytes = 0

    def __len__(self) -> int:
        """Messages that are here: waiting, on their way, or without an outcome."""
        on_their_way = sum(len(frame.parcels) or frame.last_of is not None for frame in self._sent)
        return len(self._pending) + on_their_way + len(self._awaiting)

    @property
    def pending_count(self) -> int:
        """Messages that were not sent yet."""
        return len(self._pending)

    @property
    def is_pressing(self) -> bool:
        """Whether the next frame need not gather any longer."""
        return bool(
            self._again
            or self._is_half_sent
            or self.outcomes.is_pressing
            or len(self._pending) >= FRAME_MESSAGES_MAX
            or (self._pending and len(self._pending[0].body) > CHUNK_BYTES)
        )

    @property
    def pending(self) -> Iterable[Parcel]:
        """What was not sent yet, in order."""
        return self._pending

    def parcels(self) -> Iterator[Parcel]:
        """Yield every message without an outcome, sent or not."""
        yield from self._awaiting.values()
        for frame in self._sent:
            yield from _parcels_of(frame)
        yield from self._pending

    def queue(self, parcel: Parcel) -> None:
        """Add a message."""
        self._pending.append(parcel)

    def withdraw(self, parcel: Parcel) -> bool:
        """Take a message back; False when it is on its way already."""
        if parcel.sequence or parcel.offset or parcel not in self._pending:
            return False
        self._pending.remove(parcel)
        return True

    # What the other side says.

    def grant(self, through: int, size_bytes: int) -> None:
        """Take note of credit. What was granted earlier is never taken back."""
        self._credit_through = max(self._credit_through, through)
        self._credit_bytes = max(self._credit_bytes, size_bytes)

    def acked(self, number: int) -> list[Parcel]:
        """Forget frames that the other side has; return the messages in them.

        Those that are followed stay until `ended`; their bodies may go.

        Raises:
            LinkBroken: No such frame was sent.
        """
        if number > self._number:
            raise LinkBroken(f"it acked frame {number} of {self._number}")
        acked: list[Parcel] = []
        while self._acked < number:
            frame = self._sent.popleft()
            self._acked = frame.number
            acked += _parcels_of(frame)
        for parcel in acked:
            if parcel.is_followed:
                self._awaiting[parcel.sequence] = parcel
        return acked

    def delivered(self, sequences: Iterable[int]) -> list[Parcel]:
        """Return, and forget, the messages of which it came that they were delivered."""
        awaiting = self._awaiting
        found: list[Parcel] = []
        for sequence in sequences:
            parcel = awaiting.pop(sequence, None) or self.ended(sequence)
            if parcel is not None:
                found.append(parcel)
        return found

    def ended(self, sequence: int) -> Parcel | None:
        """Return, and forget, the message of which an outcome came; None for an unknown one."""
        parcel = self._awaiting.pop(sequence, None)
        if parcel is not None:
            return parcel
        # Its end may be known before the frame around it is acked.
        for frame in self._sent:
            for found in _parcels_of(frame):
                if found.sequence == sequence and found.is_followed:
                    found.is_followed = False
                    return found
        return None

    # What is sent.

    def take(self) -> Frame | None:
        """Return the next frame to send, or None when there is nothing, or no credit for it."""
        if self._again:
            return self._again.popleft()
        frame = Frame(self._number + 1)
        is_second_half, self._is_half_sent = self._is_half_sent, False
        if self._pending:
            self._fill(frame, may_halve=not is_second_half)
        if self.outcomes:
            frame.outcomes = self.outcomes.take(FRAME_OUTCOMES_MAX)
        if not frame.parcels and frame.part is None and frame.outcomes is None:
            return None
        self._number = frame.number
        self._sent.append(frame)
        self.sent_count += len(frame.parcels) + (frame.last_of is not None)
        return frame

    def _fill(self, frame: Frame, *, may_halve: bool) -> None:
        pending = self._pending
        messages_left = min(self._credit_through - self._sequence, FRAME_MESSAGES_MAX)
        bytes_left = min(self._credit_bytes - self._bytes_sent, FRAME_BYTES_MAX)
        if messages_left <= 0:
            return
        if len(pending[0].body) > CHUNK_BYTES:
            self._fill_with_part(frame, bytes_left)
            return
        if may_halve and len(pending) in WAVE and not pending[0].is_followed:
            self._is_half_sent = True
            messages_left = min(messages_left, (len(pending) + 1) // 2)
        parcels: list[Parcel] = []
        frame.parcels = parcels
        while pending and messages_left:
            size_bytes = len(pending[0].body)
            if size_bytes > bytes_left or size_bytes > CHUNK_BYTES:
                break
            parcel = pending.popleft()
            self._sequence += 1
            parcel.sequence = self._sequence
            parcels.append(parcel)
            messages_left -= 1
            bytes_left -= size_bytes
            self._bytes_sent += size_bytes

    def _fill_with_part(self, frame: Frame, bytes_left: int) -> None:
        parcel = self._pending[0]
        part = parcel.body[parcel.offset : parcel.offset + CHUNK_BYTES]
        if len(part) > bytes_left:
            return
        frame.part = part
        parcel.offset += len(part)
        self._bytes_sent += len(part)
        if parcel.offset == len(parcel.body):
            self._pending.popleft()
            self._sequence += 1
            parcel.sequence = self._sequence
            frame.last_of = parcel

    # After a break.

    def can_resume(self, received_through: int) -> bool:
        """Return whether the other side has received what was sent here, as far as it says."""
        return self._acked <= received_through <= self._number

    def resume(self, received_through: int) -> None:
        """Go on after a break: what did not arrive goes again, before anything else."""
        assert self.can_resume(received_through), "asked before"
        self._again = deque(frame for frame in self._sent if frame.number > received_through)
        self.sent_again_count += len(self._again)

    def begin_anew(self) -> list[Parcel]:
        """Forget all numbers; return every message without an outcome, in order.

        Where none was sent yet, they stay here instead. They keep the numbers they had, which
        tells those that were sent; bodies may be gone. What the other side was to hear of its own
        messages is forgotten: it asks again.
        """
        if not self._number:
            self.outcomes = Outcomes()
            return []
        return self.give_up()

    def give_up(self) -> list[Parcel]:
        """Forget all numbers; return every message without an outcome, sent or not, in order."""
        self.outcomes = Outcomes()
        left = [*self._awaiting.values()]
        for frame in self._sent:
            left += (parcel for parcel in _parcels_of(frame))
        left += self._pending
        self._pending.clear()
        self._sent.clear()
        self._again.clear()
        self._awaiting.clear()
        self._begin()
        return left


def _parcels_of(frame: Frame) -> Iterator[Parcel]:
    yield from frame.parcels
    if frame.last_of is not None:
        yield frame.last_of
