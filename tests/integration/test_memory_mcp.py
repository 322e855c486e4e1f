"""`caxton memory mcp` as a process, through the client of MCP's own library."""

import sys

import pytest
from mcp import Client, StdioServerParameters

from tests.rest_node import rest_node


@pytest.fixture
async def node(tmp_path):
    async with rest_node(tmp_path / "node", memory__model="none") as rest:
        yield rest


def command(url: str, *options: str) -> StdioServerParameters:
    arguments = ["-m", "caxton_node.cli.main", "--server", url, "memory", "mcp", *options]
    return StdioServerParameters(command=sys.executable, args=arguments)


async def test_a_client_remembers_relates_finds_walks_and_forgets(node):
    async with Client(command(node.url)) as client:
        tools = {one.name for one in (await client.list_tools()).tools}
        assert tools == {
            f"memory_{name}"
            for name in ("search", "context", "remember", "relate", "graph", "forget")
        }
        told = {"entity": "office", "observations": ["The office is in Oslo"]}
        done = await client.call_tool("memory_remember", told)
        assert (done.is_error, done.structured_content["new"]) == (False, 1)
        ends = {"source": "Ada", "target": "office", "type": "works_in"}
        await client.call_tool("memory_relate", ends)
        found = await client.call_tool("memory_search", {"query": "where is the office"})
        assert [one["observation"]["text"] for one in found.structured_content["items"]] == [
            "The office is in Oslo"
        ]
        part = await client.call_tool("memory_context", {"query": "office", "max_tokens": 100})
        assert part.content[0].text.startswith("- The office is in Oslo (since ")
        graph = await client.call_tool("memory_graph", {"entity": "Ada", "depth": 1})
        assert [one["name"] for one in graph.structured_content["entities"]] == ["Ada", "office"]
        proof = await client.call_tool("memory_forget", {"entity": "office"})
        assert (
            proof.structured_content["observations"],
            proof.structured_content["remaining"],
        ) == (
            1,
            0,
        )
        again = await client.call_tool("memory_search", {"query": "where is the office"})
        assert again.structured_content["items"] == []


async def test_a_server_for_one_agent_leads_nowhere_else(node):
    told = {"entity": "diary", "observations": ["Ada wishes for a boat"]}
    async with Client(command(node.url, "--agent", "Ada", "--scope", "agent")) as ada:
        await ada.call_tool("memory_remember", told)
        elsewhere = await ada.call_tool("memory_search", {"query": "boat", "agent": "Bob"})
        assert elsewhere.is_error
    async with Client(command(node.url, "--agent", "Bob", "--scope", "agent")) as bob:
        found = await bob.call_tool("memory_search", {"query": "boat"})
        assert found.structured_content["items"] == []


async def test_a_node_that_is_away_is_told_and_the_server_goes_on(node):
    async with Client(command("http://127.0.0.1:9")) as client:
        for _ in range(2):
            found = await client.call_tool("memory_search", {"query": "boat"})
            assert found.is_error
            assert "127.0.0.1:9" in found.content[0].text
