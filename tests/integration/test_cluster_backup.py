"""A cluster under load is backed up node by node, destroyed, and restored: the books balance."""

import asyncio
import itertools
import os
import shutil
import sys
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from pathlib import Path

import aiohttp
import pytest

from tests.ledger import FINAL, Effect, Ledger, Sent, faults
from tests.node_process import ROOT, node_process

CAXTON = str(Path(sys.executable).with_name("caxton"))
NAMES = ("node-1", "node-2", "node-3")
AGENTS = {name: f"Clerk{number}" for number, name in enumerate(NAMES)}
DEADLINE_S = 40.0
SENT_BEFORE_MIN = 150
TURN_S = 0.01


async def caxton(*arguments):
    process = await asyncio.create_subprocess_exec(
        *(CAXTON, "--output", "json", *arguments),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
    )
    async with asyncio.timeout(DEADLINE_S):
        out, err = await process.communicate()
    assert process.returncode == 0, (out, err)


class Cluster:
    """Three nodes, whatever becomes of their processes, and the books of their clients."""

    def __init__(self, folder, session):
        self.folder = folder
        self.session = session
        self.nodes = {}
        self.ledger = Ledger()
        self.accepted_by = {}
        self.effects = folder / "effects"
        self.effects.touch()

    def data_dir(self, name):
        return str(self.folder / name / "data")

    @asynccontextmanager
    async def running(self):
        """Start the three, each with the data it has; kill them at the end."""
        async with AsyncExitStack() as stack:
            peers = []
            for name in NAMES:
                (self.folder / name).mkdir(exist_ok=True)
                options = ["--name", name, "--gossip", "127.0.0.1:0", "--expect", "3"]
                options += ["--peers", ",".join(peers)] if peers else []
                process = node_process(
                    self.folder / name,
                    *options,
                    CAXTON_CLUSTER__PRESET="fast",
                    CAXTON_MEMORY__MODEL="none",
                    CAXTON_PYTHON__ALLOW="tests.*",
                    LEDGER_NODE=name,
                )
                self.nodes[name] = await stack.enter_async_context(process)
                peers.append((await self.get(name, "cluster/status"))["address"])
            async with asyncio.timeout(DEADLINE_S):
                for name in NAMES:
                    while (await self.get(name, "cluster/status"))["partition"]["alive"] < 3:
                        await asyncio.sleep(0.05)
            yield

    async def get(self, name, path):
        async with self.session.get(f"{self.nodes[name].url}/api/v1/{path}") as response:
            return await response.json()

    async def deploy(self):
        """Put an agent on each node."""
        for name, agent in AGENTS.items():
            source = (
                f'name = "{agent}"\nkind = "python"\nhandler = "tests.handlers:WritesDown"\n'
                f'capabilities = ["test"]\n[parameters]\npath = "{self.effects}"\n'
                f"pause_s = {TURN_S}\n"
            )
            body = {"source": source, "format": "toml"}
            address = f"{self.nodes[name].url}/api/v1/agents"
            async with self.session.post(address, json=body) as response:
                assert response.status == 201, await response.text()
        await self.everybody_knows_the_agents()

    async def everybody_knows_the_agents(self):
        async with asyncio.timeout(DEADLINE_S):
            for name in NAMES:
                while not set(AGENTS.values()) <= {
                    one["name"] for one in (await self.get(name, "agents"))["items"]
                }:
                    await asyncio.sleep(0.05)

    async def send(self, name, agent, conversation, number):
        """Send one message of a conversation, and note whether it was accepted."""
        message_id = f"{conversation}-{number}"
        message = {
            "performative": "request",
            "sender": f"client-{conversation}",
            "receiver": agent,
            "content": number,
            "id": message_id,
            "conversation_id": conversation,
        }
        is_accepted = False
        self.accepted_by[message_id] = name
        try:
            with suppress(aiohttp.ClientError):
                async with self.session.post(
                    f"{self.nodes[name].url}/api/v1/messages", json=message
                ) as response:
                    is_accepted = response.status in (200, 202)
        finally:
            # Also one whose answer nobody waited for may have been taken.
            self.ledger.sent.append(
                Sent(message_id, conversation, number, "at_least_once", is_accepted)
            )

    async def converse(self, name, agent):
        """Send until cancelled."""
        for number in itertools.count():
            await self.send(name, agent, f"{name}-{agent}", number)

    async def close_books(self):
        """Wait for the end of every message that has to have one, and read what agents did."""
        async with asyncio.timeout(DEADLINE_S):
            for one in self.ledger.sent:
                status = None
                while one.is_accepted and status not in FINAL:
                    status = (await self.get(self.accepted_by[one.id], f"messages/{one.id}")).get(
                        "status"
                    )
                    if status is None:
                        break
                    if status in FINAL:
                        self.ledger.ends[one.id] = status
                    else:
                        await asyncio.sleep(0.05)
        for line in self.effects.read_text().splitlines():
            at_ns, message_id, node = line.split()
            self.ledger.effects.append(Effect(int(at_ns), message_id, node))


@pytest.mark.timeout(180)
async def test_what_a_cluster_had_accepted_survives_the_loss_of_all_its_nodes(tmp_path):
    async with aiohttp.ClientSession() as session:
        cluster = Cluster(tmp_path, session)
        async with cluster.running():
            await cluster.deploy()
            async with asyncio.TaskGroup() as tasks:
                talks = [
                    tasks.create_task(cluster.converse(name, agent))
                    for name in NAMES
                    for agent in AGENTS.values()
                ]
                async with asyncio.timeout(DEADLINE_S):
                    while len(cluster.ledger.sent) < SENT_BEFORE_MIN:
                        await asyncio.sleep(0.02)
                promised = list(cluster.ledger.sent)
                for name in NAMES:
                    to = ("--to", str(tmp_path / "kept" / name))
                    await caxton("server", "backup", "--data-dir", cluster.data_dir(name), *to)
                assert len(cluster.ledger.sent) > len(promised), "they worked meanwhile"
                for node in cluster.nodes.values():
                    await node.kill()
                for talk in talks:
                    talk.cancel()
        for name in NAMES:
            shutil.rmtree(cluster.data_dir(name))
            (kept,) = (tmp_path / "kept" / name).iterdir()
            await caxton("server", "restore", str(kept), "--data-dir", cluster.data_dir(name))
        # Nobody promises what came after the backups; some of it may have been done all the same.
        later = cluster.ledger.sent[len(promised) :]
        cluster.ledger.sent = promised + [
            Sent(one.id, one.conversation, one.number, one.mode, is_accepted=False) for one in later
        ]
        async with cluster.running():
            await cluster.everybody_knows_the_agents()
            for name in NAMES:
                for agent in AGENTS.values():
                    await cluster.send(name, agent, f"after-{name}-{agent}", 0)
            await cluster.close_books()
    print(cluster.ledger.summary())
    assert all(one.is_accepted for one in promised)
    assert faults(cluster.ledger) == [], cluster.ledger.summary()
    assert {cluster.ledger.ends[one.id] for one in promised} == {"delivered"}
    after = [one for one in cluster.ledger.sent if one.conversation.startswith("after-")]
    assert {cluster.ledger.ends.get(one.id) for one in after} == {"delivered"}
