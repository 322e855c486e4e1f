"""The memory of a node: what it says when it has no model, and what it does behind the scenes."""

import asyncio
import threading

import pytest

from caxton_node.domain.errors import Rejected
from caxton_node.memory.embedding.embedder import Embedder
from caxton_node.memory.embedding.model_files import ModelUnavailable
from caxton_node.memory.postponing import POSTPONED_MAX, Postponed
from caxton_node.memory.records import Access, Kind, NewFact, NewRelation, Scope, Source
from caxton_node.memory.service import Memory, MemoryLimits
from caxton_node.memory.sqlite import SqliteMemory
from tests.memory_model import WordEncoder

ADA, AS_ADA = Scope("agent", "default", "Ada"), Access.of_agent("Ada")
NOW = 1_800_000_000_000


@pytest.fixture
async def backend(tmp_path):
    opened = SqliteMemory(tmp_path / "memory.db", is_synced=False)
    await opened.open()
    yield opened
    await opened.close()


@pytest.fixture
async def memory(backend):
    embedder = Embedder(WordEncoder)
    yield Memory(backend, embedder, now=lambda: NOW, limits=MemoryLimits(consolidate_after_s=1))
    await embedder.close()


async def tell(memory, text, **more):
    return await memory.remember(AS_ADA, ADA, [NewFact(entity="e", text=text, **more)])


async def embed_all(memory) -> None:
    await memory._embedder.loaded(timeout_s=10)
    while await memory.embed_missing():
        pass


async def test_what_was_told_is_found_by_meaning_once_it_has_a_vector(memory):
    await tell(memory, "grey seal")
    await embed_all(memory)
    found = await memory.recall(AS_ADA, "seal grey")
    assert found.is_semantic
    assert found.hits[0].reasons.similarity_rank == 1


async def test_a_model_that_is_still_loading_leaves_words_and_says_so(backend):
    may_load = threading.Event()

    def load():
        may_load.wait(10)
        return WordEncoder()

    embedder = Embedder(load)
    memory = Memory(backend, embedder, now=lambda: NOW)
    await tell(memory, "grey seal")
    found = await memory.recall(AS_ADA, "seal")
    may_load.set()
    await embedder.close()
    assert not found.is_semantic
    assert found.note == "found by words only: loading"
    assert [hit.observation.text for hit in found.hits] == ["grey seal"]


async def test_without_a_model_words_find_and_the_state_says_why(backend):
    def load():
        raise ModelUnavailable("the weights are not installed")

    embedder = Embedder(load)
    memory = Memory(backend, embedder, now=lambda: NOW)
    assert memory.state == "ready: the embedding model is loaded when it is first wanted"
    await tell(memory, "grey seal")
    await embed_all(memory)
    assert (await memory.recall(AS_ADA, "seal")).note.endswith("the weights are not installed")
    assert memory.state == "degraded: by words only: the weights are not installed"
    await embedder.close()


async def test_another_model_makes_all_vectors_anew(backend):
    for identity in ("words/1", "words/2"):
        embedder = Embedder(lambda identity=identity: WordEncoder(identity))
        memory = Memory(backend, embedder, now=lambda: NOW)
        await tell(memory, f"told to {identity}")
        await embed_all(memory)
        await embedder.close()
    assert embedder.text_count == 2
    stats = await backend.stats(None)
    assert stats.vectors == stats.in_arena == 2


async def test_the_chore_makes_vectors_of_what_is_told(memory):
    async with asyncio.TaskGroup() as tasks:
        chore = tasks.create_task(memory.keep_embedded())
        await tell(memory, "one")
        await tell(memory, "two")
        async with asyncio.timeout(10):
            while (await memory.backend.stats(None)).in_arena < 2:
                await asyncio.sleep(0)
        chore.cancel()


@pytest.mark.parametrize(
    ("entity", "text"), [("e", "my password is x"), ("api key", "y"), ("", "t"), ("e", " ")]
)
async def test_what_must_not_be_stored_is_refused_when_it_is_asked_for(memory, entity, text):
    with pytest.raises(Rejected):
        await memory.remember(AS_ADA, ADA, [NewFact(entity=entity, text=text)])


async def test_metadata_may_not_carry_a_secret_either(memory):
    with pytest.raises(Rejected):
        await tell(memory, "fine", metadata={"password": "swordfish"})


async def test_what_must_not_be_stored_is_left_out_when_nobody_asked(memory):
    facts = [NewFact(entity="e", text="my password is x"), NewFact(entity="e", text="fine")]
    assert await memory.learn(AS_ADA, ADA, facts) == 1
    assert (await memory.backend.stats(None)).observations == 1


async def test_a_conversation_is_consolidated_once_and_what_is_secret_left_out(memory):
    source = Source(agent="Ada", conversation_id="c", message_id="m")
    await tell(memory, "bob: hello", kind=Kind.EPISODE, source=source)
    seen = []

    async def consolidate(conversation):
        seen.append(conversation)
        facts = [
            NewFact(entity="bob", text="bob greets", source=Source(model="gpt")),
            NewFact(entity="bob", text="the password is x"),
        ]
        relations = [
            NewRelation(source_entity="bob", target_entity="Ada", type="knows"),
            NewRelation(source_entity="secret", target_entity="Ada", type="knows"),
        ]
        return facts, relations

    assert await memory.consolidate_idle(consolidate, said_before=NOW + 1) == 1
    assert await memory.consolidate_idle(consolidate, said_before=NOW + 1) == 0
    assert len(seen) == 1
    (hit,) = (await memory.recall(AS_ADA, "greets", limit=1)).hits
    assert hit.observation.source == Source(
        agent="Ada", conversation_id="c", message_id="m", model="gpt"
    )
    assert (await memory.backend.stats(None)).relations == 1


async def test_a_conversation_that_goes_on_is_left_alone(memory):
    source = Source(conversation_id="c")
    await tell(memory, "bob: hello", kind=Kind.EPISODE, source=source)

    async def never(conversation):
        raise AssertionError("it goes on")

    assert await memory.consolidate_idle(never, said_before=NOW) == 0


async def test_conversations_that_fail_do_not_keep_others_from_their_turn(memory):
    for number in range(12):
        source = Source(conversation_id=f"c{number:02}")
        await tell(memory, f"bob: hello {number}", kind=Kind.EPISODE, source=source)
    tried = []

    async def consolidate(conversation):
        tried.append(conversation.conversation_id)
        if conversation.conversation_id < "c08":
            raise ValueError("the model answers nonsense")
        return [], []

    counts = [await memory.consolidate_idle(consolidate, said_before=NOW + 1) for _ in range(4)]
    assert (sum(counts), counts[-1], len(tried)) == (4, 0, 12)
    left = await memory.backend.unconsolidated(idle_before=NOW + 1, limit=99)
    assert [one.conversation_id for one in left] == [f"c{number:02}" for number in range(8)]


def test_what_fails_again_waits_twice_as_long_and_an_hour_at_most():
    postponed, now, waits = Postponed(), 0, []
    for _ in range(9):
        assert postponed.is_due("c", now)
        waits.append(postponed.failed("c", now))
        assert not postponed.is_due("c", now + waits[-1] - 1)
        now += waits[-1]
    assert waits == [60_000 * 2**n for n in range(6)] + [3_600_000] * 3
    postponed.succeeded("c")
    assert postponed.failed("c", now) == 60_000


def test_as_many_failures_as_there_is_room_for_are_remembered():
    postponed = Postponed()
    for number in range(POSTPONED_MAX + 1):
        postponed.failed(number, 0)
    assert (len(postponed), postponed.is_due(0, 1), postponed.is_due(1, 1)) == (
        POSTPONED_MAX, True, False,
    )  # fmt: skip


async def test_what_was_open_when_the_node_stopped_has_ended_at_the_next_start(
    backend, monkeypatch
):
    monkeypatch.setattr("caxton_node.memory.service.CONSOLIDATE_EVERY_S", 0.0)
    said_at = iter([NOW, NOW + 1])
    memory = Memory(backend, Embedder(None), now=lambda: next(said_at, NOW + 1))
    for conversation in ("before", "after"):
        source = Source(conversation_id=conversation)
        await tell(memory, f"bob: hello {conversation}", kind=Kind.EPISODE, source=source)
    seen, is_seen = [], asyncio.Event()

    async def consolidate(conversation):
        seen.append(conversation.conversation_id)
        is_seen.set()
        return [], []

    async with asyncio.TaskGroup() as tasks:
        chore = tasks.create_task(memory.keep_consolidated(consolidate))
        async with asyncio.timeout(10):
            await is_seen.wait()
            while await backend.unconsolidated(idle_before=NOW + 1, limit=9):
                await asyncio.sleep(0)
        chore.cancel()
    (left,) = await backend.unconsolidated(idle_before=2**60, limit=9)
    assert (seen, left.conversation_id) == (["before"], "after")
