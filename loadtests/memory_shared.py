"""How fast memory is where an engine keeps it, beside the embedded one; and what it finds.

    python -m loadtests.memory_shared [--facts 5000] [--kinds sqlite qdrant neo4j qdrant+neo4j]

Vectors are random and 384 numbers long, which is the hardest case for an approximate index; exact
search over all of them is the truth for recall@10. Qdrant is its engine behind a small Python
server (`tests/qdrant_server.py`) in a process of its own, so that its times are more than a real
server's; Neo4j is the real server. The figures go to build/bench/memory_shared.json.
"""

import argparse
import asyncio
import json
import os
import socket
import statistics
import sys
import tempfile
import time
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import numpy as np

from caxton_node.memory.backend import Search
from caxton_node.memory.fusion import FusionWeights
from caxton_node.memory.graph import Walk
from caxton_node.memory.records import Access, NewFact, NewRelation, Scope
from caxton_node.memory.shared.hybrid import HybridShelf
from caxton_node.memory.shared.memory import SharedMemory
from caxton_node.memory.shared.neo4j import Neo4jShelf
from caxton_node.memory.shared.qdrant import QdrantShelf, connect_qdrant
from caxton_node.memory.sqlite import SqliteMemory
from tests.neo4j_server import neo4j_server

ROOT = Path(__file__).parent.parent
KINDS = ("sqlite", "qdrant", "neo4j", "qdrant+neo4j")
SCOPE = Scope("workspace", "default")
ALL = Access.only(SCOPE)
NOW = 1_800_000_000_000
DIMENSIONS = 384
BATCH = 200
QUERIES = 100
TIMEOUT_S = 60.0
WORDS = [f"word{n}" for n in range(2_000)]


@asynccontextmanager
async def qdrant_process(folder: Path):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.qdrant_server", str(folder), str(port),
        cwd=ROOT, env=os.environ | {"PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    try:
        for _ in range(200):
            await asyncio.sleep(0.1)
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    break
        yield f"http://127.0.0.1:{port}"
    finally:
        process.kill()
        await process.wait()


async def opened(kind: str, folder: Path, stack: AsyncExitStack):
    if kind == "sqlite":
        memory = SqliteMemory(folder / "memory.db")
    else:
        shelves = []
        for part in kind.split("+"):
            if part == "qdrant":
                url = await stack.enter_async_context(qdrant_process(folder / "qdrant"))
                connect = connect_qdrant(url, api_key=None, timeout_s=TIMEOUT_S)
                shelves.append(QdrantShelf(connect, timeout_s=TIMEOUT_S))
            else:
                server = stack.enter_context(neo4j_server(folder / "neo4j"))
                shelves.append(Neo4jShelf(server.uri, timeout_s=TIMEOUT_S))
        shelf = HybridShelf(*shelves) if len(shelves) == 2 else shelves[0]
        await shelf.open()
        memory = SharedMemory(shelf)
    await memory.open()
    stack.push_async_callback(memory.close)
    await memory.use_model("random", DIMENSIONS)
    return memory


async def measure(kind: str, count: int, folder: Path) -> dict[str, float]:
    rng = np.random.default_rng(7)
    vectors = rng.standard_normal((count, DIMENSIONS)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    texts = [" ".join(rng.choice(WORDS, 8)) + f" n{n}" for n in range(count)]
    async with AsyncExitStack() as stack:
        memory = await opened(kind, folder, stack)
        started, ids = time.perf_counter(), []
        for start in range(0, count, BATCH):
            facts = [
                NewFact(entity=f"entity {n // 5}", text=texts[n])
                for n in range(start, min(count, start + BATCH))
            ]
            ids += [one.observation_id for one in await memory.remember(ALL, SCOPE, facts, now=NOW)]
        told_s = time.perf_counter() - started
        started = time.perf_counter()
        for start in range(0, count, BATCH):
            page = range(start, min(count, start + BATCH))
            await memory.put_vectors([(ids[n], vectors[n].tobytes()) for n in page], now=NOW)
        embedded_s = time.perf_counter() - started
        for start in range(0, count // 5, BATCH):
            relations = [
                NewRelation(
                    source_entity=f"entity {n}",
                    target_entity=f"entity {rng.integers(count // 5)}",
                    type="near",
                )
                for n in range(start, min(count // 5, start + BATCH))
            ]
            await memory.relate(ALL, SCOPE, relations, now=NOW)
        return {
            "facts_per_s": count / told_s,
            "vectors_per_s": count / embedded_s,
            **await asked(memory, vectors, texts, ids, rng),
        }


async def asked(memory, vectors, texts, ids, rng) -> dict[str, float]:
    queries = vectors[:QUERIES] + rng.standard_normal((QUERIES, DIMENSIONS)) / 40
    queries = (queries / np.linalg.norm(queries, axis=1, keepdims=True)).astype(np.float32)
    plain = FusionWeights(recency=0.0, strength=0.0)
    whole, near, walks, shares = [], [], [], []
    for n, query in enumerate(queries):
        whole.append(await timed(memory.search(
            ALL, Search(question=texts[n], vector=query.tobytes()), now=NOW)))  # fmt: skip
        search = Search(question="", vector=query.tobytes(), weights=plain, has_graph=False)
        started = time.perf_counter()
        hits = await memory.search(ALL, search, now=NOW)
        near.append(time.perf_counter() - started)
        truth = {ids[place] for place in np.argsort(-(vectors @ query))[:10]}
        shares.append(len(truth & {hit.observation.id for hit in hits}) / 10)
        walks.append(
            await timed(memory.walk(ALL, f"entity {n % (len(texts) // 5)}", Walk(depth=3)))
        )
    found = {"recall_at_10": statistics.mean(shares)}
    for name, times in (("whole", whole), ("near", near), ("walk", walks)):
        cut = statistics.quantiles(times, n=100)
        found |= {f"{name}_p50_ms": cut[49] * 1000, f"{name}_p99_ms": cut[98] * 1000}
    return found


async def timed(call) -> float:
    started = time.perf_counter()
    await call
    return time.perf_counter() - started


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--facts", type=int, default=5_000)
    parser.add_argument("--kinds", nargs="+", choices=KINDS, default=KINDS)
    given = parser.parse_args()
    rows = {}
    for kind in given.kinds:
        with tempfile.TemporaryDirectory(prefix="caxton-bench-") as folder:
            rows[kind] = asyncio.run(measure(kind, given.facts, Path(folder)))
        figures = "  ".join(f"{name} {value:,.3g}" for name, value in rows[kind].items())
        print(f"{kind:14} {figures}", flush=True)
    target = ROOT / "build" / "bench" / "memory_shared.json"
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(json.dumps(rows, indent=2))


if __name__ == "__main__":
    sys.exit(main())
