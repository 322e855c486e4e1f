"""Connections are bounded, and those that say nothing make room for those that do."""

import asyncio
import json

import pytest

from caxton_node.api import listener
from tests.opened_node import opened_node, python_agent
from tests.rest_node import served

COUNT = 4


@pytest.fixture
async def rest(tmp_path):
    async with opened_node(tmp_path) as node, served(node, connection_count_max=COUNT) as rest:
        yield rest


async def connect(rest):
    host, port = rest.url.removeprefix("http://").split(":")
    return await asyncio.open_connection(host, int(port))


async def until_closed(reader):
    async with asyncio.timeout(10):
        try:
            while await reader.read(65_536):
                pass
        except ConnectionError:
            return


async def ask(rest, path="/health"):
    """Ask over a connection of one's own; return status and body."""
    reader, writer = await connect(rest)
    writer.write(f"GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode())
    try:
        async with asyncio.timeout(10):
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
            return head, json.loads(await reader.read())
    finally:
        writer.close()


async def begin_stream(rest):
    """Follow events; return the streams once the server has begun."""
    reader, writer = await connect(rest)
    writer.write(b"GET /api/v1/events HTTP/1.1\r\nHost: localhost\r\n\r\n")
    async with asyncio.timeout(10):
        assert b"200 OK" in await reader.readuntil(b"\r\n\r\n")
    return reader, writer


async def test_the_connection_that_was_idle_longest_makes_room(rest):
    idle = [await connect(rest) for _ in range(COUNT)]
    head, _ = await ask(rest)
    assert head.startswith("HTTP/1.1 200")
    await until_closed(idle[0][0])
    assert [reader.at_eof() for reader, _ in idle] == [True, False, False, False]
    for _, writer in idle:
        writer.close()


async def test_half_a_request_is_idle(rest):
    halves = [await connect(rest) for _ in range(COUNT)]
    for _, writer in halves:
        writer.write(b"GET /health HTTP/1.1\r\nHost: loc")
        await writer.drain()
    head, _ = await ask(rest)
    assert head.startswith("HTTP/1.1 200")
    for _, writer in halves:
        writer.close()


async def test_a_connection_at_work_is_left_alone(rest):
    reader, stream = await begin_stream(rest)
    idle = [await connect(rest) for _ in range(COUNT)]
    await ask(rest)
    await rest.deploy(python_agent("echo", "Echo"), headers={"Connection": "close"})
    async with asyncio.timeout(10):
        assert b"agent.deployed" in await reader.readuntil(b"agent.deployed")
    for _, writer in [*idle, (reader, stream)]:
        writer.close()


async def test_where_all_are_at_work_a_newcomer_is_told_to_come_later(rest):
    streams = [await begin_stream(rest) for _ in range(COUNT)]
    head, problem = await ask(rest)
    assert head.startswith("HTTP/1.1 503 ")
    assert "Retry-After: 1" in head
    assert "Content-Type: application/problem+json" in head
    assert problem["code"] == "node_busy"
    streams[0][1].close()
    async with asyncio.timeout(10):
        while not (await ask(rest))[0].startswith("HTTP/1.1 200"):
            await asyncio.sleep(0)
    async with rest.session.get(rest.address("/metrics")) as response:
        refused = 'caxton_http_requests_total{method="other",route="unmatched",status="503"}'
        assert refused in await response.text()
    for _, writer in streams[1:]:
        writer.close()


async def test_a_request_that_never_ends_is_given_up(rest, monkeypatch):
    monkeypatch.setattr(listener, "_MANNER", {**listener._MANNER, "keepalive_timeout": 0.1})
    reader, writer = await connect(rest)
    writer.write(b"GET /health HTTP/1.1\r\nHost: loc")
    await until_closed(reader)
    writer.close()


async def test_who_does_not_read_is_dropped(rest, monkeypatch):
    ended = asyncio.Event()
    end = listener._Connection.connection_lost

    def connection_lost(self, exc):
        end(self, exc)
        ended.set()

    monkeypatch.setattr(listener._Connection, "connection_lost", connection_lost)
    monkeypatch.setattr(listener, "STALL_S_MAX", 0.1)
    _, writer = await connect(rest)
    writer.transport.pause_reading()
    # Asks for far more than all buffers between here and there hold.
    writer.write(b"GET /openapi.json HTTP/1.1\r\nHost: localhost\r\n\r\n" * 500)
    async with asyncio.timeout(20):
        await ended.wait()
    writer.close()


UNREADABLE = {
    "a long line": (b"GET / HTTP/1.1\r\nX: " + b"a" * 70_000, "longer than 65,536 bytes"),
    "a long address": (b"GET /?" + b"a" * 70_000 + b" HTTP/1.1", "longer than 65,536 bytes"),
    "many fields": (b"GET / HTTP/1.1\r\n" + b"X: a\r\n" * 200, "more than 128 fields"),
    "no HTTP": (b"garbage", "does not begin with a method"),
    "an unknown version": (b"GET / HTTP/9.9", "first line is not that of HTTP/1.1"),
    "no host": (b"GET / HTTP/1.1", "for which host"),
    "an odd address": (b"GET /\xff\x00 HTTP/1.1\r\nHost: a", "address holds a character"),
    "TLS": (b"\x16\x03\x01\x00\xa5\x01\x00\x00\xa1\x03\x03" + b"\x00" * 40, "encrypted"),
    "an impossible length": (
        b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: -5",
        "not as HTTP/1.1 prescribes",
    ),
}


@pytest.mark.parametrize(("data", "told"), UNREADABLE.values(), ids=UNREADABLE)
async def test_what_cannot_be_read_is_told_so_in_the_shape_of_all_errors(rest, data, told):
    reader, writer = await connect(rest)
    writer.write(data + b"\r\n\r\n")
    async with asyncio.timeout(10):
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        problem = json.loads(await reader.read())
    writer.close()
    assert " 400 " in head.splitlines()[0]
    assert "Content-Type: application/problem+json" in head
    assert "aiohttp" not in head
    assert problem["code"] == "malformed_request"
    assert told in problem["detail"]
    assert problem["trace_id"] in head


async def test_an_expectation_that_nobody_knows_is_ignored(rest):
    async with rest.session.get(rest.address("/health"), headers={"Expect": "bananas"}) as response:
        assert response.status == 200


async def test_a_client_may_wait_for_our_word_before_it_sends_a_body(rest):
    body = b'{"performative": "request", "receiver": "none", "content": 1}'
    reader, writer = await connect(rest)
    writer.write(
        b"POST /api/v1/messages HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
        b"Expect: 100-continue\r\nContent-Length: %d\r\n\r\n" % len(body)
    )
    async with asyncio.timeout(10):
        assert await reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
        writer.write(body)
        assert b" 404 " in await reader.readuntil(b"\r\n")
    writer.close()
