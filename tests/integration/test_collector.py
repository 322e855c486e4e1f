"""The configuration of the collector, run by a collector that was built from its own sources.

Behind it are our own receiver, which sees the wire, or Jaeger as in Compose, asked by its own API.
"""

import asyncio
import os
import shutil
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import pytest

from tests.integration.test_phoenix import free_ports
from tests.integration.test_trace_across_nodes import SAMPLED, TRACE_ID, ask_from_node_3
from tests.otlp_receiver import otlp_receiver
from tests.three_nodes import NAMES, three_nodes

ROOT = Path(__file__).parents[2]
CONFIG = ROOT / "deploy" / "observability" / "collector.yaml"
COLLECTOR = shutil.which("otelcol", path=f"{ROOT}/build/tools{os.pathsep}{os.environ['PATH']}")
JAEGER = shutil.which("jaeger", path=f"{ROOT}/build/tools{os.pathsep}{os.environ['PATH']}")
START_TIMEOUT_S = 40.0
READ_TIMEOUT_S = 30.0

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(200),
    pytest.mark.skipif(
        COLLECTOR is None, reason="no collector (`make build/tools/otelcol`, with Go)"
    ),
]


@asynccontextmanager
async def collector(folder, *, traces, metrics):
    """Run the collector; yields its address for gRPC and for HTTP.

    Args:
        folder: Of its log.
        traces: `host:port` that takes traces over gRPC.
        metrics: URL that takes metrics over HTTP.
    """
    grpc, http = free_ports(2)
    # As configured, but for ports that this machine may not have free.
    own = (
        f"receivers.otlp.protocols.grpc.endpoint=127.0.0.1:{grpc}",
        f"receivers.otlp.protocols.http.endpoint=127.0.0.1:{http}",
        "service.telemetry.metrics.level=none",
    )
    with (folder / "collector.log").open("wb") as log:
        process = await asyncio.create_subprocess_exec(
            *(COLLECTOR, f"--config={CONFIG}", *(f"--set={one}" for one in own)),
            stdout=log,
            stderr=log,
            env=os.environ | {"OTLP_BACKEND": traces, "OTLP_METRICS_BACKEND": metrics},
        )
        try:
            async with aiohttp.ClientSession() as session, asyncio.timeout(START_TIMEOUT_S):
                while True:
                    assert process.returncode is None, (folder / "collector.log").read_text()
                    try:
                        async with session.post(f"http://127.0.0.1:{http}/v1/traces", json={}):
                            break
                    except aiohttp.ClientError:
                        await asyncio.sleep(0.1)
            yield f"http://127.0.0.1:{grpc}", f"http://127.0.0.1:{http}"
        finally:
            process.terminate()
            await process.wait()


@pytest.mark.parametrize("protocol", ["grpc", "http"])
async def test_the_collector_hands_on_traces_and_metrics_of_three_nodes(tmp_path, protocol):
    with otlp_receiver() as receiver:
        backends = {"traces": receiver.grpc.removeprefix("http://"), "metrics": receiver.http}
        async with collector(tmp_path, **backends) as (grpc, http):
            telemetry = {
                "CAXTON_TELEMETRY__OTLP_ENDPOINT": grpc if protocol == "grpc" else http,
                "CAXTON_TELEMETRY__OTLP_PROTOCOL": protocol,
                "CAXTON_TELEMETRY__SAMPLE_RATIO": "0",
                "CAXTON_TELEMETRY__OTLP_METRICS_INTERVAL": "1s",
            }
            async with three_nodes(tmp_path, **telemetry) as cluster:
                await ask_from_node_3(cluster, SAMPLED)
                async with asyncio.timeout(READ_TIMEOUT_S):
                    while not (
                        {"send DataAnalyzer", "receive client"} <= names(receiver)
                        and receiver.metric_nodes == set(NAMES)
                    ):
                        await asyncio.sleep(0.1)
    spans = {span.name: span for span in receiver.of(TRACE_ID).values()}
    assert spans["process DataAnalyzer"].parent_id == spans["send DataAnalyzer"].span_id
    assert spans["receive client"].parent_id == spans["process DataAnalyzer"].span_id
    assert receiver.metrics["caxton_messages"].sum.is_monotonic


def names(receiver):
    return {span.name for span in receiver.of(TRACE_ID).values()}


JAEGER_CONFIG = """
extensions:
  jaeger_storage: {{backends: {{memory: {{memory: {{max_traces: 1000}}}}}}}}
  jaeger_query:
    storage: {{traces: memory}}
    http: {{endpoint: "127.0.0.1:{http}"}}
    grpc: {{endpoint: "127.0.0.1:{query}"}}
receivers: {{otlp: {{protocols: {{grpc: {{endpoint: "127.0.0.1:{grpc}"}}}}}}}}
processors: {{batch: {{}}}}
exporters: {{jaeger_storage_exporter: {{trace_storage: memory}}}}
service:
  extensions: [jaeger_storage, jaeger_query]
  telemetry: {{metrics: {{level: none}}}}
  pipelines:
    traces: {{receivers: [otlp], processors: [batch], exporters: [jaeger_storage_exporter]}}
"""


@asynccontextmanager
async def jaeger(folder):
    """Run Jaeger, with traces in memory; yields where it takes them and where it is asked."""
    http, query, grpc = free_ports(3)
    (folder / "jaeger.yaml").write_text(JAEGER_CONFIG.format(http=http, query=query, grpc=grpc))
    with (folder / "jaeger.log").open("wb") as log:
        process = await asyncio.create_subprocess_exec(
            *(JAEGER, f"--config={folder / 'jaeger.yaml'}"), stdout=log, stderr=log
        )
        try:
            url = f"http://127.0.0.1:{http}"
            async with aiohttp.ClientSession(url) as session, asyncio.timeout(START_TIMEOUT_S):
                while True:
                    assert process.returncode is None, (folder / "jaeger.log").read_text()
                    try:
                        async with session.get("/api/services") as response:
                            if response.status == 200:
                                break
                    except aiohttp.ClientError:
                        pass
                    await asyncio.sleep(0.1)
            yield f"127.0.0.1:{grpc}", url
        finally:
            process.terminate()
            await process.wait()


@pytest.mark.skipif(JAEGER is None, reason="no Jaeger (`make build/tools/jaeger`, with Go)")
async def test_jaeger_shows_the_trace_that_the_collector_handed_on(tmp_path):
    async with (
        jaeger(tmp_path) as (traces, url),
        collector(tmp_path, traces=traces, metrics="http://127.0.0.1:1") as (grpc, _),
    ):
        telemetry = {
            "CAXTON_TELEMETRY__OTLP_ENDPOINT": grpc,
            "CAXTON_TELEMETRY__SAMPLE_RATIO": "0",
        }
        async with three_nodes(tmp_path, **telemetry) as cluster:
            await ask_from_node_3(cluster, SAMPLED)
            spans = await shown(url)
    parents = {
        name: [one["spanID"] for one in span["references"] if one["refType"] == "CHILD_OF"]
        for name, span in spans.items()
    }
    ids = {name: span["spanID"] for name, span in spans.items()}
    assert parents["send DataAnalyzer"] == [ids["POST /api/v1/messages"]]
    assert parents["process DataAnalyzer"] == [ids["send DataAnalyzer"]]
    assert parents["execute_tool csv_parser"] == [ids["invoke_agent DataAnalyzer"]]
    assert parents["receive client"] == [ids["process DataAnalyzer"]]
    assert spans["process DataAnalyzer"]["node"] == "node-1"
    assert spans["receive client"]["node"] == "node-3"


STEPS = {
    "POST /api/v1/messages",
    "send DataAnalyzer",
    "process DataAnalyzer",
    "invoke_agent DataAnalyzer",
    "execute_tool csv_parser",
    "receive client",
}


async def shown(url):
    """Return the spans of the trace by name, with their node, once all nodes have sent theirs."""
    async with aiohttp.ClientSession(url) as session, asyncio.timeout(READ_TIMEOUT_S):
        while True:
            async with session.get(f"/api/traces/{TRACE_ID}") as response:
                found = (await response.json())["data"] if response.status == 200 else []
            spans = {span["operationName"]: span for trace in found for span in trace["spans"]}
            if spans.keys() >= STEPS:
                break
            await asyncio.sleep(0.2)
    for trace in found:
        for span in trace["spans"]:
            tags = {
                tag["key"]: tag["value"] for tag in trace["processes"][span["processID"]]["tags"]
            }
            span["node"] = tags["service.instance.id"]
    return spans
