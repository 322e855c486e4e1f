"""W3C trace context is read strictly and made anew where there is none."""

import pytest

from caxton_node.telemetry.trace import child_of, new_trace, parse_traceparent

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
SPAN = "00f067aa0ba902b7"


def test_a_trace_reads_what_it_writes():
    trace = parse_traceparent(f"00-{TRACE}-{SPAN}-01")
    assert trace is not None
    assert (trace.trace_id, trace.span_id, trace.is_sampled) == (TRACE, SPAN, True)
    assert trace.traceparent == f"00-{TRACE}-{SPAN}-01"


def test_a_later_version_may_say_more():
    assert parse_traceparent(f"01-{TRACE}-{SPAN}-00-more") is not None


@pytest.mark.parametrize(
    "text",
    [
        None,
        "",
        "garbage",
        f"00-{TRACE}-{SPAN}-01-more",
        f"ff-{TRACE}-{SPAN}-01",
        f"00-{'0' * 32}-{SPAN}-01",
        f"00-{TRACE}-{'0' * 16}-01",
        f"00-{TRACE.upper()}-{SPAN}-01",
        f"00-{TRACE}-{SPAN}-1",
        "0" * 10_000,
    ],
)
def test_what_is_no_traceparent_names_no_trace(text):
    assert parse_traceparent(text) is None


def test_a_child_stays_in_its_trace_and_keeps_the_sampling():
    parent = parse_traceparent(f"00-{TRACE}-{SPAN}-00")
    child = child_of(parent)
    assert child.trace_id == parent.trace_id
    assert child.span_id != parent.span_id
    assert child.is_sampled is False


def test_a_new_trace_is_well_formed():
    assert parse_traceparent(new_trace().traceparent) is not None
