"""What every memory backend does. One test, all implementations."""

import asyncio

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from caxton_node.domain.errors import Denied, NotFound
from caxton_node.memory.backend import Search
from caxton_node.memory.finding import NO_FILTERS, Filters
from caxton_node.memory.forgetting import Selection
from caxton_node.memory.graph import Walk
from caxton_node.memory.records import (
    GLOBAL,
    Access,
    Kind,
    Lived,
    NewFact,
    NewRelation,
    Scope,
    Source,
)
from tests.memory_backends import KINDS, SLOW, Engines, opened_backend
from tests.memory_model import WordEncoder

NOW = 1_800_000_000_000
DAY = 86_400_000
ADA, BOB = Scope("agent", "default", "Ada"), Scope("agent", "default", "Bob")
SHARED = Scope("workspace", "default")
AS_ADA, AS_BOB = Access.of_agent("Ada"), Access.of_agent("Bob")
MODEL = WordEncoder()


pytestmark = [
    pytest.mark.filterwarnings("ignore:Payload indexes have no effect in the local Qdrant"),
    pytest.mark.filterwarnings("ignore:Local mode performs exact"),
]


def every_kind():
    slow = [pytest.mark.slow, pytest.mark.timeout(300)]
    return [pytest.param(kind, marks=slow if kind in SLOW else []) for kind in KINDS]


@pytest.fixture(scope="session")
def engines():
    started = Engines()
    yield started
    started.close()


@pytest.fixture(params=every_kind())
async def memory(request, tmp_path, engines):
    async with opened_backend(request.param, tmp_path, engines) as opened:
        await opened.use_model(MODEL.identity, MODEL.dimensions)
        yield opened


def fact(text, *, entity="thing", **more) -> NewFact:
    return NewFact(entity=entity, text=text, **more)


def vector_of(text: str) -> bytes:
    return MODEL.encode([text])[0].tobytes()


async def embed(memory) -> int:
    waiting = await memory.unembedded(limit=10_000)
    if waiting:
        vectors = MODEL.encode([one.text for one in waiting])
        rows = [(w.observation_id, v.tobytes()) for w, v in zip(waiting, vectors, strict=True)]
        await memory.put_vectors(rows, now=NOW)
    return len(waiting)


async def tell(memory, *texts, access=AS_ADA, scope=ADA, now=NOW, **more):
    done = await memory.remember(access, scope, [fact(one, **more) for one in texts], now=now)
    await embed(memory)
    return done


async def find(memory, question, *, access=AS_ADA, is_vector=True, now=NOW, **more):
    vector = vector_of(question) if is_vector else None
    hits = await memory.search(access, Search(question=question, vector=vector, **more), now=now)
    return [hit.observation.text for hit in hits]


# Remembering and finding.


async def test_what_was_told_is_found_by_its_words(memory):
    await tell(memory, "The printer is on the second floor", "Lunch is at noon")
    assert (await find(memory, "where is the printer", is_vector=False)) == [
        "The printer is on the second floor"
    ]


async def test_what_was_told_is_found_by_its_vector_and_says_so(memory):
    await tell(memory, "alpha beta gamma", "delta epsilon")
    search = Search(question="", vector=vector_of("gamma beta alpha"), limit=1)
    (hit,) = await memory.search(AS_ADA, search, now=NOW)
    assert hit.observation.text == "alpha beta gamma"
    assert hit.reasons.similarity_rank == 1
    assert hit.reasons.keyword_rank is None
    assert 0 < hit.score <= 1


async def test_the_source_of_a_memory_is_kept(memory):
    source = Source(agent="Ada", conversation_id="c1", message_id="m1", model="gpt")
    await memory.remember(AS_ADA, ADA, [fact("Paris is warm", source=source)], now=NOW)
    (view,) = await memory.entity(AS_ADA, "THING", NO_FILTERS, now=NOW)
    assert view.observations[0].source == source


async def test_the_same_sentence_twice_is_one_observation_that_is_stronger(memory):
    first = await tell(memory, "The sky is blue.", strength=0.5)
    again = await tell(memory, "the  sky is BLUE")
    assert again[0].observation_id == first[0].observation_id
    assert [one.is_new for one in (*first, *again)] == [True, False]
    (view,) = await memory.entity(AS_ADA, "thing", NO_FILTERS, now=NOW)
    (known,) = view.observations
    assert known.strength == 0.75
    assert known.use_count == 1


async def test_a_limit_of_results_holds(memory):
    await tell(memory, *(f"common word number{n}" for n in range(50)))
    assert len(await find(memory, "common word", limit=7)) == 7


async def test_vectors_of_another_model_are_made_anew(memory):
    await tell(memory, "old vectors")
    await memory.use_model("words/2", MODEL.dimensions)
    assert [one.text for one in await memory.unembedded(limit=10)] == ["thing: old vectors"]
    assert await find(memory, "nothing in common", is_vector=True) == []


@pytest.mark.parametrize(
    "question", ['"', "a AND", "NEAR(x)", "*", "shelf:s1", "s1", "", "🜁 \ud800", "%_'", "OR " * 99]
)
async def test_no_question_breaks_the_search(memory, question):
    await tell(memory, "plain text")
    await memory.search(AS_ADA, Search(question=question), now=NOW)


async def test_filters_leave_what_is_wanted_however_rare_it_is(memory):
    await tell(memory, *(f"apple pie number{n}" for n in range(300)), kind=Kind.EPISODE)
    await tell(memory, "apple pie with cinnamon", entity="dessert", type="recipe")
    wanted = ["apple pie with cinnamon"]
    assert await find(memory, "apple pie", filters=Filters(types=("recipe",))) == wanted
    assert await find(memory, "apple pie", filters=Filters(kinds=("fact",))) == wanted


async def test_metadata_of_entities_can_be_asked_for(memory):
    await tell(memory, "green tea", entity="tea", metadata={"origin": "china", "price": 3})
    await tell(memory, "black tea", entity="assam", metadata={"origin": "india", "price": 3})
    by_origin = Filters(metadata=(("origin", "india"), ("price", 3)))
    assert await find(memory, "tea", filters=by_origin) == ["black tea"]


# Time.


async def test_a_newer_value_of_an_attribute_ends_the_older_one(memory):
    await tell(memory, "lives in Rome", attribute="home", now=NOW)
    (moved,) = await tell(memory, "lives in Oslo", attribute="home", now=NOW + DAY)
    assert moved.replaced_id is not None
    assert await find(memory, "lives in", now=NOW + DAY) == ["lives in Oslo"]
    before = Filters(at=NOW + DAY // 2)
    assert await find(memory, "lives in", now=NOW + DAY, filters=before) == ["lives in Rome"]
    both = await find(memory, "lives in", now=NOW + DAY, filters=Filters(is_historic=True))
    assert set(both) == {"lives in Rome", "lives in Oslo"}


async def test_what_is_learnt_late_of_earlier_times_does_not_end_what_came_after(memory):
    await tell(memory, "lives in Oslo", attribute="home", valid_from=NOW - DAY)
    await tell(memory, "lives in Rome", attribute="home", valid_from=NOW - 9 * DAY)
    assert await find(memory, "lives in") == ["lives in Oslo"]
    assert await find(memory, "lives in", filters=Filters(at=NOW - 5 * DAY)) == ["lives in Rome"]


async def test_facts_without_an_attribute_stand_side_by_side(memory):
    await tell(memory, "likes tea", "likes coffee")
    assert set(await find(memory, "likes")) == {"likes tea", "likes coffee"}


async def test_a_closed_fact_is_history(memory):
    (known,) = await tell(memory, "the door is open")
    await memory.close_fact(AS_ADA, known.observation_id, now=NOW + 1)
    assert await find(memory, "door", now=NOW + 1) == []
    (view,) = await memory.entity(AS_ADA, "thing", Filters(is_historic=True), now=NOW + 1)
    assert view.observations[0].valid.end == NOW + 1


async def test_a_changed_entity_leaves_its_former_version(memory):
    await tell(memory, "a first note", type="idea", metadata={"state": "raw"}, now=NOW)
    await tell(memory, "a second note", type="plan", metadata={"state": "done"}, now=NOW + 5)
    (view,) = await memory.entity(AS_ADA, "thing", NO_FILTERS, now=NOW + 5)
    assert (view.entity.type, view.entity.version) == ("plan", 2)
    assert view.entity.metadata == {"state": "done"}
    assert [(one["type"], one["valid_from"], one["valid_to"]) for one in view.versions] == [
        ("idea", NOW, NOW + 5)
    ]


async def test_what_has_a_time_to_live_is_gone_after_it(memory):
    await tell(memory, "the code is 1234", ttl_s=60)
    assert await find(memory, "code", now=NOW + 59_000) != []
    assert await find(memory, "code", now=NOW + 61_000) == []
    assert await expire(memory, now=NOW + 61_000) == 1
    assert (await memory.stats(None)).observations == 0


async def expire(memory, *, now=NOW, most=1_000, half_life_ms=DAY) -> int:
    return await memory.expire(now=now, half_life_ms=half_life_ms, entity_count_max=most)


async def test_a_full_scope_loses_what_was_least_of_use_but_nothing_pinned(memory):
    for n in range(6):
        await tell(memory, f"note {n}", entity=f"e{n}", is_pinned=n == 0, now=NOW + n)
    assert await expire(memory, most=4) == 2
    left = {one.name for one in await memory.entities(AS_ADA, type_name=None, after=0, limit=9)}
    assert left == {"e0", "e3", "e4", "e5"}


async def test_episodes_that_nobody_needed_decay_and_facts_do_not(memory):
    await tell(memory, "we talked", kind=Kind.EPISODE)
    await tell(memory, "water is wet", kind=Kind.FACT)
    assert await expire(memory, now=NOW + 5 * DAY) == 1
    assert await find(memory, "water talked", now=NOW + 5 * DAY) == ["water is wet"]


# Scopes.


async def test_an_agent_does_not_see_what_another_one_knows(memory):
    await tell(memory, "the secret plan", access=AS_ADA, scope=ADA)
    assert await find(memory, "secret plan", access=AS_BOB) == []
    assert await memory.entity(AS_BOB, "thing", NO_FILTERS, now=NOW) == []


async def test_a_scope_that_is_not_given_cannot_be_written(memory):
    with pytest.raises(Denied):
        await memory.remember(AS_ADA, BOB, [fact("x")], now=NOW)
    with pytest.raises(Denied):
        await memory.relate(
            AS_ADA, SHARED, [NewRelation(source_entity="a", target_entity="b", type="t")], now=NOW
        )


async def test_what_is_shared_is_seen_by_those_who_share(memory):
    both = [Access.of_agent(name, "workspace") for name in ("Ada", "Bob")]
    await tell(memory, "the office closes at six", access=both[0], scope=SHARED)
    assert await find(memory, "office", access=both[1]) == ["the office closes at six"]
    assert await find(memory, "office", access=AS_BOB) == []


async def test_another_scopes_observation_cannot_be_closed(memory):
    (known,) = await tell(memory, "mine")
    with pytest.raises(NotFound):
        await memory.close_fact(AS_BOB, known.observation_id, now=NOW)


SCOPES = [ADA, BOB, SHARED, GLOBAL, Scope("agent", "other", "Ada"), Scope("workspace", "other")]
WORDS = ["red", "green", "blue", "cat", "dog"]


@st.composite
def tellings(draw):
    count = draw(st.integers(1, 12))
    return [
        (
            draw(st.sampled_from(SCOPES)),
            draw(st.sampled_from(["x", "y", "z"])),
            " ".join(draw(st.lists(st.sampled_from(WORDS), min_size=1, max_size=4))),
        )
        for _ in range(count)
    ]


@settings(
    max_examples=25,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(
    told=tellings(),
    seen=st.sets(st.sampled_from(SCOPES), max_size=3),
    forgotten=st.sets(st.sampled_from(SCOPES), max_size=2),
)
@pytest.mark.parametrize("kind", every_kind())
def test_nothing_ever_shows_a_row_of_a_scope_that_is_not_given(
    tmp_path_factory, engines, kind, told, seen, forgotten
):
    async def run() -> None:
        async with opened_backend(kind, tmp_path_factory.mktemp("m"), engines) as memory:
            await memory.use_model(MODEL.identity, MODEL.dimensions)
            for scope, entity, text in told:
                marked = f"{text} of-{SCOPES.index(scope)}"
                await tell(memory, marked, access=Access.only(scope), scope=scope, entity=entity)
                await memory.relate(
                    Access.only(scope),
                    scope,
                    [NewRelation(source_entity=entity, target_entity="hub", type="knows")],
                    now=NOW,
                )
            for scope in forgotten:
                await memory.forget(Access.only(scope), Selection())
            await check_isolation(memory, Access(frozenset(seen), frozenset()), told, forgotten)

    asyncio.run(run())


async def check_isolation(memory, access, told, forgotten) -> None:
    wanted = {
        (scope, f"{text} of-{SCOPES.index(scope)}")
        for scope, _, text in told
        if scope in access.reads and scope not in forgotten
    }
    vector = vector_of("red green blue cat dog")
    for search in (
        Search(question="red green blue cat dog", vector=vector, limit=100),
        Search(question="red green blue cat dog", limit=100),
        Search(question="", vector=vector, limit=100),
        Search(question="red cat", vector=vector, limit=100, filters=Filters(is_historic=True)),
    ):
        hits = await memory.search(access, search, now=NOW)
        found = {(hit.observation.scope, hit.observation.text) for hit in hits}
        assert found <= wanted
        if search.vector is not None:
            assert found == wanted
    exported = await memory.export(access, after=0, limit=1_000, has_vectors=True)
    assert {(one.scope, one.text) for one in exported.observations} == wanted
    assert len(exported.vectors) == len(exported.observations)
    relations = (await memory.export_relations(access, after=0, limit=1_000)).relations
    assert all(one.scope in access.reads for one in relations)
    named = await memory.entities(access, type_name=None, after=0, limit=1_000)
    assert all(one.scope in access.reads - set(forgotten) for one in named)
    if named:
        view = await memory.walk(access, "hub", Walk(depth=3))
        assert all(one.scope in access.reads for one, _ in view.entities)
        assert all(one.scope in access.reads for one in view.relations)
    assert (await memory.stats(access)).observations == len(exported.observations)


# Relations.


def link(source, target, strength=0.5, **more) -> NewRelation:
    return NewRelation(
        source_entity=source, target_entity=target, type="knows", strength=strength, **more
    )


async def walk(memory, name, **plan):
    view = await memory.walk(AS_ADA, name, Walk(**plan))
    return {one.name: depth for one, depth in view.entities}, view


async def test_a_walk_goes_both_ways_and_tells_the_distance(memory):
    await memory.relate(AS_ADA, ADA, [link("a", "b"), link("c", "b"), link("c", "d")], now=NOW)
    assert (await walk(memory, "A", depth=3))[0] == {"a": 0, "b": 1, "c": 2, "d": 3}
    assert (await walk(memory, "a", depth=1))[0] == {"a": 0, "b": 1}


async def test_a_circle_ends(memory):
    await memory.relate(AS_ADA, ADA, [link("a", "b"), link("b", "c"), link("c", "a")], now=NOW)
    found, view = await walk(memory, "a", depth=10)
    assert found == {"a": 0, "b": 1, "c": 1}
    assert len(view.relations) == 3


async def test_a_hub_shows_its_strongest_and_says_that_there_is_more(memory):
    spokes = [link("hub", f"s{n}", strength=0.2 + n / 1_000) for n in range(500)]
    await memory.relate(AS_ADA, ADA, spokes, now=NOW)
    found, view = await walk(memory, "hub", depth=2, fan_out=20)
    assert set(found) == {"hub", *(f"s{n}" for n in range(480, 500))}
    assert view.is_cut


async def test_weak_relations_are_not_walked(memory):
    await memory.relate(AS_ADA, ADA, [link("a", "b", 0.9), link("a", "c", 0.05)], now=NOW)
    assert (await walk(memory, "a"))[0] == {"a": 0, "b": 1}


async def test_only_the_relations_of_a_type_are_walked_whatever_its_letters(memory):
    told = [link("a", "b"), NewRelation(source_entity="a", target_entity="c", type="Works For")]
    await memory.relate(AS_ADA, ADA, told, now=NOW)
    assert (await walk(memory, "a", types=("WORKS  for",)))[0] == {"a": 0, "c": 1}
    assert (await walk(memory, "a", types=("none such",)))[0] == {"a": 0}


async def test_a_fact_that_moves_keeps_its_age_and_is_not_strengthened_twice(memory):
    lived = Lived(created_at=NOW - DAY, used_at=NOW - 5, use_count=7, expires_at=NOW + DAY)
    moved = fact("an old tale", strength=0.5, lived=lived)
    for _ in range(2):
        (done,) = await memory.remember(AS_ADA, ADA, [moved], now=NOW)
    assert not done.is_new
    (view,) = await memory.entity(AS_ADA, "thing", NO_FILTERS, now=NOW)
    (known,) = view.observations
    assert (known.created_at, known.used_at, known.use_count) == (NOW - DAY, NOW - 5, 7)
    assert (known.expires_at, known.strength) == (NOW + DAY, 0.5)
    assert await memory.scopes() == [ADA]


async def test_a_relation_told_twice_is_one(memory):
    first = await memory.relate(AS_ADA, ADA, [link("a", "b", 0.3)], now=NOW)
    assert await memory.relate(AS_ADA, ADA, [link("A", "b", 0.8)], now=NOW) == first
    assert (await walk(memory, "a"))[1].relations[0].strength == 0.8


async def test_a_relation_that_ended_is_walked_in_its_time_only(memory):
    ended = link("a", "b", valid_from=NOW - 10, valid_to=NOW - 5)
    await memory.relate(AS_ADA, ADA, [ended], now=NOW)
    assert (await walk(memory, "a"))[0] == {"a": 0}
    assert (await walk(memory, "a", at=NOW - 7))[0] == {"a": 0, "b": 1}


async def test_neighbours_of_what_was_found_are_proposed_with_the_way(memory):
    await tell(memory, "the invoice is late", entity="invoice")
    await tell(memory, "pays on Fridays", entity="Acme")
    await memory.relate(AS_ADA, ADA, [link("invoice", "Acme", 0.9)], now=NOW)
    hits = await memory.search(AS_ADA, Search(question="invoice late"), now=NOW)
    assert [(hit.observation.text, hit.reasons.graph_via) for hit in hits] == [
        ("the invoice is late", None),
        ("pays on Fridays", "invoice"),
    ]


async def test_a_walk_from_nowhere_says_so(memory):
    with pytest.raises(NotFound):
        await memory.walk(AS_ADA, "nobody", Walk())


# Forgetting.


async def test_what_is_forgotten_is_nowhere(memory):
    await tell(memory, "the xylophone password is quetzalcoatl", entity="safe")
    await tell(memory, "harmless text", entity="other")
    await memory.relate(AS_ADA, ADA, [link("safe", "other")], now=NOW)
    proof = await memory.forget(AS_ADA, Selection(entity="Safe"))
    assert (proof.entities, proof.observations, proof.relations, proof.vectors) == (1, 1, 1, 1)
    assert proof.remaining == 0
    assert proof.is_index_clean
    assert await find(memory, "xylophone quetzalcoatl harmless") == ["harmless text"]


async def test_forgetting_names_the_backups_that_still_know(memory, tmp_path):
    await tell(memory, "an old tale")
    await memory.back_up(tmp_path / "copies" / "one.db", now=NOW)
    (named,) = (await memory.forget(AS_ADA, Selection())).backups
    assert named.endswith(str(tmp_path / "copies" / "one.db"))
    assert b"an old tale" in (tmp_path / "copies" / "one.db").read_bytes()


async def test_a_conversation_can_be_forgotten_alone(memory):
    await tell(memory, "said here", source=Source(conversation_id="c1"))
    await tell(memory, "said there", source=Source(conversation_id="c2"))
    assert (await memory.forget(AS_ADA, Selection(conversation_id="c1"))).observations == 1
    assert await find(memory, "said") == ["said there"]


async def test_forgetting_stays_within_what_may_be_changed(memory):
    await tell(memory, "mine", access=AS_ADA, scope=ADA)
    await tell(memory, "yours", access=AS_BOB, scope=BOB)
    await memory.forget(AS_ADA, Selection())
    assert await find(memory, "yours", access=AS_BOB) == ["yours"]


# Conclusions.


async def test_conversations_come_up_for_consolidation_once_they_are_idle(memory):
    source = Source(conversation_id="c1")
    await tell(memory, "hello there", kind=Kind.EPISODE, source=source)
    assert await memory.unconsolidated(idle_before=NOW, limit=9) == []
    (one,) = await memory.unconsolidated(idle_before=NOW + 1, limit=9)
    assert (one.scope, one.conversation_id, len(one.episodes)) == (ADA, "c1", 1)
    await memory.mark_consolidated(one.scope, "c1", up_to=one.episodes[-1].id)
    assert await memory.unconsolidated(idle_before=NOW + 1, limit=9) == []


async def test_no_conclusions_are_awaited_from_what_was_forgotten(memory):
    source = Source(conversation_id="c1")
    await tell(memory, "hello there", kind=Kind.EPISODE, source=source)
    await memory.forget(AS_ADA, Selection(conversation_id="c1"))
    assert await memory.unconsolidated(idle_before=NOW + 1, limit=9) == []


async def test_a_conversation_that_goes_on_is_consolidated_from_where_it_was(memory):
    source = Source(conversation_id="c1")
    (first,) = await tell(memory, "hello there", kind=Kind.EPISODE, source=source)
    await tell(memory, "and goodbye", kind=Kind.EPISODE, source=source)
    await memory.mark_consolidated(ADA, "c1", up_to=first.observation_id)
    (one,) = await memory.unconsolidated(idle_before=NOW + 1, limit=9)
    assert [episode.text for episode in one.episodes] == ["and goodbye"]
