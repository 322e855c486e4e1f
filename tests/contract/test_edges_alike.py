"""REST and gRPC answer alike: the same checks, the same codes, the same places, one outcome."""

import json
import uuid

import grpc
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from caxton.errors import error_from_rpc
from caxton.outgoing import outgoing
from caxton.v1 import agents_pb2, messages_pb2
from caxton.v1.agents_pb2_grpc import AgentsStub
from caxton.v1.messages_pb2_grpc import MessagesStub
from caxton_node.domain.errors import ERRORS
from tests.grpc_node import grpc_node
from tests.opened_node import python_agent


@pytest.fixture
async def served(tmp_path):
    async with grpc_node(tmp_path) as served:
        await served.rest.deploy(python_agent("echo", "Echo"))
        yield served


@pytest.fixture
async def channel(served):
    async with grpc.aio.insecure_channel(served.address) as channel:
        yield channel


async def by_rest(served, message, **more):
    """Send a message by REST; return the code and the fields that are wrong, or the receipt."""
    async with served.rest.session.post(
        served.rest.address("messages"), json=message | more
    ) as response:
        body = await response.json()
    if response.status < 400:
        return "", body
    return body["code"], {one.get("field") for one in body.get("errors", ())}


async def by_grpc(channel, message):
    """Send the same message by gRPC."""
    given = dict(message)
    wire = messages_pb2.Message(content=json.dumps(given.pop("content", None)).encode())
    if "metadata" in given:
        wire.metadata = json.dumps(given.pop("metadata")).encode()
    act = given.pop("performative", None)
    if act is not None:
        wire.performative = outgoing({"performative": act}).performative
    for name, value in given.items():
        setattr(wire, name, value)
    call = MessagesStub(channel).Send(messages_pb2.MessagesSendRequest(message=wire))
    if await call.code() is grpc.StatusCode.OK:
        return "", await call
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    error = error_from_rpc(caught.value)
    assert caught.value.code().name == ERRORS[error.code].grpc_status
    return error.code, {place.field for place in error.places}


GOOD = {"performative": "request", "receiver": "echo", "content": 1}


@pytest.mark.parametrize(
    ("change", "code", "fields"),
    [
        ({"receiver": "nobody"}, "agent_not_found", set()),
        ({"sender": "echo"}, "invalid_message", {"sender"}),
        ({"sender": "caxton"}, "invalid_message", {"sender"}),
        ({"sender": "a\x01b"}, "invalid_request", {"sender"}),
        ({"sender": "x" * 257}, "invalid_request", {"sender"}),
        ({"receiver": "x" * 257}, "invalid_request", {"receiver"}),
        ({"id": "not an id"}, "invalid_request", {"id"}),
        ({"id": "x" * 129}, "invalid_request", {"id"}),
        ({"id": "asked#1"}, "invalid_request", {"id"}),
        ({"conversation_id": "a b"}, "invalid_request", {"conversation_id"}),
        ({"reply_with": "a b"}, "invalid_request", {"reply_with"}),
        ({"in_reply_to": "a#b"}, "invalid_request", {"in_reply_to"}),
        ({"protocol": "x" * 257}, "invalid_request", {"protocol"}),
        ({"language": "\x7f"}, "invalid_request", {"language"}),
        ({"ontology": "x" * 257}, "invalid_request", {"ontology"}),
        ({"encoding": "\n"}, "invalid_request", {"encoding"}),
        ({"reply_to": "echo\x00"}, "invalid_request", {"reply_to"}),
        ({"metadata": {"depth": 1}}, "invalid_message", {"metadata.depth"}),
        ({"metadata": {str(n): n for n in range(65)}}, "invalid_request", {"metadata"}),
        ({"metadata": {"n": 2**70}}, "invalid_message", {"metadata"}),
        ({"content": "x" * 1_000_001}, "invalid_message", {"content"}),
        ({"performative": None}, "invalid_request", {"performative"}),
    ],
)
async def test_a_wrong_message_is_refused_alike(served, channel, change, code, fields):
    message = {name: value for name, value in (GOOD | change).items() if value is not None}
    assert await by_rest(served, message) == (code, fields)
    assert await by_grpc(channel, message) == (code, fields)


@pytest.mark.parametrize("content", [b"{", b"nan", b"\xff", b'{"a":1}}', b"[" * 65 + b"]" * 65])
async def test_content_that_is_no_json_is_malformed(served, channel, content):
    wire = outgoing(GOOD)
    wire.content = content
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await MessagesStub(channel).Send(messages_pb2.MessagesSendRequest(message=wire))
    assert error_from_rpc(caught.value).code == "malformed_body"


TEXT = st.text(max_size=12)


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    message=st.fixed_dictionaries(
        {"performative": st.just("inform")},
        optional={
            "receiver": st.sampled_from(["echo", "nobody", "broadcast", "topic://a"]),
            "capability": st.sampled_from(["test", "other", "Not One"]),
            "sender": TEXT.filter(bool),
            "conversation_id": TEXT.filter(bool),
            "in_reply_to": TEXT.filter(bool),
            "protocol": TEXT.filter(bool),
        },
    )
)
async def test_any_message_is_taken_or_refused_alike(served, channel, message):
    assert (await by_rest(served, message))[0] == (await by_grpc(channel, message))[0]


async def test_a_message_sent_by_one_edge_is_a_repeat_on_the_other(served, channel):
    message_id = f"once-{uuid.uuid4().hex}"
    _, first = await by_rest(served, GOOD | {"id": message_id}, wait_s=5)
    _, again = await by_grpc(channel, GOOD | {"id": message_id})
    assert not first["is_duplicate"]
    assert again.acceptance.is_duplicate
    assert again.reply.id == first["reply"]["id"]


async def test_a_message_looks_alike(served, channel):
    message = GOOD | {
        "content": {"n": 2**60, "list": [None, "ä"]},
        "reply_by": "2090-01-01T00:00:00.125Z",
        "protocol": "fipa-request",
        "metadata": {"a": [1]},
        "delivery": "exactly_once",
    }
    receipt = await served.rest.post("messages", message, status=202)
    view = await served.rest.get(f"messages/{receipt['message_id']}")
    record = await served.client.message(receipt["message_id"])
    shown = record.message
    for name in ("id", "sender", "conversation_id", "content", "protocol", "metadata", "delivery"):
        assert getattr(shown, name) == view["message"][name]
    assert shown.reply_by.isoformat(timespec="milliseconds") == "2090-01-01T00:00:00.125+00:00"
    assert (
        record.accepted_at.isoformat(timespec="milliseconds").replace("+00:00", "Z")
        == view["accepted_at"]
    )


@pytest.mark.parametrize(
    ("method", "path", "call", "request_"),
    [
        ("GET", "agents/nobody", "Get", agents_pb2.AgentsGetRequest(name="nobody")),
        ("GET", "agents/a%2Fb", "Get", agents_pb2.AgentsGetRequest(name="a/b")),
        ("DELETE", "agents/nobody", "Delete", agents_pb2.AgentsDeleteRequest(name="nobody")),
        ("POST", "agents/echo/resume", "Resume", agents_pb2.AgentsResumeRequest(name="echo")),
        ("POST", "agents/echo/rollback", "Rollback", agents_pb2.AgentsRollbackRequest(name="echo")),
        (
            "GET",
            "agents?cursor=%21",
            "List",
            agents_pb2.AgentsListRequest(page_token="!"),
        ),
        ("GET", "agents?state=odd", "List", agents_pb2.AgentsListRequest(state=99)),
    ],
)
async def test_what_goes_wrong_with_an_agent_is_told_alike(
    served, channel, method, path, call, request_
):
    async with served.rest.session.request(method, served.rest.address(path)) as response:
        problem = await response.json()
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await getattr(AgentsStub(channel), call)(request_)
    error = error_from_rpc(caught.value)
    assert response.status >= 400
    assert error.code == problem["code"]
    assert caught.value.code().name == ERRORS[problem["code"]].grpc_status
    if error.code != "agent_not_found":
        assert error.detail == problem["detail"]


async def test_a_wrong_definition_is_wrong_in_the_same_places(served, channel):
    source = 'name = "1"\ncapabilities = ["A B"]\nmodel = 1\n'
    async with served.rest.session.post(
        served.rest.address("agents"), json={"source": source, "format": "toml", "file": "x.toml"}
    ) as response:
        problem = await response.json()
    request = agents_pb2.AgentsDeployRequest(
        source=agents_pb2.AgentSource(text=source, file_name="x.toml")
    )
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await AgentsStub(channel).Deploy(request)
    error = error_from_rpc(caught.value)
    assert error.code == problem["code"] == "invalid_agent"
    told = [(one.message, one.line, one.column, one.fix) for one in error.places]
    assert told == [
        (one["message"], one.get("line"), one.get("column"), one.get("fix"))
        for one in problem["errors"]
    ]


async def test_a_definition_as_data_is_one_as_text(served, channel):
    spec = agents_pb2.AgentSpec(
        name="Clerk",
        capabilities=["clerking", "filing:v2"],
        system_prompt="You are a clerk of {{office}}.",
        parameters=b'{"office": "Rome"}',
        llm=agents_pb2.LlmSettings(provider="offline", retry_count_max=1),
        memory=agents_pb2.MemorySettings(is_enabled=False),
        limits=agents_pb2.LimitSettings(concurrency=2),
    )
    spec.limits.time.seconds = 90
    await AgentsStub(channel).Deploy(agents_pb2.AgentsDeployRequest(spec=spec))
    detail = await served.rest.get("agents/Clerk")
    assert detail["capabilities"] == ["clerking", "filing:v2"]
    assert detail["parameters"] == {"office": "Rome"}
    assert (detail["limits"]["time_s"], detail["limits"]["concurrency"]) == (90.0, 2)
    shown = await AgentsStub(channel).Get(agents_pb2.AgentsGetRequest(name="Clerk"))
    assert shown.spec.system_prompt == spec.system_prompt
    assert json.loads(shown.spec.parameters) == {"office": "Rome"}
