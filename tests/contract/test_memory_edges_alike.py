"""Memory by REST and by gRPC: the same checks, the same codes, one outcome."""

import json
from datetime import UTC, datetime

import grpc
import pytest

from caxton import NotFound, Rejected, SyncCaxtonClient
from caxton.errors import error_from_rpc
from caxton.v1 import memory_pb2
from caxton.v1.memory_pb2_grpc import MemoryStub
from caxton_node.domain.errors import ERRORS
from tests.grpc_node import grpc_node


@pytest.fixture
async def served(tmp_path):
    flags = {"memory__enabled": "true", "memory__model": "none"}
    async with grpc_node(tmp_path, **flags) as served:
        yield served


@pytest.fixture
async def channel(served):
    async with grpc.aio.insecure_channel(served.address) as channel:
        yield channel


async def test_what_is_told_by_one_edge_is_found_by_the_other(served):
    told = await served.client.remember(
        "staging server", "It runs in Oslo", "It is blue", type="machine", metadata={"rack": 7}
    )
    assert (told.new_count, told.entity.type, told.entity.metadata) == (2, "machine", {"rack": 7})
    found = await served.rest.get("memory/search?query=where+is+oslo")
    assert [one["observation"]["text"] for one in found["items"]] == ["It runs in Oslo"]
    await served.rest.post(
        "memory/entities", {"entity": "Staging Server", "observations": ["It hums"]}, status=201
    )
    recalled = await served.client.recall("what hums", type="machine")
    assert [one.observation.text for one in recalled.matches] == ["It hums"]
    assert not recalled.is_semantic
    assert recalled.note


async def test_an_observation_looks_alike(served):
    since = datetime(2024, 2, 29, 12, 0, 0, 125_000, tzinfo=UTC)
    told = await served.client.remember(
        "Ada", "lives in Rome", attribute="home", kind="fact", confidence=0.5, strength=0.25,
        is_pinned=True, valid_from=since, agent="Clerk", scope="agent",
    )  # fmt: skip
    view = await served.rest.get("memory/entities/ada?agent=Clerk")
    (one,) = view["items"][0]["observations"]
    (shown,) = told.entity.observations
    assert (shown.id, shown.text, shown.kind, shown.attribute) == (
        one["id"], one["text"], one["kind"], one["attribute"],
    )  # fmt: skip
    assert (shown.confidence, shown.strength, shown.is_pinned) == (0.5, 0.25, True)
    assert one["valid_from"] == "2024-02-29T12:00:00.125Z"
    assert shown.valid_from == since
    assert told.entity.scope == view["items"][0]["scope"] == "agent/default/Clerk"


async def test_a_newer_value_leaves_its_history(served):
    await served.client.remember("Ada", "lives in Rome", attribute="home", type="person")
    await served.client.remember("Ada", "lives in Oslo", attribute="home", type="poet")
    (history,) = await served.client.entity_history("Ada")
    ended = {one.text: one.valid_to is not None for one in history.entity.observations}
    assert ended == {"lives in Rome": True, "lives in Oslo": False}
    assert [(one.version, one.type) for one in history.versions] == [(1, "person")]


async def test_relations_are_walked_and_read_with_their_ends(served):
    ids = await served.client.relate("a", "knows", "b", strength=0.9, is_bidirectional=True)
    assert len(ids) == 2
    await served.client.relate("b", "likes", "c")
    graph = await served.client.walk("a", depth=2)
    assert {one.name: depth for one, depth in graph.entities} == {"a": 0, "b": 1, "c": 2}
    rest = await served.rest.get("memory/graph/a?depth=2")
    assert {one.id for one in graph.relations} == {one["id"] for one in rest["relations"]}
    opened = await served.client.entities(["b", "c", "nobody"])
    assert [one.name for one, _ in opened.entities] == ["b", "c"]
    assert [one.type for one in opened.relations] == ["likes"]


async def test_an_export_is_imported_elsewhere(served):
    await served.client.remember("tea", "is green", agent="Ada")
    await served.client.relate("tea", "goes with", "cake", agent="Ada")
    records = [one async for one in served.client.export_memory(agent="Ada")]
    assert [one["type"] for one in records] == ["fact", "relation"]
    rest = await served.rest.get("memory/export?agent=Ada")
    assert rest["items"] == records[:1]
    done = await served.client.import_memory(records, agent="Bob")
    assert (done.fact_count, done.new_fact_count, done.relation_count) == (1, 1, 1)
    again = await served.client.import_memory(records, agent="Bob")
    assert again.new_fact_count == 0
    assert (await served.client.recall("green", agent="Bob")).matches[0].observation.text == (
        "is green"
    )


async def test_forgetting_is_proved(served):
    await served.client.remember("surprise party", "to be forgotten", "this too")
    proof = await served.client.forget("surprise party")
    assert (proof.entity_count, proof.observation_count, proof.remaining_count) == (1, 2, 0)
    assert proof.is_index_clean
    assert (await served.client.recall("forgotten")).matches == ()
    assert (await served.client.memory_stats()).observation_count == 0


@pytest.mark.parametrize(
    ("method", "path", "body", "call", "request_"),
    [
        ("GET", "memory/entities/nobody", None, "History",
         memory_pb2.MemoryHistoryRequest(name="nobody")),
        ("GET", "memory/graph/nobody", None, "Graph", memory_pb2.MemoryGraphRequest(root="nobody")),
        ("GET", "memory/graph/a?depth=11", None, "Graph",
         memory_pb2.MemoryGraphRequest(root="a", depth_max=11)),
        ("GET", "memory/search", None, "Search", memory_pb2.MemorySearchRequest()),
        ("GET", "memory/search?query=a&limit=101", None, "Search",
         memory_pb2.MemorySearchRequest(query="a", page_size=101)),
        ("GET", "memory/search?query=a&kind=odd", None, "Search",
         memory_pb2.MemorySearchRequest(query="a", kind="odd")),
        ("GET", "memory/search?query=a&scope=agent", None, "Search",
         memory_pb2.MemorySearchRequest(
             query="a", space=memory_pb2.MemorySpace(scope=memory_pb2.MEMORY_SCOPE_AGENT))),
        ("GET", "memory/search?query=a&agent=1", None, "Search",
         memory_pb2.MemorySearchRequest(query="a", space=memory_pb2.MemorySpace(agent="1"))),
        ("POST", "memory/forget", {}, "Forget", memory_pb2.MemoryForgetRequest(everything=False)),
        ("POST", "memory/relations", {"source": "a", "target": "b", "type": ""}, "AddRelations",
         memory_pb2.MemoryAddRelationsRequest(
             relations=[memory_pb2.Relation(source="a", target="b")])),
        ("POST", "memory/import",
         {"records": [{"type": "fact", "entity": "a", "text": "x" * 9000}]}, "AddEntities",
         memory_pb2.MemoryAddEntitiesRequest(entities=[memory_pb2.Entity(
             name="a", observations=[memory_pb2.Observation(text="x" * 9000)])])),
        ("POST", "memory/entities",
         {"entity": "a", "observations": ["my password is hunter2-hunter2"]}, "AddEntities",
         memory_pb2.MemoryAddEntitiesRequest(entities=[memory_pb2.Entity(
             name="a",
             observations=[memory_pb2.Observation(text="my password is hunter2-hunter2")])])),
    ],
)  # fmt: skip
async def test_what_is_wrong_is_told_alike(served, channel, method, path, body, call, request_):
    async with served.rest.session.request(
        method, served.rest.address(path), json=body
    ) as response:
        problem = await response.json()
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await getattr(MemoryStub(channel), call)(request_)
    error = error_from_rpc(caught.value)
    assert response.status >= 400
    assert error.code == problem["code"]
    assert caught.value.code().name == ERRORS[problem["code"]].grpc_status


async def test_a_broken_record_is_named_and_nothing_of_its_chunk_is_kept(served):
    with pytest.raises(Rejected) as refusal:
        await served.client.import_memory([{"type": "fact", "entity": "a", "text": "good"}, {}])
    assert [place.field for place in refusal.value.places] == ["records[1]"]
    assert (await served.client.memory_stats()).observation_count == 0


async def test_an_import_without_json_is_malformed(served, channel):
    async def chunks():
        yield memory_pb2.MemoryImportRequest(records=[b"{"])

    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await MemoryStub(channel).Import(chunks())
    assert error_from_rpc(caught.value).code == "malformed_body"


async def test_observations_are_added_to_what_exists_only(served, channel):
    request = memory_pb2.MemoryAddObservationsRequest(
        name="ghost", observations=[memory_pb2.Observation(text="boo")]
    )
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await MemoryStub(channel).AddObservations(request)
    assert error_from_rpc(caught.value).code == "memory_not_found"
    await served.client.remember("ghost", "is pale", type="spirit")
    answer = await MemoryStub(channel).AddObservations(request)
    assert {one.text for one in answer.entity.observations} == {"is pale", "boo"}
    assert answer.entity.entity_type == "spirit"


async def test_a_name_with_a_slash_is_known_to_neither(served):
    with pytest.raises(NotFound):
        await served.client.entity_history("a/b")


async def test_the_synchronous_twin_says_the_same(served):
    import asyncio

    def use() -> list[str]:
        with SyncCaxtonClient(served.address) as client:
            client.remember("moon", "is round")
            client.relate("moon", "orbits", "earth")
            assert [one["type"] for one in client.export_memory()] == ["fact", "relation"]
            assert client.memory_stats().relation_count == 1
            assert client.forget(is_everything=True, scope="workspace").observation_count == 1
            client.import_memory([{"label": "persona", "value": "I am kind."}])
            return [one.observation.text for one in client.recall("kind").matches]

    assert await asyncio.to_thread(use) == ["I am kind."]
    assert json.dumps(await served.rest.get("memory/stats"))
