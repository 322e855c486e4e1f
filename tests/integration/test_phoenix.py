"""A trace over three nodes, taken and read back by a receiver that others wrote: Arize Phoenix.

It lives in an environment of its own, `.venv-phoenix`, which `make test-all` makes: it pins other
versions of our dependencies and weighs 600 MB.
"""

import asyncio
import os
import socket
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import pytest

from tests.integration.test_trace_across_nodes import SAMPLED, TRACE_ID, ask_from_node_3
from tests.three_nodes import three_nodes

ROOT = Path(__file__).parents[2]
PHOENIX = ROOT / ".venv-phoenix" / "bin" / "phoenix"
START_TIMEOUT_S = 150.0
READ_TIMEOUT_S = 60.0

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(300),
    pytest.mark.skipif(not PHOENIX.exists(), reason="no .venv-phoenix: run `make test-all`"),
]


def free_ports(count):
    probes = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    try:
        return [probe.getsockname()[1] for probe in probes]
    finally:
        for probe in probes:
            probe.close()


@asynccontextmanager
async def phoenix(folder):
    """Run the receiver; yields its HTTP address and its gRPC address."""
    http, grpc = free_ports(2)
    url = f"http://127.0.0.1:{http}"
    with (folder / "phoenix.log").open("wb") as log:
        process = await asyncio.create_subprocess_exec(
            str(PHOENIX),
            "serve",
            stdout=log,
            stderr=log,
            env=os.environ
            | {
                "PHOENIX_WORKING_DIR": str(folder),
                "PHOENIX_HOST": "127.0.0.1",
                "PHOENIX_PORT": str(http),
                "PHOENIX_GRPC_PORT": str(grpc),
                "PHOENIX_TELEMETRY_ENABLED": "false",
            },
        )
        try:
            async with aiohttp.ClientSession() as session, asyncio.timeout(START_TIMEOUT_S):
                while True:
                    assert process.returncode is None, (folder / "phoenix.log").read_text()
                    try:
                        async with session.get(f"{url}/healthz") as response:
                            if response.status == 200:
                                break
                    except aiohttp.ClientError:
                        pass
                    await asyncio.sleep(0.5)
            yield url, f"http://127.0.0.1:{grpc}"
        finally:
            process.kill()
            await process.wait()


async def read_back(url):
    """Return the spans of the trace by name, once the last one is there."""
    async with aiohttp.ClientSession() as session, asyncio.timeout(READ_TIMEOUT_S):
        while True:
            address = f"{url}/v1/projects/default/spans?limit=1000"
            async with session.get(address) as response:
                answer = await response.json() if response.status == 200 else {"data": []}
            spans = {
                span["name"]: span
                for span in answer["data"]
                if span["context"]["trace_id"] == TRACE_ID
            }
            if "receive client" in spans and "POST /api/v1/messages" in spans:
                return spans
            await asyncio.sleep(0.5)


async def test_phoenix_gives_back_the_trace_with_the_right_parents(tmp_path):
    async with phoenix(tmp_path) as (url, endpoint):
        telemetry = {
            "CAXTON_TELEMETRY__OTLP_ENDPOINT": endpoint,
            "CAXTON_TELEMETRY__SAMPLE_RATIO": "0",
        }
        async with three_nodes(tmp_path, **telemetry) as cluster:
            await ask_from_node_3(cluster, SAMPLED)
            spans = await read_back(url)
    parents = {name: span["parent_id"] for name, span in spans.items()}
    ids = {name: span["context"]["span_id"] for name, span in spans.items()}
    assert parents["send DataAnalyzer"] == ids["POST /api/v1/messages"]
    assert parents["process DataAnalyzer"] == ids["send DataAnalyzer"]
    assert parents["invoke_agent DataAnalyzer"] == ids["process DataAnalyzer"]
    assert parents["chat offline"] == ids["invoke_agent DataAnalyzer"]
    assert parents["execute_tool csv_parser"] == ids["invoke_agent DataAnalyzer"]
    assert parents["receive client"] == ids["process DataAnalyzer"]
    # It knows agents and tools by the conventions for generative AI.
    kinds = {name: span["span_kind"] for name, span in spans.items()}
    assert kinds["invoke_agent DataAnalyzer"] == "AGENT"
    assert kinds["execute_tool csv_parser"] == "TOOL"
