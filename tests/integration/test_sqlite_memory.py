"""What the memory in a SQLite file does besides what all do: what lasts, and what mends itself."""

import asyncio

import numpy as np
import pytest

from caxton_node.domain.errors import Conflict, Failed, Unavailable
from caxton_node.memory.backend import Search
from caxton_node.memory.forgetting import Selection
from caxton_node.memory.sqlite import SqliteMemory
from tests.contract.test_memory_backend import ADA, AS_ADA, MODEL, NOW, fact, find, tell


@pytest.fixture
async def memory(tmp_path):
    opened = SqliteMemory(tmp_path / "memory.db", is_synced=False)
    await opened.open()
    await opened.use_model(MODEL.identity, MODEL.dimensions)
    yield opened
    await opened.close()


async def test_no_file_holds_a_word_of_what_was_forgotten(memory, tmp_path):
    await tell(memory, "the xylophone password is quetzalcoatl", entity="safe")
    await memory.forget(AS_ADA, Selection(entity="Safe"))
    for file in tmp_path.glob("memory.db*"):
        assert b"quetzalcoatl" not in file.read_bytes(), file.name


async def test_everything_is_there_after_a_restart_and_the_arena_with_it(tmp_path):
    path = tmp_path / "memory.db"
    for turn in range(2):
        memory = SqliteMemory(path, is_synced=False)
        await memory.open()
        await memory.use_model(MODEL.identity, MODEL.dimensions)
        if turn == 0:
            await tell(memory, "remember me tomorrow")
        assert await find(memory, "remember tomorrow") == ["remember me tomorrow"]
        assert (await memory.stats(None)).in_arena == 1
        await memory.close()


async def test_a_file_has_one_owner(memory, tmp_path):
    with pytest.raises(Conflict):
        await SqliteMemory(tmp_path / "memory.db").open()


async def test_a_damaged_file_is_refused_and_says_what_to_do(tmp_path):
    path = tmp_path / "memory.db"
    memory = SqliteMemory(path, is_synced=False)
    await memory.open()
    await memory.remember(AS_ADA, ADA, [fact(f"text {n}" * 50) for n in range(500)], now=NOW)
    await memory.close()
    data = bytearray(path.read_bytes())
    data[9_000:60_000] = bytes(51_000)
    path.write_bytes(data)
    with pytest.raises(Unavailable, match="cannot be read") as refusal:
        await SqliteMemory(path).open()
    assert refusal.value.hint is not None


async def test_a_backup_can_be_put_in_place_of_a_damaged_file(tmp_path):
    path, copy = tmp_path / "memory.db", tmp_path / "copy.db"
    memory = SqliteMemory(path, is_synced=False)
    await memory.open()
    await tell_without_vector(memory, "worth keeping")
    await memory.back_up(copy, now=NOW)
    await memory.close()
    path.write_bytes(b"garbage" * 10_000)
    memory = SqliteMemory(path, is_synced=False)
    with pytest.raises(Unavailable):
        await memory.open()
    aside = memory.put_in_place(copy)
    assert aside.read_bytes().startswith(b"garbage")
    await memory.open()
    assert await find(memory, "worth keeping", is_vector=False) == ["worth keeping"]
    await memory.close()


async def tell_without_vector(memory, text) -> None:
    await memory.remember(AS_ADA, ADA, [fact(text)], now=NOW)


async def test_a_damaged_word_index_is_found_and_built_again(memory, tmp_path):
    await tell(memory, "the lighthouse keeper")
    assert await memory.check() == []
    await memory._write(
        lambda connection, _: connection.execute("DELETE FROM words_data WHERE id > 10")
    )
    assert await memory.check() == ["the word index differed from the rows; it was rebuilt"]
    assert await find(memory, "lighthouse", is_vector=False) == ["the lighthouse keeper"]


async def test_a_search_that_fails_on_a_damaged_index_asks_for_a_check(memory):
    await tell(memory, "the lighthouse keeper")
    assert not memory.needs_check
    await memory._write(lambda connection, _: connection.execute("DELETE FROM words_data"))
    with pytest.raises(Unavailable):
        await find(memory, "lighthouse", is_vector=False)
    assert memory.needs_check
    await memory.check()
    assert not memory.needs_check
    assert await find(memory, "lighthouse", is_vector=False) == ["the lighthouse keeper"]


async def test_an_arena_that_missed_something_is_not_searched_and_is_rebuilt(memory):
    await tell(memory, "first words")
    memory._keeper.current.remove(1, [1])
    assert await memory.check() == ["the arena differed from the rows; it was rebuilt"]
    memory._keeper.mark_stale()
    assert await find(memory, "first words", limit=1) == ["first words"]


async def test_a_write_that_fails_leaves_its_neighbours(memory):
    async def broken() -> None:
        def apply(connection, _):
            connection.execute("INSERT INTO scopes (kind, workspace, agent) VALUES ('x', '', '')")

        await memory._write(apply)

    results = await asyncio.gather(
        memory.remember(AS_ADA, ADA, [fact("one")], now=NOW),
        broken(),
        memory.remember(AS_ADA, ADA, [fact("two")], now=NOW),
        return_exceptions=True,
    )
    assert [isinstance(one, Exception) for one in results] == [False, True, False]
    assert (await memory.stats(None)).observations == 2


async def test_the_arena_finds_what_an_exact_search_finds(tmp_path):
    rng = np.random.default_rng(7)
    vectors = rng.standard_normal((3_000, 48)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    memory = SqliteMemory(tmp_path / "memory.db", is_synced=False)
    await memory.open()
    await memory.use_model("random", 48)
    done = await memory.remember(AS_ADA, ADA, [fact(f"n{n}") for n in range(3_000)], now=NOW)
    await memory.put_vectors(
        [(d.observation_id, v.tobytes()) for d, v in zip(done, vectors, strict=True)], now=NOW
    )
    for query in vectors[:20] + rng.standard_normal((20, 48)).astype(np.float32) / 10:
        search = Search(question="", vector=query.tobytes(), limit=10, has_graph=False)
        hits = await memory.search(AS_ADA, search, now=NOW)
        exact = np.argsort(-(vectors @ query))[:10]
        assert [hit.observation.text for hit in hits] == [f"n{n}" for n in exact]
    await memory.close()


@pytest.mark.parametrize("each_max", [0, 1_000])
async def test_forgetting_fails_as_a_whole_where_the_index_still_leads_to_it(
    memory, monkeypatch, each_max
):
    monkeypatch.setattr("caxton_node.memory.forgetting.PROVED_EACH_MAX", each_max)
    facts = [fact("the gate has a blue lock", entity="note")]
    await memory.remember(AS_ADA, ADA, facts, now=NOW)
    # What tells the index of a deletion is gone.
    await memory._write_alone(lambda one: one.execute("DROP TRIGGER observations_gone"))
    with pytest.raises(Failed, match="is left"):
        await memory.forget(AS_ADA, Selection(entity="note"))
    assert (await memory.stats(None)).observations == 1
