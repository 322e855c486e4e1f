import socket
import threading
from contextlib import contextmanager

import click
import pytest

from caxton_node.cli import exchange
from caxton_node.cli.client import Client, path_of, server_url
from caxton_node.cli.event_stream import EventParser, ServerEvent
from caxton_node.domain.errors import CaxtonError, NotFound, TimedOut, Unavailable
from tests.scripted_http import scripted_http


@pytest.fixture
def script():
    with scripted_http() as served:
        yield served


@contextmanager
def raw_server(*pieces: bytes, is_held=False):
    """Accept one connection, read a little, send the pieces; hang up unless held."""
    done = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve():
            connection, _ = listener.accept()
            with connection:
                connection.recv(65_536)
                for piece in pieces:
                    connection.sendall(piece)
                if is_held:
                    done.wait(10)

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            done.set()
            thread.join(5)


# Addresses


@pytest.mark.parametrize(
    ("text", "server"),
    [
        ("localhost:8080", "http://localhost:8080"),
        ("https://caxton.example/", "https://caxton.example"),
        ("http://[::1]:8080", "http://[::1]:8080"),
        ("http://proxy/caxton/", "http://proxy/caxton"),
    ],
)
def test_an_address_is_understood(text, server):
    assert Client(text).server == server


@pytest.mark.parametrize(
    "text",
    ["", "http://", "ftp://x", "http://x:99999", "http://x?q=1", "http://x:0", "http://[::1"],
)
def test_what_is_no_address_is_refused(text):
    with pytest.raises(click.UsageError, match="no address of a server"):
        server_url(text)


def test_parts_of_a_path_cannot_leave_it():
    assert path_of("agents", "../config") == "/api/v1/agents/..%2Fconfig"


def test_a_prefix_of_the_server_stands_before_every_path(script):
    script.on("GET", "/prefix/health", {"status": "ok"})
    assert Client(f"{script.url}/prefix").get("/health") == {"status": "ok"}


# Answers


def test_a_problem_keeps_its_code_hint_places_and_facts(script):
    script.problem(
        "GET",
        "/x",
        "agent_not_found",
        404,
        detail="no such agent",
        hint="look again",
        suggestions=["Ada"],
        errors=[{"message": "here", "line": 3, "column": "three", "novelty": 1}],
    )
    with pytest.raises(NotFound) as caught:
        Client(script.url).get("/x")
    error = caught.value
    assert (error.code, error.detail, error.hint) == (
        "agent_not_found",
        "no such agent",
        "look again",
    )
    assert error.facts == {"suggestions": ["Ada"]}
    assert [(place.line, place.column) for place in error.places] == [(3, None)]


@pytest.mark.parametrize(
    ("status", "code"),
    [
        (401, "unauthenticated"),
        (403, "denied"),
        (409, "state_conflict"),
        (502, "unreachable"),
        (504, "timed_out"),
        (500, "internal"),
        (418, "invalid_request"),
    ],
)
def test_a_problem_without_a_code_is_judged_by_its_status(script, status, code):
    script.on("GET", "/x", {"title": "Odd"}, status=status)
    with pytest.raises(CaxtonError) as caught:
        Client(script.url).get("/x")
    assert caught.value.code == code


def test_a_node_that_is_not_ready_is_an_answer(script):
    script.on("GET", "/ready", {"status": "not_ready", "components": {}}, status=503)
    assert Client(script.url).get("/ready")["status"] == "not_ready"


@pytest.mark.parametrize(
    ("status", "data", "media_type"),
    [
        (200, b"<html>", "text/html"),
        (404, b"<html>", "text/html"),
        (302, b"", "text/html"),
        (200, b"{", "application/json"),
        (500, b"[]", "application/json"),
    ],
)
def test_a_stranger_is_recognised(script, status, data, media_type):
    script.on("GET", "/x", data, status=status, media_type=media_type)
    with pytest.raises(Unavailable, match="no Caxton server") as caught:
        Client(script.url).get("/x")
    assert caught.value.code == "unreachable"


def test_an_answer_that_never_ends_is_refused(script, monkeypatch):
    monkeypatch.setattr(exchange, "ANSWER_BYTES_MAX", 10)
    script.on("GET", "/x", {"text": "much too long"})
    with pytest.raises(Unavailable, match="exceeds 10 bytes"):
        Client(script.url).get("/x")


@pytest.mark.parametrize(
    ("pieces", "what"),
    [
        ([], "the connection broke"),
        ([b"SSH-2.0-OpenSSH\r\n"], "no Caxton server"),
        ([b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab"], "the connection broke"),
        (
            [b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 9\r\n\r\n{"],
            "its JSON cannot be read",
        ),
    ],
)
def test_a_connection_that_breaks_is_unreachable(pieces, what):
    with raw_server(*pieces) as url, pytest.raises(Unavailable, match=what):
        Client(url).get("/x")


@pytest.mark.parametrize(
    "pieces",
    [
        [],
        [b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 9\r\n\r\n{"],
    ],
    ids=["no answer", "half an answer"],
)
def test_an_answer_has_a_deadline(pieces):
    with raw_server(*pieces, is_held=True) as url, pytest.raises(TimedOut) as caught:
        Client(url, timeout_s=0.05).get("/x")
    assert "--timeout" in caught.value.hint


def test_a_name_that_does_not_resolve_is_unreachable():
    with pytest.raises(Unavailable, match="No server answers"):
        Client("http://nowhere.invalid").get("/x")


# Events


def test_an_error_instead_of_events_is_that_error(script):
    script.problem("GET", "/x", "agent_not_found", 404, detail="no")
    with pytest.raises(NotFound):
        list(Client(script.url).events("GET", "/x"))


def test_a_document_instead_of_events_is_a_strangers(script):
    script.on("GET", "/x", {})
    with pytest.raises(Unavailable, match="asked for events"):
        list(Client(script.url).events("GET", "/x"))


def test_a_stream_has_a_deadline_too():
    head = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n"
    event = b'event: delta\ndata: {"text": "a"}\n\n'
    with raw_server(head, event, is_held=True) as url:
        events = Client(url).events("GET", "/x", timeout_s=0.2)
        assert next(events) == ServerEvent("delta", {"text": "a"})
        with pytest.raises(TimedOut):
            next(events)


STREAM = (
    b': heartbeat\n\nevent: delta\r\ndata: {"text":\r\ndata: "\xc3\xa9"}\r\nid: 1\r\n\r\n'
    b"data: 2\n\nevent: empty\n\nevent:tight\ndata:3\n\ndata: unfinished"
)
EVENTS = [ServerEvent("delta", {"text": "é"}), ServerEvent("message", 2), ServerEvent("tight", 3)]


@pytest.mark.parametrize("size_bytes", [1, 2, 3, 7, 1_000])
def test_events_are_the_same_in_whatever_pieces_they_come(size_bytes):
    parser, events = EventParser(), []
    for start in range(0, len(STREAM), size_bytes):
        events += parser.feed(STREAM[start : start + size_bytes])
    assert events == EVENTS


def test_an_event_that_is_no_json_is_refused():
    with pytest.raises(Unavailable, match="no JSON"):
        list(EventParser().feed(b"data: {\n\n"))


@pytest.mark.parametrize("line", [b"x" * 600_000, b"data: " + b"x" * 600_000 + b"\n"])
def test_an_event_cannot_grow_without_end(monkeypatch, line):
    monkeypatch.setattr("caxton_node.cli.event_stream.EVENT_LENGTH_MAX", 1_000_000)
    with pytest.raises(Unavailable, match="exceeds 1,000,000"):
        list(EventParser().feed(line * 3))


def test_the_media_type_is_json_when_something_is_sent(script):
    script.on("POST", "/x", {})
    Client(script.url).call("POST", "/x", body={"a": "é"}, query={"yes": True, "none": None})
    received = script.received[-1]
    assert received.headers["Content-Type"] == "application/json"
    assert (received.body, received.query) == ({"a": "é"}, {"yes": "true"})
