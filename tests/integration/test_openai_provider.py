"""The OpenAI provider against a real HTTP server that behaves as endpoints do, good and bad."""

import asyncio
import json
import logging
import traceback
from contextlib import asynccontextmanager

import pytest
from aiohttp import web

from caxton_node.domain.errors import Failed, TimedOut
from caxton_node.domain.tool import ToolCall, ToolSpec
from caxton_node.llm.model import ChatMessage, ModelRequest
from caxton_node.llm.openai_clients import Endpoint, OpenAiClients
from caxton_node.llm.openai_provider import OpenAiModel, RetrySettings

KEY = "sk-very-secret-0123456789"
ADD = ToolSpec(
    name="math.add",
    description="Add numbers.",
    parameters={
        "type": "object",
        "properties": {"a": {"type": "number"}, "b": {"type": "number"}},
        "required": ["a", "b"],
    },
)


def request(**more):
    values = {"messages": (ChatMessage(role="user", content="hi"),), "timeout_s": 20.0}
    return ModelRequest(**{**values, **more})


def answer(message, finish_reason="stop", **more):
    return {
        "id": "x",
        "object": "chat.completion",
        "created": 1,
        "model": "served-model",
        "choices": [{"index": 0, "message": message, "finish_reason": finish_reason}],
        "usage": {"prompt_tokens": 11, "completion_tokens": 7, "total_tokens": 18},
        **more,
    }


def chunk(delta=None, finish_reason=None, **more):
    choices = [{"index": 0, "delta": delta, "finish_reason": finish_reason}]
    body = {
        "id": "x",
        "object": "chat.completion.chunk",
        "created": 1,
        "model": "served-model",
        "choices": choices if delta is not None else [],
        **more,
    }
    return f"data: {json.dumps(body, ensure_ascii=False)}\n\n".encode()


DONE = b"data: [DONE]\n\n"


class FakeEndpoint:
    """Runs one handler for each request, the last one again and again."""

    def __init__(self, *handlers):
        self.handlers = handlers
        self.bodies = []
        self.headers = []
        self.url = ""
        self.closed = asyncio.Event()
        """A handler was cancelled because its client went away."""

    async def handle(self, http_request):
        handler = self.handlers[min(len(self.bodies), len(self.handlers) - 1)]
        self.bodies.append(await http_request.json())
        self.headers.append(http_request.headers.copy())
        try:
            return await handler(http_request)
        except (asyncio.CancelledError, ConnectionResetError):
            self.closed.set()
            raise


@asynccontextmanager
async def serving(*handlers):
    endpoint = FakeEndpoint(*handlers)
    app = web.Application()
    app.router.add_post("/v1/chat/completions", endpoint.handle)
    runner = web.AppRunner(app, shutdown_timeout=0.1, handler_cancellation=True)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    endpoint.url = f"http://127.0.0.1:{runner.addresses[0][1]}/v1"
    try:
        yield endpoint
    finally:
        await runner.cleanup()


@asynccontextmanager
async def model_at(url, *, retries=2, api_key=KEY):
    clients = OpenAiClients()
    quick = RetrySettings(
        retry_count_max=retries, wait_initial_s=0.001, wait_max_s=0.002, wait_jitter_s=0.001
    )
    endpoint = Endpoint(base_url=url, api_key=api_key)
    model = OpenAiModel(endpoint, model="some-model", clients=clients, retry=quick)
    try:
        yield model
    finally:
        await model.close()
        await clients.close()


def replies(body, status=200, headers=None):
    async def handler(_):
        return web.json_response(body, status=status, headers=headers)

    return handler


def says(text):
    return replies(answer({"role": "assistant", "content": text}))


def streams(*pieces, then=None):
    """Write each piece as one packet; `then` may break the connection."""

    async def handler(http_request):
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(http_request)
        for piece in pieces:
            await response.write(piece)
        if then is not None:
            await then(http_request)
        return response

    return handler


async def abort(http_request):
    http_request.transport.abort()


async def hang(_):
    await asyncio.Event().wait()


async def test_a_plain_reply_has_text_usage_and_the_name_of_the_model_that_answered():
    async with serving(says("Good day.")) as endpoint, model_at(endpoint.url) as model:
        reply = await model.complete(request())
    assert (reply.text, reply.finish_reason) == ("Good day.", "stop")
    assert (reply.usage.input_tokens, reply.usage.output_tokens) == (11, 7)
    assert (reply.provider, reply.model) == ("openai", "served-model")
    assert endpoint.bodies[0]["model"] == "some-model"
    assert endpoint.headers[0]["Authorization"] == f"Bearer {KEY}"
    assert "stream" not in endpoint.bodies[0]


async def test_settings_of_the_request_reach_the_endpoint():
    async with serving(says("x")) as endpoint, model_at(endpoint.url) as model:
        await model.complete(request(model="other", temperature=0.2, max_tokens=9))
    body = endpoint.bodies[0]
    assert (body["model"], body["temperature"], body["max_tokens"]) == ("other", 0.2, 9)


async def test_an_endpoint_without_a_key_is_sent_none(monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "sk-from-the-environment")
    monkeypatch.setenv("OPENAI_ORG_ID", "org-from-the-environment")
    async with serving(says("x")) as endpoint, model_at(endpoint.url, api_key=None) as model:
        await model.complete(request())
    assert "Authorization" not in endpoint.headers[0]
    assert "OpenAI-Organization" not in endpoint.headers[0]


async def test_streamed_text_arrives_in_deltas_however_the_packets_are_cut():
    whole = b"".join(
        [
            chunk({"role": "assistant", "content": ""}),
            chunk({"content": "Grüße, "}),
            chunk({"content": "世界"}),
            chunk({"content": "!"}),
            chunk({}, "stop"),
            chunk(usage={"prompt_tokens": 3, "completion_tokens": 4, "total_tokens": 7}),
            DONE,
        ]
    )
    awkward = [whole[index : index + 7] for index in range(0, len(whole), 7)]
    deltas = []
    async with serving(streams(*awkward)) as endpoint, model_at(endpoint.url) as model:
        reply = await model.complete(request(), deltas.append)
    assert deltas == ["Grüße, ", "世界", "!"]
    assert reply.text == "Grüße, 世界!"
    assert reply.usage.total_tokens == 7
    assert endpoint.bodies[0]["stream_options"] == {"include_usage": True}


async def test_tool_calls_arrive_in_pieces_and_go_by_our_names():
    def call(index, **fields):
        return chunk({"tool_calls": [{"index": index, "type": "function", **fields}]})

    handler = streams(
        call(0, id="c1", function={"name": "math_add", "arguments": ""}),
        call(0, function={"arguments": '{"a": 1, '}),
        call(1, id="c2", function={"name": "math_add", "arguments": '{"a":3,"b":4}'}),
        call(0, function={"arguments": '"b": 2}'}),
        chunk({}, "tool_calls"),
        DONE,
    )
    async with serving(handler) as endpoint, model_at(endpoint.url) as model:
        reply = await model.complete(request(tools=(ADD,)), lambda _: None)
    assert reply.tool_calls == (
        ToolCall(id="c1", name="math.add", arguments={"a": 1, "b": 2}),
        ToolCall(id="c2", name="math.add", arguments={"a": 3, "b": 4}),
    )
    assert reply.finish_reason == "tool_calls"
    assert endpoint.bodies[0]["tools"][0]["function"]["name"] == "math_add"
    assert reply.metadata["usage_estimated"] is True


async def test_results_of_tools_go_back_to_the_endpoint():
    call = ToolCall(id="c1", name="math.add", arguments={"a": 1, "b": 2})
    messages = (
        ChatMessage(role="user", content="1+2?"),
        ChatMessage(role="assistant", tool_calls=(call,)),
        ChatMessage(role="tool", tool_call_id="c1", tool_name="math.add", content="3"),
    )
    async with serving(says("Three.")) as endpoint, model_at(endpoint.url) as model:
        reply = await model.complete(request(messages=messages, tools=(ADD,)))
    assert reply.text == "Three."
    sent = endpoint.bodies[0]["messages"]
    assert sent[1]["tool_calls"][0]["function"] == {
        "name": "math_add",
        "arguments": '{"a": 1, "b": 2}',
    }
    assert sent[2] == {"role": "tool", "tool_call_id": "c1", "content": "3"}


async def test_arguments_that_are_no_json_are_reported_and_not_invented():
    function = {"name": "math_add", "arguments": '{"a": 1, "b":'}
    call = {"id": "c1", "type": "function", "function": function}
    body = answer({"role": "assistant", "content": None, "tool_calls": [call]}, "tool_calls")
    async with serving(replies(body)) as endpoint, model_at(endpoint.url) as model:
        reply = await model.complete(request(tools=(ADD,)))
    assert reply.tool_calls == (ToolCall(id="c1", name="math.add", arguments={}),)
    assert "not JSON" in reply.malformed_calls["c1"]
    assert '{"a": 1, "b":' in reply.malformed_calls["c1"]


@pytest.mark.parametrize("status", [408, 409, 429, 500, 502, 503, 529])
async def test_what_may_pass_is_tried_again(status):
    busy = replies({"error": {"message": "busy"}}, status, {"Retry-After": "0"})
    async with serving(busy, says("ok")) as endpoint, model_at(endpoint.url) as model:
        reply = await model.complete(request())
    assert reply.text == "ok"
    assert len(endpoint.bodies) == 2


async def test_it_gives_up_after_its_retries():
    busy = replies({"error": {"message": "overloaded"}}, 500)
    async with serving(busy) as endpoint, model_at(endpoint.url, retries=2) as model:
        with pytest.raises(Failed, match=r"500.*overloaded") as caught:
            await model.complete(request())
    assert caught.value.code == "model_failed"
    assert len(endpoint.bodies) == 3


async def test_a_wait_beyond_the_deadline_fails_at_once_and_says_why():
    busy = replies({"error": {"message": "slow down"}}, 429, {"Retry-After": "3600"})
    async with serving(busy) as endpoint, model_at(endpoint.url) as model:
        with pytest.raises(Failed, match="slow down") as caught:
            await model.complete(request(timeout_s=30.0))
    assert "rate" in caught.value.hint
    assert len(endpoint.bodies) == 1


@pytest.mark.parametrize(
    ("status", "hint"), [(401, "api_key"), (404, "some-model"), (400, "does not accept")]
)
async def test_what_will_not_pass_is_not_tried_again_and_the_hint_names_the_cure(status, hint):
    body = {"error": {"message": "no", "type": "x"}}
    async with serving(replies(body, status)) as endpoint, model_at(endpoint.url) as model:
        with pytest.raises(Failed) as caught:
            await model.complete(request())
    assert hint in caught.value.hint
    assert len(endpoint.bodies) == 1


async def test_the_key_is_in_no_error_no_repr_and_no_log(caplog):
    caplog.set_level(logging.DEBUG)
    body = {"error": {"message": f"Incorrect API key provided: {KEY}"}}
    async with serving(replies(body, 401)) as endpoint, model_at(endpoint.url) as model:
        with pytest.raises(Failed) as caught:
            await model.complete(request())
        shown = "".join(traceback.format_exception(caught.value))
        assert KEY not in repr(model) + repr(vars(model))
    assert "[api_key]" in caught.value.detail
    assert KEY not in shown + repr(caught.value) + caplog.text
    assert caught.value.__cause__ is None
    assert caught.value.__context__ is None


async def test_an_address_where_nobody_listens_is_named():
    async with serving(says("x")) as endpoint:
        url = endpoint.url
    async with model_at(url, retries=1) as model:
        with pytest.raises(Failed, match="cannot be reached") as caught:
            await model.complete(request())
    assert url in caught.value.hint


async def test_a_slow_endpoint_times_out():
    async with serving(hang) as endpoint, model_at(endpoint.url) as model:
        with pytest.raises(TimedOut, match="did not answer within") as caught:
            await model.complete(request(timeout_s=0.2))
        await endpoint.closed.wait()
    assert caught.value.code == "timed_out"


async def test_a_stream_that_stalls_times_out_too():
    stalled = streams(chunk({"content": "One"}), then=hang)
    deltas = []
    async with serving(stalled) as endpoint, model_at(endpoint.url) as model:
        with pytest.raises(TimedOut):
            await model.complete(request(timeout_s=0.3), deltas.append)
    assert deltas == ["One"]


async def test_a_stream_that_breaks_after_its_first_text_is_not_tried_again():
    broken = streams(chunk({"content": "One"}), then=abort)
    deltas = []
    async with serving(broken) as endpoint, model_at(endpoint.url) as model:
        with pytest.raises(Failed):
            await model.complete(request(), deltas.append)
    assert deltas == ["One"]
    assert len(endpoint.bodies) == 1


async def test_a_stream_that_breaks_before_any_text_is_tried_again():
    broken = streams(chunk({"role": "assistant", "content": ""}), then=abort)
    good = streams(chunk({"content": "Two"}), chunk({}, "stop"), DONE)
    deltas = []
    async with serving(broken, good) as endpoint, model_at(endpoint.url) as model:
        reply = await model.complete(request(), deltas.append)
    assert (reply.text, deltas) == ("Two", ["Two"])
    assert len(endpoint.bodies) == 2


async def test_a_stream_that_ends_without_an_end_is_a_failure():
    cut = streams(chunk({"content": "One"}))
    async with serving(cut) as endpoint, model_at(endpoint.url) as model:
        with pytest.raises(Failed, match="before the reply was complete"):
            await model.complete(request(), lambda _: None)


async def test_an_error_within_a_stream_is_reported_in_the_endpoints_words():
    failing = streams(b'data: {"error": {"message": "out of memory", "code": 500}}\n\n')
    async with serving(failing) as endpoint, model_at(endpoint.url, retries=0) as model:
        with pytest.raises(Failed, match="out of memory"):
            await model.complete(request(), lambda _: None)


@pytest.mark.parametrize(
    "body", ["<html>hello</html>", "{", '{"unexpected": true}', "null", "[]", '"text"']
)
@pytest.mark.parametrize("on_delta", [None, lambda _: None])
async def test_what_is_no_endpoint_is_named_as_such(body, on_delta):
    async def garbage(_):
        return web.Response(text=body, content_type="application/json")

    async with serving(garbage) as endpoint, model_at(endpoint.url, retries=0) as model:
        with pytest.raises(Failed) as caught:
            await model.complete(request(), on_delta)
    assert caught.value.code == "model_failed"


async def test_garbage_within_a_stream_is_a_failure():
    async with (
        serving(streams(b"data: {nonsense\n\n", DONE)) as endpoint,
        model_at(endpoint.url, retries=0) as model,
    ):
        with pytest.raises(Failed, match="not an OpenAI-compatible endpoint"):
            await model.complete(request(), lambda _: None)


async def test_cancelling_passes_through_and_closes_the_stream():
    started = asyncio.Event()
    stalled = streams(chunk({"content": "One"}), then=hang)
    async with serving(stalled) as endpoint, model_at(endpoint.url) as model:

        async def turn():
            await model.complete(request(), lambda _: started.set())

        async with asyncio.TaskGroup() as group:
            task = group.create_task(turn())
            await started.wait()
            task.cancel()
        assert task.cancelled()
        await asyncio.wait_for(endpoint.closed.wait(), 10)


async def test_agents_at_one_endpoint_share_a_client_until_the_last_one_closes():
    clients = OpenAiClients()
    async with serving(says("x")) as endpoint:
        here = Endpoint(base_url=endpoint.url)
        one = OpenAiModel(here, model="m", clients=clients)
        two = OpenAiModel(here, model="m", clients=clients)
        await one.complete(request())
        await two.complete(request())
        first = await clients.acquire(here)
        await one.close()
        await two.close()
        assert not first.is_closed()
        await clients.release(here)
        assert first.is_closed()
    await clients.close()
