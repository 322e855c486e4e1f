"""The receiving half of a link: what came, what of it is committed, and how much more is welcome.

A frame is received once, in order. It is *done* when everything in it is committed or refused;
the ack is the frame up to which all are done. Credit is what is done and a window beyond it, so
that what waits for the disk here is bounded, whatever the other side has to send.

Arithmetic and state only.
"""

from typing import Final

from caxton_node.forwarding.errors import LinkBroken

__all__ = ["BODY_BYTES_MAX", "WINDOW_BYTES", "WINDOW_MESSAGES", "Inflow"]

WINDOW_MESSAGES: Final = 8_192
"""Messages of one peer that may be waiting for the disk here."""

WINDOW_BYTES: Final = 32_000_000
"""Bytes of bodies, likewise."""

BODY_BYTES_MAX: Final = 16_000_000
"""One message, with everything beside its content."""


class Inflow:
    """What comes from one other node, in one life of it."""

    def __init__(self) -> None:
        self.received_through = 0
        """Number of the last frame that came."""
        self.ack = 0
        """Number of the frame up to which all are done."""
        self._sequence = 0
        self._bytes = 0
        self._open: dict[int, tuple[int, int]] = {}
        """Frame → its messages and bytes, while it is not done."""
        self._done_early: set[int] = set()
        self._messages_done = 0
        self._bytes_done = 0
        self._parts: list[bytes] = []
        self._parts_bytes = 0

    @property
    def credit_through(self) -> int:
        """The highest sequence number that is welcome."""
        return self._messages_done + WINDOW_MESSAGES

    @property
    def credit_bytes(self) -> int:
        """Bytes that are welcome in all."""
        return self._bytes_done + WINDOW_BYTES

    def take(self, number: int, first_sequence: int, sizes: list[int]) -> bool:
        """Receive a frame of whole messages, or of outcomes alone.

        Args:
            number: Of the frame.
            first_sequence: Number of its first message; anything where there is none.
            sizes: Length of each message in bytes.

        Returns:
            False for one that came before.

        Raises:
            LinkBroken: A frame or a message is missing, or there was no credit for it.
        """
        if not self._is_next(number):
            return False
        count, size_bytes = len(sizes), sum(sizes)
        if count and first_sequence != self._sequence + 1:
            raise LinkBroken(f"message {self._sequence + 1} is missing before {first_sequence}")
        self._accept(number, count, size_bytes)
        return True

    def take_part(self, number: int, part: bytes, *, sequence: int | None) -> bytes | None:
        """Receive a part of a large message.

        Args:
            number: Of the frame.
            part: Some of its bytes.
            sequence: Number of the message, in its last part.

        Returns:
            The whole message with its last part, or None.

        Raises:
            LinkBroken: A frame or a message is missing, it is too large, or there was no credit.
        """
        if not self._is_next(number):
            return None
        if sequence is not None and sequence != self._sequence + 1:
            raise LinkBroken(f"message {self._sequence + 1} is missing before {sequence}")
        self._accept(number, 0 if sequence is None else 1, len(part))
        self._parts.append(part)
        self._parts_bytes += len(part)
        if self._parts_bytes > BODY_BYTES_MAX:
            raise LinkBroken(f"a message has more than {BODY_BYTES_MAX:,} bytes")
        if sequence is None:
            return None
        body = b"".join(self._parts)
        self._parts, self._parts_bytes = [], 0
        return body

    def _is_next(self, number: int) -> bool:
        if number <= self.received_through:
            return False
        if number != self.received_through + 1:
            raise LinkBroken(f"frame {self.received_through + 1} is missing before {number}")
        return True

    def _accept(self, number: int, count: int, size_bytes: int) -> None:
        if self._sequence + count > self.credit_through:
            raise LinkBroken("it sent more messages than were welcome")
        if self._bytes + size_bytes > self.credit_bytes:
            raise LinkBroken("it sent more bytes than were welcome")
        self.received_through = number
        self._sequence += count
        self._bytes += size_bytes
        self._open[number] = (count, size_bytes)

    def done(self, number: int) -> None:
        """Note that everything in a frame is committed or refused."""
        count, size_bytes = self._open.pop(number)
        self._messages_done += count
        self._bytes_done += size_bytes
        self._done_early.add(number)
        while self.ack + 1 in self._done_early:
            self.ack += 1
            self._done_early.discard(self.ack)
