import contextvars
import io
import json
import logging
import queue
import threading

import pytest
from aiohttp.http_exceptions import BadHttpMessage, BadStatusLine, LineTooLong

from caxton_node.domain.message import Message
from caxton_node.domain.performatives import Performative
from caxton_node.telemetry import logging as node_logging
from caxton_node.telemetry.logging import (
    MESSAGE_LENGTH_MAX,
    QUEUE_MAX,
    configure_logging,
    note_turns,
)
from caxton_node.telemetry.names import LOG_FIELDS
from caxton_node.telemetry.trace import CURRENT_TRACE, Trace

LOG = logging.getLogger("caxton.test")
TRACE = Trace("a" * 32, "b" * 16)


def logged(write, *, level="info", form="json"):
    stream = io.StringIO()
    logs = configure_logging(level=level, format=form, node="node-1", stream=stream)
    try:
        write()
    finally:
        logs.close()
    lines = stream.getvalue().splitlines()
    return [json.loads(line) for line in lines] if form == "json" else lines


def test_a_line_says_when_where_and_what():
    [line] = logged(lambda: LOG.info("%d agents", 3))
    assert line.pop("time").endswith("Z")
    assert line == {
        "level": "info",
        "logger": "caxton.test",
        "message": "3 agents",
        "node": "node-1",
    }


def in_turn(agent, conversation_id, write, *, traceparent=None):
    """Write as a worker does that takes a turn."""

    def taking_a_turn():
        note_turns(agent).message = Message(
            id="m",
            performative=Performative.REQUEST,
            sender="client",
            conversation_id=conversation_id,
            traceparent=traceparent,
        )
        write()

    return lambda: contextvars.copy_context().run(taking_a_turn)


def test_a_line_carries_the_turn_in_which_it_was_written():
    write = in_turn("Ada", "conv-1", lambda: LOG.info("within"), traceparent=TRACE.traceparent)
    [line] = logged(write)
    assert line["conversation_id"] == "conv-1"
    assert line["message_id"] == "m"
    assert line["agent"] == "Ada"
    assert line["trace_id"] == "a" * 32


def test_the_fields_of_a_line_are_those_of_the_table():
    def fail():
        try:
            int("broken")
        except ValueError:
            LOG.exception("it failed")

    [line] = logged(in_turn("Ada", "conv-1", fail, traceparent=TRACE.traceparent))
    assert line.keys() == LOG_FIELDS.keys()


def test_a_line_of_a_request_carries_its_trace():
    def write():
        token = CURRENT_TRACE.set(TRACE)
        LOG.info("within")
        CURRENT_TRACE.reset(token)
        LOG.info("outside")

    within, outside = logged(write)
    assert within["trace_id"] == "a" * 32
    assert "trace_id" not in outside
    assert "agent" not in outside


def test_a_turn_does_not_carry_the_trace_of_the_request_that_started_its_worker():
    def write():
        CURRENT_TRACE.set(TRACE)
        in_turn("Ada", "conv-1", lambda: LOG.info("within"))()

    [line] = logged(lambda: contextvars.copy_context().run(write))
    assert "trace_id" not in line


def test_what_a_line_names_itself_beats_the_context():
    write = in_turn("Ada", "conv-1", lambda: LOG.info("named", extra={"agent": "Bob"}))
    assert logged(write)[0]["agent"] == "Bob"


def test_an_exception_stands_in_its_own_field():
    def write():
        try:
            int("broken")
        except ValueError:
            LOG.exception("it failed")

    [line] = logged(write)
    assert line["level"] == "error"
    assert (
        line["exception"].splitlines()[-1]
        == "ValueError: invalid literal for int() with base 10: 'broken'"
    )


@pytest.mark.parametrize(
    ("level", "expected"),
    [("debug", ["d", "i", "w", "e"]), ("info", ["i", "w", "e"]), ("error", ["e"])],
)
def test_the_level_decides_which_of_our_lines_are_written(level, expected):
    def write():
        for log in (LOG.debug, LOG.info, LOG.warning, LOG.error):
            log(log.__name__[0])

    assert [line["message"] for line in logged(write, level=level)] == expected


def test_libraries_are_heard_from_warning_on():
    def write():
        logging.getLogger("somelibrary").info("chatter")
        logging.getLogger("somelibrary").warning("trouble")

    assert [line["message"] for line in logged(write, level="debug")] == ["trouble"]


def test_a_line_break_in_a_message_forges_no_line_for_people():
    lines = logged(lambda: LOG.info("name\n2026-01-01 INFO forged"), form="text")
    assert len(lines) == 1
    assert "name\\n2026-01-01" in lines[0]


def test_a_line_for_people_ends_with_its_context():
    [line] = logged(in_turn("Ada", "conv-1", lambda: LOG.info("hello")), form="text")
    assert line.endswith("INFO    caxton.test: hello agent=Ada conversation_id=conv-1")


def test_a_traceback_for_people_is_indented_below_its_line():
    def write():
        try:
            int("broken")
        except ValueError:
            LOG.exception("it failed")

    first, *rest = logged(write, form="text")
    assert first.endswith("it failed")
    assert all(line.startswith("    ") for line in rest)


def test_a_message_that_is_too_long_is_cut_and_says_so():
    [line] = logged(lambda: LOG.info("x" * (MESSAGE_LENGTH_MAX + 1)))
    assert line["message"].endswith("… (8,001 characters)")
    assert len(line["message"]) < MESSAGE_LENGTH_MAX + 50


def test_half_a_surrogate_pair_is_spelled_out():
    # Without a logger: a test runner that collects log lines cannot pass this one on.
    record = LOG.makeRecord("caxton.test", logging.INFO, "here", 1, "\ud800", (), None)
    intake = node_logging._Intake(queue.Queue())
    assert intake.prepare(record).msg == "\\ud800"


def test_a_python_warning_is_a_line_too():
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("always")
        [line] = logged(lambda: warnings.warn("old ways", DeprecationWarning, stacklevel=1))
    assert line["logger"] == "py.warnings"


@pytest.mark.parametrize(
    ("fault", "told"),
    [
        (BadStatusLine("secret"), "BadStatusLine: Bad status line"),
        (LineTooLong("secret", 10), "LineTooLong: "),
        (BadHttpMessage("Invalid HTTP version:\n\n  b'secret'\n    ^"), "Invalid HTTP version"),
    ],
)
def test_a_request_that_is_no_http_is_told_without_its_bytes(fault, told):
    server_log = logging.getLogger("aiohttp.server")
    [line] = logged(lambda: server_log.error("Error handling request", exc_info=fault))
    assert line["level"] == "warning"
    assert told in line["message"]
    assert "secret" not in line["message"]
    assert "exception" not in line


def test_a_bug_met_by_the_server_library_keeps_its_traceback():
    server_log = logging.getLogger("aiohttp.server")
    [line] = logged(lambda: server_log.error("Error handling request", exc_info=ValueError("bug")))
    assert line["level"] == "error"
    assert "ValueError: bug" in line["exception"]


class BlockedStream(io.StringIO):
    """Lets nothing through until it is told to."""

    def __init__(self):
        super().__init__()
        self.is_reached = threading.Event()
        self.may_go_on = threading.Event()

    def write(self, text):
        self.is_reached.set()
        assert self.may_go_on.wait(10)
        return super().write(text)


def test_lines_that_a_slow_reader_cannot_take_are_dropped_and_counted():
    stream = BlockedStream()
    logs = configure_logging(level="info", format="json", node="node-1", stream=stream)
    try:
        LOG.info("first")
        assert stream.is_reached.wait(10)
        for number in range(QUEUE_MAX + 7):
            LOG.info("%d", number)
        assert logs.dropped_count == 7
    finally:
        stream.may_go_on.set()
        logs.close()
    messages = [json.loads(line)["message"] for line in stream.getvalue().splitlines()]
    assert messages[:2] == ["first", "7 lines were dropped: they came faster than they are read"]
    assert len(messages) == QUEUE_MAX + 2


def test_closing_does_not_wait_for_ever_for_a_reader(monkeypatch):
    monkeypatch.setattr(node_logging, "CLOSE_TIMEOUT_S", 0.01)
    stream = BlockedStream()
    logs = configure_logging(level="info", format="json", node="node-1", stream=stream)
    LOG.info("first")
    assert stream.is_reached.wait(10)
    logs.close()
    assert stream.getvalue() == ""
    stream.may_go_on.set()


def test_the_level_can_change_while_running():
    stream = io.StringIO()
    logs = configure_logging(level="info", format="json", node="node-1", stream=stream)
    LOG.debug("before")
    logs.set_level("debug")
    LOG.debug("after")
    logs.close()
    assert [json.loads(line)["message"] for line in stream.getvalue().splitlines()] == ["after"]


def test_closing_leaves_logging_as_it_was_found():
    root, own = logging.getLogger(), logging.getLogger("caxton")
    before = (list(root.handlers), root.level, own.level)
    logged(lambda: LOG.info("x"))
    assert (list(root.handlers), root.level, own.level) == before


def test_closing_twice_is_harmless():
    logs = configure_logging(level="info", format="text", node="n", stream=io.StringIO())
    logs.close()
    logs.close()
