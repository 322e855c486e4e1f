"""A process that remembers is killed at random moments; what it reported holds afterwards."""

import importlib.util
import subprocess
import sys
from collections import Counter, defaultdict
from pathlib import Path
from random import Random

from caxton_node.memory.backend import Search
from caxton_node.memory.finding import NO_FILTERS
from caxton_node.memory.records import Access, Scope
from caxton_node.memory.sqlite import SqliteMemory

PROGRAM = Path(__file__).parent / "programs" / "remember_until_killed.py"
spec = importlib.util.spec_from_file_location("remember_until_killed", PROGRAM)
program = importlib.util.module_from_spec(spec)
spec.loader.exec_module(program)

ROUNDS = 6
SEED = 20260131
ACCESS = Access.only(Scope("workspace", "default"))
NOW = program.NOW


def run_and_kill(path: Path, turn: int, report_count: int, reported: dict[str, set[int]]) -> None:
    command = [sys.executable, program.__file__, str(path), str(turn)]
    child = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        lines = [child.stdout.readline() for _ in range(report_count)]
    finally:
        child.kill()
        rest, _ = child.communicate()
    for line in [*lines, *rest.splitlines(keepends=True)]:
        what, _, number = line.partition(" ")
        if line.endswith("\n"):
            reported[what].add(int(number))


async def check(path: Path, turn: int, reported: dict[str, set[int]]) -> None:
    memory = SqliteMemory(path)
    await memory.open()
    await memory.use_model(f"model-{turn}", program.DIMENSIONS)
    assert await memory.check() == []
    page = await memory.export(ACCESS, after=0, limit=1_000, has_vectors=False)
    pages = [page]
    while page.next_after is not None:
        page = await memory.export(ACCESS, after=page.next_after, limit=1_000, has_vectors=False)
        pages.append(page)
    current = [o for p in pages for o in p.observations if o.entity == "lorry" and not o.valid.end]
    found = {
        int(one.text.removeprefix("fact "))
        for p in pages
        for one in p.observations
        if one.text.startswith("fact ")
    }
    # The last one may have been forgotten without a word of it.
    assert reported["told"] - reported["gone"] - {max(reported["told"])} <= found
    assert not found & reported["gone"]
    batches = Counter(
        int(one.text.removeprefix("one of "))
        for p in pages
        for one in p.observations
        if one.text.startswith("one of ")
    )
    assert reported["batch"] <= batches.keys()
    assert set(batches.values()) <= {program.BATCH}, "a batch is there as a whole or not at all"
    assert len(current) == 1
    assert int(current[0].text.removeprefix("is at ")) >= max(reported["moved"])
    stats = await memory.stats(None)
    assert stats.in_arena <= stats.vectors <= stats.observations
    await search_agrees(memory, current[0].id)
    await memory.close()


async def search_agrees(memory: SqliteMemory, newest: int) -> None:
    """The arena and the word index find the current row, where it has a vector."""
    hits = await memory.search(ACCESS, Search(question="lorry is at"), now=NOW)
    assert newest in {hit.observation.id for hit in hits}
    await memory.put_vectors([(newest, program.vector(newest))], now=NOW)
    search = Search(question="", vector=program.vector(newest), limit=1, has_graph=False)
    (hit,) = await memory.search(ACCESS, search, now=NOW)
    assert hit.observation.id == newest
    assert hit.reasons.similarity > 0.999


async def test_what_was_reported_is_remembered_after_kill_9(tmp_path):
    path, random = tmp_path / "memory.db", Random(SEED)
    reported: dict[str, set[int]] = defaultdict(set)
    for turn in range(1, ROUNDS + 1):
        run_and_kill(path, turn, random.randint(1, 120), reported)
        await check(path, turn, reported)
    assert len(reported["told"]) > ROUNDS
    assert reported["gone"]
    assert (await lorry(path)) == 1


async def lorry(path: Path) -> int:
    """Return how many places the lorry is at now."""
    memory = SqliteMemory(path)
    await memory.open()
    (view,) = await memory.entity(ACCESS, "lorry", NO_FILTERS, now=NOW)
    await memory.close()
    return len(view.observations)
