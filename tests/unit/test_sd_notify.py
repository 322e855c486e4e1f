"""What the service manager hears, on a socket of the test's own."""

import asyncio
import os
import socket

import pytest

from caxton_node.sd_notify import notify, notify_reloading, watchdog, watchdog_interval_s


@pytest.fixture(params=["path", "abstract"])
def manager(request, tmp_path):
    address = str(tmp_path / "s") if request.param == "path" else f"\0caxton-test-{os.getpid()}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as channel:
        channel.bind(address)
        channel.settimeout(5)
        yield channel, {"NOTIFY_SOCKET": address.replace("\0", "@")}


def test_a_state_reaches_the_manager(manager):
    channel, environment = manager
    notify("READY=1", environment)
    assert channel.recv(100) == b"READY=1"


def test_a_reload_is_told_with_its_time(manager):
    channel, environment = manager
    notify_reloading(environment)
    first, second = channel.recv(100).decode().splitlines()
    assert first == "RELOADING=1"
    assert int(second.removeprefix("MONOTONIC_USEC=")) > 0


def test_without_a_manager_nothing_happens():
    notify("READY=1", {})
    notify("READY=1", {"NOTIFY_SOCKET": "/nowhere/at/all"})


@pytest.mark.parametrize(
    ("environment", "interval_s"),
    [
        ({}, None),
        ({"WATCHDOG_USEC": "30000000"}, 15.0),
        ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "7"}, 15.0),
        ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "8"}, None),
        ({"WATCHDOG_USEC": "soon"}, None),
        ({"WATCHDOG_USEC": "0"}, None),
    ],
)
def test_signs_of_life_are_wanted_twice_in_what_is_allowed(environment, interval_s):
    assert watchdog_interval_s(environment, 7) == interval_s


async def test_the_event_loop_gives_signs_of_life_while_it_turns(manager):
    channel, environment = manager
    channel.setblocking(False)
    loop = asyncio.get_running_loop()
    with watchdog(environment | {"WATCHDOG_USEC": "20000"}):
        async with asyncio.timeout(5):
            heard = [await loop.sock_recv(channel, 100) for _ in range(3)]
    assert heard == [b"WATCHDOG=1"] * 3
