"""Three processes with certificates, as an operator starts them; one is killed, all renew."""

import asyncio
import subprocess
import sys
from contextlib import AsyncExitStack
from pathlib import Path

import aiohttp
import pytest

from caxton import CaxtonClient, NotFound, Tls, Unavailable
from tests.node_process import node_process

ROOT = Path(__file__).parents[2]
DEADLINE_S = 40.0
CLERK = 'name = "Clerk"\ncapabilities = ["clerking"]\nsystem_prompt = "You are a clerk."\n'


def caxton(folder, *arguments):
    subprocess.run(
        [sys.executable, "-m", "caxton_node.cli.main", "security", *arguments],
        cwd=folder,
        env={"PYTHONPATH": str(ROOT)},
        check=True,
        capture_output=True,
        timeout=30,
    )


async def until(condition):
    """Return what a condition finds; a node that cannot be reached has not found it yet."""
    async with asyncio.timeout(DEADLINE_S):
        while True:
            try:
                if found := await condition():
                    return found
            except Unavailable as error:
                if error.code not in {"no_majority", "unreachable"}:
                    raise
            await asyncio.sleep(0.05)


@pytest.mark.timeout(180)
async def test_a_cluster_with_certificates_serves_clients_renews_and_survives_a_death(tmp_path):
    await asyncio.to_thread(make_certificates, tmp_path)
    async with AsyncExitStack() as stack:
        session = await stack.enter_async_context(aiohttp.ClientSession())
        nodes = {}
        for name in "abc":
            joins = ("--peers", await gossip_of(session, nodes["a"])) if nodes else ()
            (tmp_path / name).mkdir()
            nodes[name] = await stack.enter_async_context(
                node_process(
                    tmp_path / name,
                    *("--name", name, "--gossip", "127.0.0.1:0", *joins),
                    CAXTON_CLUSTER__PRESET="fast",
                    CAXTON_MEMORY__ENABLED="false",
                    CAXTON_SECURITY__CA_FILE=str(tmp_path / "certs" / "ca.crt"),
                    CAXTON_SECURITY__CERT_FILE=str(tmp_path / "certs" / f"{name}.crt"),
                    CAXTON_SECURITY__KEY_FILE=str(tmp_path / "certs" / f"{name}.key"),
                )
            )
        certs = tmp_path / "certs"
        tls = Tls(ca=certs / "ca.crt", certificate=certs / "ada.crt", key=certs / "ada.key")
        addresses = [nodes[name].grpc.replace("127.0.0.1", "localhost") for name in "abc"]
        client = await stack.enter_async_context(CaxtonClient(addresses, tls=tls))
        third = await stack.enter_async_context(CaxtonClient(addresses[2], tls=tls))

        async def all_are_there():
            return (await third.cluster()).members == {"alive": 3}

        await until(all_are_there)
        # Changes need a majority, which the node knows of a moment after the members.
        await until(lambda: client.deploy(CLERK, node="b"))
        assert await until(lambda: answered(third))

        # Everybody gets a new certificate while the links are up, and still is known.
        for name in "abc":
            await asyncio.to_thread(caxton, tmp_path, "renew-cert", name)
        renewed = await stack.enter_async_context(CaxtonClient(addresses[1], tls=tls))
        assert await until(lambda: answered(renewed))

        # The first node dies; the client turns to another, which may still miss the agent.
        await nodes["a"].kill()
        members = await until(client.members)
        assert {one.node_id for one in members} == {"a", "b", "c"}
        assert await until(lambda: answered(client))


def make_certificates(folder):
    caxton(folder, "init-ca")
    for name in "abc":
        caxton(folder, "gen-cert", "--node", name, "--host", "localhost")
    caxton(folder, "gen-cert", "--client", "ada")


async def gossip_of(session, node):
    async with session.get(f"{node.url}/api/v1/cluster/status") as response:
        return (await response.json())["address"]


async def answered(client):
    try:
        return (await client.chat("Clerk", "hello", timeout_s=10)).text
    except NotFound:
        return None
