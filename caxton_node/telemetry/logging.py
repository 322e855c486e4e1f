"""The node's own log: one line an event, written by a thread of its own.

A log call on the event loop formats its message, notes whose work it belongs to, and puts the
record into a bounded queue. A thread writes: a slow disk or a reader that does not read never
holds up a turn. When the queue is full, lines are dropped and counted, and the next line that
gets through says how many.

What may stand in a line: names, ids, counts, durations, errors. The content of messages and
prompts stays out of it at every level above debug, secrets always.

Reference: the logging cookbook of Python, "Dealing with handlers that block".
"""

import logging
import queue
import re
from collections.abc import Callable
from contextvars import ContextVar
from datetime import UTC, datetime
from logging.handlers import QueueHandler, QueueListener
from typing import Any, Final, TextIO

import msgspec
import orjson
from aiohttp.http_exceptions import HttpProcessingError

from caxton_node.domain.message import Message
from caxton_node.telemetry.trace import CURRENT_TRACE, parse_traceparent

__all__ = [
    "LEVELS",
    "QUEUE_MAX",
    "JsonFormatter",
    "Logs",
    "TextFormatter",
    "TurnNote",
    "configure_logging",
    "note_turns",
]

QUEUE_MAX: Final = 10_000
"""Lines that may wait to be written."""

MESSAGE_LENGTH_MAX: Final = 8_000
"""Characters; what is longer is cut, and says so."""

EXCEPTION_LENGTH_MAX: Final = 32_000
"""Characters of a traceback. The end of it is kept: the error stands there."""

FAULT_LENGTH_MAX: Final = 200
"""Characters of what is wrong with a request that is no HTTP."""

CLOSE_TIMEOUT_S: Final = 5.0
"""For writing what waits when the node stops. A reader that does not read loses it."""

LEVELS: Final = {
    "debug": logging.DEBUG,
    "info": logging.INFO,
    "warning": logging.WARNING,
    "error": logging.ERROR,
}

OWN_LOGGER: Final = "caxton"
"""Our loggers are below this one. Those of libraries are heard from `warning` on."""

HTTP_LOGGER: Final = "aiohttp.server"

_THEIR_WORDS: Final = re.compile(r"\n|(\bb)?['\"]")


class TurnNote(msgspec.Struct, eq=False):
    """Whose work the lines of a task belong to.

    A turn writes its message into it, no more: what a line shows is found when it is written.
    """

    agent: str
    message: Message | None = None


_TURN: ContextVar[TurnNote | None] = ContextVar("caxton_log_turn", default=None)


def note_turns(agent: str) -> TurnNote:
    """Return what the lines of this task, and of those that it starts, are marked with."""
    note = TurnNote(agent)
    _TURN.set(note)
    return note


class JsonFormatter(logging.Formatter):
    """One JSON object a line, for collectors. Fields without a value are left out."""

    def __init__(self, *, node: str) -> None:
        super().__init__()
        self._node = node

    def format(self, record: logging.LogRecord) -> str:
        """Return the line for a record, without its end."""
        fields = {
            "time": _instant(record.created),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            "node": self._node,
            "trace_id": _field(record, "trace_id"),
            "conversation_id": _field(record, "conversation_id"),
            "message_id": _field(record, "message_id"),
            "agent": _field(record, "agent"),
            "exception": record.exc_text,
        }
        filled = {name: value for name, value in fields.items() if value}
        return orjson.dumps(filled).decode()


class TextFormatter(logging.Formatter):
    """One line for a person; a traceback follows, indented."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line for a record, without its end."""
        # A line break in a message, perhaps a stranger's, would forge a line of ours.
        message = record.getMessage().replace("\n", "\\n").replace("\r", "\\r")
        names = ("agent", "conversation_id", "trace_id")
        context = "".join(
            f" {name}={value}" for name in names if (value := _field(record, name)) is not None
        )
        line = f"{_instant(record.created)} {record.levelname:<7} {record.name}: {message}{context}"
        if record.exc_text:
            line += "".join(f"\n    {each}" for each in record.exc_text.splitlines())
        return line


def _tell_strangers_fault(record: logging.LogRecord) -> bool:
    """Make a warning of one line of a request that is no HTTP; return whether it is written.

    The server library reports each as an error of the server, with a traceback of its parser and
    the bytes themselves. Whoever can reach the port could fill a disk with them.
    """
    error = record.exc_info[1] if record.exc_info else None
    if record.name != HTTP_LOGGER or not isinstance(error, HttpProcessingError):
        return True
    # What follows a line's end or a quotation mark is the stranger's own.
    fault = _THEIR_WORDS.split(error.message, maxsplit=1)[0].rstrip(": ")[:FAULT_LENGTH_MAX]
    record.msg = f"{record.getMessage()}: {type(error).__name__}: {fault}"
    record.args = None
    record.exc_info = record.exc_text = None
    record.levelno, record.levelname = logging.WARNING, "WARNING"
    return logging.getLogger(HTTP_LOGGER).isEnabledFor(logging.WARNING)


class _Intake(QueueHandler):
    """Takes a record where it is logged: completes it and queues it, or counts it as lost."""

    def __init__(self, lines: "queue.Queue[Any]") -> None:
        super().__init__(lines)
        self.addFilter(_tell_strangers_fault)
        self.dropped_count = 0

    def prepare(self, record: logging.LogRecord) -> logging.LogRecord:
        """Complete a record with the context of whoever logged it."""
        turn, trace = _TURN.get(), CURRENT_TRACE.get()
        found: dict[str, str | None] = dict.fromkeys(("conversation_id", "message_id", "agent"))
        if turn is not None:
            message = turn.message
            found["agent"] = turn.agent
            # A worker was started by some request; its turns belong to others.
            trace = None if message is None else parse_traceparent(message.traceparent)
            found["conversation_id"] = None if message is None else message.conversation_id
            found["message_id"] = None if message is None else message.id
        found["trace_id"] = None if trace is None else trace.trace_id
        for name, value in found.items():
            if not hasattr(record, name):
                setattr(record, name, value)
        # What it refers to may change before the line is written, so that it is made text now.
        record.msg = _encodable(_shortened(record.getMessage()))
        record.args = None
        if record.exc_info:
            text = logging.Formatter().formatException(record.exc_info)
            record.exc_text = _encodable(text[-EXCEPTION_LENGTH_MAX:])
            record.exc_info = None
        return record

    def enqueue(self, record: logging.LogRecord) -> None:
        """Queue a record, or count it as lost."""
        # Called with the handler's lock held, so that the counter needs none of its own.
        try:
            self.queue.put_nowait(record)
        except queue.Full:
            self.dropped_count += 1


class _Scribe(QueueListener):
    """The thread that writes."""

    def __init__(
        self, lines: "queue.Queue[Any]", handler: logging.Handler, dropped: Callable[[], int]
    ) -> None:
        super().__init__(lines, handler)
        self._dropped = dropped
        self._told_count = 0

    def handle(self, record: logging.LogRecord) -> None:
        """Write a record, and how many were lost by now."""
        super().handle(record)
        lost = self._dropped() - self._told_count
        if lost:
            self._told_count += lost
            super().handle(
                logging.makeLogRecord(
                    {
                        "name": f"{OWN_LOGGER}.log",
                        "levelno": logging.WARNING,
                        "levelname": "WARNING",
                        "msg": f"{lost} lines were dropped: they came faster than they are read",
                    }
                )
            )

    def stop(self) -> None:
        """Write what waits, within `CLOSE_TIMEOUT_S`."""
        thread = self._thread
        if thread is None:
            return
        self._thread = None
        try:
            self.queue.put(self._sentinel, timeout=CLOSE_TIMEOUT_S)  # type: ignore[attr-defined]  # the stub lacks it
        except queue.Full:
            return
        thread.join(CLOSE_TIMEOUT_S)


class Logs:
    """The log of a running node."""

    def __init__(self, intake: _Intake, scribe: _Scribe, before: tuple[int, int]) -> None:
        self._intake = intake
        self._scribe = scribe
        self._before = before

    @property
    def dropped_count(self) -> int:
        """Lines lost because they came faster than they could be written."""
        return self._intake.dropped_count

    def set_level(self, level: str) -> None:
        """Change which of our lines are written: a key of `LEVELS`."""
        logging.getLogger(OWN_LOGGER).setLevel(LEVELS[level])

    def close(self) -> None:
        """Write what waits, and leave logging as it was found. May be called twice."""
        logging.captureWarnings(False)
        root = logging.getLogger()
        root.removeHandler(self._intake)
        own_level, root_level = self._before
        logging.getLogger(OWN_LOGGER).setLevel(own_level)
        root.setLevel(root_level)
        self._scribe.stop()


def configure_logging(
    *,
    level: str,
    format: str,  # noqa: A002 - the name of the setting
    node: str,
    stream: TextIO,
) -> Logs:
    """Send the log of this process to `stream`. Close what it returns at the end.

    Args:
        level: A key of `LEVELS`: the least important of our lines that are written.
        format: `json` or `text`.
        node: The node's name.
        stream: Written by a thread of the log's own.
    """
    lines: queue.Queue[Any] = queue.Queue(QUEUE_MAX)
    intake = _Intake(lines)
    writer = logging.StreamHandler(stream)
    writer.setFormatter(JsonFormatter(node=node) if format == "json" else TextFormatter())
    scribe = _Scribe(lines, writer, lambda: intake.dropped_count)
    own, root = logging.getLogger(OWN_LOGGER), logging.getLogger()
    logs = Logs(intake, scribe, (own.level, root.level))
    own.setLevel(LEVELS[level])
    root.setLevel(max(LEVELS[level], logging.WARNING))
    root.addHandler(intake)
    logging.captureWarnings(True)
    scribe.start()
    return logs


def _instant(created_s: float) -> str:
    at = datetime.fromtimestamp(created_s, UTC)
    return f"{at:%Y-%m-%dT%H:%M:%S}.{at.microsecond // 1000:03d}Z"


def _field(record: logging.LogRecord, name: str) -> str | None:
    value = getattr(record, name, None)
    return None if value is None else str(value)


def _shortened(text: str) -> str:
    if len(text) <= MESSAGE_LENGTH_MAX:
        return text
    return f"{text[:MESSAGE_LENGTH_MAX]}… ({len(text):,} characters)"


def _encodable(text: str) -> str:
    """Spell out what UTF-8 cannot encode: a half of a surrogate pair."""
    return text.encode(errors="backslashreplace").decode()
