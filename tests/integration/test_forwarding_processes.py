"""Two nodes that are processes, one killed or stopped in the middle of a thousand messages."""

import asyncio
import signal
from collections import Counter
from contextlib import AsyncExitStack

import aiohttp
import pytest

from tests.node_process import node_process

DEADLINE_S = 60.0
MESSAGES = 1_000
ENVIRONMENT = {
    "CAXTON_CLUSTER__PRESET": "fast",
    "CAXTON_CLUSTER__EXPECT": "2",  # neither takes over the other's agents
    "CAXTON_PYTHON__ALLOW": "tests.*",
    "CAXTON_MEMORY__ENABLED": "false",
}


class Pair:
    """Node `a`, where clients are, and node `b`, where the agent is."""

    def __init__(self, folder, stack, session):
        self.folder, self.stack, self.session = folder, stack, session
        self.nodes = {}
        self.gossip = {}
        self.effects = folder / "effects"
        self.effects.touch()

    async def start(self, name):
        folder = self.folder / name
        folder.mkdir(exist_ok=True)
        others = [address for other, address in self.gossip.items() if other != name]
        options = ["--name", name, "--gossip", self.gossip.get(name, "127.0.0.1:0")]
        options += ["--grpc", "127.0.0.1:0"]
        if others:
            options += ["--peers", ",".join(others)]
        node = await self.stack.enter_async_context(node_process(folder, *options, **ENVIRONMENT))
        self.nodes[name] = node
        self.gossip[name] = (await self.get(name, "cluster/status"))["address"]

    async def get(self, name, path):
        async with self.session.get(f"{self.nodes[name].url}/api/v1/{path}") as response:
            assert response.status == 200, await response.text()
            return await response.json()

    async def deploy(self, name, pause_s):
        source = (
            'name = "Ledger"\nkind = "python"\nhandler = "tests.handlers:WritesDown"\n'
            f'capabilities = ["test"]\n[parameters]\npath = "{self.effects}"\n'
            f"pause_s = {pause_s}\n[limits]\nmailbox = 5000\nconcurrency = 64\n"
        )
        address = f"{self.nodes[name].url}/api/v1/agents"
        async with self.session.post(
            address, json={"source": source, "format": "toml"}
        ) as response:
            assert response.status in (200, 201), await response.text()

    async def send(self, number, **more):
        """Send one message through `a`; return its id if it was accepted."""
        body = {
            "performative": "request",
            "sender": "client",
            "receiver": "Ledger",
            "content": number,
            "conversation_id": f"conv-{number % 50}",
        } | more
        try:
            async with self.session.post(
                f"{self.nodes['a'].url}/api/v1/messages", json=body
            ) as response:
                return (await response.json())["message_id"] if response.status == 202 else None
        except aiohttp.ClientError:
            return None

    async def knows(self, name, other):
        async with asyncio.timeout(DEADLINE_S):
            while True:
                document = await self.get(name, "cluster")
                linked = [one["name"] for one in document["nodes"] if one["is_linked"]]
                if other in linked:
                    return
                await asyncio.sleep(0.05)

    async def is_majority(self, name):
        async with asyncio.timeout(DEADLINE_S):
            while (await self.get(name, "cluster/partition"))["mode"] != "majority":
                await asyncio.sleep(0.05)

    async def finds_agent(self, name):
        async with asyncio.timeout(DEADLINE_S):
            while True:
                document = await self.get(name, "cluster/agents")
                if any(one["name"] == "Ledger" for one in document["items"]):
                    return
                await asyncio.sleep(0.05)

    async def check_all_answered(self, ids):
        async with asyncio.timeout(DEADLINE_S):
            for message_id in ids:
                while True:
                    stored = await self.get("a", f"messages/{message_id}")
                    if stored["status"] != "accepted":
                        break
                    await asyncio.sleep(0.05)
                assert stored["status"] == "delivered", (
                    stored["status"],
                    stored.get("reason"),
                    stored,
                )

    def effects_of(self, ids):
        """Return how often each message had its effect."""
        counted = Counter(line.split()[1] for line in self.effects.read_text().splitlines())
        return [counted[message_id] for message_id in ids]

    async def has_effects(self, count):
        while len(self.effects.read_text().splitlines()) < count:
            await asyncio.sleep(0.01)

    async def send_all(self, count=MESSAGES):
        sent = []
        for first in range(0, count, 100):
            sent += await asyncio.gather(*(self.send(n) for n in range(first, first + 100)))
        return [message_id for message_id in sent if message_id is not None]


@pytest.fixture
async def pair(tmp_path):
    async with AsyncExitStack() as stack:
        connector = aiohttp.TCPConnector(limit=32)
        session = await stack.enter_async_context(aiohttp.ClientSession(connector=connector))
        pair = Pair(tmp_path, stack, session)
        await pair.start("b")
        await pair.start("a")
        for name, other in ("ab", "ba"):
            await pair.knows(name, other)
            await pair.is_majority(name)
        yield pair


@pytest.mark.timeout(150)
async def test_the_holder_is_killed_in_the_middle_and_nothing_is_lost(pair):
    await pair.deploy("b", pause_s=0.02)
    await pair.finds_agent("a")
    async with asyncio.TaskGroup() as tasks:
        sending = tasks.create_task(pair.send_all())
        await pair.has_effects(200)
        await pair.nodes["b"].kill()
    accepted = sending.result()
    assert len(accepted) > 200
    await pair.start("b")
    await pair.check_all_answered(accepted)
    effects = pair.effects_of(accepted)
    assert min(effects) == 1
    # Only turns that were under way when it died are taken again.
    assert sum(effects) - len(effects) <= 64


@pytest.mark.timeout(150)
async def test_the_accepting_node_is_killed_in_the_middle_and_nothing_is_doubled(pair):
    await pair.deploy("b", pause_s=0.005)
    await pair.finds_agent("a")
    async with asyncio.TaskGroup() as tasks:
        sending = tasks.create_task(pair.send_all())
        await pair.has_effects(200)
        await pair.nodes["a"].kill()
    accepted = sending.result()
    assert len(accepted) > 100
    await pair.start("a")
    await pair.check_all_answered(accepted)
    assert set(pair.effects_of(accepted)) == {1}


@pytest.mark.timeout(150)
async def test_a_holder_that_is_stopped_for_a_while_goes_on(pair):
    await pair.deploy("b", pause_s=0.005)
    await pair.finds_agent("a")
    async with asyncio.TaskGroup() as tasks:
        sending = tasks.create_task(pair.send_all(300))
        await pair.has_effects(50)
        pair.nodes["b"].process.send_signal(signal.SIGSTOP)
    accepted = sending.result()
    await asyncio.sleep(2)
    pair.nodes["b"].process.send_signal(signal.SIGCONT)
    await pair.check_all_answered(accepted)
    assert set(pair.effects_of(accepted)) == {1}


@pytest.mark.timeout(150)
async def test_both_nodes_are_killed_and_nothing_is_lost(pair):
    await pair.deploy("b", pause_s=0.01)
    await pair.finds_agent("a")
    accepted = await pair.send_all(400)
    await asyncio.gather(pair.nodes["a"].kill(), pair.nodes["b"].kill())
    await pair.start("b")
    await pair.start("a")
    await pair.check_all_answered(accepted)
    assert min(pair.effects_of(accepted)) == 1


@pytest.mark.timeout(150)
async def test_the_same_id_sent_again_has_its_effect_once(pair):
    await pair.deploy("b", pause_s=0)
    await pair.finds_agent("a")
    await pair.send(1, id="order-1")
    await pair.check_all_answered(["order-1"])
    await pair.nodes["a"].kill()
    await pair.start("a")
    await pair.finds_agent("a")
    assert await pair.send(1, id="order-1") is None  # 200: it was sent before
    assert pair.effects_of(["order-1"]) == [1]
