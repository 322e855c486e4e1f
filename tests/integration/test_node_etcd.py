"""A node with an etcd, without one, and with one that goes away."""

import asyncio
import itertools
import json
from contextlib import AsyncExitStack

import aiohttp
import grpc
import pytest

from caxton.v1.cluster_pb2 import ClusterLocksRequest
from caxton.v1.cluster_pb2_grpc import ClusterStub
from caxton_cluster.metadata import EtcdSettings
from caxton_cluster.metadata.etcd import EtcdStore
from caxton_node.config.live import CLUSTER_WIDE
from caxton_node.domain.errors import Rejected
from caxton_node.metadata import NODES_FOLDER, SETTINGS_FOLDER
from tests.grpc_node import grpc_node
from tests.integration.etcd_cluster import etcd_cluster, needs_etcd
from tests.node_process import node_process
from tests.opened_node import ask, deploy, opened_node, python_agent
from tests.rest_node import read_events, rest_node

PATIENCE_S = 20.0
PREFIXES = (f"/n{number}/" for number in itertools.count())


@pytest.fixture(scope="module")
def whole_etcd(tmp_path_factory):
    with etcd_cluster(tmp_path_factory.mktemp("etcd"), count=1) as cluster:
        yield cluster


@pytest.fixture
def etcd(whole_etcd):
    yield whole_etcd
    whole_etcd.mend()


@pytest.fixture
def flags(etcd):
    return {
        "etcd__endpoints": ",".join(etcd.endpoints),
        "etcd__prefix": next(PREFIXES),
        "etcd__timeout": "1s",
        "etcd__attempt_timeout": "500ms",
    }


@pytest.fixture
async def store(etcd, flags):
    """The same keys, seen from outside."""
    settings = EtcdSettings(endpoints=etcd.endpoints, prefix=flags["etcd__prefix"])
    async with EtcdStore(settings) as opened:
        yield opened


async def until(condition):
    async with asyncio.timeout(PATIENCE_S):
        while not (found := await condition()):
            await asyncio.sleep(0.02)
    return found


def becomes(node, connection):
    async def is_so():
        return node.metadata.state.connection.value == connection

    return until(is_so)


# Without etcd.


async def test_a_node_without_etcd_says_so_and_what_would_help(tmp_path):
    async with rest_node(tmp_path) as rest:
        status = await rest.get("cluster/status")
        assert status["metadata"]["state"] == "off"
        assert status["metadata"]["reason"] == "not configured"
        assert "etcd" not in (await rest.get("/ready"))["components"]
        for method, path in (("GET", "cluster/locks"), ("GET", "cluster/config")):
            problem = await rest.call(method, path, status=409)
            assert problem["code"] == "state_conflict"
            assert "--etcd" in problem["hint"]
        body = {"value": "debug"}
        await rest.call("PUT", "cluster/config/log.level", body, status=409)
        await rest.call("DELETE", "cluster/config/log.level", status=409)


async def test_settings_for_etcd_that_contradict_each_other_are_refused(tmp_path):
    flags = {"etcd__endpoints": "http://127.0.0.1:2379,https://127.0.0.1:2380"}
    with pytest.raises(Rejected, match="http and https cannot be mixed"):
        async with opened_node(tmp_path, **flags):
            pytest.fail("it cannot start")


async def test_a_node_starts_and_answers_though_its_etcd_is_not_there(tmp_path):
    flags = {"etcd__endpoints": "http://127.0.0.1:1", "etcd__timeout": "200ms"}
    flags["etcd__attempt_timeout"] = "200ms"
    async with rest_node(tmp_path, **flags) as rest:
        await deploy(rest.node, python_agent("Echo", "Echo"))
        assert (await ask(rest.node, receiver="Echo")).performative == "inform"
        ready = await rest.get("/ready")
        assert ready["components"]["etcd"].startswith("degraded: ")
        problem = await rest.get("cluster/locks", status=503)
        assert problem["code"] == "metadata_unavailable"


# With one.


@needs_etcd
async def test_locks_of_the_cluster_are_listed(tmp_path, flags, store):
    async with rest_node(tmp_path, **flags) as rest:
        async with store.lock("job", holder="elsewhere", ttl_s=10, timeout_s=5) as lock:
            document = await rest.get("cluster/locks")
        assert document["items"] == [
            {
                "name": "job",
                "holder": "elsewhere",
                "fencing_token": lock.token,
                "lease_id": f"{lock.lease.id:x}",
                "waiting": 0,
            }
        ]
        assert (await rest.get("cluster/locks"))["total"] == 0


@needs_etcd
async def test_many_locks_come_in_pages_and_by_prefix(tmp_path, flags, store):
    async with rest_node(tmp_path, **flags) as rest, AsyncExitStack() as stack:
        for name in ("a1", "a2", "a3", "b1"):
            lock = store.lock(name, holder="n", ttl_s=10, timeout_s=5)
            await stack.enter_async_context(lock)
        first = await rest.get("cluster/locks?prefix=a&limit=2")
        assert ([each["name"] for each in first["items"]], first["total"]) == (["a1", "a2"], 3)
        then = await rest.get(f"cluster/locks?prefix=a&limit=2&cursor={first['next_cursor']}")
        assert [each["name"] for each in then["items"]] == ["a3"]
        assert then["next_cursor"] is None


@needs_etcd
async def test_locks_are_listed_over_grpc(tmp_path, flags, store):
    async with (
        grpc_node(tmp_path, **flags) as served,
        grpc.aio.insecure_channel(served.address) as channel,
        store.lock("job", holder="elsewhere", ttl_s=10, timeout_s=5) as lock,
    ):
        answer = await ClusterStub(channel).Locks(ClusterLocksRequest(), timeout=PATIENCE_S)
        (listed,) = answer.locks
        assert (listed.name, listed.holder) == ("job", "elsewhere")
        assert listed.fencing_token == lock.token


@needs_etcd
async def test_a_setting_for_the_whole_cluster_comes_into_force_on_every_node(tmp_path, flags):
    async with (
        rest_node(tmp_path / "a", **flags, node__name="a") as one,
        rest_node(tmp_path / "b", **flags, node__name="b") as other,
    ):
        told = await one.call("PUT", "cluster/config/retry.attempts", {"value": 9}, status=200)
        assert (told["key"], told["value"], told["set_by"]) == ("retry.attempts", 9, "a")

        async def is_in_force():
            setting = (await other.get("config"))["items"]["retry.attempts"]
            return setting == {"value": 9, "source": "cluster"}

        await until(is_in_force)
        (listed,) = (await other.get("cluster/config"))["items"]
        assert listed == told
        await other.call("DELETE", "cluster/config/retry.attempts", status=204)

        async def is_its_own_again():
            setting = (await one.get("config"))["items"]["retry.attempts"]
            return setting == {"value": 5, "source": "default"}

        await until(is_its_own_again)
        await one.call("DELETE", "cluster/config/retry.attempts", status=404)


@needs_etcd
async def test_only_what_can_be_told_a_whole_cluster_is_taken(tmp_path, flags):
    async with rest_node(tmp_path, **flags) as rest:
        problem = await rest.call("PUT", "cluster/config/http.bind", {"value": "x"}, status=404)
        assert problem["code"] == "key_not_found"
        assert all(key in problem["hint"] for key in CLUSTER_WIDE)
        problem = await rest.call("PUT", "cluster/config/log.level", {"value": "loud"}, status=422)
        assert problem["code"] == "invalid_settings"
        for body in ({}, {"value": None}, {"value": True, "more": 1}, {"value": [1]}):
            await rest.call("PUT", "cluster/config/log.level", body, status=422)
        assert (await rest.get("cluster/config"))["items"] == []


@needs_etcd
async def test_what_this_version_does_not_understand_is_left_to_others(tmp_path, flags, store):
    await store.put(SETTINGS_FOLDER + "later.setting", b'{"value": 1, "set_by": "x", "set_at": 1}')
    await store.put(SETTINGS_FOLDER + "log.level", b"no json \xff")
    said = json.dumps({"value": "7", "set_by": "x", "set_at": 1}).encode()
    await store.put(SETTINGS_FOLDER + "retry.attempts", said)
    async with rest_node(tmp_path, **flags) as rest:

        async def is_followed():
            return (await rest.get("config"))["items"]["retry.attempts"]["value"] == 7

        await until(is_followed)
        keys = [each["key"] for each in (await rest.get("cluster/config"))["items"]]
        assert keys == ["later.setting", "retry.attempts"]


@needs_etcd
async def test_what_the_cluster_is_told_is_shown_as_it_happens(tmp_path, flags):
    stream = {"Accept": "text/event-stream"}
    async with rest_node(tmp_path, **flags) as rest:
        await becomes(rest.node, "connected")
        address = rest.address("events?kind=cluster.")
        async with rest.session.get(address, headers=stream) as response:
            body = {"value": "WARN"}
            await rest.call("PUT", "cluster/config/log.level", body, status=200)
            async with asyncio.timeout(PATIENCE_S):
                told = [data async for name, data in _first(read_events(response))]
        assert (told[0]["key"], told[0]["set_by"]) == ("log.level", "node-1")
        assert told[0]["value"] == "warning", "as the settings spell it"


async def _first(events):
    """Yield the first event that is not a sign of life."""
    async for name, data in events:
        if name:
            yield name, data
            return


@needs_etcd
async def test_a_node_and_its_agents_can_be_read_in_etcd_while_it_lives(tmp_path, flags, store):
    folder = f"{NODES_FOLDER}node-1/"
    async with opened_node(tmp_path, **flags) as node:
        await deploy(node, python_agent("Echo", "Echo", capability="echo"))

        async def is_there():
            return await store.get(f"{folder}agents/Echo")

        item = await until(is_there)
        assert json.loads(item.value) == {
            "capabilities": ["echo"],
            "state": "running",
            "version": "1.0.0",
        }
        assert json.loads((await store.get(f"{folder}node")).value)["name"] == "node-1"
    assert (await store.list(folder)).items == ()


@needs_etcd
async def test_losing_etcd_is_said_and_stops_no_message(tmp_path, etcd, flags):
    async with rest_node(tmp_path, **flags) as rest:
        node = rest.node
        await deploy(node, python_agent("Echo", "Echo"))
        await rest.call("PUT", "cluster/config/retry.attempts", {"value": 9}, status=200)

        async def is_in_force():
            return (await rest.get("config"))["items"]["retry.attempts"]["value"] == 9

        await until(is_in_force)
        await asyncio.to_thread(etcd.members[0].kill)
        await becomes(node, "degraded")
        assert (await ask(node, receiver="Echo")).performative == "inform"
        await deploy(node, python_agent("Later", "Echo"))
        ready = await rest.get("/ready")
        assert ready["status"] == "ready"
        assert ready["components"]["etcd"].startswith("degraded: ")
        status = (await rest.get("cluster/status"))["metadata"]
        assert (status["state"], bool(status["reason"])) == ("degraded", True)
        metrics = await (await rest.session.get(f"{rest.url}/metrics")).text()
        assert 'caxton_etcd_state{state="degraded"} 1.0' in metrics
        assert "caxton_etcd_losses_total 1.0" in metrics
        assert await is_in_force(), "what was told last stays"
        etcd.members[0].start()
        await becomes(node, "connected")
        await rest.call("PUT", "cluster/config/retry.attempts", {"value": 7}, status=200)

        async def is_heard():
            return (await rest.get("config"))["items"]["retry.attempts"]["value"] == 7

        await until(is_heard)


@needs_etcd
async def test_a_running_node_follows_the_log_level_of_the_cluster(tmp_path, etcd, flags):
    prefix = flags["etcd__prefix"]
    options = ("--etcd", ",".join(etcd.endpoints))
    async with (
        node_process(tmp_path, *options, CAXTON_ETCD__PREFIX=prefix) as node,
        aiohttp.ClientSession(base_url=node.url) as session,
    ):
        async with session.put(
            "/api/v1/cluster/config/log.level", json={"value": "error"}
        ) as answer:
            assert answer.status == 200

        async def is_in_force():
            async with session.get("/api/v1/config") as answer:
                return (await answer.json())["items"]["log.level"]["source"] == "cluster"

        await until(is_in_force)
        assert await node.stop() == 0
    log = (tmp_path / "node.log").read_text()
    assert "stopping" not in log, "an info line"
