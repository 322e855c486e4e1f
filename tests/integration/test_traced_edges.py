"""Whatever way a client asks, what happens for it hangs together in one trace."""

import subprocess
import sys

import grpc
import pytest

from caxton.outgoing import outgoing
from caxton.v1 import messages_pb2
from caxton.v1.messages_pb2_grpc import MessagesStub
from tests.grpc_node import grpc_node
from tests.rest_node import rest_node

TRACE_ID = "4bf92f3577b34da6a3ce929d0e0e4736"
CALLER = "00f067aa0ba902b7"
SAMPLED = {"traceparent": f"00-{TRACE_ID}-{CALLER}-01"}
ECHO = 'name = "Echo"\nkind = "python"\nhandler = "tests.handlers:Echo"\ncapabilities = ["test"]\n'
QUESTION = {"performative": "request", "receiver": "Echo", "content": "hi", "wait_s": 10}


def recorded(node):
    """Return the finished spans of the trace by name."""
    return {span.name: span for span in node.tracing.finished if span.trace.trace_id == TRACE_ID}


@pytest.mark.parametrize(
    ("path", "body", "headers"),
    [
        ("messages", QUESTION, {}),
        ("agents/Echo/chat", {"message": "hi"}, {}),
        ("agents/Echo/chat", {"message": "hi"}, {"Accept": "text/event-stream"}),
    ],
    ids=["message", "chat", "streamed chat"],
)
async def test_a_request_leads_to_the_turn_and_back(tmp_path, path, body, headers):
    async with rest_node(tmp_path) as rest:
        await rest.deploy(ECHO)
        rest.node.tracing.is_recording = True
        address = rest.address(path)
        async with rest.session.post(address, json=body, headers=SAMPLED | headers) as response:
            assert response.status == 200
            await response.read()
        spans = recorded(rest.node)
        (request,) = (span for name, span in spans.items() if name.startswith("POST "))
        assert request.parent_id == CALLER
        assert spans["send Echo"].parent_id == request.trace.span_id
        assert spans["process Echo"].parent_id == spans["send Echo"].trace.span_id
        assert spans["receive client"].parent_id == spans["process Echo"].trace.span_id


async def test_a_call_over_grpc_is_a_request_too(tmp_path):
    async with grpc_node(tmp_path) as served:
        await served.client.deploy(ECHO)
        served.node.tracing.is_recording = True
        message = {"receiver": "Echo", "performative": "request", "content": "hi"}
        request = messages_pb2.MessagesSendRequest(message=outgoing(message))
        request.wait.FromSeconds(10)
        async with grpc.aio.insecure_channel(served.address) as channel:
            metadata = tuple(SAMPLED.items())
            answer = await MessagesStub(channel).Send(request, metadata=metadata)
        assert answer.HasField("reply")
        spans = recorded(served.node)
        call = spans["caxton.v1.Messages/Send"]
        assert (call.kind.value, call.parent_id) == ("server", CALLER)
        assert spans["send Echo"].parent_id == call.trace.span_id
        assert spans["process Echo"].parent_id == spans["send Echo"].trace.span_id


async def test_a_turn_that_fails_says_so_by_its_code_alone(tmp_path):
    failing = ECHO.replace("Echo", "Refuser")
    async with rest_node(tmp_path) as rest:
        await rest.deploy(failing)
        rest.node.tracing.is_recording = True
        body = QUESTION | {"receiver": "Refuser"}
        address = rest.address("messages")
        async with rest.session.post(address, json=body, headers=SAMPLED) as response:
            assert response.status == 200
        assert recorded(rest.node)["process Refuser"].error == "denied"


async def test_health_and_metrics_begin_no_trace(tmp_path):
    async with rest_node(tmp_path, telemetry__sample_ratio="1") as rest:
        rest.node.tracing.is_recording = True
        for path in ("/health", "/ready", "/metrics"):
            async with rest.session.get(rest.address(path)) as response:
                assert response.status == 200
        assert not rest.node.tracing.finished
        await rest.get("status")
        assert [span.name for span in rest.node.tracing.finished] == ["GET /api/v1/status"]


def test_a_node_starts_without_the_libraries_of_opentelemetry():
    program = (
        "import sys, caxton_node.process; "
        "print([name for name in sys.modules if name.startswith('opentelemetry')])"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=50, check=True
    )
    assert done.stdout.strip() == "[]"
