"""Spans are made for traces that somebody wants, and cost the others nothing."""

import itertools
import re
from pathlib import Path

import pytest

from caxton_node.domain.errors import TimedOut
from caxton_node.domain.message import Message
from caxton_node.domain.performatives import Performative
from caxton_node.telemetry import spans
from caxton_node.telemetry.histogram import Histogram
from caxton_node.telemetry.message_spans import begin_process, begin_send
from caxton_node.telemetry.names import SPAN_ATTRIBUTES, SPANS
from caxton_node.telemetry.otlp import signal_address
from caxton_node.telemetry.spans import NO_SPAN, Kind, Tracing
from caxton_node.telemetry.trace import is_chosen, is_sampled, parse_traceparent

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
SPAN = "00f067aa0ba902b7"
SAMPLED = f"00-{TRACE}-{SPAN}-01"
UNSAMPLED = f"00-{TRACE}-{SPAN}-00"


def recorder(ratio=0.0):
    return Tracing(itertools.count(1).__next__, ratio=lambda: ratio, is_recording=True)


def request(traceparent):
    return Message(
        id="m1",
        performative=Performative.REQUEST,
        sender="client",
        receiver="Clerk",
        content=b'"secret text"',
        conversation_id="c1",
        traceparent=traceparent,
    )


def test_what_the_code_calls_spans_and_their_attributes_is_what_the_table_says():
    code = Path(spans.__file__).parents[1]
    files = [path for path in code.rglob("*.py") if path.name != "names.py"]
    text = "\n".join(path.read_text() for path in files)
    quoted = set(re.findall(r'"([a-z_]+(?:\.[a-z0-9_]+)+)"', text))
    assert SPAN_ATTRIBUTES.keys() <= quoted, "nobody sets them"
    conventions = ("gen_ai.", "rpc.", "messaging.message.", "messaging.operation.")
    assert {name for name in quoted if name.startswith(conventions)} <= SPAN_ATTRIBUTES.keys()
    begun = set(re.findall(r'(?:span|begin)\(\s*f?"([a-z_]+)[ "]', text))
    assert begun == {name.split()[0] for name in SPANS if not name.startswith("{")}


def test_a_request_of_a_recorded_trace_gets_a_span_below_its_caller():
    tracing = recorder()
    trace, span = tracing.enter(SAMPLED, "GET /x", {"http.route": "/x"})
    with span:
        pass
    assert trace.trace_id == TRACE
    assert trace.span_id == span.trace.span_id != SPAN
    assert list(tracing.finished) == [span]
    assert (span.parent_id, span.kind, span.ended_at_ns) == (SPAN, Kind.SERVER, 2)


@pytest.mark.parametrize("ratio", [0.0, 1.0])
def test_the_decision_of_whoever_began_the_trace_stands(ratio):
    tracing = recorder(ratio)
    assert tracing.enter(UNSAMPLED, "GET /x", {})[1] is NO_SPAN
    assert tracing.enter(SAMPLED, "GET /x", {})[1] is not NO_SPAN


def test_a_trace_that_begins_here_is_recorded_by_the_ratio():
    assert recorder(1.0).enter(None, "GET /x", {})[1] is not NO_SPAN
    trace, span = recorder(0.0).enter(None, "GET /x", {})
    assert (span, trace.is_sampled) == (NO_SPAN, False)


def test_what_machines_ask_every_few_seconds_begins_no_trace():
    assert recorder(1.0).enter(None, "GET /health", {}, may_begin=False)[1] is NO_SPAN


def test_whoever_records_nothing_passes_the_trace_on_as_it_came():
    trace, span = Tracing.off().enter(SAMPLED, "GET /x", {})
    assert (trace.traceparent, span) == (SAMPLED, NO_SPAN)


def test_the_ratio_decides_by_the_id_alone():
    ids = [f"{number:032x}" for number in range(0, 2**64, 2**60)]
    assert [is_chosen(one, 0.25) for one in ids] == [True] * 4 + [False] * 12
    assert all(is_chosen(one, 1.0) for one in [*ids, "f" * 32])


@pytest.mark.parametrize("text", [None, "", UNSAMPLED])
def test_a_message_of_an_unrecorded_trace_is_sent_as_it_is(text):
    message = request(text)
    sent, span = begin_send(recorder(), message)
    assert sent is message
    assert span is NO_SPAN


def test_a_turn_belongs_to_the_span_in_which_its_message_was_sent():
    tracing = recorder()
    sent, sending = begin_send(tracing, request(SAMPLED))
    sending.end()
    process = begin_process(tracing, sent, "Clerk", attempt=1, wait_ms=7)
    assert process is not None
    assert process.parent_id == sending.trace.span_id
    assert process.attributes["caxton.wait_ms"] == 7
    assert parse_traceparent(process.traceparent).trace_id == TRACE


def test_content_is_never_part_of_a_span():
    tracing = recorder()
    _, span = begin_send(tracing, request(SAMPLED))
    with pytest.raises(TimedOut), span:
        raise TimedOut("timed_out", "the secret text took too long")
    said = repr((span.name, span.attributes, span.error))
    assert "secret" not in said
    assert span.error == "timed_out"


def test_spans_beyond_the_queue_are_counted_as_dropped(monkeypatch):
    monkeypatch.setattr(spans, "QUEUE_MAX", 2)
    tracing = recorder()
    for _ in range(5):
        tracing.begin("x", Kind.INTERNAL, SAMPLED, {}).end()
    assert (len(tracing.finished), tracing.dropped_count) == (2, 3)


def test_a_span_ends_once():
    tracing = recorder()
    span = tracing.begin("x", Kind.INTERNAL, SAMPLED, {})
    span.end()
    span.end()
    assert len(tracing.finished) == 1


@pytest.mark.parametrize("text", ["", "0", "garbage-1", "00-x-y-01", None])
def test_what_only_looks_sampled_makes_no_span(text):
    assert recorder().begin("x", Kind.INTERNAL, text, {}) is NO_SPAN


def test_only_the_last_bit_says_that_a_trace_is_recorded():
    assert is_sampled(SAMPLED[:-2] + "03")
    assert not is_sampled(SAMPLED[:-2] + "02")


@pytest.mark.parametrize(
    ("endpoint", "protocol", "spans", "metrics"),
    [
        ("http://c:4317", "grpc", "http://c:4317", "http://c:4317"),
        ("http://c:4318", "http", "http://c:4318/v1/traces", "http://c:4318/v1/metrics"),
        ("http://c:4318/", "http", "http://c:4318/v1/traces", "http://c:4318/v1/metrics"),
        ("https://c/o/v1/traces", "http", "https://c/o/v1/traces", "https://c/o/v1/metrics"),
        ("https://c/own", "http", "https://c/own", "https://c/own"),
    ],
)
def test_telemetry_goes_to_the_path_of_the_specification_unless_another_is_given(
    endpoint, protocol, spans, metrics
):
    assert signal_address(endpoint, protocol, "/v1/traces") == spans
    assert signal_address(endpoint, protocol, "/v1/metrics") == metrics


def test_each_class_of_a_histogram_counts_those_below_and_names_its_latest_trace():
    histogram = Histogram((0.1, 1.0))
    histogram.observe(0.1)
    histogram.observe_traced(0.5, TRACE, 1.0)
    histogram.observe(7.0)
    (first, middle, last) = histogram.buckets()
    assert first == ("0.1", 1)
    assert middle[:2] == ("1", 2)
    assert middle[2].labels == {"trace_id": TRACE}
    assert last == ("+Inf", 3)
    assert (histogram.count, histogram.sum) == (3, 7.6)
