"""The OpenAI provider against an endpoint that others wrote: aimock, from npm."""

import asyncio
import json
import os
import re
from contextlib import asynccontextmanager

import pytest

from caxton_node.domain.errors import Failed
from caxton_node.domain.tool import ToolSpec
from caxton_node.llm.model import ChatMessage, ModelRequest
from caxton_node.llm.openai_clients import Endpoint, OpenAiClients
from caxton_node.llm.openai_provider import OpenAiModel, RetrySettings
from tests.npm_tools import npm_tool

pytestmark = pytest.mark.timeout(120)  # the first run installs the server

START_TIMEOUT_S = 30.0

WEATHER = ToolSpec(
    name="get_weather",
    description="Weather in a city.",
    parameters={
        "type": "object",
        "properties": {"city": {"type": "string"}},
        "required": ["city"],
    },
)
FIXTURES = {
    "fixtures": [
        {
            "match": {"userMessage": "weather", "hasToolResult": True},
            "response": {"content": "It is 21 degrees in Oslo."},
        },
        {
            "match": {"userMessage": "weather"},
            "response": {
                "toolCalls": [{"name": "get_weather", "arguments": '{"city":"Oslo"}'}],
                "finishReason": "tool_calls",
            },
        },
        {"match": {"userMessage": "hello"}, "response": {"content": "Hello from the other side."}},
    ]
}


@pytest.fixture(scope="module")
def program():
    return npm_tool("@copilotkit/aimock", "1.43.0", "llmock")


@asynccontextmanager
async def aimock(program, folder, *flags):
    """Run the server on a free port; yield its address."""
    fixtures = folder / "fixtures.json"
    fixtures.write_text(json.dumps(FIXTURES), "utf-8")
    process = await asyncio.create_subprocess_exec(
        *(str(program), "--port", "0", "--fixtures", str(fixtures), "--strict", *flags),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        env={"PATH": os.environ["PATH"], "HOME": str(folder)},
    )
    try:
        yield await asyncio.wait_for(listening_at(process), START_TIMEOUT_S)
    finally:
        process.kill()
        await process.communicate()


async def listening_at(process):
    seen = []
    async for line in process.stdout:
        seen.append(line.decode(errors="replace"))
        match = re.search(r"http://127\.0\.0\.1:(\d+)", seen[-1])
        if match:
            return f"{match[0]}/v1"
    raise AssertionError(f"aimock ended: {''.join(seen)}")


@asynccontextmanager
async def model_at(url, *, retries=0):
    clients = OpenAiClients()
    retry = RetrySettings(retry_count_max=retries, wait_initial_s=0.01, wait_jitter_s=0.01)
    endpoint = Endpoint(base_url=url, api_key="test")
    yield OpenAiModel(endpoint, model="gpt-4o-mini", clients=clients, retry=retry)
    await clients.close()


def asking(text, *more):
    messages = (ChatMessage(role="user", content=text), *more)
    return ModelRequest(messages=messages, tools=(WEATHER,), timeout_s=30.0)


@pytest.mark.parametrize("is_watched", [False, True])
async def test_a_text_arrives_whole_and_in_pieces(program, tmp_path, is_watched):
    deltas = []
    async with aimock(program, tmp_path, "--chunk-size", "3") as url, model_at(url) as model:
        reply = await model.complete(asking("hello"), deltas.append if is_watched else None)
    assert reply.text == "Hello from the other side."
    assert "".join(deltas) == (reply.text if is_watched else "")
    assert (len(deltas) > 1) is is_watched


@pytest.mark.parametrize("is_watched", [False, True])
async def test_a_tool_is_called_and_its_result_answered(program, tmp_path, is_watched):
    on_delta = (lambda _: None) if is_watched else None
    async with aimock(program, tmp_path, "--chunk-size", "3") as url, model_at(url) as model:
        first = await model.complete(asking("weather?"), on_delta)
        (call,) = first.tool_calls
        assert (call.name, dict(call.arguments)) == ("get_weather", {"city": "Oslo"})
        assert first.finish_reason == "tool_calls"
        history = (
            ChatMessage(role="assistant", tool_calls=(call,)),
            ChatMessage(role="tool", tool_call_id=call.id, tool_name=call.name, content="21"),
        )
        second = await model.complete(asking("weather?", *history), on_delta)
    assert second.text == "It is 21 degrees in Oslo."


async def test_a_rate_limit_is_an_error_that_says_so(program, tmp_path):
    async with aimock(program, tmp_path, "--chaos-ratelimit", "1") as url, model_at(url) as model:
        with pytest.raises(Failed, match="429"):
            await model.complete(asking("hello"))


async def test_malformed_json_is_no_crash(program, tmp_path):
    async with aimock(program, tmp_path, "--chaos-malformed", "1") as url, model_at(url) as model:
        with pytest.raises(Failed) as caught:
            await model.complete(asking("hello"))
    assert caught.value.code == "model_failed"


async def test_a_connection_that_is_cut_is_a_failure(program, tmp_path):
    async with aimock(program, tmp_path, "--chaos-disconnect", "1") as url, model_at(url) as model:
        with pytest.raises(Failed, match="cannot be reached"):
            await model.complete(asking("hello"))
