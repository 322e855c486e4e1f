"""Whoever an agent calls, a model, a web service, a server of tools, can go on with its trace."""

import io
import os
import shutil
import subprocess

import pytest

from tests.integration.test_wasm_servers import deploy_server
from tests.model_server import calls, model_server, says
from tests.rest_node import rest_node
from tests.scripted_http import scripted_http

TRACE_ID = "4bf92f3577b34da6a3ce929d0e0e4736"
SAMPLED = f"00-{TRACE_ID}-00f067aa0ba902b7-01"
UNSAMPLED = f"00-{TRACE_ID}-00f067aa0ba902b7-00"
ECHO = 'name = "Echo"\nkind = "python"\nhandler = "tests.handlers:Echo"\ncapabilities = ["test"]\n'


def reader(url):
    return (
        'name = "Reader"\ncapabilities = ["read"]\ntools = ["http_client"]\n'
        'system_prompt = "Read."\n'
        f'[llm]\nprovider = "openai"\nmodel = "test"\nbase_url = "{url}"\n'
    )


async def ask(rest, traceparent, receiver="Reader"):
    question = {"performative": "request", "receiver": receiver, "content": "hi", "wait_s": 20}
    answer = await rest.post("messages", question, headers={"traceparent": traceparent})
    assert answer["reply"]["performative"] == "inform", answer


@pytest.fixture
def page():
    with scripted_http() as script:
        script.on("GET", "/page", b"hello", media_type="text/plain")
        yield script


@pytest.fixture
def api_key(monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "sk-test")


async def test_models_and_web_services_see_the_span_that_called_them(tmp_path, page, api_key):
    script = (calls("http_client", url=f"{page.url}/page"), says("it says hello"))
    async with (
        rest_node(tmp_path, tools__allowed_private_hosts="127.0.0.1") as rest,
        model_server(*script) as model,
    ):
        await rest.deploy(reader(model.url))
        rest.node.tracing.is_recording = True
        await ask(rest, SAMPLED)
        spans = [one for one in rest.node.tracing.finished if one.trace.trace_id == TRACE_ID]
    asked = [one.traceparent for one in spans if one.name.startswith("chat ")]
    (fetched,) = (one.traceparent for one in spans if one.name == "execute_tool http_client")
    assert [headers["traceparent"] for headers in model.headers] == asked
    assert [one.headers["traceparent"] for one in page.received] == [fetched]


async def test_a_trace_that_is_not_recorded_passes_through_to_whoever_is_called(
    tmp_path, page, api_key
):
    script = (calls("http_client", url=f"{page.url}/page"), says("it says hello"))
    async with (
        rest_node(tmp_path, tools__allowed_private_hosts="127.0.0.1") as rest,
        model_server(*script) as model,
    ):
        await rest.deploy(reader(model.url))
        await ask(rest, UNSAMPLED)
    passed = [*model.headers, *(one.headers for one in page.received)]
    assert [headers["traceparent"] for headers in passed] == [UNSAMPLED] * 3


async def test_each_message_of_a_batch_is_sent_and_processed_in_the_trace(tmp_path):
    async with rest_node(tmp_path) as rest:
        await rest.deploy(ECHO)
        rest.node.tracing.is_recording = True
        one = {"performative": "request", "receiver": "Echo", "content": "hi"}
        batch = [{**one, "id": "first"}, {**one, "receiver": "Nobody", "id": "second"}]
        with rest.node.events.watch(lambda event: event.kind == "message.delivered") as watcher:
            await rest.post("messages/batch", {"messages": batch}, headers={"traceparent": SAMPLED})
            assert await watcher.next(timeout_s=20) is not None
        spans = {one.name: one for one in rest.node.tracing.finished}
    request = spans["POST /api/v1/messages/batch"]
    assert spans["send Echo"].parent_id == request.trace.span_id
    assert spans["send Echo"].attributes["messaging.message.id"] == "first"
    assert spans["process Echo"].parent_id == spans["send Echo"].trace.span_id
    assert spans["send Nobody"].error == "agent_not_found"


async def test_messages_sent_at_most_once_are_timed_too(tmp_path):
    async with rest_node(tmp_path) as rest:
        await rest.deploy(ECHO)
        before = rest.node.counts.message_s.count
        message = {"performative": "inform", "receiver": "Echo", "content": "hi"}
        with rest.node.events.watch(lambda event: event.kind == "message.delivered") as watcher:
            await rest.post("messages", {**message, "delivery": "at_most_once"}, status=202)
            assert await watcher.next(timeout_s=20) is not None
        assert rest.node.counts.message_s.count == before + 1


SERVER = """
package main

import ("bufio"; "encoding/json"; "fmt"; "os")

func main() {
	lines := bufio.NewScanner(os.Stdin)
	for lines.Scan() {
		var asked struct {
			ID     json.RawMessage `json:"id"`
			Method string          `json:"method"`
			Params struct { Meta json.RawMessage `json:"_meta"` } `json:"params"`
		}
		json.Unmarshal(lines.Bytes(), &asked)
		result := ""
		switch asked.Method {
		case "initialize":
			result = `{"protocolVersion": "2025-06-18", "capabilities": {"tools": {}},
				"serverInfo": {"name": "meta", "version": "1"}}`
		case "tools/list":
			result = `{"tools": [{"name": "show", "description": "Shows _meta.",
				"inputSchema": {"type": "object"}}]}`
		case "tools/call":
			meta, _ := json.Marshal(string(asked.Params.Meta))
			result = `{"content": [{"type": "text", "text": ` + string(meta) + `}]}`
		default:
			continue
		}
		var plain any
		json.Unmarshal([]byte(result), &plain)
		answer, _ := json.Marshal(map[string]any{"jsonrpc": "2.0", "id": asked.ID, "result": plain})
		fmt.Println(string(answer))
	}
}
"""


@pytest.fixture
def shows_meta(tmp_path):
    """Build a server of tools whose only tool returns the `_meta` that it was called with."""
    (tmp_path / "main.go").write_text(SERVER)
    subprocess.run(
        ["go", "build", "-o", "meta.wasm", "main.go"],
        cwd=tmp_path,
        env=os.environ | {"GOOS": "wasip1", "GOARCH": "wasm", "GOFLAGS": "-buildvcs=false"},
        check=True,
        timeout=200,
    )
    return io.BytesIO((tmp_path / "meta.wasm").read_bytes())


@pytest.mark.slow
@pytest.mark.timeout(240)
@pytest.mark.skipif(shutil.which("go") is None, reason="Go is not installed")
async def test_a_server_of_tools_finds_the_trace_in_the_meta_of_mcp(tmp_path, shows_meta):
    async with rest_node(tmp_path / "node") as rest:
        await deploy_server(rest, shows_meta, name="meta")
        shown = await rest.post(
            "tools/meta.show/call", {"arguments": {}}, headers={"traceparent": UNSAMPLED}
        )
    assert UNSAMPLED in str(shown["content"])
