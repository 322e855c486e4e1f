"""Definitions whose Python code cannot be imported or built, on a whole node."""

from caxton_node.agentfile import AgentFormat
from tests.opened_node import ask, deploy, opened_node, python_agent
from tests.rest_node import rest_node


def definition(module: str) -> str:
    return f'name = "broken"\nkind = "python"\nhandler = "{module}:Agent"\ncapabilities = ["x"]\n'


async def test_a_class_that_cannot_be_imported_is_refused_with_the_reason(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "unfinished_agent.py").write_text("class Agent(:\n")
    async with rest_node(tmp_path / "data", python__allow="*") as rest:
        body = {"source": definition("unfinished_agent"), "format": "toml"}
        problem = await rest.post("agents", body, status=422)
    assert problem["code"] == "invalid_agent"
    assert "'unfinished_agent:Agent': SyntaxError" in problem["detail"]


async def test_a_class_that_handles_no_messages_is_refused(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "idle_agent.py").write_text(
        "class Agent:\n    def __init__(self, parameters):\n        pass\n"
    )
    async with rest_node(tmp_path / "data", python__allow="*") as rest:
        body = {"source": definition("idle_agent"), "format": "toml"}
        problem = await rest.post("agents", body, status=422)
    assert "no coroutine `handle`" in problem["detail"]


async def test_an_agent_that_cannot_be_built_any_more_does_not_stop_a_node(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "spoilt_agent.py").write_text(
        "from pathlib import Path\n"
        "class Agent:\n"
        "    def __init__(self, parameters):\n"
        f"        assert not Path({str(tmp_path / 'spoilt')!r}).exists(), 'spoilt'\n"
        "    async def handle(self, message, context):\n"
        "        return None\n"
    )
    async with opened_node(tmp_path / "data", python__allow="*") as node:
        await node.deployments.deploy(definition("spoilt_agent"), AgentFormat.TOML)
        await deploy(node, python_agent("echo", "Echo"))
    (tmp_path / "spoilt").touch()
    async with opened_node(tmp_path / "data", python__allow="*") as node:
        assert node.roster.find("broken") is None
        assert (await ask(node, receiver="echo", content="hello")).body() == "hello"
