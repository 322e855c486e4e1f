"""A member that closes, leaves or comes back in the middle of something else."""

import asyncio
import socket
from contextlib import AsyncExitStack
from dataclasses import replace

import pytest

from caxton_cluster import Cluster, ClusterSettings, fast
from caxton_cluster.errors import JoinFailed
from tests.integration.cluster_ring import DEADLINE_S, start, start_ring, states, until

PATIENT = replace(fast(), stream_timeout_s=600.0)
"""Waits for a peer on a stream longer than any test may take."""


@pytest.fixture
async def stack():
    async with AsyncExitStack() as stack:
        yield stack


@pytest.fixture
def mute():
    """The address of a host that takes connections and says nothing."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield f"127.0.0.1:{listener.getsockname()[1]}"


async def test_a_silent_peer_does_not_keep_a_member_from_closing():
    settings = ClusterSettings(name="n0", bind_port=0, swim=PATIENT)
    async with asyncio.timeout(DEADLINE_S), Cluster(settings) as node:
        _, writer = await asyncio.open_connection(node.address.host, node.address.port)

    writer.close()


async def test_a_seed_that_does_not_answer_does_not_keep_a_member_from_closing(mute):
    settings = ClusterSettings(name="n0", bind_port=0, swim=PATIENT)
    async with asyncio.timeout(DEADLINE_S), Cluster(settings) as node:
        with pytest.raises(JoinFailed):
            await node.join([mute], timeout_s=0.1)


async def test_a_goodbye_ends_the_attempts_to_join(stack, mute):
    node = await start(stack, "n0", swim=PATIENT)
    async with asyncio.timeout(DEADLINE_S), asyncio.TaskGroup() as tasks:
        joining = tasks.create_task(_failed_join(node, mute))
        await asyncio.sleep(0)
        await node.leave()

    assert joining.result().reasons == ("we said goodbye meanwhile",)


async def _failed_join(node: Cluster, seed: str) -> JoinFailed:
    with pytest.raises(JoinFailed) as failure:
        await node.join([seed])
    return failure.value


async def test_a_goodbye_ends_when_its_member_joins_again_meanwhile(stack):
    ring = await start_ring(stack, 2)
    async with asyncio.timeout(DEADLINE_S), asyncio.TaskGroup() as tasks:
        leaving = tasks.create_task(ring[1].leave())
        await asyncio.sleep(0)
        await ring[1].join([str(ring[0].address)])

    assert leaving.result() is False
    await until(ring[0], lambda: states(ring[0]) == {"n0": "alive", "n1": "alive"})
