"""One trace from a client over two nodes to a tool and back, read from a receiver of OTLP."""

import asyncio
import json
import re
from pathlib import Path

import pytest

from tests.otlp_receiver import otlp_receiver
from tests.three_nodes import three_nodes

DEADLINE_S = 20.0
TRACE_ID = "4bf92f3577b34da6a3ce929d0e0e4736"
CLIENT_SPAN = "00f067aa0ba902b7"
SAMPLED = {"traceparent": f"00-{TRACE_ID}-{CLIENT_SPAN}-01"}
UNSAMPLED = {"traceparent": f"00-{TRACE_ID[::-1]}-{CLIENT_SPAN}-00"}
ANALYST = (Path(__file__).parents[2] / "examples" / "agents" / "data-analyzer.toml").read_text()
QUESTION = "What is the mean of units?\n\nregion,units\nnorth,3\nsouth,5\n"


async def ask_from_node_3(cluster, headers):
    """Deploy on node 1, ask from node 3, and return the id of the question."""
    await cluster.deploy("node-1", ANALYST)
    await cluster.everybody_knows("DataAnalyzer")
    body = {
        "wait_s": 20,
        "performative": "request",
        "sender": "client",
        "receiver": "DataAnalyzer",
        "content": QUESTION,
        "id": "question-1",
    }
    path = "messages"
    sent = await cluster.post("node-3", path, body, headers=headers)
    assert sent["reply"]["performative"] == "inform", sent
    return sent


def one(spans, name, node):
    found = [span for span in spans.values() if (span.name, span.node) == (name, node)]
    assert len(found) == 1, (name, node, sorted((s.name, s.node) for s in spans.values()))
    return found[0]


@pytest.mark.parametrize("protocol", ["grpc", "http"])
async def test_one_trace_spans_nodes_agent_model_and_tools(tmp_path, protocol):
    with otlp_receiver() as receiver:
        telemetry = {
            "CAXTON_TELEMETRY__OTLP_ENDPOINT": getattr(receiver, protocol),
            "CAXTON_TELEMETRY__OTLP_PROTOCOL": protocol,
            "CAXTON_TELEMETRY__SAMPLE_RATIO": "0",
        }
        async with three_nodes(tmp_path, **telemetry) as cluster:
            await ask_from_node_3(cluster, SAMPLED)
            log = cluster.nodes["node-1"].log
            exposed = await cluster.text(
                "node-1", "/metrics", Accept="application/openmetrics-text"
            )
            # The last span of each of the two nodes; a node sends them every so often.
            last = {"receive client", "process DataAnalyzer"}
            async with asyncio.timeout(DEADLINE_S):
                while not last <= {span.name for span in receiver.of(TRACE_ID).values()}:
                    await asyncio.sleep(0.05)
        spans = receiver.of(TRACE_ID)

    request = one(spans, "POST /api/v1/messages", "node-3")
    send = one(spans, "send DataAnalyzer", "node-3")
    process = one(spans, "process DataAnalyzer", "node-1")
    agent = one(spans, "invoke_agent DataAnalyzer", "node-1")
    receive = one(spans, "receive client", "node-3")
    assert request.parent_id == CLIENT_SPAN
    assert send.parent_id == request.span_id
    assert process.parent_id == send.span_id
    assert agent.parent_id == process.span_id
    assert receive.parent_id == process.span_id
    assert [s.kind for s in (request, send, process, agent, receive)] == [
        "server",
        "producer",
        "consumer",
        "internal",
        "consumer",
    ]
    steps = [span for span in spans.values() if span.parent_id == agent.span_id]
    names = [span.name for span in steps]
    assert "chat offline" in names
    assert "execute_tool csv_parser" in names
    assert {span.node for span in steps} == {"node-1"}
    assert process.attributes["messaging.message.id"] == "question-1"
    assert request.attributes["http.response.status_code"] == 200
    assert not [span for span in spans.values() if span.error]

    lines = [json.loads(line) for line in log.read_text().splitlines()]
    mine = [line for line in lines if line.get("trace_id") == TRACE_ID]
    assert {line["agent"] for line in mine} == {"DataAnalyzer"}
    assert {line["node"] for line in mine} == {"node-1"}
    exemplars = re.findall(
        r'^caxton_turn_duration_seconds_bucket.*trace_id="(\w+)"', exposed, re.MULTILINE
    )
    assert exemplars == [TRACE_ID]


async def test_a_trace_that_its_client_does_not_want_leaves_nothing(tmp_path):
    with otlp_receiver() as receiver:
        telemetry = {
            "CAXTON_TELEMETRY__OTLP_ENDPOINT": receiver.grpc,
            "CAXTON_TELEMETRY__SAMPLE_RATIO": "1",
        }
        async with three_nodes(tmp_path, **telemetry) as cluster:
            await ask_from_node_3(cluster, UNSAMPLED)
            stored = await cluster.get("node-1", "messages/question-1")
            exposed = await cluster.text("node-1", "/metrics")
        assert stored["message"]["traceparent"].endswith("-00")
        assert receiver.of(TRACE_ID[::-1]) == {}
        # The other requests of this test began traces of their own.
        assert receiver.spans
        assert "caxton_turn_duration_seconds_count 1.0" in exposed
