"""A memory that nodes share: found by each other, away and back, refused, and never in the way."""

import asyncio
import os
import signal
import sys
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import pytest

from caxton_node.domain.errors import Unavailable
from caxton_node.memory.backend import Search
from caxton_node.memory.records import Access, NewFact, NewRelation, Scope
from caxton_node.memory.shared.memory import SharedMemory
from caxton_node.memory.shared.neo4j import Neo4jShelf
from caxton_node.memory.shared.qdrant import QdrantShelf, connect_qdrant
from tests.integration.etcd_cluster import free_ports
from tests.node_process import node_process

ROOT = Path(__file__).parent.parent.parent
NOW = 1_800_000_000_000
SHARED = Scope("workspace", "default")
ALL = Access.only(SHARED)

NOTES = """
name = "Notes"
capabilities = ["notes"]
system_prompt = "You keep notes."
memory_enabled = true
memory_scope = "workspace"
"""


class QdrantProcess:
    """The engine in a process of its own, to be killed."""

    def __init__(self, folder: Path, key: str = "") -> None:
        self.port = free_ports(1)[0]
        self.url = f"http://127.0.0.1:{self.port}"
        self._arguments = (str(folder), str(self.port), *([key] if key else []))
        self._key = key
        self._process: asyncio.subprocess.Process | None = None

    async def start(self) -> None:
        self._process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "tests.qdrant_server", *self._arguments,
            cwd=ROOT, env=os.environ | {"PYTHONPATH": str(ROOT)},
        )  # fmt: skip
        async with asyncio.timeout(20), aiohttp.ClientSession() as session:
            while True:
                try:
                    address = f"{self.url}/collections/none/exists"
                    async with session.get(address, headers={"api-key": self._key}):
                        return
                except aiohttp.ClientConnectionError:
                    await asyncio.sleep(0.05)

    def send(self, number: int) -> None:
        assert self._process is not None
        self._process.send_signal(number)

    async def kill(self) -> None:
        if self._process is not None and self._process.returncode is None:
            self._process.kill()
            await self._process.wait()


@pytest.fixture
async def qdrant(tmp_path):
    server = QdrantProcess(tmp_path / "qdrant")
    await server.start()
    yield server
    await server.kill()


@asynccontextmanager
async def shared(url, *, key=None, timeout_s=5.0, teller=""):
    shelf = QdrantShelf(connect_qdrant(url, api_key=key, timeout_s=timeout_s), timeout_s=timeout_s)
    memory = SharedMemory(shelf, teller=teller)
    await memory.open()
    try:
        yield memory
    finally:
        await memory.close()


async def tell(memory, text, **more):
    return await memory.remember(ALL, SHARED, [NewFact(entity="thing", text=text, **more)], now=NOW)


async def find(memory, question):
    hits = await memory.search(ALL, Search(question=question), now=NOW)
    return [hit.observation.text for hit in hits]


async def test_what_one_tells_another_finds(qdrant):
    async with shared(qdrant.url, teller="a") as one, shared(qdrant.url, teller="b") as other:
        await tell(one, "the harbour opens at five")
        assert await find(other, "harbour") == ["the harbour opens at five"]


async def test_what_two_tell_at_once_is_one_observation(qdrant):
    async with shared(qdrant.url) as one, shared(qdrant.url) as other:
        await asyncio.gather(*(tell(m, f"fact {n}") for n in range(20) for m in (one, other)))
        assert (await one.stats(None)).observations == 20
        assert (await one.stats(None)).entities == 1


async def test_two_values_told_at_once_are_both_ended_by_the_next(qdrant):
    async with shared(qdrant.url) as one, shared(qdrant.url) as other:
        await tell(one, "painted red", attribute="colour")
        known = await find(one, "painted")
        await asyncio.gather(
            tell(one, "painted green", attribute="colour"),
            tell(other, "painted blue", attribute="colour"),
        )
        await tell(one, "painted white", attribute="colour")
        assert known == ["painted red"]
        assert await find(one, "painted") == ["painted white"]


async def test_a_conversation_is_consolidated_by_the_node_that_had_it_or_after_long_by_any(qdrant):
    from caxton_node.memory.records import Kind, Source

    async with shared(qdrant.url, teller="a") as one, shared(qdrant.url, teller="b") as other:
        await tell(one, "hello", kind=Kind.EPISODE, source=Source(conversation_id="c"))
        assert await other.unconsolidated(idle_before=NOW + 1, limit=9) == []
        assert len(await one.unconsolidated(idle_before=NOW + 1, limit=9)) == 1
        assert len(await other.unconsolidated(idle_before=NOW + 3_700_000, limit=9)) == 1


async def test_a_killed_server_keeps_what_was_acknowledged(qdrant):
    async with shared(qdrant.url) as memory:
        for n in range(30):
            await tell(memory, f"acknowledged {n}")
        await memory.relate(
            ALL, SHARED, [NewRelation(source_entity="a", target_entity="b", type="t")], now=NOW
        )
        await qdrant.kill()
        await qdrant.start()
        async with asyncio.timeout(20):
            while memory.trouble is not None or (await memory.check()):
                await asyncio.sleep(0.1)
        stats = await memory.stats(None)
        assert (stats.observations, stats.relations) == (30, 1)


async def test_a_server_that_is_away_is_told_clearly_and_found_again(qdrant):
    async with shared(qdrant.url, timeout_s=1.0) as memory:
        await tell(memory, "before")
        await qdrant.kill()
        with pytest.raises(Unavailable, match=r"cannot be reached: .*Qdrant") as refusal:
            await tell(memory, "meanwhile")
        assert refusal.value.hint
        assert "cannot be reached" in memory.trouble
        await qdrant.start()
        async with asyncio.timeout(20):
            while await memory.check():
                await asyncio.sleep(0.1)
        assert memory.trouble is None
        assert await find(memory, "before meanwhile") == ["before"]


async def test_a_server_that_hangs_takes_no_more_than_the_deadline_and_then_nothing(qdrant):
    async with shared(qdrant.url, timeout_s=1.0) as memory:
        await tell(memory, "before")
        qdrant.send(signal.SIGSTOP)
        try:
            async with asyncio.timeout(3):
                with pytest.raises(Unavailable):
                    await find(memory, "before")
            async with asyncio.timeout(0.5):
                for _ in range(100):
                    with pytest.raises(Unavailable):
                        await find(memory, "before")
        finally:
            qdrant.send(signal.SIGCONT)


async def test_a_wrong_key_is_refused_and_the_right_setting_is_named(tmp_path):
    server = QdrantProcess(tmp_path / "qdrant", key="sesame")
    await server.start()
    try:
        async with shared(server.url, key="wrong") as memory:
            with pytest.raises(Unavailable, match="refuses the key") as refusal:
                await tell(memory, "x")
            assert "qdrant.api_key_file" in refusal.value.hint
            assert "sesame" not in str(refusal.value)
            assert "wrong" not in str(refusal.value)
        async with shared(server.url, key="sesame") as memory:
            await tell(memory, "x")
    finally:
        await server.kill()


async def test_neo4j_that_is_away_is_told_clearly():
    memory = SharedMemory(Neo4jShelf(f"bolt://127.0.0.1:{free_ports(1)[0]}", timeout_s=1.0))
    await memory.open()
    try:
        with pytest.raises(Unavailable, match=r"cannot be reached: Neo4j at bolt://"):
            await tell(memory, "x")
    finally:
        await memory.close()


def node_on(folder, url, **more):
    return node_process(
        folder,
        CAXTON_MEMORY__BACKEND="qdrant",
        CAXTON_QDRANT__URL=url,
        CAXTON_QDRANT__TIMEOUT="1s",
        CAXTON_MEMORY__MODEL="none",
        **more,
    )


async def state_of(session, node):
    async with session.get(f"{node.url}/ready") as response:
        return response.status, (await response.json())["components"]["memory"]


async def until_state(session, node, wanted):
    async with asyncio.timeout(25):
        while True:
            status, state = await state_of(session, node)
            if state.startswith(wanted):
                return status, state
            await asyncio.sleep(0.1)


async def chat(session, node, text):
    body = {"message": text, "timeout_s": 20}
    async with session.post(f"{node.url}/api/v1/agents/Notes/chat", json=body) as response:
        return response.status, await response.json()


@pytest.mark.timeout(120)
async def test_two_nodes_share_what_their_agents_learn_and_answer_while_it_is_away(
    tmp_path, qdrant
):
    folders = [tmp_path / name for name in ("one", "two")]
    for folder in folders:
        folder.mkdir()
    async with (
        node_on(folders[0], qdrant.url) as one,
        node_on(folders[1], qdrant.url) as two,
        aiohttp.ClientSession() as session,
    ):
        for node in (one, two):
            body = {"source": NOTES, "format": "toml"}
            async with session.post(f"{node.url}/api/v1/agents", json=body) as response:
                assert response.status == 201, await response.text()
            assert (await until_state(session, node, "ready"))[0] == 200
        assert (await chat(session, one, "My favourite colour is turquoise."))[0] == 200
        status, answer = await chat(session, two, "What is my favourite colour?")
        assert status == 200
        assert "turquoise" in str(answer)

        await qdrant.kill()
        status, answer = await chat(session, two, "What is my favourite colour?")
        assert status == 200
        status, state = await until_state(session, two, "degraded")
        assert status == 200
        assert "cannot be reached" in state

        await qdrant.start()
        await until_state(session, two, "ready")
        status, answer = await chat(session, two, "What is my favourite colour?")
        assert "turquoise" in str(answer)


async def test_a_node_starts_while_its_memory_is_away(tmp_path):
    url = f"http://127.0.0.1:{free_ports(1)[0]}"
    async with node_on(tmp_path, url) as node, aiohttp.ClientSession() as session:
        status, state = await until_state(session, node, "degraded: The shared memory")
        assert status == 200
        assert url in state
