"""Names as seeds, whose addresses change and whose name service may be down."""

import asyncio
import socket
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import replace

import pytest

from caxton_cluster import Cluster, cluster, fast
from tests.integration.cluster_ring import DEADLINE_S, start, states, until

SEEKING = replace(fast(), rejoin_interval_s=0.05)


@pytest.fixture
async def stack():
    async with AsyncExitStack() as stack:
        yield stack


class NameService:
    """What `ring.test` stands for, as the event loop is told."""

    def __init__(self, monkeypatch) -> None:
        self.hosts: Sequence[str] = ()
        self.asked = asyncio.Event()
        monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", self._lookup)

    async def _lookup(self, host, port, **_options):
        assert host == "ring.test", "numbers are no names"
        self.asked.set()
        if not self.hosts:
            raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (one, port)) for one in self.hosts]

    async def is_asked_again(self) -> None:
        self.asked.clear()
        await asyncio.wait_for(self.asked.wait(), DEADLINE_S)


async def _start_at(stack: AsyncExitStack, name: str, host: str, port: int) -> Cluster:
    return await start(stack, name, bind_host=host, bind_port=port, swim=SEEKING)


async def test_a_name_is_looked_up_anew_for_each_attempt(stack, monkeypatch):
    names = NameService(monkeypatch)
    seed = await start(stack, "n0")
    other = await start(stack, "n1")
    async with asyncio.timeout(DEADLINE_S), asyncio.TaskGroup() as tasks:
        joining = tasks.create_task(other.join([f"ring.test:{seed.address.port}"]))
        await names.is_asked_again()
        names.hosts = ["127.0.0.77", "127.0.0.1"]

    assert joining.result() == seed.address


async def test_a_name_service_that_fails_takes_no_seed_away(stack, monkeypatch):
    """The seed said goodbye, so that its name is not looked for, and comes back as a stranger."""
    monkeypatch.setattr(cluster, "HOUSEKEEPING_INTERVAL_S", 0.05)
    names = NameService(monkeypatch)
    names.hosts = ["127.0.0.1"]
    node = await start(stack, "n1", swim=SEEKING)
    async with AsyncExitStack() as first_life:
        seed = await start(first_life, "n0", swim=SEEKING)
        port = seed.address.port
        await node.join([f"ring.test:{port}"], timeout_s=DEADLINE_S)
        names.hosts = []
        await seed.leave()
        await until(node, lambda: states(node)["n0"] == "left")
    for _ in range(2):
        await names.is_asked_again()

    await start(stack, "stranger", bind_port=port, swim=SEEKING)

    await until(node, lambda: states(node).get("stranger") == "alive")
