"""Metrics over OTLP, for those who do not scrape: the same values under the same names."""

import asyncio

import aiohttp
import pytest

from tests.node_process import node_process
from tests.otlp_receiver import otlp_receiver

DEADLINE_S = 20.0
ECHO = 'name = "Echo"\nkind = "python"\nhandler = "tests.handlers:Echo"\ncapabilities = ["test"]\n'


async def ask(url):
    async with aiohttp.ClientSession() as session:
        source = {"source": ECHO, "format": "toml"}
        async with session.post(f"{url}/api/v1/agents", json=source) as response:
            assert response.status == 201
        question = {"performative": "request", "receiver": "Echo", "content": "hi", "wait_s": 10}
        async with session.post(f"{url}/api/v1/messages", json=question) as response:
            assert response.status == 200


def telemetry(receiver, protocol, **more):
    return {
        "CAXTON_TELEMETRY__OTLP_ENDPOINT": getattr(receiver, protocol),
        "CAXTON_TELEMETRY__OTLP_PROTOCOL": protocol,
        "CAXTON_PYTHON__ALLOW": "tests.*",
        "CAXTON_MEMORY__MODEL": "none",
        **more,
    }


def by_labels(metric):
    """Return the values of a counter or a gauge by their labels."""
    data = getattr(metric, metric.WhichOneof("data"))
    return {
        tuple(one.value.string_value for one in point.attributes): point.as_double
        for point in data.data_points
    }


def delivered(receiver):
    """Return how many messages were, as far as is known: a question and its answer are two."""
    messages = receiver.metrics.get("caxton_messages")
    return 0 if messages is None else by_labels(messages)["delivered",]


@pytest.mark.parametrize("protocol", ["grpc", "http"])
async def test_a_receiver_gets_what_a_scrape_would_give(tmp_path, protocol):
    with otlp_receiver() as receiver:
        wanted = telemetry(receiver, protocol, CAXTON_TELEMETRY__OTLP_METRICS_INTERVAL="1s")
        async with node_process(tmp_path, "--name", "n", **wanted) as node:
            await ask(node.url)
            async with asyncio.timeout(DEADLINE_S):
                while delivered(receiver) != 2:
                    await asyncio.sleep(0.05)
        metrics = receiver.metrics
    assert receiver.metric_nodes == {"n"}
    messages = metrics["caxton_messages"]
    assert messages.sum.is_monotonic
    assert by_labels(metrics["caxton_agents"])["running",] == 1
    (durations,) = metrics["caxton_turn_duration_seconds"].histogram.data_points
    assert durations.count == sum(durations.bucket_counts) == 1
    assert len(durations.bucket_counts) == len(durations.explicit_bounds) + 1
    assert 0 < durations.start_time_unix_nano < durations.time_unix_nano


async def test_a_node_that_stops_sends_what_it_counted_last(tmp_path):
    with otlp_receiver() as receiver:
        wanted = telemetry(receiver, "grpc", CAXTON_TELEMETRY__OTLP_METRICS_INTERVAL="1h")
        async with node_process(tmp_path, **wanted) as node:
            await ask(node.url)
            assert await node.stop() == 0
        assert delivered(receiver) == 2


async def test_nobody_gets_metrics_who_was_not_meant_to(tmp_path):
    with otlp_receiver() as receiver:
        async with node_process(tmp_path, **telemetry(receiver, "grpc")) as node:
            await ask(node.url)
        assert receiver.metrics == {}


async def test_metrics_that_have_nowhere_to_go_are_said_so(tmp_path):
    alone = {"CAXTON_TELEMETRY__OTLP_METRICS_INTERVAL": "1s", "CAXTON_MEMORY__MODEL": "none"}
    async with node_process(tmp_path, **alone) as node:
        async with asyncio.timeout(DEADLINE_S):
            while "names no receiver" not in node.log.read_text():
                await asyncio.sleep(0.05)


async def test_a_receiver_that_is_away_costs_a_line_of_the_log(tmp_path):
    with otlp_receiver() as receiver:
        gone = telemetry(receiver, "http", CAXTON_TELEMETRY__OTLP_METRICS_INTERVAL="1s")
    async with node_process(tmp_path, **gone) as node:
        await ask(node.url)
        async with asyncio.timeout(DEADLINE_S):
            while "does not take metrics" not in node.log.read_text():
                await asyncio.sleep(0.05)
        await ask_again(node.url)


async def ask_again(url):
    question = {"performative": "request", "receiver": "Echo", "content": "hi", "wait_s": 10}
    async with (
        aiohttp.ClientSession() as session,
        session.post(f"{url}/api/v1/messages", json=question) as response,
    ):
        assert response.status == 200
