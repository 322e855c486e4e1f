"""How fast, how exact and how large memory is, beside what else could keep vectors.

    python -m loadtests.memory [--entities 100000] [--relations 500000] [--peers-python PATH]
                               [--folder FOLDER]

Vectors are embeddings of real short sentences, perturbed to size; queries are perturbed likewise.
Exact search in full precision is the truth for recall@10. Every figure of ours is taken through the
public calls of the backend or the service, the node's event loop running; each peer runs in a
process of its own, in the interpreter that `--peers-python` names (`make bench` installs them in
`.venv-memory-peers`; `none` leaves them out); one that is not there is a row that says so. With
`--folder` the files are kept, and a second run measures without writing them anew.
The table goes to the screen, the figures to build/bench/memory.json.
"""

import argparse
import asyncio
import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import uvloop

from caxton_node.memory.backend import Search
from caxton_node.memory.embedding.embedder import Embedder
from caxton_node.memory.embedding.encoder import Encoder
from caxton_node.memory.embedding.model_files import DEFAULT_MODEL, find_model, prepare_model
from caxton_node.memory.graph import Walk
from caxton_node.memory.records import Access, NewFact, NewRelation, Scope
from caxton_node.memory.service import Memory
from caxton_node.memory.sqlite import SqliteMemory

ROOT = Path(__file__).parent.parent
PEER_PYTHON = ROOT / ".venv-memory-peers" / "bin" / "python"
SUBJECTS = (
    "the staging server", "our customer Acme", "the invoice of May", "Ada", "the build pipeline",
    "a database migration", "the meeting room", "the mobile app", "the quarterly report", "the API",
)  # fmt: skip
VERBS = (
    "runs in", "depends on", "was moved to", "prefers", "fails without", "is owned by", "costs",
    "waits for", "was replaced by", "reports to",
)  # fmt: skip
OBJECTS = (
    "Frankfurt", "the finance team", "a larger machine", "green tea", "version 2.4", "Oslo",
    "the night shift", "twelve euros", "a second approval", "the old mainframe",
)  # fmt: skip
QUERIES = 200
CLUSTER_NOISE = 0.9
AGENT_SHARE = 0.014
BATCH = 500
NOW = 1_800_000_000_000
BIG, SMALL = Scope("workspace", "default"), Scope("agent", "default", "Ada")


def percentile(values: Sequence[float], share: float) -> float:
    return sorted(values)[min(len(values) - 1, int(len(values) * share))]


class Timed(list[float]):
    """Seconds of each call, and of all threads of the process together for one on average.

    The latter says what a call costs also where other programs share the machine.
    """

    cpu_s = 0.0


def spread(seconds: Sequence[float]) -> dict[str, float]:
    row = {
        "p50_ms": round(percentile(seconds, 0.5) * 1e3, 3),
        "p99_ms": round(percentile(seconds, 0.99) * 1e3, 3),
    }
    if isinstance(seconds, Timed):
        row["cpu_ms"] = round(seconds.cpu_s * 1e3, 3)
    return row


def resident_mb() -> float:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6


def texts(count: int, dice: random.Random) -> list[str]:
    """Sentences of a small grammar with rare words among them: names and numbers."""
    return [
        f"{dice.choice(SUBJECTS)} {dice.choice(VERBS)} {dice.choice(OBJECTS)} "
        f"n{dice.randrange(count)} {dice.choice(OBJECTS)}"
        for _ in range(count)
    ]


def vectors_near(real: np.ndarray, count: int, seed: int) -> np.ndarray:
    dice = np.random.default_rng(seed)
    chosen = real[dice.integers(0, len(real), count)]
    noise = dice.standard_normal(chosen.shape).astype(np.float32)
    noise *= CLUSTER_NOISE / np.sqrt(chosen.shape[1])
    moved = chosen + noise
    return (moved / np.linalg.norm(moved, axis=1, keepdims=True)).astype(np.float32)


async def timed(count: int, call: Callable[[int], Any]) -> Timed:
    seconds, cpu_s = Timed(), time.process_time()
    for number in range(count):
        started = time.perf_counter()
        await call(number)
        seconds.append(time.perf_counter() - started)
    seconds.cpu_s = (time.process_time() - cpu_s) / count
    return seconds


async def loop_lag(stop: asyncio.Event) -> list[float]:
    """How late the loop wakes a sleeper of one millisecond, until told to stop."""
    lags = []
    while not stop.is_set():
        started = time.perf_counter()
        await asyncio.sleep(0.001)
        lags.append(time.perf_counter() - started - 0.001)
    return lags


async def fill(memory: SqliteMemory, said: Sequence[str], vectors: np.ndarray) -> dict[str, Any]:
    """Write everything: most into one scope, some into an agent's own."""
    small = max(1, int(len(said) * AGENT_SHARE))
    seconds = vector_seconds = 0.0
    cpu_s = 0.0
    for start in range(0, len(said), BATCH):
        scope = SMALL if start < small else BIG
        facts = [
            NewFact(entity=f"entity {start + n}", text=text)
            for n, text in enumerate(said[start : start + BATCH])
        ]
        started, cpu_before = time.perf_counter(), time.process_time()
        done = await memory.remember(Access.only(scope), scope, facts, now=NOW)
        seconds += time.perf_counter() - started
        cpu_s += time.process_time() - cpu_before
        rows = [(one.observation_id, vectors[start + n].tobytes()) for n, one in enumerate(done)]
        started = time.perf_counter()
        await memory.put_vectors(rows, now=NOW)
        vector_seconds += time.perf_counter() - started
    return {
        "batched_inserts_per_s": round(len(said) / seconds),
        "batched_inserts_per_cpu_s": round(len(said) / cpu_s),
        "vectors_per_s": round(len(said) / vector_seconds),
    }


async def single_inserts(memory: SqliteMemory) -> dict[str, Any]:
    scope = Scope("agent", "default", "Writer")
    access = Access.only(scope)

    async def insert(number: int) -> None:
        fact = NewFact(entity=f"single {number}", text=f"one of many, number {number}")
        await memory.remember(access, scope, [fact], now=NOW)

    one_by_one = await timed(500, insert)
    started = time.perf_counter()
    for wave in range(10):
        await asyncio.gather(*(insert(10_000 + wave * 500 + n) for n in range(500)))
    together = 5_000 / (time.perf_counter() - started)
    return {
        "single_durable": spread(one_by_one),
        "single_durable_per_s": round(500 / sum(one_by_one)),
        "concurrent_durable_per_s": round(together),
    }


async def searches(memory: SqliteMemory, vectors: np.ndarray) -> dict[str, Any]:
    """Vector search alone: by the arena, rescored, rows fetched."""
    queries = vectors_near(vectors[:20_000], QUERIES, seed=99)
    small = max(1, int(len(vectors) * AGENT_SHARE)) // BATCH * BATCH + BATCH
    found: list[set[int]] = []

    async def search(number: int, scope: Scope) -> None:
        wanted = Search(question="", vector=queries[number].tobytes(), limit=10, has_graph=False)
        hits = await memory.search(Access.only(scope), wanted, now=NOW)
        found.append({int(hit.observation.entity.split()[1]) for hit in hits})

    both = Access.only(BIG, SMALL)

    async def search_all(number: int) -> None:
        wanted = Search(question="", vector=queries[number].tobytes(), limit=10, has_graph=False)
        hits = await memory.search(both, wanted, now=NOW)
        found.append({int(hit.observation.entity.split()[1]) for hit in hits})

    await timed(20, search_all)
    found.clear()
    everything = await timed(QUERIES, search_all)
    truth = [set(np.argsort(-(vectors @ query))[:10].tolist()) for query in queries]
    recall = statistics.fmean(len(f & t) / 10 for f, t in zip(found, truth, strict=True))
    one_agent = await timed(QUERIES, lambda n: search(n, SMALL))
    in_thread = await asyncio.to_thread(arena_alone, memory, queries)
    return {
        "search": spread(everything) | {"recall_at_10": round(recall, 4)},
        "search_one_agent": spread(one_agent) | {"rows": small},
        "arena_scan_alone": in_thread,
    }


def arena_alone(memory: SqliteMemory, queries: np.ndarray) -> dict[str, float]:
    arena = memory._keeper.current
    assert arena is not None, "the model is in use"
    seconds, cpu_s = Timed(), time.thread_time()
    for query in queries:
        started = time.perf_counter()
        arena.search(query.tobytes(), [1, 2, 3], 64)
        seconds.append(time.perf_counter() - started)
    seconds.cpu_s = (time.thread_time() - cpu_s) / len(queries)
    return spread(seconds)


async def whole_recalls(memory: SqliteMemory, embedder: Embedder) -> dict[str, Any]:
    """Embed, look up words, scan, fuse, walk, fetch: a new question each time."""
    service = Memory(memory, embedder, now=lambda: NOW)
    await embedder.loaded(timeout_s=60)
    dice = random.Random(5)
    asked = [
        f"where does {dice.choice(SUBJECTS)} {dice.choice(VERBS)} n{dice.randrange(100_000)}"
        for _ in range(QUERIES + 50)
    ]
    access = Access.only(BIG, SMALL)
    # The service takes the vectors for those of the loaded model: they are of its kind.
    service._model = embedder.identity

    async def recall(number: int) -> None:
        await service.recall(access, asked[number], limit=10)

    await timed(50, lambda n: recall(QUERIES + n))
    stop = asyncio.Event()
    async with asyncio.TaskGroup() as tasks:
        lags = tasks.create_task(loop_lag(stop))
        seconds = await timed(QUERIES, recall)
        stop.set()
    return {"whole_recall": spread(seconds), "event_loop_lag": spread(lags.result())}


async def graphs(folder: Path, entities: int, relations: int) -> dict[str, Any]:
    """Walks in a graph with few hubs and many leaves."""
    is_written = (folder / "graph.db").exists()
    memory = SqliteMemory(folder / "graph.db", is_synced=False)
    await memory.open()
    dice = np.random.default_rng(3)
    access = Access.only(BIG)
    ranks = dice.pareto(1.2, (relations, 2))
    ends = (np.minimum(ranks / 2_000, 1.0) * (entities - 1)).astype(int)
    ends[:, 1] = dice.integers(0, entities, relations)
    strengths = dice.uniform(0.1, 1.0, relations)
    started, cpu_s = time.perf_counter(), time.process_time()
    for start in range(0, 0 if is_written else relations, 2_000):
        chunk = [
            NewRelation(
                source_entity=f"e{a}", target_entity=f"e{b}", type="knows", strength=float(s)
            )
            for (a, b), s in zip(
                ends[start : start + 2_000], strengths[start : start + 2_000], strict=True
            )
        ]
        await memory.relate(access, BIG, chunk, now=NOW)
    rows: dict[str, Any] = {}
    if not is_written:
        rows["relations_per_s"] = round(relations / (time.perf_counter() - started))
        rows["relations_per_cpu_s"] = round(relations / (time.process_time() - cpu_s))
    degrees = np.bincount(ends.ravel(), minlength=entities)
    hubs = np.argsort(-degrees)[:50]
    plain = dice.choice(np.flatnonzero(degrees), 300)

    async def walk(start: int) -> None:
        await memory.walk(access, f"e{start}", Walk(depth=3))

    before, started = resident_mb(), time.perf_counter()
    await walk(plain[0])
    first_s = time.perf_counter() - started
    stop = asyncio.Event()
    async with asyncio.TaskGroup() as tasks:
        lags = tasks.create_task(loop_lag(stop))
        meanwhile = tasks.create_task(timed(30, lambda n: walk(plain[n])))
        await memory.read_wanted_graphs(timeout_s=1)
        stop.set()
    rows |= {
        "first_walk_ms": round(first_s * 1e3, 1),
        "walk_while_it_is_read": spread(meanwhile.result()),
        "graph_in_memory_after_s": round(time.perf_counter() - started, 2),
        "event_loop_lag_meanwhile": spread(lags.result()),
        "graph_resident_mb": round(resident_mb() - before),
        "largest_hub": int(degrees.max()),
        "walk_depth_3": spread(await timed(300, lambda n: walk(plain[n]))),
        "walk_depth_3_hubs": spread(await timed(50, lambda n: walk(hubs[n]))),
    }
    await memory.close()
    return rows


def embedding_rates(encoder: Encoder) -> dict[str, Any]:
    dice = random.Random(8)
    short = texts(300, dice)
    one, cpu_s = Timed(), time.process_time()
    for text in short[:200]:
        started = time.perf_counter()
        encoder.encode([text])
        one.append(time.perf_counter() - started)
    one.cpu_s = (time.process_time() - cpu_s) / len(one)
    started, cpu_s = time.perf_counter(), time.process_time()
    encoder.encode(short)
    return {
        "embed_one": spread(one),
        "embed_batched_per_s": round(len(short) / (time.perf_counter() - started)),
        "embed_batched_per_cpu_s": round(len(short) / (time.process_time() - cpu_s)),
    }


def peers(python: Path, vectors: np.ndarray, folder: Path) -> list[dict[str, Any]]:
    """Measure what else could keep vectors, each in a process of its own."""
    if not python.exists():
        return [{"peer": "all", "why_not": f"{python} is missing: `make bench` installs them"}]
    np.save(folder / "vectors.npy", vectors)
    np.save(folder / "queries.npy", vectors_near(vectors[:20_000], 100, seed=99))
    rows = []
    for name in ("sqlite-vec", "lancedb", "qdrant-local", "chroma"):
        script = ROOT / "loadtests" / "peers" / "vector_stores.py"
        done = subprocess.run(  # a peer that fails is a row that says why
            [python, str(script), name, str(folder)],
            capture_output=True,
            text=True,
            timeout=600,
            check=False,
        )
        last = done.stdout.strip().rpartition("\n")[2]
        rows.append(
            json.loads(last)
            if done.returncode == 0
            else {"peer": name, "why_not": done.stderr.strip().rpartition("\n")[2][:100]}
        )
    return rows


async def measure(given: argparse.Namespace, folder: Path) -> dict[str, Any]:
    count: int = given.entities
    model = prepare_model(find_model(DEFAULT_MODEL), folder=folder, is_quantised=True)
    before = resident_mb()
    encoder = Encoder(model)
    encoder.encode(["to be warm"])
    rows = Rows()
    rows |= {"model_resident_mb": round(resident_mb() - before)}
    rows |= embedding_rates(encoder)
    dice = random.Random(1)
    real = encoder.encode(texts(600, dice))
    said, vectors = texts(count, dice), vectors_near(real, count, seed=2)
    path = folder / "memory.db"
    if not path.exists():
        memory = SqliteMemory(path)
        await memory.open()
        await memory.use_model(encoder.identity, encoder.dimensions)
        rows |= await fill(memory, said, vectors)
        rows |= await single_inserts(memory)
        await memory.close()
    rows |= {"bytes_per_entity": round(path.stat().st_size / count)}
    before = resident_mb()
    memory = SqliteMemory(path)
    started = time.perf_counter()
    await memory.open()
    rows |= {"open_and_check_s": round(time.perf_counter() - started, 2)}
    started = time.perf_counter()
    await memory.use_model(encoder.identity, encoder.dimensions)
    rows |= {"arena_rebuild_s": round(time.perf_counter() - started, 2)}
    rows |= {"resident_mb_above_base": round(resident_mb() - before)}
    rows |= await searches(memory, vectors)
    embedder = Embedder(lambda: encoder)
    rows |= await whole_recalls(memory, embedder)
    await embedder.close()
    await memory.close()
    if given.relations:
        rows |= await graphs(folder, given.relations // 5, given.relations)
    if given.peers_python.name != "none":
        rows |= {"peers": peers(given.peers_python, vectors, folder)}
    return rows


class Rows(dict):
    """Figures, shown as they come."""

    def __ior__(self, more):
        self.update(more)
        show(more)
        return self


def show(rows: dict[str, Any]) -> None:
    for name, value in rows.items():
        if name == "peers":
            for peer in value:
                print("  ", *(f"{key}={one}" for key, one in peer.items()))
        elif isinstance(value, dict):
            print(f"{name:28}", *(f"{key} {one:g}" for key, one in value.items()))
        else:
            print(f"{name:28} {value:,}")
    sys.stdout.flush()


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--entities", type=int, default=100_000)
    parser.add_argument("--relations", type=int, default=500_000)
    parser.add_argument("--peers-python", type=Path, default=PEER_PYTHON)
    parser.add_argument("--folder", type=Path, default=None)
    given = parser.parse_args()
    if given.folder is not None:
        given.folder.mkdir(parents=True, exist_ok=True)
        write(uvloop.run(measure(given, given.folder)))
        return
    with tempfile.TemporaryDirectory(prefix="caxton-bench-") as folder:
        write(uvloop.run(measure(given, Path(folder))))


def write(rows: dict[str, Any]) -> None:
    """Keep the figures."""
    target = ROOT / "build" / "bench" / "memory.json"
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(json.dumps(rows, indent=2))


if __name__ == "__main__":
    sys.exit(main())
