"""Whatever arrives on the socket is answered in kind, within bounds, and harms nobody."""

import asyncio
import gzip
import io
import json
import logging

import pytest

from caxton_node.api import reading
from caxton_node.telemetry.logging import configure_logging
from tests.opened_node import python_agent
from tests.rest_node import BODY_BYTES_MAX, rest_node

JSON = {"Content-Type": "application/json"}
GOOD = {"performative": "request", "receiver": "echo", "content": "hi"}


@pytest.fixture
async def rest(tmp_path):
    async with rest_node(tmp_path) as rest:
        await rest.deploy(python_agent("echo", "Echo"))
        yield rest


async def raw(rest, data):
    """Send bytes and return all that comes back until the server closes or is silent."""
    host, port = rest.url.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    try:
        writer.write(data)
        await writer.drain()
        async with asyncio.timeout(15):
            head = await reader.readuntil(b"\r\n\r\n")
        return head.decode()
    finally:
        writer.close()


MALFORMED = {
    "nothing": b"",
    "a word": b"hello",
    "a half": b'{"performative": "request"',
    "not a number": b'{"content": NaN}',
    "infinity": b'{"content": Infinity}',
    "a number beyond all": b'{"content": 1e999}',
    "not UTF-8": b'{"content": "\xff"}',
    "half a surrogate pair": b'{"content": "\\ud800"}',
    "a byte order mark": b"\xef\xbb\xbf{}",
    "a comment": b'{"a": 1 /* one */}',
    "two values": b"{} {}",
    "65 levels": b'{"content": ' + b"[" * 64 + b"]" * 64 + b"}",
    "a hundred thousand levels": b"[" * 100_000,
    "a NUL": b'{"content": "\x00"}',
}


@pytest.mark.parametrize("body", MALFORMED.values(), ids=MALFORMED)
async def test_what_is_no_json_is_malformed(rest, body):
    problem = await rest.call("POST", "messages", status=400, data=body, headers=JSON)
    assert problem["code"] == "malformed_body"


async def test_sixty_four_levels_are_fine(rest):
    content = json.loads("[" * 63 + "]" * 63)
    receipt = await rest.post("messages", GOOD | {"content": content, "wait_s": 10})
    assert receipt["reply"]["content"] == content


INVALID = {
    "no performative": ({"receiver": "echo"}, "performative"),
    "an unknown act": (GOOD | {"performative": "sing"}, "performative"),
    "an unknown field": (GOOD | {"recipient": "x"}, "recipient"),
    "a number for text": (GOOD | {"sender": 1}, "sender"),
    "text for a number": (GOOD | {"wait_s": "5"}, "wait_s"),
    "a truth value for a number": (GOOD | {"wait_s": True}, "wait_s"),
    "too long a wait": (GOOD | {"wait_s": 601}, "wait_s"),
    "an instant without a zone": (GOOD | {"reply_by": "2030-01-01T00:00:00"}, "reply_by"),
    "an instant that never was": (GOOD | {"reply_by": "2030-02-30T00:00:00Z"}, "reply_by"),
    "an id of the server's kind": (GOOD | {"id": "msg-1#1"}, "id"),
    "an id with a line break": (GOOD | {"id": "msg-1\n"}, "id"),
    "a control character": (GOOD | {"sender": "a\u0000b"}, "sender"),
    "no such strategy": (GOOD | {"routing_strategy": "luck"}, "routing_strategy"),
    "two destinations": (GOOD | {"capability": "test"}, "receiver"),
    "no destination": ({"performative": "request"}, "receiver"),
    "no capability's name": ({"performative": "request", "capability": "A b"}, "capability"),
    "a topic": (GOOD | {"receiver": "topic://news"}, "receiver"),
    "too much content": (GOOD | {"content": "x" * 1_000_001}, "content"),
}


@pytest.mark.parametrize(("body", "field"), INVALID.values(), ids=INVALID)
async def test_what_breaks_a_rule_is_named_by_its_field(rest, body, field):
    problem = await rest.post("messages", body, status=422)
    assert problem["errors"][0]["field"] == field
    assert problem["type"] == f"urn:caxton:error:{problem['code']}"
    assert problem["instance"] == "/api/v1/messages"


@pytest.mark.parametrize("body", ["[]", "null", "1", '"text"'])
async def test_a_body_that_is_no_object_is_invalid(rest, body):
    for path in ("messages", "agents", "validate", "agents/echo/chat"):
        await rest.call("POST", path, status=422, data=body, headers=JSON)


@pytest.mark.parametrize(
    ("query", "rule"),
    [
        ("limt=1", "unknown_key"),
        ("limit=1&limit=2", "repeated"),
        ("limit=0", "greater_than_equal"),
        ("limit=1001", "less_than_equal"),
        ("limit=1.5", "value_error"),
        ("limit=%C3%A9", "value_error"),
        ("cursor=%FF", "malformed_cursor"),
        ("status=lost", "enum"),
    ],
)
async def test_a_query_is_read_as_strictly_as_a_body(rest, query, rule):
    problem = await rest.get(f"messages?{query}", status=422)
    assert problem["errors"][0]["rule"] == rule


@pytest.mark.parametrize(
    "headers",
    [
        {"Content-Type": "text/plain"},
        {"Content-Type": "application/x-www-form-urlencoded"},
        {"Content-Type": "application/json; charset=latin-1"},
        {"Content-Type": "application/json", "Content-Encoding": "gzip"},
    ],
)
async def test_only_plain_json_is_taken(rest, headers):
    body = json.dumps(GOOD).encode()
    problem = await rest.call("POST", "messages", status=415, data=body, headers=headers)
    assert problem["code"] == "unsupported_media_type"


async def test_a_compressed_body_is_not_unpacked(rest):
    body = gzip.compress(b" " * 50_000_000)
    headers = JSON | {"Content-Encoding": "gzip"}
    problem = await rest.call("POST", "messages", status=415, data=body, headers=headers)
    assert problem["code"] == "unsupported_media_type"


async def test_a_body_that_says_it_is_too_large_is_refused_unread(rest):
    head = await raw(
        rest,
        b"POST /api/v1/messages HTTP/1.1\r\nHost: localhost\r\n"
        b"Content-Type: application/json\r\nContent-Length: 100000000\r\n\r\n",
    )
    assert head.startswith("HTTP/1.1 413")
    assert "connection: close" in head.lower()


async def test_a_body_in_chunks_is_read_up_to_the_limit_only(rest):
    sent_bytes = 0

    async def endless():
        nonlocal sent_bytes
        while sent_bytes < 100_000_000:
            sent_bytes += 65_536
            yield b" " * 65_536

    # Either the answer arrives, or the server hangs up while the client is still talking.
    try:
        problem = await rest.call("POST", "messages", status=413, data=endless(), headers=JSON)
        assert problem["code"] == "body_too_large"
    except OSError:
        pass
    assert sent_bytes < BODY_BYTES_MAX + 20_000_000


async def test_a_body_that_never_comes_is_given_up(rest, monkeypatch):
    monkeypatch.setattr(reading, "BODY_TIMEOUT_S", 0.05)
    head = await raw(
        rest,
        b"POST /api/v1/messages HTTP/1.1\r\nHost: localhost\r\n"
        b'Content-Type: application/json\r\nContent-Length: 100\r\n\r\n{"perf',
    )
    assert head.startswith("HTTP/1.1 400")


@pytest.mark.parametrize(
    "data",
    [
        b"GET / HTTP/9.9\r\n\r\n",
        b"nonsense\r\n\r\n",
        b"GET /health HTTP/1.1\r\nHost: localhost\r\nX: " + b"a" * 70_000 + b"\r\n\r\n",
        b"GET /" + b"a" * 70_000 + b" HTTP/1.1\r\nHost: localhost\r\n\r\n",
    ],
)
async def test_what_is_no_http_gets_a_400(rest, data, caplog):
    caplog.set_level(logging.CRITICAL)
    assert (await raw(rest, data)).split()[1] == "400"


async def test_a_known_address_with_another_method_says_what_is_allowed(rest):
    for method in ("PATCH", "OPTIONS", "PUT", "TRACE"):
        async with rest.session.request(method, rest.address("messages")) as response:
            assert response.status == 405
            assert response.headers["Allow"] == "GET, HEAD, POST"
            assert (await response.json())["code"] == "method_not_allowed"


@pytest.mark.parametrize(
    ("path", "near"),
    [("/api/v1/agnets", "/api/v1/agents"), ("/helth", "/health"), ("/agents", "/api/v1/agents")],
)
async def test_an_unknown_address_is_answered_with_the_nearest(rest, path, near):
    problem = await rest.get(path, status=404)
    assert problem["code"] == "route_not_found"
    assert problem["suggestions"] in ([near], [])
    assert problem["instance"] == path


@pytest.mark.parametrize("name", ["%00", "%FF%FE", "a%2Fb", "..", "é", "x" * 300])
async def test_a_name_that_no_agent_can_have_is_not_found(rest, name):
    await rest.get(f"agents/{name}", status=404)
    await rest.get(f"messages/{name}%20", status=404)


@pytest.mark.parametrize("path", ["/health", "/ready", "agents", "agents/echo", "events", "/docs"])
async def test_head_answers_like_get_without_a_body(rest, path):
    async with rest.session.head(rest.address(path)) as response:
        assert response.status == 200
        assert await response.read() == b""


@pytest.mark.parametrize("host", ["evil.example", "evil.example:8080", "127.0.0.1.evil.example"])
async def test_a_name_that_is_not_this_machine_is_refused(rest, host):
    problem = await rest.get("agents", status=403, headers={"Host": host})
    assert problem["code"] == "denied"


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:1", "127.0.0.1:9999", "[::1]:8080"])
async def test_names_of_this_machine_are_fine_with_any_port(rest, host):
    await rest.get("agents", headers={"Host": host})


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
    ],
)
async def test_a_page_of_another_site_changes_nothing(rest, headers):
    await rest.post("agents/echo/stop", status=403, headers=headers)
    assert (await rest.get("agents/echo"))["state"] == "running"


async def test_a_page_of_the_node_itself_may(rest):
    headers = {"Origin": rest.url, "Sec-Fetch-Site": "same-origin"}
    await rest.post("agents/echo/suspend", headers=headers)


async def test_no_answer_grants_anything_to_other_origins(rest):
    preflight = {"Origin": "https://evil.example", "Access-Control-Request-Method": "POST"}
    async with rest.session.options(rest.address("messages"), headers=preflight) as response:
        assert response.status == 405
        assert not [name for name in response.headers if name.lower().startswith("access-control")]


async def test_every_answer_carries_its_trace_and_forbids_guessing_types(rest):
    for path in ("/health", "agents/none", "/nothing", "/metrics"):
        async with rest.session.get(rest.address(path)) as response:
            assert len(response.headers["X-Trace-Id"]) == 32
            assert response.headers["X-Content-Type-Options"] == "nosniff"
            assert response.headers["Cache-Control"] == "no-store"


async def test_a_bug_is_logged_with_its_trace_and_tells_nothing_inside(rest, monkeypatch, caplog):
    def broken(_roster, _name):
        raise RuntimeError("the secret of the house")

    monkeypatch.setattr(type(rest.node.roster), "seat", broken)
    problem = await rest.get("agents/echo", status=500)
    assert problem["code"] == "internal"
    assert "secret" not in json.dumps(problem)
    assert "the secret of the house" in caplog.text


async def test_the_page_about_the_api_needs_nothing_from_elsewhere(rest):
    async with rest.session.get(rest.address("/docs")) as response:
        page = await response.text()
        policy = response.headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "<script" not in page
    assert "http://" not in page.replace("http://localhost", "")
    assert "/api/v1/agents/{name}/chat" in page


async def test_requests_are_counted_by_template_and_not_by_address(rest):
    await rest.get("agents/echo")
    await rest.get("agents/none", status=404)
    await rest.get("/nothing-at-all", status=404)
    async with rest.session.get(rest.address("/metrics")) as response:
        text = await response.text()
    route = 'route="/api/v1/agents/{name}"'
    assert f'caxton_http_requests_total{{method="GET",{route},status="200"}} 1.0' in text
    assert "nothing-at-all" not in text
    assert 'caxton_agents{state="running"} 1.0' in text


@pytest.mark.parametrize("level", ["debug", "info", "warning"])
async def test_a_request_that_is_no_http_is_one_line_of_warning(rest, level):
    lines = await lines_of(rest, level, b"GET /secret HTTP/9x9\r\n\r\n")
    [line] = [json.loads(line) for line in lines]
    assert (line["level"], line["logger"]) == ("warning", "caxton.api")
    assert line["message"].startswith("from 127.0.0.1: the request cannot be read: its first line")
    assert "secret" not in line["message"]
    assert "exception" not in line


async def test_a_request_that_is_no_http_is_no_error(rest):
    assert await lines_of(rest, "error", b"GET / HTTP/9x9\r\n\r\n") == []


async def lines_of(rest, level, data):
    """Return the lines of log that some bytes cause."""
    stream = io.StringIO()
    logs = configure_logging(level=level, format="json", node="node-1", stream=stream)
    try:
        await raw(rest, data)
    finally:
        logs.close()
    return stream.getvalue().splitlines()
