"""The metadata store at an address where something else than etcd answers."""

import asyncio
import os
import random
from contextlib import aclosing, asynccontextmanager

import pytest

from caxton_cluster.errors import MetadataError, MetadataUnavailable
from caxton_cluster.metadata import Connection, EtcdSettings
from caxton_cluster.metadata.etcd import EtcdStore
from caxton_cluster.metadata.leader import LeaderLease
from caxton_cluster.metadata.mirror import Mirror

TIMEOUT_S = 0.6
PATIENCE_S = 10.0
HTTP_2_SETTINGS = bytes.fromhex("000000040000000000")


async def silent(reader, writer):
    await reader.read()


async def http_1(reader, writer):
    await reader.readuntil(b"\r\n\r\n")
    writer.write(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 2\r\n\r\nno")
    await writer.drain()


async def hangs_up(reader, writer):
    writer.transport.abort()


async def garbage(reader, writer):
    dice = random.Random(7)
    for _ in range(20):
        writer.write(dice.randbytes(200))
        await writer.drain()


async def garbage_in_http_2(reader, writer):
    # Well-formed frames of every kind, with contents that mean nothing.
    dice = random.Random(7)
    writer.write(HTTP_2_SETTINGS)
    for _ in range(200):
        size = dice.randrange(60)
        head = size.to_bytes(3) + bytes([dice.randrange(10), dice.randrange(256)])
        writer.write(head + dice.randrange(9).to_bytes(4) + dice.randbytes(size))
        await writer.drain()
        await asyncio.sleep(0)


@asynccontextmanager
async def stranger(behaviour):
    """Listen, and behave so to whoever comes."""

    async def serve(reader, writer):
        try:
            await behaviour(reader, writer)
        except (OSError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()


@pytest.mark.parametrize("behaviour", [silent, http_1, hangs_up, garbage, garbage_in_http_2])
async def test_a_stranger_is_no_etcd_and_does_no_harm(behaviour):
    async with stranger(behaviour) as url:
        settings = EtcdSettings(
            endpoints=(url, url), timeout_s=TIMEOUT_S, attempt_timeout_s=TIMEOUT_S / 2
        )
        async with EtcdStore(settings) as store, asyncio.timeout(PATIENCE_S):
            with pytest.raises(MetadataUnavailable):
                await store.get("a")
            with pytest.raises(MetadataError):
                await store.put("a", b"")
            with pytest.raises(MetadataError):
                async with store.lease(5.0):
                    pytest.fail("nobody granted it")
            assert store.state.connection is Connection.DEGRADED
            assert url in store.state.reason


async def test_whoever_waits_for_an_etcd_goes_on_waiting_and_can_be_stopped():
    async with stranger(hangs_up) as url:
        settings = EtcdSettings(endpoints=(url,), timeout_s=0.2, attempt_timeout_s=0.2)
        async with EtcdStore(settings) as store, asyncio.timeout(PATIENCE_S):
            mirror = Mirror(store, "nodes/n1/", owner="n1")
            mirror.put("a", os.urandom(9))
            leader = LeaderLease(store, "job", holder="n1")
            async with asyncio.TaskGroup() as tasks, aclosing(store.watch("")) as watch:
                waiting = [
                    tasks.create_task(mirror.run()),
                    tasks.create_task(leader.run()),
                    tasks.create_task(anext(watch)),
                ]
                done, _ = await asyncio.wait(waiting, timeout=1.5)
                assert not done
                assert leader.token is None
                assert mirror.backlog == 1
                for task in waiting:
                    task.cancel()
                await asyncio.wait(waiting)
