"""The server of tools on standard input and output, message by message."""

import io
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from caxton_node.cli.mcp_stdio import LINE_BYTES_MAX, VERSIONS, McpTool, ToolServer
from caxton_node.cli.memory_mcp import prompt_part, serve
from caxton_node.domain.errors import NotFound


def refuse(_arguments):
    raise NotFound("memory_not_found", "nothing is known of it")


TOOLS = (
    McpTool(
        name="echo",
        description="Says it again.",
        properties={
            "text": {"type": "string"},
            "times": {"type": "integer"},
            "how": {"type": "string", "enum": ["loud", "low"]},
        },
        required=("text",),
        call=dict,
    ),
    McpTool(name="refuse", description="Fails.", properties={}, required=(), call=refuse),
)


@pytest.fixture
def server():
    return ToolServer("test", "1", TOOLS, instructions="Be kind.")


def ask(server, method, params=None, number=1):
    message = {"jsonrpc": "2.0", "id": number, "method": method, "params": params or {}}
    return json.loads(server.answer(json.dumps(message).encode()))


@pytest.mark.parametrize("version", VERSIONS)
def test_a_version_that_is_spoken_is_agreed_on(server, version):
    hello = ask(server, "initialize", {"protocolVersion": version})["result"]
    assert hello["protocolVersion"] == version


def test_of_another_version_the_newest_that_is_spoken_is_offered(server):
    hello = ask(server, "initialize", {"protocolVersion": "2030-01-01"})["result"]
    assert hello["protocolVersion"] == VERSIONS[0]


def test_a_notification_is_not_answered(server):
    assert server.answer(b'{"jsonrpc":"2.0","method":"notifications/initialized"}') is None


def test_an_unknown_method_and_an_unknown_tool_are_errors_of_the_protocol(server):
    assert ask(server, "resources/list")["error"]["code"] == -32601
    assert ask(server, "tools/call", {"name": "fly"})["error"]["code"] == -32602


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        ({}, "text is missing"),
        ({"text": 5}, "text must be of the type string"),
        ({"text": "x", "times": True}, "times must be of the type integer"),
        ({"text": "x", "how": "shrill"}, "how must be one of loud, low"),
        ({"text": "x", "who": "me"}, "who is no argument; there are text, times, how"),
    ],
)
def test_arguments_that_do_not_fit_are_told_to_the_model(server, arguments, why):
    told = ask(server, "tools/call", {"name": "echo", "arguments": arguments})["result"]
    assert (told["isError"], told["content"][0]["text"]) == (True, why)


def test_what_the_node_refuses_is_told_to_the_model(server):
    told = ask(server, "tools/call", {"name": "refuse"})["result"]
    assert (told["isError"], told["content"][0]["text"]) == (True, "nothing is known of it")


@given(st.one_of(st.binary(), st.text().map(str.encode)))
def test_no_bytes_stop_it(line):
    answer = ToolServer("test", "1", TOOLS, instructions="").answer(line)
    assert answer is None or json.loads(answer)["jsonrpc"] == "2.0"


@given(
    st.recursive(
        st.one_of(st.none(), st.booleans(), st.integers(), st.text(max_size=9)),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=9), inner),
        max_leaves=9,
    ),
    st.sampled_from(["initialize", "ping", "tools/list", "tools/call", "server/discover"]),
)
def test_no_parameters_stop_it(params, method):
    message = {"jsonrpc": "2.0", "id": 1, "method": method, "params": params}
    server = ToolServer("test", "1", TOOLS, instructions="")
    answer = json.loads(server.answer(json.dumps(message).encode()))
    assert ("result" in answer) is not ("error" in answer)


def test_a_line_that_is_too_long_is_refused_and_the_next_one_answered(server):
    ping = b'{"jsonrpc":"2.0","id":7,"method":"ping"}\n'
    requests = io.BytesIO(b"x" * (2 * LINE_BYTES_MAX + 10) + b"\n" + ping)
    answers = io.BytesIO()
    serve(server, requests, answers)
    first, second = map(json.loads, answers.getvalue().splitlines())
    assert (first["error"]["code"], second) == (-32600, {"jsonrpc": "2.0", "id": 7, "result": {}})


def found(*texts):
    return {
        "items": [
            {"observation": {"entity": "Ada", "text": text, "valid_from": "2026-01-02T00:00:00Z"}}
            for text in texts
        ]
    }


def test_the_part_of_a_prompt_holds_the_best_that_fits():
    part = prompt_part(found("Ada likes tea", "x" * 500, "lives in Rome"), budget_tokens=50)
    assert part.splitlines() == [
        "- Ada likes tea (since 2026-01-02)",
        "- Ada: lives in Rome (since 2026-01-02)",
    ]
