"""Which sentences may become one, and what becomes of them."""

import numpy as np
import pytest

from caxton_node.memory.backend import Search
from caxton_node.memory.finding import NO_FILTERS, Filters
from caxton_node.memory.forgetting import Selection
from caxton_node.memory.records import Access, NewFact, Scope, Source
from caxton_node.memory.sameness import says_the_same
from caxton_node.memory.sqlite import SqliteMemory

NOW = 1_800_000_000_000
ADA = Scope("agent", "default", "Ada")
AS_ADA = Access.only(ADA)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Ada prefers green tea", "Ada really prefers the green tea."),
        ("The build fails on Mondays", "Build failed on Monday"),
        ("deploys run nightly in Oslo", "nightly, deploys run in Oslo"),
        ("Ada doesn't drink coffee", "Ada doesn’t drink the coffee"),
    ],
)
def test_the_same_in_other_words_is_recognised(one, other):
    assert says_the_same(one, other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("The door is open", "The door is closed"),
        ("Ada manages Bob", "Bob manages Ada"),
        ("a flight from Rome to Oslo", "a flight from Oslo to Rome"),
        ("The meeting is at 3", "The meeting is at 4"),
        ("costs 10 of 20", "costs 20 of 10"),
        ("Ada drinks coffee", "Ada does not drink coffee"),
        ("Ada likes tea", "Ada hates tea"),
        ("Ada is the owner", "Ada was the owner"),
        ("stop before the gate, not after it", "stop after the gate, not before it"),
        ("version 2.4 works", "version 4.2 works"),
        ("Ada drinks tea", "Ada drinks tea and rum"),
    ],
)
def test_what_differs_in_meaning_is_not(one, other):
    assert not says_the_same(one, other)


@pytest.fixture
async def memory(tmp_path):
    opened = SqliteMemory(tmp_path / "memory.db", is_synced=False)
    await opened.open()
    await opened.use_model("model", 8)
    yield opened
    await opened.close()


def vector(seed: int) -> bytes:
    """Vectors of neighbouring tens lie far from each other, others close."""
    numbers = np.zeros(8, np.float32)
    numbers[seed // 10] = 1.0
    numbers[-1] = (seed % 10) / 100
    return (numbers / np.linalg.norm(numbers)).tobytes()


async def tell(memory, text, seed, *, conversation="c"):
    fact = NewFact(entity="Ada", text=text, source=Source(conversation_id=conversation))
    (done,) = await memory.remember(AS_ADA, ADA, [fact], now=NOW)
    if done.is_new:
        await memory.put_vectors([(done.observation_id, vector(seed))], now=NOW)
    return done


async def current(memory) -> list[str]:
    (view,) = await memory.entity(AS_ADA, "Ada", NO_FILTERS, now=NOW + 1)
    return sorted(one.text for one in view.observations)


async def found(memory, seed) -> list[str]:
    search = Search(question="", vector=vector(seed), limit=1, has_graph=False)
    return [hit.observation.text for hit in await memory.search(AS_ADA, search, now=NOW + 1)]


async def test_the_newer_becomes_history_and_the_older_stronger(memory):
    first = await tell(memory, "Ada likes green tea", 1)
    await tell(memory, "Ada really likes the green tea", 2)
    assert await current(memory) == ["Ada likes green tea"]
    assert await found(memory, 2) == ["Ada likes green tea"]
    (view,) = await memory.entity(AS_ADA, "Ada", Filters(is_historic=True), now=NOW + 1)
    assert len(view.observations) == 2
    older = next(one for one in view.observations if one.id == first.observation_id)
    assert older.use_count == 1
    assert await memory.check() == []


async def test_alike_words_with_far_vectors_stay_apart_and_near_vectors_with_other_words_too(
    memory,
):
    await tell(memory, "Ada likes green tea", 1)
    await tell(memory, "Ada really likes green tea", 21)
    await tell(memory, "Ada likes black tea", 2)
    assert len(await current(memory)) == 3


async def test_two_that_get_their_vectors_together_become_one_whichever_comes_first(memory):
    facts = [NewFact(entity="Ada", text=f"Ada likes {t} tea") for t in ("green", "the green")]
    done = await memory.remember(AS_ADA, ADA, facts, now=NOW)
    rows = [(one.observation_id, vector(1)) for one in reversed(done)]
    await memory.put_vectors(rows, now=NOW)
    assert await current(memory) == ["Ada likes green tea"]
    assert await found(memory, 1) == ["Ada likes green tea"]


async def test_what_was_merged_and_is_said_again_is_no_new_row(memory):
    first = await tell(memory, "Ada likes green tea", 1)
    await tell(memory, "Ada really likes green tea", 2)
    again = await tell(memory, "Ada really likes green tea", 2)
    assert (again.observation_id, again.is_new) == (first.observation_id, False)
    assert (await memory.stats(None)).observations == 2


async def test_forgetting_the_conversation_of_the_one_leaves_the_other_known(memory):
    await tell(memory, "Ada likes green tea", 1, conversation="first")
    await tell(memory, "Ada really likes green tea", 2, conversation="second")
    await memory.forget(AS_ADA, Selection(conversation_id="first"))
    assert await current(memory) == ["Ada really likes green tea"]
    (waiting,) = await memory.unembedded(limit=9)
    await memory.put_vectors([(waiting.observation_id, vector(2))], now=NOW)
    assert await found(memory, 2) == ["Ada really likes green tea"]
    assert await memory.check() == []


async def test_forgetting_both_leaves_nothing(memory):
    await tell(memory, "Ada likes green tea", 1)
    await tell(memory, "Ada really likes green tea", 2)
    proof = await memory.forget(AS_ADA, Selection(entity="Ada"))
    assert (proof.observations, proof.remaining) == (2, 0)
    assert (await memory.stats(None)).observations == 0
    assert await memory.unembedded(limit=9) == []
