"""What looks after a memory by itself: space is given back, and fullness is said in time."""

import asyncio
import logging
import sqlite3

from caxton_node.domain.errors import NotFound
from caxton_node.memory import fullness
from caxton_node.memory.embedding.embedder import Embedder
from caxton_node.memory.forgetting import Selection
from caxton_node.memory.records import Access, NewFact, Scope
from caxton_node.memory.service import Memory, MemoryLimits
from caxton_node.memory.sqlite import SqliteMemory

NOW = 1_800_000_000_000
ADA = Scope("agent", "default", "Ada")
AS_ADA = Access.only(ADA)
PAIR = 5
"""Facts told in one call."""


async def opened(tmp_path) -> SqliteMemory:
    memory = SqliteMemory(tmp_path / "memory.db", is_synced=False)
    await memory.open()
    return memory


async def expire(memory) -> int:
    return await memory.expire(now=NOW, half_life_ms=1e12, entity_count_max=10_000)


async def test_what_was_forgotten_gives_its_space_back_to_the_disk(tmp_path):
    memory = await opened(tmp_path)
    facts = [NewFact(entity=f"e{n}", text=f"{n} " * 1_000) for n in range(1_000)]
    await memory.remember(AS_ADA, ADA, facts, now=NOW)
    await expire(memory)
    before = (tmp_path / "memory.db").stat().st_size
    await memory.forget(AS_ADA, Selection())
    while True:
        held = (tmp_path / "memory.db").stat().st_size
        assert await expire(memory) == 0
        if (tmp_path / "memory.db").stat().st_size == held:
            break
    assert before > 4_000_000
    assert held < before / 10
    assert await memory.check() == []
    await memory.close()


async def test_the_log_is_moved_into_the_file_while_nothing_else_is_to_be_done(tmp_path):
    memory = await opened(tmp_path)
    await memory.remember(AS_ADA, ADA, [NewFact(entity="e", text="kept")], now=NOW)

    def in_file_alone() -> int:
        """Count in a copy without the log beside it."""
        copy = tmp_path / "copy.db"
        copy.write_bytes((tmp_path / "memory.db").read_bytes())
        connection = sqlite3.connect(copy)
        try:
            return connection.execute("SELECT count(*) FROM observations").fetchone()[0]
        except sqlite3.OperationalError:
            return 0
        finally:
            connection.close()
            copy.unlink()

    assert in_file_alone() == 0
    assert await expire(memory) == 0
    assert in_file_alone() == 1
    await memory.close()


async def test_a_backup_that_is_taken_while_others_write_is_whole(tmp_path):
    memory = await opened(tmp_path)
    copies = [tmp_path / f"copy{number}.db" for number in range(3)]
    async with asyncio.TaskGroup() as tasks:
        writing = tasks.create_task(write_pairs(memory, 60))
        for copy in copies:
            await memory.back_up(copy, now=NOW)
        await writing
    await memory.close()
    for copy in copies:
        taken = SqliteMemory(copy, is_synced=False)
        await taken.open()
        assert await taken.check() == []
        stats = await taken.stats(None)
        assert stats.observations % PAIR == 0, "a call is in the copy as a whole or not at all"
        await taken.close()


async def write_pairs(memory, count: int) -> None:
    for number in range(count):
        pair = [NewFact(entity=f"p{number}-{n}", text=f"{number} " * 50) for n in range(PAIR)]
        await memory.remember(AS_ADA, ADA, pair, now=NOW)


async def test_a_scope_that_is_nearly_full_is_named_once_it_is_and_not_before(
    tmp_path, monkeypatch, caplog
):
    monkeypatch.setattr(fullness, "LOOKED_EVERY_S", 0.0)
    backend = await opened(tmp_path)
    memory = Memory(
        backend, Embedder(None), now=lambda: NOW, limits=MemoryLimits(entities_per_scope=10)
    )
    facts = [NewFact(entity=f"e{n}", text="known") for n in range(8)]
    await memory.remember(AS_ADA, ADA, facts[:7])
    assert fullness.nearly_full(await backend.stats(None), 10) == []
    await memory.remember(AS_ADA, ADA, facts[7:])
    with caplog.at_level(logging.WARNING, "caxton.memory"):
        async with asyncio.TaskGroup() as tasks:
            chore = tasks.create_task(fullness.keep_warning(memory))
            async with asyncio.timeout(10):
                while "agent/default/Ada is nearly full: 8 of 10" not in caplog.text:
                    await asyncio.sleep(0)
            chore.cancel()
    await backend.close()


async def test_a_neighbour_that_fails_does_not_keep_a_new_model_from_embedding_anew(tmp_path):
    memory = await opened(tmp_path)
    await memory.use_model("one", 4)
    (done,) = await memory.remember(AS_ADA, ADA, [NewFact(entity="e", text="t")], now=NOW)
    await memory.put_vectors([(done.observation_id, bytes(16))], now=NOW)
    changed, failed = await asyncio.gather(
        memory.use_model("two", 4),
        memory.close_fact(AS_ADA, 999, now=NOW),
        return_exceptions=True,
    )
    assert changed is None
    assert isinstance(failed, NotFound)
    assert [one.observation_id for one in await memory.unembedded(limit=9)] == [done.observation_id]
    await memory.close()


async def test_a_model_that_comes_back_finds_what_lacks_its_vectors(tmp_path):
    for model, left in (("one", 1), ("two", 1), ("one", 1)):
        memory = await opened(tmp_path)
        await memory.use_model(model, 4)
        (done,) = await memory.remember(AS_ADA, ADA, [NewFact(entity="e", text="t")], now=NOW)
        assert len(await memory.unembedded(limit=9)) == left
        await memory.put_vectors([(done.observation_id, bytes(16))], now=NOW)
        assert await memory.unembedded(limit=9) == []
        await memory.close()
