"""The held-out requests for choosing tools are well-formed, varied and answerable.

What third-party servers offer is not in the repository; here only the names of their toolsets and
everything about the product's own tools is checked.
"""

import json
from collections import Counter
from pathlib import Path

import pytest

from loadtests.tool_choice.collect import MERGED, SERVERS

HELD_OUT = Path(__file__).parents[2] / "loadtests" / "tool_choice" / "heldout.jsonl"
LINES = HELD_OUT.read_text(encoding="utf-8").splitlines()
REQUESTS = [json.loads(line) for line in LINES]

BUILTIN = {
    "http_client": {"url", "method"},
    "csv_parser": {"artifact", "text"},
    "json_processor": {"artifact", "data", "query"},
    "statistics_engine": {"artifact", "values", "columns", "group_by"},
    "text_processor": {"text", "operation"},
    "chart_generator": {"artifact", "data", "kind", "x", "y", "title"},
    "file_storage": {"operation", "path", "content"},
    "echo": {"text"},
    "message_client": {"receiver", "capability", "content"},
}
TOOLSETS = {"builtin", "everything", MERGED, *(server.name for server in SERVERS)}


@pytest.mark.parametrize("line", LINES)
def test_a_line_is_a_request_a_known_toolset_and_the_acceptable_tools(line):
    request = json.loads(line)

    assert set(request) - {"arguments"} == {"request", "toolset", "expected"}
    assert request["request"].strip() == request["request"] != ""
    assert request["toolset"] in TOOLSETS
    assert all(isinstance(name, str) and name for name in request["expected"])
    assert len(set(request["expected"])) == len(request["expected"])


def test_no_request_stands_there_twice():
    wordings = Counter(" ".join(r["request"].lower().split()) for r in REQUESTS)

    assert [wording for wording, count in wordings.items() if count > 1] == []


def test_the_set_is_large_enough_to_tell_choosers_apart():
    assert len(REQUESTS) >= 60
    assert sum(not r["expected"] for r in REQUESTS) >= 20


def test_every_toolset_has_requests_that_call_and_requests_that_must_not():
    calling = {r["toolset"] for r in REQUESTS if r["expected"]}
    silent = {r["toolset"] for r in REQUESTS if not r["expected"]}

    assert calling == TOOLSETS
    assert silent == TOOLSETS


def test_every_builtin_tool_is_asked_for_and_no_unknown_one():
    expected = {name for r in REQUESTS if r["toolset"] == "builtin" for name in r["expected"]}

    assert expected == set(BUILTIN)


def test_arguments_are_never_empty_and_never_asked_of_a_request_without_a_call():
    with_arguments = [r for r in REQUESTS if "arguments" in r]

    assert [r for r in with_arguments if not (r["expected"] and r["arguments"])] == []


def test_every_required_argument_of_a_builtin_tool_is_one_it_takes():
    unknown = [
        (name, argument)
        for r in REQUESTS
        for name in r["expected"]
        if r["toolset"] in {"builtin", "everything"} and name in BUILTIN
        for argument in r.get("arguments", {})
        if argument not in BUILTIN[name]
    ]

    assert unknown == []
