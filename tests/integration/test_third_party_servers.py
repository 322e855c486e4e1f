"""MCP servers that others wrote, compiled to WebAssembly unchanged, on a real node.

They are the examples of the official SDK for Go, from its module: none of their code is here.
"""

import os
import shutil
import subprocess
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from caxton_node.domain.errors import Rejected
from tests.opened_node import opened_node
from tests.tool_bench import tool_context

SERVERS = "github.com/modelcontextprotocol/go-sdk/examples/server"
BUILD_TIMEOUT_S = 300

pytestmark = [pytest.mark.slow, pytest.mark.timeout(420)]


def built(name, folder):
    """Compile a server of the SDK, or skip with the reason why it cannot be had."""
    go = shutil.which("go")
    if go is None:
        pytest.skip("the Go toolchain is not installed")
    target = folder / f"{name}.wasm"
    environment = {
        "GOOS": "wasip1",
        "GOARCH": "wasm",
        "GOTOOLCHAIN": "local",
        "GOFLAGS": "-mod=readonly -buildvcs=false -trimpath",
    }
    try:
        subprocess.run(
            [go, "build", "-ldflags=-s -w", "-o", str(target), f"{SERVERS}/{name}"],
            cwd=Path(__file__).parent / "go_sdk_servers",
            env={**os.environ, **environment},
            capture_output=True,
            text=True,
            check=True,
            timeout=BUILD_TIMEOUT_S,
        )
    except (subprocess.CalledProcessError, subprocess.TimeoutExpired) as error:
        lines = str(getattr(error, "stderr", "") or error).strip().splitlines()
        pytest.skip(f"the SDK's {name} cannot be built here: {lines[-1]}")
    return target.read_bytes()


async def deploy_server(node, name, module):
    digest = await node.guests.put_module(module)
    await node.tool_servers.deploy(
        f'name = "{name}"\nversion = "1.0.0"\n[wasm]\nsha256 = "{digest}"\n'
        '[limits]\nmemory = "128MB"\n'
    )


@asynccontextmanager
async def served(folder, name):
    """Deploy a server of the SDK; give what calls its tools."""
    module = built(name, folder)
    async with opened_node(folder) as node:
        await deploy_server(node, name, module)

        async def call(tool, **arguments):
            found = node.tools.get(f"{name}.{tool}")
            result = await found.call(arguments, await tool_context(folder, timeout_s=30.0))
            assert not result.is_error, result.content
            return result.content

        yield call


async def test_the_sdks_greeter_greets(tmp_path):
    async with served(tmp_path, "hello") as call:
        assert await call("greet", name="Ada") == {"text": "Hi Ada"}


async def test_the_sdks_knowledge_graph_remembers_from_call_to_call(tmp_path):
    async with served(tmp_path, "memory") as call:
        ada = {"name": "Ada", "entityType": "person", "observations": ["wrote programs"]}
        await call("create_entities", entities=[ada])
        graph = await call("read_graph")
    assert [one["name"] for one in graph["entities"]] == ["Ada"]


async def test_the_sdks_sequential_thinking_thinks(tmp_path):
    async with served(tmp_path, "sequentialthinking") as call:
        begun = await call("start_thinking", problem="What is 2 + 2?", sessionId="one")
        assert "one" in str(begun)
        await call("continue_thinking", sessionId="one", thought="Four.")
        assert "Four." in str(await call("review_thinking", sessionId="one"))


async def test_a_server_whose_tools_have_names_that_no_model_may_see_is_refused(tmp_path):
    module = built("toolschemas", tmp_path)
    async with opened_node(tmp_path) as node:
        with pytest.raises(Rejected, match="'customized greeting 1' is no name of a tool"):
            await deploy_server(node, "toolschemas", module)
