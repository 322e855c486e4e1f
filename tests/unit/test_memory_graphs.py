"""The graphs in memory against the rows: the same walk, whatever is written and deleted between."""

import asyncio

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from caxton_node.domain.errors import NotFound
from caxton_node.memory import adjacency, graph
from caxton_node.memory.finding import scope_rows
from caxton_node.memory.forgetting import Selection
from caxton_node.memory.graph import Walk
from caxton_node.memory.graph_chore import keep_graphs
from caxton_node.memory.graph_reading import read_graph
from caxton_node.memory.records import Access, NewFact, NewRelation, Scope
from caxton_node.memory.sqlite import SqliteMemory

NOW = 1_800_000_000_000
ADA, SHARED = Scope("agent", "default", "Ada"), Scope("workspace", "default")
BOTH = Access.only(ADA, SHARED)

names = st.integers(0, 7).map("e{}".format)
scopes = st.sampled_from([ADA, SHARED])
relate = st.tuples(
    st.just("relate"),
    scopes,
    names,
    names,
    st.sampled_from("xy"),
    st.sampled_from([0.05, 0.3, 0.7]),
)
tell = st.tuples(st.just("tell"), scopes, names, st.sampled_from(["city", "person"]))
forget = st.tuples(st.just("forget"), scopes, names)
plans = st.builds(
    Walk,
    depth=st.integers(0, 4),
    fan_out=st.integers(1, 4),
    entity_count=st.integers(1, 6),
    types=st.sampled_from([(), ("x",), ("x", "y")]),
)
walk = st.tuples(st.just("walk"), names, plans, st.sampled_from([(ADA,), (ADA, SHARED)]))


@pytest.fixture
async def memory(tmp_path):
    opened = SqliteMemory(tmp_path / "memory.db", is_synced=False)
    await opened.open()
    yield opened
    await opened.close()


def link(source, target, strength=0.5, kind="knows") -> NewRelation:
    return NewRelation(source_entity=source, target_entity=target, type=kind, strength=strength)


async def walked_in_rows(memory, access, name, plan):
    """Return the same walk by the database alone."""
    allowed = sorted(access.reads)

    def do(connection):
        rows = scope_rows(connection, allowed)
        starts = [one.id for one in graph.entities_named(connection, name, rows)]
        return graph.walk(connection, starts, plan, rows)

    return await memory._readers.read(do)


async def take(memory, step) -> None:
    match step:
        case ("relate", scope, source, target, kind, strength):
            await memory.relate(BOTH, scope, [link(source, target, strength, kind)], now=NOW)
        case ("tell", scope, name, kind):
            fact = NewFact(entity=name, text=f"{name} is a {kind}", type=kind, metadata={"k": kind})
            await memory.remember(BOTH, scope, [fact], now=NOW + 1)
        case ("forget", scope, name):
            await memory.forget(Access.only(scope), Selection(entity=name))
        case ("walk", name, plan, seen):
            access = Access.only(*seen)
            try:
                found = await memory.walk(access, name, plan)
            except NotFound:
                return
            rows = await walked_in_rows(memory, access, name, plan)
            assert (found.entities, found.is_cut) == (rows.entities, rows.is_cut)
            assert sorted(found.relations, key=lambda one: one.id) == sorted(
                rows.relations, key=lambda one: one.id
            )


@settings(
    deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.lists(st.one_of(relate, relate, tell, walk, walk, forget), max_size=40))
def test_a_walk_in_memory_is_the_walk_in_the_rows(tmp_path_factory, steps):
    async def run() -> None:
        memory = SqliteMemory(tmp_path_factory.mktemp("graphs") / "memory.db", is_synced=False)
        await memory.open()
        for step in steps:
            await take(memory, step)
        await memory.close()

    asyncio.run(run())


async def test_what_is_written_while_a_graph_is_read_is_in_it(memory):
    await memory.relate(BOTH, ADA, [link("a", "b")], now=NOW)
    graphs = memory._keeper.graphs
    filling = graphs.begin(1)
    read_before = await read_graph(1, ADA, read=memory._readers.read)
    await memory.relate(BOTH, ADA, [link("b", "c"), link("a", "b", 0.9)], now=NOW)
    graphs.finish(1, filling, read_before)
    view = await memory.walk(BOTH, "a", Walk())
    assert [one.name for one, _ in view.entities] == ["a", "b", "c"]
    assert {one.strength for one in view.relations} == {0.9, 0.5}


async def test_a_graph_is_read_by_the_page_while_it_grows(memory, monkeypatch):
    monkeypatch.setattr("caxton_node.memory.graph_reading.ROWS_AT_ONCE", 3)
    await memory.relate(BOTH, ADA, [link("hub", f"s{n}") for n in range(20)], now=NOW)
    async with asyncio.TaskGroup() as tasks:
        walking = tasks.create_task(memory.walk(BOTH, "hub", Walk(fan_out=100)))
        for number in range(20, 40):
            # Names before and behind the page that is being read.
            name = f"{'a' if number % 2 else 'z'}{number}"
            await memory.relate(BOTH, ADA, [link("hub", name)], now=NOW)
    assert len(walking.result().entities) >= 21
    view = await memory.walk(BOTH, "hub", Walk(fan_out=100))
    assert len(view.entities) == 41
    assert memory._keeper.graphs.get(1) is not None


async def test_a_graph_that_takes_too_long_to_read_is_walked_in_the_rows(memory, monkeypatch):
    monkeypatch.setattr("caxton_node.memory.graph_reading.DEADLINE_S", 0.0)
    await memory.relate(BOTH, ADA, [link("a", "b")], now=NOW)
    view = await memory.walk(BOTH, "a", Walk())
    assert [one.name for one, _ in view.entities] == ["a", "b"]
    assert not memory._keeper.graphs.has(1)


async def test_a_graph_that_was_read_while_something_was_forgotten_is_not_taken(memory):
    await memory.relate(BOTH, ADA, [link("a", "b")], now=NOW)
    graphs = memory._keeper.graphs
    filling = graphs.begin(1)
    await memory.forget(Access.only(ADA), Selection(entity="b"))
    graphs.finish(1, filling, adjacency.ScopeGraph(ADA))
    assert graphs.get(1) is None
    view = await memory.walk(BOTH, "a", Walk())
    assert [one.name for one, _ in view.entities] == ["a"]


async def test_the_graph_walked_longest_ago_makes_room(memory, monkeypatch):
    monkeypatch.setattr(adjacency, "RELATIONS_KEPT_MAX", 3)
    agents = [Scope("agent", "default", name) for name in ("A", "B", "C")]
    for scope in agents:
        await memory.relate(Access.only(scope), scope, [link("a", "b")], now=NOW)
    for scope in agents:
        await memory.walk(Access.only(scope), "a", Walk())
    await memory.relate(Access.only(ADA), ADA, [link("a", "b")], now=NOW)
    await memory.walk(Access.only(agents[0]), "a", Walk())
    await memory.walk(Access.only(ADA), "a", Walk())
    graphs = memory._keeper.graphs
    assert [graphs.get(row) is not None for row in (1, 2, 3, 4)] == [True, False, True, True]


async def test_a_scope_with_too_many_relations_is_walked_in_the_rows(memory, monkeypatch):
    monkeypatch.setattr("caxton_node.memory.graph_reading.RELATIONS_KEPT_MAX", 1)
    await memory.relate(BOTH, ADA, [link("a", "b"), link("b", "c")], now=NOW)
    monkeypatch.setattr("caxton_node.memory.graph_reading.read_graph", None)  # not even begun
    view = await memory.walk(BOTH, "a", Walk())
    assert [one.name for one, _ in view.entities] == ["a", "b", "c"]
    assert memory._keeper.graphs.get(1) is None


async def test_a_graph_that_outgrows_the_limit_is_walked_in_the_rows_again(memory, monkeypatch):
    monkeypatch.setattr(adjacency, "RELATIONS_KEPT_MAX", 2)
    monkeypatch.setattr("caxton_node.memory.graph_reading.RELATIONS_KEPT_MAX", 2)
    await memory.relate(BOTH, ADA, [link("a", "b"), link("b", "c")], now=NOW)
    await memory.walk(BOTH, "a", Walk())
    assert memory._keeper.graphs.get(1) is not None
    await memory.relate(BOTH, ADA, [link("c", "d")], now=NOW)
    assert memory._keeper.graphs.get(1) is None
    view = await memory.walk(BOTH, "a", Walk())
    assert [one.name for one, _ in view.entities] == ["a", "b", "c", "d"]


async def test_a_large_graph_is_walked_in_the_rows_until_it_was_read_behind(memory, monkeypatch):
    monkeypatch.setattr("caxton_node.memory.graph_reading.READ_AT_ONCE_MAX", 1)
    await memory.relate(BOTH, ADA, [link("a", "b"), link("b", "c")], now=NOW)
    before = await memory.walk(BOTH, "a", Walk())
    assert memory._keeper.graphs.get(1) is None
    assert await memory.read_wanted_graphs(timeout_s=5) == 1
    assert memory._keeper.graphs.get(1) is not None
    after = await memory.walk(BOTH, "a", Walk())
    assert (after.entities, set(after.relations)) == (before.entities, set(before.relations))


async def test_the_chore_reads_what_a_walk_has_asked_for(memory, monkeypatch):
    monkeypatch.setattr("caxton_node.memory.graph_reading.READ_AT_ONCE_MAX", 1)
    await memory.relate(BOTH, ADA, [link("a", "b"), link("b", "c")], now=NOW)
    async with asyncio.timeout(20), asyncio.TaskGroup() as tasks:
        chore = tasks.create_task(keep_graphs(lambda: memory))
        await memory.walk(BOTH, "a", Walk())
        while memory._keeper.graphs.get(1) is None:
            await memory.entities(BOTH, type_name=None, after=0, limit=1)
        chore.cancel()
