"""Every memory backend, open and empty, for tests that all must pass."""

import shutil
import tempfile
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager
from pathlib import Path

from aiohttp.test_utils import TestServer
from neo4j import GraphDatabase
from qdrant_client import AsyncQdrantClient

from caxton_node.memory.backend import MemoryBackend
from caxton_node.memory.shared.hybrid import HybridShelf
from caxton_node.memory.shared.memory import SharedMemory
from caxton_node.memory.shared.neo4j import Neo4jShelf
from caxton_node.memory.shared.qdrant import QdrantShelf, connect_qdrant
from caxton_node.memory.shared.shelf import Shelf
from caxton_node.memory.sqlite import SqliteMemory
from tests.neo4j_server import neo4j_server
from tests.qdrant_server import Shard, qdrant_app

KINDS = ("sqlite", "qdrant-local", "qdrant", "neo4j", "qdrant+neo4j")
"""`qdrant-local` is the client's own imitation; `qdrant` is the engine, over HTTP."""

SLOW = frozenset({"neo4j", "qdrant+neo4j"})
"""They start a Java machine."""


class Engines:
    """Servers of one session of tests, started when they are first wanted."""

    def __init__(self) -> None:
        self._stack = ExitStack()
        self._neo4j: str | None = None
        self._shards: dict[str, Shard] = {}
        self._folder = Path(tempfile.mkdtemp(prefix="caxton-engines-"))
        self._stack.callback(shutil.rmtree, self._folder, ignore_errors=True)

    def neo4j(self) -> str:
        """Return the address of Neo4j, with nothing in it."""
        if self._neo4j is None:
            self._neo4j = self._stack.enter_context(neo4j_server(self._folder / "neo4j")).uri
        with GraphDatabase.driver(self._neo4j, notifications_min_severity="OFF") as driver:
            driver.execute_query("MATCH (n) DETACH DELETE n")
        return self._neo4j

    @asynccontextmanager
    async def qdrant(self) -> AsyncIterator[str]:
        """Serve Qdrant, with nothing in it."""
        for shard in self._shards.values():
            shard.empty()
        async with TestServer(qdrant_app(self._folder / "qdrant", shards=self._shards)) as server:
            yield str(server.make_url("")).rstrip("/")

    def close(self) -> None:
        self._stack.close()


@asynccontextmanager
async def opened_backend(kind: str, folder: Path, engines: Engines) -> AsyncIterator[MemoryBackend]:
    """Open an empty memory of a kind."""
    async with AsyncExitStack() as stack:
        memory = await _made(kind, folder, engines, stack)
        stack.push_async_callback(memory.close)
        await memory.open()
        # An engine that has just started may take longer than opening waits for it.
        assert await memory.check() == []
        assert memory.trouble is None
        yield memory


async def _made(kind: str, folder: Path, engines: Engines, stack: AsyncExitStack) -> MemoryBackend:
    async def qdrant() -> Shelf:
        url = await stack.enter_async_context(engines.qdrant())
        shelf = QdrantShelf(connect_qdrant(url, api_key=None, timeout_s=30), timeout_s=30)
        await shelf.open()
        return shelf

    match kind:
        case "sqlite":
            return SqliteMemory(folder / "memory.db", is_synced=False)
        case "qdrant-local":
            return SharedMemory(QdrantShelf(lambda: AsyncQdrantClient(location=":memory:")))
        case "qdrant":
            return SharedMemory(await qdrant())
        case "neo4j":
            return SharedMemory(Neo4jShelf(engines.neo4j(), timeout_s=30))
        case _:
            graph = Neo4jShelf(engines.neo4j(), timeout_s=30)
            return SharedMemory(HybridShelf(await qdrant(), graph))
