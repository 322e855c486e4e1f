import pytest

from caxton_node.llm.openai_errors import is_transient, redacted, retry_after_s, status_failed


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({"retry-after": "7"}, 7.0),
        ({"retry-after": " 0.5 "}, 0.5),
        ({"retry-after-ms": "250", "retry-after": "9"}, 0.25),
        ({"retry-after": "Thu, 01 Jan 1970 00:02:00 GMT"}, 20.0),
        ({"retry-after": "Thu, 01 Jan 1970 00:00:01 GMT"}, 0.0),
        ({"retry-after": "soon"}, None),
        ({"retry-after": "-5"}, None),
        ({"retry-after": "9" * 40}, None),
        ({}, None),
    ],
)
def test_retry_after_is_read_in_seconds_in_milliseconds_and_as_a_date(headers, expected):
    assert retry_after_s(headers, now_s=100.0) == expected


def test_only_what_may_pass_is_transient():
    passing = [status for status in range(300, 600) if is_transient(status)]
    assert passing == [408, 409, 425, 429, *range(500, 600)]


def test_the_key_is_cut_out_of_what_an_endpoint_says():
    assert redacted("bad key sk-1\n  at all", "sk-1") == "bad key [api_key] at all"


def test_a_long_complaint_is_cut():
    assert len(redacted("x" * 10_000, None)) == 300


@pytest.mark.parametrize(
    "body",
    [
        {"error": {"message": "why"}},
        {"message": "why"},
        {"error": "why"},
        {"detail": "why"},
        "why",
    ],
)
def test_the_sentence_is_found_wherever_an_endpoint_puts_it(body):
    error = status_failed(418, body, model="m", base_url="http://x/v1", api_key=None)
    assert error.detail.endswith(": why")


def test_a_page_of_a_proxy_is_not_repeated():
    error = status_failed(502, "<html>…", model="m", base_url="http://x/v1", api_key=None)
    assert "<" not in error.detail
