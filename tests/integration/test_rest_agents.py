"""Agents over REST: deployed, read, replaced, paused, rolled back, deleted."""

import pytest

from caxton_node.routing.waiting import answer_within
from tests.handlers import Gate
from tests.opened_node import python_agent
from tests.rest_node import rest_node


@pytest.fixture
async def rest(tmp_path):
    async with rest_node(tmp_path) as rest:
        yield rest


async def test_a_first_deployment_creates_an_agent_and_says_where(rest):
    body = {"source": python_agent("echo", "Echo"), "format": "toml", "file": "echo.toml"}
    async with rest.session.post(rest.address("agents"), json=body) as response:
        deployed = await response.json()
        assert response.status == 201
        assert response.headers["Location"] == "/api/v1/agents/echo"
    assert deployed["is_new"] is True
    assert deployed["capabilities"] == ["test"]


async def test_the_same_definition_again_changes_nothing(rest):
    await rest.deploy(python_agent("echo", "Echo"))
    again = await rest.deploy(python_agent("echo", "Echo"))
    assert (again["is_new"], again["is_changed"], again["number"]) == (False, False, 1)


async def test_a_definition_may_be_the_body_itself(rest):
    body = {"name": "clerk", "capabilities": ["clerking"], "system_prompt": "You are a clerk."}
    deployed = await rest.post("agents", body, status=201)
    assert deployed["name"] == "clerk"
    detail = await rest.get("agents/clerk")
    assert detail["format"] == "json"
    assert detail["system_prompt"] == "You are a clerk."


async def test_every_mistake_of_a_definition_is_named_with_its_place(rest):
    body = {"source": 'name = "9"\ntemprature = 1\n', "format": "toml", "file": "bad.toml"}
    problem = await rest.post("agents", body, status=422)
    assert problem["code"] == "invalid_agent"
    assert {error["field"] for error in problem["errors"]} >= {"name", "temprature"}
    assert all(error["file"] == "bad.toml" for error in problem["errors"])
    assert [error["line"] for error in problem["errors"] if error["field"] == "name"] == [1]


async def test_a_dry_run_checks_and_changes_nothing(rest):
    body = {"source": python_agent("echo", "Echo"), "format": "toml"}
    checked = await rest.post("agents?dry_run=true", body)
    assert (checked["valid"], checked["is_new"]) == (True, True)
    assert (await rest.get("agents"))["items"] == []


async def test_put_refuses_the_definition_of_another_agent(rest):
    body = {"source": python_agent("echo", "Echo"), "format": "toml"}
    problem = await rest.call("PUT", "agents/other", body, status=409)
    assert problem["code"] == "state_conflict"


async def test_a_list_is_read_page_by_page(rest):
    for name in ("anna", "bert", "carl"):
        await rest.deploy(python_agent(name, "Echo"))
    first = await rest.get("agents?limit=2")
    assert [agent["name"] for agent in first["items"]] == ["anna", "bert"]
    assert first["total"] == 3
    rest_of_it = await rest.get("agents", params={"limit": 2, "cursor": first["next_cursor"]})
    assert [agent["name"] for agent in rest_of_it["items"]] == ["carl"]
    assert rest_of_it["next_cursor"] is None


async def test_agents_are_found_by_state_and_by_capability(rest):
    await rest.deploy(python_agent("echo", "Echo", capability="echo.loud"))
    await rest.deploy(python_agent("other", "Echo"))
    await rest.post("agents/other/suspend")
    by_capability = await rest.get("agents?capability=echo")
    by_state = await rest.get("agents?state=suspended")
    assert [agent["name"] for agent in by_capability["items"]] == ["echo"]
    assert [agent["name"] for agent in by_state["items"]] == ["other"]


async def test_an_unknown_agent_is_answered_with_what_comes_near(rest):
    await rest.deploy(python_agent("DataAnalyzer", "Echo"))
    problem = await rest.get("agents/DataAnalyser", status=404)
    assert problem["code"] == "agent_not_found"
    assert problem["suggestions"] == ["DataAnalyzer"]
    problem = await rest.get("agents/DATAANALYSER", status=404)
    assert problem["suggestions"] == ["DataAnalyzer"]


async def test_an_agent_is_suspended_resumed_stopped_and_restarted(rest):
    await rest.deploy(python_agent("echo", "Echo"))
    states = [
        (await rest.post(f"agents/echo/{verb}"))["state"]
        for verb in ("suspend", "resume", "stop", "restart")
    ]
    assert states == ["suspended", "running", "stopped", "running"]


async def test_only_a_suspended_agent_is_resumed(rest):
    await rest.deploy(python_agent("echo", "Echo"))
    problem = await rest.post("agents/echo/resume", status=409)
    assert problem["state"] == "running"


async def test_stopping_by_force_ends_the_turn_under_way(rest):
    Gate.close()
    await rest.deploy(python_agent("gate", "Gate"))
    question = {"performative": "request", "receiver": "gate", "reply_with": "r-1"}
    with rest.node.answers.expect("client", "r-1") as answer:
        await rest.post("messages", question, status=202)
        await Gate.entered.wait()
        await rest.post("agents/gate/stop", {"force": True})
        reply = await answer_within(answer, 10)
    assert reply.body()["code"] == "cancelled"


async def test_versions_are_kept_and_an_earlier_one_comes_back(rest):
    await rest.deploy(python_agent("echo", "Echo"))
    await rest.deploy(python_agent("echo", "Echo", more='version = "2.0.0"\n'))
    versions = (await rest.get("agents/echo/versions"))["items"]
    assert [(one["number"], one["is_current"]) for one in versions] == [(1, False), (2, True)]
    back = await rest.post("agents/echo/rollback")
    assert (back["number"], back["version"]) == (1, "1.0.0")
    first = await rest.get("agents/echo/versions/1")
    assert first["is_current"] is True
    assert first["source"] == python_agent("echo", "Echo")


async def test_a_version_that_never_was_is_not_found(rest):
    await rest.deploy(python_agent("echo", "Echo"))
    assert (await rest.get("agents/echo/versions/7", status=404))["code"] == "version_not_found"
    assert (await rest.get("agents/echo/versions/x", status=404))["code"] == "version_not_found"
    problem = await rest.post("agents/echo/rollback", {"number": 7}, status=404)
    assert problem["code"] == "version_not_found"


async def test_a_deleted_agent_is_gone(rest):
    await rest.deploy(python_agent("echo", "Echo"))
    await rest.call("DELETE", "agents/echo", status=204)
    await rest.get("agents/echo", status=404)


async def test_an_agent_with_waiting_messages_is_deleted_by_force_only(rest):
    await rest.deploy(python_agent("echo", "Echo"))
    await rest.post("agents/echo/suspend")
    await rest.post("messages", {"performative": "request", "receiver": "echo"}, status=202)
    problem = await rest.call("DELETE", "agents/echo", status=409)
    assert problem["load"] == 1
    await rest.call("DELETE", "agents/echo?force=true", status=204)


async def test_health_tells_how_turns_went(rest):
    await rest.deploy(python_agent("echo", "Echo"))
    assert (await rest.get("agents/echo/health"))["success_rate"] is None
    await rest.post("agents/echo/chat", {"message": "hello"})
    health = await rest.get("agents/echo/health")
    assert health["success_rate"] == 1.0
    assert health["counts"]["finished"] == 1


async def test_validation_names_mistakes_and_deploys_nothing(rest):
    good = await rest.post("validate", {"source": python_agent("a", "Echo"), "format": "toml"})
    assert good["agent"]["name"] == "a"
    bad = await rest.post("validate", {"source": "name = 1", "format": "toml"}, status=422)
    assert bad["valid"] is False
    assert bad["errors"]
    assert (await rest.get("agents"))["total"] == 0


async def test_capabilities_name_their_providers_the_nearest_first(rest):
    await rest.deploy(python_agent("loud", "Echo", capability="echo.loud"))
    await rest.deploy(python_agent("plain", "Echo", capability="echo"))
    detail = await rest.get("capabilities/echo")
    assert [(one["name"], one["distance"]) for one in detail["agents"]] == [
        ("plain", 0),
        ("loud", 1),
    ]
    names = [one["name"] for one in (await rest.get("capabilities"))["items"]]
    assert names == ["echo", "echo.loud"]
    problem = await rest.get("capabilities/ecko", status=404)
    assert problem["suggestions"][0] == "echo"


async def test_tools_come_with_their_schemas(rest):
    tools = {tool["name"]: tool for tool in (await rest.get("tools"))["items"]}
    assert tools["csv_parser"]["parameters"]["type"] == "object"
    assert tools["csv_parser"]["read_only"] in (True, False)


async def test_every_template_deploys_as_it_stands(rest):
    templates = (await rest.get("templates"))["items"]
    assert templates
    for template in templates:
        detail = await rest.get(f"templates/{template['name']}?agent_name=Fresh")
        body = {"source": detail["files"]["agent.toml"], "format": "toml"}
        checked = await rest.post("agents?dry_run=true", body)
        assert checked["name"] == "Fresh"
    await rest.get("templates/nonesuch", status=404)
