"""The offline provider with the node's own tools: from an address to an answer, no model."""

import json

import pytest
from aiohttp import web

from caxton_node.domain.agent import PermissionSettings
from caxton_node.llm.model import ChatMessage, ModelRequest
from caxton_node.llm.offline.provider import OfflineModel
from caxton_node.tools.artifacts import open_artifacts
from caxton_node.tools.builtin import builtin_tools
from caxton_node.tools.registry import ToolRegistry
from caxton_node.tools.tool import ToolContext

SALES = (
    "region,product,revenue,units\n"
    "north,a,10.50,3\nsouth,b,20.25,4\nnorth,b,5.00,1\nwest,a,7.75,2\n"
)
ROUNDS_MAX = 6


class NoOutbox:
    """No message is sent in these tests."""


@pytest.fixture
async def url():
    async def sales(_):
        return web.Response(text=SALES, content_type="text/csv")

    app = web.Application()
    app.router.add_get("/sales.csv", sales)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    yield f"http://127.0.0.1:{runner.addresses[0][1]}/sales.csv"
    await runner.cleanup()


@pytest.fixture
async def registry():
    async with builtin_tools(allowed_private_hosts=["127.0.0.1"]) as tools:
        yield ToolRegistry(tools)


async def turn(question, registry, folder):
    """Return the names of the tools that were called, and the answer."""
    artifacts = await open_artifacts(folder, "c")
    messages = [ChatMessage(role="user", content=question)]
    called = []
    for _ in range(ROUNDS_MAX):
        request = ModelRequest(
            messages=tuple(messages), tools=registry.specs(registry.names), question=question
        )
        reply = await OfflineModel().complete(request)
        if not reply.tool_calls:
            return called, reply.text
        (call,) = reply.tool_calls
        called.append(call.name)
        context = ToolContext(
            agent="a",
            conversation_id="c",
            message_id="m",
            effect_id="e",
            config={},
            permissions=PermissionSettings(network_hosts=("127.0.0.1",)),
            folder=folder,
            artifacts=artifacts,
            outbox=NoOutbox(),
            timeout_s=20.0,
        )
        result = await registry.get(call.name).call(call.arguments, context)
        assert not result.is_error, result.content
        messages += [
            ChatMessage(role="assistant", tool_calls=(call,)),
            ChatMessage(
                role="tool",
                tool_call_id=call.id,
                tool_name=call.name,
                content=json.dumps(result.content),
            ),
        ]
    raise AssertionError(f"no end after {called}")


async def test_sales_data_behind_an_address_are_analysed(url, registry, tmp_path):
    called, text = await turn(f"Analyze the sales data at {url}", registry, tmp_path)
    assert called[0] == "http_client"
    assert called[-1] == "statistics_engine"
    assert "revenue: type number, count 4" in text
    assert "sum 43.5" in text


async def test_a_sum_by_group_uses_the_group_that_was_named(url, registry, tmp_path):
    called, text = await turn(f"Sum of units per product in {url}", registry, tmp_path)
    assert called[-1] == "statistics_engine"
    assert "by: product" in text


async def test_an_analysis_and_a_chart_are_two_things(url, registry, tmp_path):
    question = f"Analyze {url} and draw a pie chart of revenue by region"
    called, text = await turn(question, registry, tmp_path)
    assert sorted(called[1:]) == ["chart_generator", "statistics_engine"]
    assert "kind: pie" in text
    assert "x: region" in text


async def test_a_table_in_the_message_needs_no_address(registry, tmp_path):
    question = "Draw a chart of the units per product from this:\nproduct,units\na,3\nb,4\n"
    called, text = await turn(question, registry, tmp_path)
    assert called == ["csv_parser", "chart_generator"]
    assert "title: units by product" in text


async def test_a_download_is_only_a_download(url, registry, tmp_path):
    called, text = await turn(f"Download {url}", registry, tmp_path)
    assert called == ["http_client"]
    assert "north,a,10.50,3" in text


async def test_numbers_in_the_message_are_enough(registry, tmp_path):
    called, text = await turn("What is the median of 4, 8 and 15.5?", registry, tmp_path)
    assert called == ["statistics_engine"]
    assert "median 8" in text


async def test_small_talk_calls_nothing(registry, tmp_path):
    called, _ = await turn("Hello, how are you today?", registry, tmp_path)
    assert called == []
