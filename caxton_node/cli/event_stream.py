"""Bytes of a `text/event-stream`, as events. Pure: the caller reads the bytes.

Reference: HTML Living Standard, section 9.2.6, "Interpreting an event stream".
"""

import codecs
import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

from caxton_node.domain.errors import Unavailable

__all__ = ["EVENT_LENGTH_MAX", "EventParser", "ServerEvent"]

EVENT_LENGTH_MAX: Final = 16_000_000
"""Characters of one event: a content of 1 MB, escaped, with room."""


@dataclass(frozen=True, slots=True)
class ServerEvent:
    """One event of a stream."""

    kind: str
    """`message` where the stream names none."""
    data: Any
    """The decoded JSON."""


class EventParser:
    """Cuts a stream into events, whatever pieces it comes in."""

    def __init__(self) -> None:
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._rest = ""
        self._kind = ""
        self._data: list[str] = []
        self._length = 0

    def feed(self, data: bytes) -> Iterator[ServerEvent]:
        """Take the next bytes and yield the events that are complete with them.

        Raises:
            Unavailable: `unreachable`, for an event that is no JSON or exceeds
                `EVENT_LENGTH_MAX`.
        """
        *lines, self._rest = (self._rest + self._decoder.decode(data)).split("\n")
        self._check_length(len(self._rest))
        for line in lines:
            event = self._take(line.removesuffix("\r"))
            if event is not None:
                yield event

    def _take(self, line: str) -> ServerEvent | None:
        if not line:
            return self._dispatch()
        name, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if name == "event":
            self._kind = value
        elif name == "data":
            self._data.append(value)
            self._length += len(value)
            self._check_length(0)
        # A comment (a heartbeat) has no name; `id` and `retry` are of no use here.
        return None

    def _dispatch(self) -> ServerEvent | None:
        kind, data = self._kind or "message", self._data
        self._kind, self._data, self._length = "", [], 0
        if not data:
            return None
        try:
            return ServerEvent(kind, json.loads("\n".join(data)))
        except ValueError:
            raise Unavailable("unreachable", f"The event {kind!r} is no JSON") from None

    def _check_length(self, pending: int) -> None:
        if self._length + pending > EVENT_LENGTH_MAX:
            raise Unavailable("unreachable", f"An event exceeds {EVENT_LENGTH_MAX:,} characters")
