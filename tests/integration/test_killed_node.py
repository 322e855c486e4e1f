"""kill -9: every message that was accepted is answered or a dead letter after the restart."""

import asyncio
import random

import aiohttp
import pytest

from tests.node_process import node_process
from tests.opened_node import python_agent

IN_FLIGHT = 1_000
SETTLE_TIMEOUT_S = 40.0
ENVIRONMENT = {"CAXTON_PYTHON__ALLOW": "tests.*"}


async def send(session, url, number) -> str | None:
    """Send one request; return its id if the node accepted it."""
    body = {
        "id": f"test-{number}",
        "performative": "request",
        "sender": "client",
        "receiver": "agent",
        "content": number,
    }
    try:
        async with session.post(f"{url}/api/v1/messages", json=body) as response:
            return f"test-{number}" if response.status == 202 else None
    except aiohttp.ClientError:
        return None


async def deploy(session, url, source) -> None:
    body = {"source": source, "format": "toml"}
    async with session.post(f"{url}/api/v1/agents", json=body) as response:
        assert response.status in (200, 201), await response.text()


async def get(session, url, path):
    async with session.get(f"{url}/api/v1{path}") as response:
        assert response.status == 200, (path, await response.text())
        return await response.json()


async def all_settled(session, url, ids) -> None:
    """Wait until every message has an end; fail for one that is not there at all."""
    async with asyncio.timeout(SETTLE_TIMEOUT_S):
        for message_id in ids:
            while (await get(session, url, f"/messages/{message_id}"))["status"] == "accepted":
                await asyncio.sleep(0.02)


async def check_each_is_answered(session, url, ids) -> None:
    for message_id in ids:
        stored = await get(session, url, f"/messages/{message_id}")
        assert stored["status"] == "delivered", stored
        conversation = stored["message"]["conversation_id"]
        page = await get(session, url, f"/messages?conversation_id={conversation}")
        answers = [m["message"] for m in page["items"] if m["message"].get("in_reply_to")]
        assert [answer["content"] for answer in answers] == [stored["message"]["content"]]


@pytest.mark.timeout(120)
async def test_a_thousand_messages_in_flight_survive_a_kill(tmp_path):
    gate = tmp_path / "gate"
    source = python_agent("agent", "WaitsForFile", more=f'[parameters]\npath = "{gate}"\n')
    connector = aiohttp.TCPConnector(limit=32)
    async with aiohttp.ClientSession(connector=connector) as session:
        async with node_process(tmp_path, **ENVIRONMENT) as node:
            await deploy(session, node.url, source)
            sent = await asyncio.gather(*(send(session, node.url, n) for n in range(IN_FLIGHT)))
            accepted = [message_id for message_id in sent if message_id is not None]
            assert len(accepted) == IN_FLIGHT
            await node.kill()
        gate.touch()
        async with node_process(tmp_path, **ENVIRONMENT) as node:
            await all_settled(session, node.url, accepted)
            await check_each_is_answered(session, node.url, accepted)


@pytest.mark.timeout(180)
async def test_kills_at_any_moment_lose_nothing_accepted(tmp_path):
    dice = random.Random(7)
    source = python_agent("agent", "Echo")
    accepted: list[str] = []
    number = 0
    connector = aiohttp.TCPConnector(limit=16)
    async with aiohttp.ClientSession(connector=connector) as session:
        for _ in range(5):
            async with node_process(tmp_path, **ENVIRONMENT) as node:
                await deploy(session, node.url, source)
                sends = [send(session, node.url, number + n) for n in range(400)]
                number += 400
                kill = asyncio.get_running_loop().create_future()
                asyncio.get_running_loop().call_later(
                    dice.uniform(0.05, 0.5), kill.set_result, None
                )

                async def kill_when_told(node=node, kill=kill):
                    await kill
                    await node.kill()

                *sent, _ = await asyncio.gather(*sends, kill_when_told())
                accepted += [message_id for message_id in sent if message_id is not None]
        async with node_process(tmp_path, **ENVIRONMENT) as node:
            await all_settled(session, node.url, accepted)
            await check_each_is_answered(session, node.url, accepted)
    assert accepted, "the kills came before anything was accepted"
