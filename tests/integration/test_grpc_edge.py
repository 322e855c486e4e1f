"""The gRPC edge under clients that misbehave: deadlines, cancellation, sizes, garbage."""

import asyncio
from contextlib import AsyncExitStack

import grpc
import pytest
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message_factory import GetMessageClass
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import (
    ProtoReflectionDescriptorDatabase,
)

from caxton.errors import error_from_rpc
from caxton.outgoing import outgoing
from caxton.v1 import agents_pb2, cluster_pb2, messages_pb2
from caxton.v1.agents_pb2_grpc import AgentsStub
from caxton.v1.cluster_pb2_grpc import ClusterStub
from caxton.v1.messages_pb2_grpc import MessagesStub
from caxton_node.domain.errors import Conflict
from caxton_node.grpc_api.server import STOP_GRACE_S, Port, open_grpc
from tests.clustered_nodes import until
from tests.grpc_node import grpc_node, served_node
from tests.handlers import Gate
from tests.opened_node import opened_node, python_agent


@pytest.fixture
async def served(tmp_path):
    async with grpc_node(tmp_path) as served:
        yield served


@pytest.fixture
async def channel(served):
    async with grpc.aio.insecure_channel(served.address) as channel:
        yield channel


async def code_of(call):
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    return caught.value.code()


def send(**message):
    return messages_pb2.MessagesSendRequest(message=outgoing({"receiver": "gate", **message}))


async def test_a_deadline_ends_the_waiting_and_not_the_turn(served, channel):
    Gate.close()
    await served.client.deploy(python_agent("gate", "Gate"))
    request = send(performative="request", message_id="m1")
    request.wait.FromSeconds(60)
    call = MessagesStub(channel).Send(request, timeout=0.2)
    assert await code_of(call) is grpc.StatusCode.DEADLINE_EXCEEDED
    await until(lambda: len(served.node.answers) == 0)
    Gate.opened.set()
    async with asyncio.timeout(10):
        while (await served.client.message("m1")).status != "delivered":
            await asyncio.sleep(0.01)


async def test_a_cancelled_call_leaves_nothing_behind(served, channel):
    Gate.close()
    await served.client.deploy(python_agent("gate", "Gate"))
    request = send(performative="request")
    request.wait.FromSeconds(60)
    calls = [MessagesStub(channel).Send(request)]
    calls += [
        AgentsStub(channel).Logs(agents_pb2.AgentsLogsRequest(name="gate", is_following=True)),
        MessagesStub(channel).Stream(messages_pb2.MessagesStreamRequest()),
        ClusterStub(channel).Watch(cluster_pb2.ClusterWatchRequest()),
    ]
    converse = MessagesStub(channel).Converse()
    await converse.write(
        messages_pb2.MessagesConverseRequest(open=messages_pb2.ConverseOpen(name="ada"))
    )
    await converse.read()
    await until(lambda: len(served.node.answers) == 2 and served.node.events.has_watchers)
    for call in (*calls, converse):
        call.cancel()
    await until(lambda: len(served.node.answers) == 0 and not served.node.events.has_watchers)
    Gate.opened.set()


async def test_a_message_larger_than_the_limit_is_refused(tmp_path):
    async with (
        opened_node(tmp_path, memory__enabled="false") as node,
        served_node(node, message_bytes_max=100_000) as served,
        grpc.aio.insecure_channel(served.address) as channel,
    ):
        request = send(content="x" * 200_000)
        code = await code_of(MessagesStub(channel).Send(request))
        assert code is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert await served.client.agents() == []


async def test_bytes_that_are_no_message_are_refused(channel, served):
    call = channel.unary_unary("/caxton.v1.Messages/Send")
    assert await code_of(call(b"\xff\xff\xff\xff")) is grpc.StatusCode.INVALID_ARGUMENT
    unknown = channel.unary_unary("/caxton.v1.Messages/Sing")
    assert await code_of(unknown(b"")) is grpc.StatusCode.UNIMPLEMENTED
    nobody = channel.unary_unary("/caxton.v1.Nobody/Sing")
    assert await code_of(nobody(b"")) is grpc.StatusCode.UNIMPLEMENTED
    assert await served.client.agents() == []


@pytest.mark.parametrize("field", ["performative", "delivery", "routing_strategy"])
async def test_a_word_of_a_newer_client_is_refused_by_name(channel, field):
    request = send()
    setattr(request.message, field, 77)
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await MessagesStub(channel).Send(request)
    error = error_from_rpc(caught.value)
    assert error.code == "invalid_request"
    assert [place.field for place in error.places] == [field]


@pytest.mark.parametrize("seconds", [-1, 601, 2**50])
async def test_a_wait_beyond_the_bounds_is_refused(channel, seconds):
    request = send()
    request.wait.seconds = seconds
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await MessagesStub(channel).Send(request)
    assert [place.field for place in error_from_rpc(caught.value).places] == ["wait"]


@pytest.mark.parametrize(("seconds", "nanos"), [(2**62, 0), (-(2**62), 0), (0, -1), (0, 10**9)])
async def test_an_instant_that_does_not_exist_is_refused(channel, seconds, nanos):
    request = send()
    request.message.reply_by.seconds, request.message.reply_by.nanos = seconds, nanos
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await MessagesStub(channel).Send(request)
    assert [place.field for place in error_from_rpc(caught.value).places] == ["reply_by"]


async def test_a_page_beyond_the_bounds_is_refused(channel):
    request = agents_pb2.AgentsListRequest(page_size=201)
    assert await code_of(AgentsStub(channel).List(request)) is grpc.StatusCode.INVALID_ARGUMENT


async def test_a_list_is_fetched_page_by_page(served, channel):
    for name in "abcde":
        await served.client.deploy(python_agent(name, "Echo"))
    request, names = agents_pb2.AgentsListRequest(page_size=2), []
    while True:
        page = await AgentsStub(channel).List(request)
        assert page.total == 5
        names += [agent.name for agent in page.agents]
        request.page_token = page.next_page_token
        if not request.page_token:
            break
    assert names == list("abcde")


async def converse(channel, *requests):
    call = MessagesStub(channel).Converse()
    for request in requests:
        await call.write(messages_pb2.MessagesConverseRequest(**request))
    await call.done_writing()
    responses = []
    try:
        async with asyncio.timeout(10):
            while (response := await call.read()) is not grpc.aio.EOF:
                responses.append(response)
    except grpc.aio.AioRpcError as error:
        return responses, error_from_rpc(error).code
    return responses, ""


OPEN = {"open": messages_pb2.ConverseOpen(name="ada")}


@pytest.mark.parametrize(
    "requests",
    [
        (),
        ({"done_through": 1},),
        (OPEN, OPEN),
        (OPEN, {"done_through": 1}),
        (OPEN, {}),
        ({"open": messages_pb2.ConverseOpen(window=1_001)},),
        ({"open": messages_pb2.ConverseOpen(name="x" * 129)},),
        ({"open": messages_pb2.ConverseOpen(name="a\x00")},),
    ],
)
async def test_a_stream_that_breaks_its_rules_is_ended(channel, requests):
    responses, code = await converse(channel, *requests)
    assert code == "invalid_request"
    assert len(responses) <= 1


async def test_a_stream_ends_when_the_client_has_said_all_with_every_outcome_told(served, channel):
    await served.client.deploy(python_agent("echo", "Echo"))
    sends = [
        {"send": messages_pb2.ConverseSend(tag=n, message=outgoing({"receiver": "echo"}))}
        for n in range(300)
    ]
    responses, code = await converse(channel, OPEN, *sends)
    assert code == ""
    assert responses[0].opened.name == "ada"
    tags = [one.outcome.tag for one in responses if one.HasField("outcome")]
    assert tags == list(range(300))


async def test_a_foreign_client_learns_the_contract_by_reflection(served):
    def talk() -> tuple[list[str], str]:
        with grpc.insecure_channel(served.address) as channel:
            database = ProtoReflectionDescriptorDatabase(channel)
            pool = DescriptorPool(database)
            services = sorted(database.get_services())
            service = pool.FindServiceByName("caxton.v1.Cluster")
            method = service.methods_by_name["Status"]
            request, answer = (
                GetMessageClass(one) for one in (method.input_type, method.output_type)
            )
            call = channel.unary_unary(
                "/caxton.v1.Cluster/Status",
                request_serializer=lambda made: made.SerializeToString(),
                response_deserializer=answer.FromString,
            )
            return services, call(request(), timeout=10).node_id

    services, node = await asyncio.to_thread(talk)
    assert node == served.node.name
    assert {"caxton.v1.Agents", "caxton.v1.Messages", "caxton.v1.Cluster"} <= set(services)


async def test_the_health_of_each_service_is_told(channel):
    stub = health_pb2_grpc.HealthStub(channel)
    for service in ("", "caxton.v1.Agents", "caxton.v1.Messages"):
        answer = await stub.Check(health_pb2.HealthCheckRequest(service=service))
        assert answer.status == health_pb2.HealthCheckResponse.SERVING
    unknown = stub.Check(health_pb2.HealthCheckRequest(service="nobody"))
    assert await code_of(unknown) is grpc.StatusCode.NOT_FOUND


async def test_a_node_that_stops_ends_the_streams_of_its_clients_at_once(tmp_path):
    async with opened_node(tmp_path, memory__enabled="false") as node, AsyncExitStack() as serving:
        served = await serving.enter_async_context(served_node(node))
        async with grpc.aio.insecure_channel(served.address) as channel:
            stub = MessagesStub(channel)
            following = stub.Stream(messages_pb2.MessagesStreamRequest())
            talking = stub.Converse()
            await talking.write(messages_pb2.MessagesConverseRequest(**OPEN))
            await talking.read()
            await until(lambda: node.events.has_watchers)
            async with asyncio.timeout(STOP_GRACE_S - 1):
                await serving.aclose()
            for call in (following, talking):
                with pytest.raises(grpc.aio.AioRpcError) as caught:
                    await call.read()
                assert error_from_rpc(caught.value).code == "node_draining"


async def test_a_port_is_not_shared_with_another_node(served):
    with pytest.raises(Conflict, match="cannot listen"):
        async with open_grpc([Port(served.address)], [], message_bytes_max=100_000):
            pass


async def test_a_trace_that_the_client_began_is_kept(served, channel):
    trace_id = "4bf92f3577b34da6a3ce929d0e0e4736"
    metadata = (("traceparent", f"00-{trace_id}-00f067aa0ba902b7-01"),)
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await AgentsStub(channel).Get(agents_pb2.AgentsGetRequest(name="x"), metadata=metadata)
    assert error_from_rpc(caught.value).trace_id == trace_id
    await served.client.deploy(python_agent("gate", "Echo"))
    sent = await MessagesStub(channel).Send(send(), metadata=metadata)
    record = await served.client.message(sent.acceptance.message_id)
    assert record.message.traceparent.split("-")[1] == trace_id
