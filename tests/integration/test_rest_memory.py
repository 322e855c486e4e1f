"""Memory over REST: told, found, walked, exported, imported, forgotten."""

import pytest

from tests.rest_node import rest_node

KEEPER = (
    'name = "{}"\ncapabilities = ["c"]\nsystem_prompt = "p"\n'
    '[memory]\nenabled = true\nscope = "{}"\n'
)


@pytest.fixture
async def rest(tmp_path):
    async with rest_node(tmp_path, memory__model="none") as rest:
        yield rest


async def tell(rest, entity, *texts, status=201, **more):
    body = {"entity": entity, "observations": list(texts)} | more
    return await rest.post("memory/entities", body, status=status)


async def found(rest, query, **more):
    answer = await rest.get("memory/search", params={"query": query} | more)
    return [one["observation"]["text"] for one in answer["items"]]


async def test_what_is_told_is_found_with_score_and_reasons(rest):
    told = await tell(rest, "staging", "runs in Frankfurt", type="server", metadata={"cpu": 8})
    assert (told["new"], told["scope"]) == (1, "workspace/default")
    answer = await rest.get("memory/search", params={"query": "where does staging run"})
    (hit,) = answer["items"]
    assert hit["observation"]["entity_type"] == "server"
    assert 0 < hit["score"] <= 1
    assert hit["reasons"]["keyword_rank"] == 1
    assert (answer["semantic"], answer["note"]) == (False, "found by words only: switched off")


async def test_an_agents_memory_is_its_own(rest):
    await tell(rest, "plan", "attack at dawn", agent="Ada")
    assert await found(rest, "dawn attack") == []
    assert await found(rest, "dawn attack", agent="Bob") == []
    assert await found(rest, "dawn attack", agent="Ada") == ["attack at dawn"]


async def test_an_agent_sees_what_its_file_lets_it_see(rest):
    await rest.deploy(KEEPER.format("Ada", "workspace"))
    await rest.deploy(KEEPER.format("Bob", "agent"))
    await tell(rest, "office", "closes at six")
    assert await found(rest, "office", agent="Ada") == ["closes at six"]
    assert await found(rest, "office", agent="Bob") == []
    assert (await rest.get("agents/Ada/memory"))["observations"] == 1
    assert (await rest.get("agents/Bob/memory"))["observations"] == 0


async def test_an_entity_shows_its_history_when_asked(rest):
    for text, start in (("in Rome", "2026-01-01T00:00:00Z"), ("in Oslo", "2026-06-01T00:00:00Z")):
        await tell(rest, "office", text, attribute="place", valid_from=start)
    now = (await rest.get("memory/entities/OFFICE"))["items"][0]
    assert [one["text"] for one in now["observations"]] == ["in Oslo"]
    then = await rest.get("memory/entities/office?at=2026-03-01T00:00:00Z")
    assert [one["text"] for one in then["items"][0]["observations"]] == ["in Rome"]
    ever = await rest.get("memory/entities/office?history=true")
    ends = [one["valid_to"] for one in ever["items"][0]["observations"]]
    assert ends == [None, "2026-06-01T00:00:00.000Z"]


async def test_entities_are_listed_page_by_page(rest):
    for number in range(5):
        await tell(rest, f"e{number}", "x", type="odd" if number % 2 else "even")
    page = await rest.get("memory/entities?limit=2")
    names = [one["name"] for one in page["items"]]
    while page["next_cursor"]:
        page = await rest.get(f"memory/entities?limit=2&cursor={page['next_cursor']}")
        names += [one["name"] for one in page["items"]]
    assert names == [f"e{number}" for number in range(5)]
    odd = await rest.get("memory/entities?type=odd")
    assert [one["name"] for one in odd["items"]] == ["e1", "e3"]


async def test_relations_are_walked(rest):
    for source, target in (("Ada", "Acme"), ("Acme", "Oslo")):
        body = {"source": source, "target": target, "type": "has", "bidirectional": True}
        assert len((await rest.post("memory/relations", body, status=201))["ids"]) == 2
    graph = await rest.get("memory/graph/ada?depth=2")
    assert {one["name"]: one["depth"] for one in graph["entities"]} == {
        "Ada": 0, "Acme": 1, "Oslo": 2,
    }  # fmt: skip
    assert len(graph["relations"]) == 4
    problem = await rest.get("memory/graph/nobody", status=404)
    assert problem["code"] == "memory_not_found"


async def test_what_leaves_one_memory_comes_into_another_the_same(rest):
    await tell(rest, "office", "in Rome", attribute="place", valid_from="2026-01-01T00:00:00Z")
    await tell(rest, "office", "in Oslo", attribute="place", valid_from="2026-06-01T00:00:00Z")
    await rest.post("memory/relations", {"source": "a", "target": "b", "type": "t"}, status=201)
    facts = (await rest.get("memory/export"))["items"]
    relations = (await rest.get("memory/export?part=relations"))["items"]
    body = {"records": facts + relations, "agent": "Copy"}
    done = await rest.post("memory/import", body, status=201)
    assert (done["facts"], done["new"], done["relations"]) == (2, 2, 1)
    again = await rest.post("memory/import", body, status=201)
    assert again["new"] == 0
    copied = (await rest.get("memory/export?agent=Copy"))["items"]
    assert [one | {"scope": ""} for one in copied] == [one | {"scope": ""} for one in facts]


async def test_what_other_memory_servers_write_is_understood(rest):
    records = [
        {"type": "entity", "name": "Ada", "entityType": "person", "observations": ["likes tea"]},
        {"type": "relation", "from": "Ada", "to": "tea", "relationType": "likes"},
        {"label": "persona", "value": "I am helpful"},
    ]
    done = await rest.post("memory/import", {"records": records}, status=201)
    assert (done["facts"], done["relations"]) == (2, 1)
    assert await found(rest, "tea") == ["likes tea"]


async def test_records_that_make_no_sense_are_named_and_nothing_is_stored(rest):
    records = [
        {"type": "fact", "entity": "e", "text": "fine"},
        {"type": "fact", "entity": "e"},
        {"type": "rumour"},
        {"type": "fact", "entity": "e", "text": "t", "valid_from": "yesterday"},
        {"type": "relation", "from": "a", "to": "b", "relation_type": "t", "strength": 7},
    ]
    problem = await rest.post("memory/import", {"records": records}, status=422)
    assert [one["field"] for one in problem["errors"]] == [f"records[{n}]" for n in range(1, 5)]
    assert (await rest.get("memory/stats"))["observations"] == 0


async def test_forgetting_everything_must_be_meant(rest):
    await tell(rest, "a", "x", agent="Ada")
    problem = await rest.post("memory/forget", {"agent": "Ada"}, status=409)
    assert problem["code"] == "state_conflict"
    proof = await rest.post("memory/forget", {"agent": "Ada", "confirm": True})
    assert (proof["observations"], proof["remaining"], proof["index_is_clean"]) == (1, 0, True)


async def test_an_entity_is_forgotten_with_a_proof_that_names_backups(rest):
    await tell(rest, "a b/c", "x y")
    copy = await rest.post("memory/backups", {"name": "one.db"}, status=201)
    assert copy["size_bytes"] > 0
    await rest.post("memory/backups", {"name": "one.db"}, status=409)
    await rest.post("memory/backups", {"name": "../../etc/passwd"}, status=422)
    proof = await rest.post("memory/forget", {"entity": "A B/C"})
    assert proof["backups"] == [copy["path"]]
    assert proof["entities"] == 1
    await rest.call("DELETE", "memory/entities/nobody", status=404)


async def test_an_agents_own_memory_is_forgotten_and_what_it_shares_stays(rest):
    await rest.deploy(KEEPER.format("Ada", "workspace"))
    await tell(rest, "a", "own words", agent="Ada", scope="agent")
    await tell(rest, "b", "shared words")
    await rest.call("DELETE", "agents/Ada/memory", status=409)
    await rest.call("DELETE", "agents/Ada/memory?confirm=true", status=200)
    assert await found(rest, "words", agent="Ada") == ["shared words"]


@pytest.mark.parametrize(
    "body",
    [
        {"entity": "e", "observations": []},
        {"entity": "e", "observations": ["x"], "scope": "agent"},
        {"entity": "e", "observations": ["x"], "scope": "session"},
        {"entity": " ", "observations": ["x"]},
        {"entity": "e", "observations": [" "]},
        {"entity": "e", "observations": ["my password is x"]},
        {"entity": "e", "observations": ["x" * 8_001]},
        {"entity": "e", "observations": ["x"], "confidence": 2},
        {
            "entity": "e",
            "observations": ["x"],
            "valid_from": "2026-01-02T00:00:00Z",
            "valid_to": "2026-01-01T00:00:00Z",
        },
    ],
)
async def test_what_cannot_be_remembered_is_refused(rest, body):
    await rest.post("memory/entities", body, status=422)
    assert (await rest.get("memory/stats"))["observations"] == 0


async def test_a_node_without_memory_says_so(tmp_path):
    async with rest_node(tmp_path, memory__enabled="false") as rest:
        problem = await rest.get("memory/stats", status=503)
        assert "switched off" in problem["detail"]
        ready = await rest.get("/ready")
        assert ready["components"]["memory"] == "ready: switched off"
