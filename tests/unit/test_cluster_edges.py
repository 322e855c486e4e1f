"""The small edges of the façade: seeds, the peer file, subscriptions."""

import asyncio
import json

import pytest

from caxton_cluster import seeds
from caxton_cluster.errors import InvalidSetting
from caxton_cluster.peerfile import read_peers, write_peers
from caxton_cluster.seeds import Seed, parse_seed, resolve
from caxton_cluster.subscription import EVENTS_MAX, Subscription
from caxton_cluster.types import Address

PEERS = {"a": Address.of("10.0.0.1", 7946), "b": Address.of("fd00::2", 1)}


@pytest.mark.parametrize(
    ("text", "seed"),
    [
        ("10.0.0.1", Seed("10.0.0.1", 7946)),
        ("10.0.0.1:80", Seed("10.0.0.1", 80)),
        (" ring.example:7000 ", Seed("ring.example", 7000)),
        ("[fd00::1]:80", Seed("fd00::1", 80)),
        ("[fd00::1]", Seed("fd00::1", 7946)),
        ("fd00::1", Seed("fd00::1", 7946)),
    ],
)
def test_a_seed_is_written_as_operators_do(text, seed):
    assert parse_seed(text) == seed


def test_a_seed_without_a_host_says_what_to_write():
    with pytest.raises(InvalidSetting, match="write host:port"):
        parse_seed(":80")


@pytest.mark.parametrize("host", ["ring..example", "x" * 64, "höst..example", "a\0b"])
def test_what_no_host_can_be_called_is_no_seed(host):
    with pytest.raises(InvalidSetting, match="neither an address nor the name of a host"):
        parse_seed(f"{host}:7946")


def test_a_bracket_that_is_not_closed_is_named():
    with pytest.raises(InvalidSetting, match="closing bracket"):
        parse_seed("[fd00::1:7946")


async def test_numbers_are_seeds_without_a_name_service():
    addresses, problems = await resolve([Seed("10.0.0.1", 1), Seed("10.0.0.1", 1)])

    assert (addresses, problems) == ([Address.of("10.0.0.1", 1)], [])


async def test_a_name_that_stands_for_nothing_is_a_problem_and_no_error():
    addresses, problems = await resolve([Seed("no-such-host.invalid", 1), Seed("10.0.0.1", 1)])

    assert addresses == [Address.of("10.0.0.1", 1)]
    assert "no-such-host.invalid" in problems[0]


async def test_a_slow_name_service_holds_up_no_other_seed(monkeypatch):
    async def never(*_arguments, **_options):
        await asyncio.Event().wait()

    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", never)
    monkeypatch.setattr(seeds, "RESOLVE_TIMEOUT_S", 0.01)
    addresses, problems = await resolve([Seed("slow.example", 1), Seed("10.0.0.1", 1)])

    assert addresses == [Address.of("10.0.0.1", 1)]
    assert problems == ["slow.example: not resolved within 0.01 s"]


def test_peers_survive_the_disk(tmp_path):
    path = tmp_path / "deep" / "peers.json"
    write_peers(path, PEERS)

    assert read_peers(path) == (PEERS, None)
    assert [file.name for file in path.parent.iterdir()] == ["peers.json"]


def test_no_file_is_no_problem(tmp_path):
    assert read_peers(tmp_path / "absent") == ({}, None)


@pytest.mark.parametrize(
    "content",
    [
        "",
        "[]",
        "{}",
        '{"format": 1}',
        '{"format": 1, "peers": {"a": 7}}',
        '{"format": 1, "peers": {"a": ["host", 1]}}',
        '{"format": 1, "peers": {"a": ["10.0.0.1", 99999]}}',
        '{"format": 1, "peers": []}',
        '{"format": 1, "peers": {"a": ["10.0.0.1", 1e400]}}',
        "[" * 100_000,
        b"\xff\xfe",
    ],
)
def test_a_damaged_file_is_explained_and_not_used(tmp_path, content):
    path = tmp_path / "peers.json"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())

    peers, problem = read_peers(path)

    assert peers == {}
    assert "cannot be used" in problem


def test_a_file_of_another_format_is_not_guessed_at(tmp_path):
    path = tmp_path / "peers.json"
    path.write_text(json.dumps({"format": 2, "peers": {}}))

    assert "format 2" in read_peers(path)[1]


async def test_a_slow_listener_loses_the_oldest_events_and_knows_it():
    subscription = Subscription()
    for number in range(EVENTS_MAX + 3):
        subscription.put(number)
    subscription.close()

    events = [event async for event in subscription]

    assert (events[0], events[-1]) == (3, EVENTS_MAX + 2)
    assert subscription.dropped_count == 3


async def test_a_listener_waits_for_what_comes_later():
    subscription = Subscription()
    async with asyncio.TaskGroup() as tasks:
        first = tasks.create_task(anext(subscription))
        await asyncio.sleep(0)
        subscription.put("late")

    assert first.result() == "late"


async def test_nothing_comes_after_the_end():
    with Subscription() as subscription:
        pass
    subscription.put("too late")

    assert [event async for event in subscription] == []
