"""Nodes that form a ring: real processes, real sockets, and a real serf agent beside them."""

import asyncio
import base64
import re
from contextlib import AsyncExitStack, asynccontextmanager

import aiohttp
import pytest

from caxton import __version__
from caxton_node.domain.errors import Conflict
from tests.integration.serf_agents import Agent, needs_serf
from tests.node_process import node_process
from tests.opened_node import opened_node
from tests.rest_node import read_events, rest_node

DEADLINE_S = 25.0
ANYWHERE = "127.0.0.1:0"
FAST = {"CAXTON_CLUSTER__PRESET": "fast"}
OLD_KEY = base64.b64encode(bytes(range(32))).decode()
NEW_KEY = base64.b64encode(bytes(range(16))).decode()


async def until(condition):
    """Return what a condition finds, once it finds something."""
    async with asyncio.timeout(DEADLINE_S):
        while not (found := await condition()):
            await asyncio.sleep(0.05)
    return found


class Client:
    """Asks nodes by their URLs."""

    def __init__(self, session):
        self._session = session

    async def get(self, node, path):
        async with self._session.get(f"{node.url}/api/v1/cluster/{path}") as response:
            assert response.status == 200
            return await response.json()

    async def members(self, node):
        document = await self.get(node, "members")
        return {member["name"]: member for member in document["items"]}

    async def address(self, node):
        return (await self.get(node, "status"))["address"]

    async def sees(self, node, **states):
        """Return the members of a node once they are in these states."""

        async def is_so():
            members = await self.members(node)
            return members if {n: m["state"] for n, m in members.items()} == states else None

        return await until(is_so)


@asynccontextmanager
async def three_nodes(tmp_path):
    """A ring of three processes, a, b and c, and a client to ask them."""
    nodes = {}
    async with AsyncExitStack() as stack:
        session = await stack.enter_async_context(aiohttp.ClientSession())
        client = Client(session)
        for name in "abc":
            folder = tmp_path / name
            folder.mkdir()
            joins = ("--peers", await client.address(nodes["a"])) if nodes else ()
            options = ("--name", name, "--gossip", ANYWHERE, *joins)
            process = node_process(folder, *options, **FAST)
            nodes[name] = await stack.enter_async_context(process)
        yield nodes, client


async def test_three_nodes_see_each_other_with_their_tags_until_one_dies_and_one_leaves(tmp_path):
    async with three_nodes(tmp_path) as (nodes, client):
        for node in nodes.values():
            await client.sees(node, a="alive", b="alive", c="alive")

        async def is_tagged():
            members = await client.members(nodes["c"])
            tags = {name: member["tags"] for name, member in members.items()}
            own = {(tags[name].pop("epoch"), tags[name].pop("grpc", "")) for name in tags}
            is_each_own = len(own) == 3 and all(at.startswith("127.0.0.1:") for _, at in own)
            return is_each_own and tags == {
                name: {
                    "role": "caxton",
                    "version": __version__,
                    "http": node.url.removeprefix("http://"),
                }
                for name, node in nodes.items()
            }

        await until(is_tagged)
        await nodes["b"].kill()
        for name in "ac":
            await client.sees(nodes[name], a="alive", b="dead", c="alive")
        assert await nodes["c"].stop() == 0
        members = await client.sees(nodes["a"], a="alive", b="dead", c="left")
        assert [name for name, member in members.items() if member["is_self"]] == ["a"]


def ring(name, **more):
    flags = {"node__name": name, "cluster__gossip": ANYWHERE, "cluster__preset": "fast"}
    return flags | {f"cluster__{key}": value for key, value in more.items()}


@pytest.fixture
def folders(tmp_path):
    for name in "ab":
        (tmp_path / name).mkdir()
    return tmp_path / "a", tmp_path / "b"


async def test_who_comes_and_goes_is_told_to_those_who_watch(folders):
    async with rest_node(folders[0], **ring("a")) as a:
        address = (await a.get("cluster/status"))["address"]
        async with a.session.get(a.address("events"), params={"kind": "member."}) as response:
            events = read_events(response)
            assert (await anext(events))[0] == "", "the stream is open"
            async with opened_node(folders[1], **ring("b", peers=address)):
                seen = [data async for _, data in _until(events, "member.joined")]
            seen += [data async for _, data in _until(events, "member.left")]
    assert seen[0]["name"] == "b"
    assert seen[0]["tags"].items() >= {"role": "caxton", "version": __version__}.items()
    assert (seen[-1]["name"], seen[-1]["state"]) == ("b", "left")


async def _until(events, kind):
    async with asyncio.timeout(DEADLINE_S):
        async for name, data in events:
            if name:
                yield name, data
            if name == kind:
                return


async def test_a_node_that_left_goes_on_alone(folders):
    async with rest_node(folders[0], **ring("a")) as a:
        address = (await a.get("cluster/status"))["address"]
        async with rest_node(folders[1], **ring("b", peers=address)) as b:
            client = Client(a.session)
            await client.sees(a, a="alive", b="alive")
            assert (await b.post("cluster/leave"))["is_announced"] is True
            await client.sees(a, a="alive", b="left")
            assert (await b.get("cluster/status"))["state"] == "left"
            assert (await b.get("/health"))["status"] == "ok"


async def test_the_ring_is_counted_in_the_metrics(folders):
    async with rest_node(folders[0], **ring("a")) as a:
        address = (await a.get("cluster/status"))["address"]
        async with rest_node(folders[1], **ring("b", peers=address)) as b:
            await Client(a.session).sees(b, a="alive", b="alive")

            async def is_probed():
                async with b.session.get(b.address("/metrics")) as response:
                    text = await response.text()
                return text if counted(text, 'probes_total{result="answered"}') else None

            text = await until(is_probed)
    assert 'caxton_ring_members{state="alive"} 2.0' in text
    for way in ("in", "out"):
        for transport in ("datagram", "stream"):
            assert counted(text, f'bytes_total{{direction="{way}",transport="{transport}"}}')


def counted(text, series):
    """Return the value of a series of the ring."""
    line = re.search(f"^caxton_ring_{re.escape(series)} (.+)$", text, re.MULTILINE)
    return float(line[1])


async def test_a_node_outside_of_any_ring_has_no_metrics_of_one(tmp_path):
    async with (
        rest_node(tmp_path) as node,
        node.session.get(node.address("/metrics")) as response,
    ):
        assert "caxton_ring" not in await response.text()


async def test_a_second_node_of_one_name_is_told_of(folders):
    async with rest_node(folders[0], **ring("a")) as a:
        address = (await a.get("cluster/status"))["address"]
        async with a.session.get(a.address("events"), params={"kind": "member."}) as response:
            events = read_events(response)
            assert (await anext(events))[0] == "", "the stream is open"
            async with opened_node(folders[1], **ring("a", peers=address)):
                seen = [data async for _, data in _until(events, "member.conflict")]
    assert seen[-1]["name"] == "a"
    assert seen[-1]["address"] != address


async def test_a_node_that_left_joins_again(folders):
    async with rest_node(folders[0], **ring("a")) as a:
        address = (await a.get("cluster/status"))["address"]
        async with rest_node(folders[1], **ring("b", peers=address)) as b:
            client = Client(a.session)
            await client.sees(a, a="alive", b="alive")
            await b.post("cluster/leave")
            await client.sees(a, a="alive", b="left")
            assert await b.post("cluster/join") == {"through": address}
            await client.sees(a, a="alive", b="alive")
            await client.sees(b, a="alive", b="alive")
            assert (await b.get("cluster/status"))["state"] == "joined"


async def test_a_node_alone_joins_whom_it_is_told(folders):
    async with rest_node(folders[0], **ring("a")) as a, rest_node(folders[1], **ring("b")) as b:
        refused = await b.post("cluster/join", status=409)
        assert refused["code"] == "state_conflict"
        malformed = await b.post("cluster/join", {"peers": ["host:70000"]}, status=422)
        assert malformed["code"] == "invalid_request"
        await b.post("cluster/join", {"peers": [(await a.get("cluster/status"))["address"]]})
        await Client(a.session).sees(a, a="alive", b="alive")


async def test_keys_are_rotated_from_any_node_while_the_ring_runs(folders):
    async with rest_node(folders[0], **ring("a", key=OLD_KEY)) as a:
        address = (await a.get("cluster/status"))["address"]
        async with rest_node(folders[1], **ring("b", key=OLD_KEY, peers=address)) as b:
            client = Client(a.session)
            await client.sees(a, a="alive", b="alive")
            [old] = (await a.get("cluster/keys"))["items"]
            new = await a.post("cluster/keys", {"key": NEW_KEY}, status=201)
            used = await b.post(f"cluster/keys/{new['fingerprint']}/use")
            old_path = f"cluster/keys/{old['fingerprint']}"
            await a.call("DELETE", old_path)
            gone = await b.call("DELETE", old_path, status=404)
            listed = await a.get("cluster/keys")
            for answer in (new, used, listed):
                assert answer["nodes"]["done"] == ["a", "b"]
                assert NEW_KEY not in str(answer)
            assert gone["code"] == "key_not_found"
            assert listed["items"] == [
                {
                    "fingerprint": new["fingerprint"],
                    "is_in_use": True,
                    "held_by": 2,
                    "used_by": 2,
                }
            ]
            await b.post("cluster/leave")
            await client.sees(a, a="alive", b="left")


async def test_a_node_killed_after_a_rotation_comes_back_with_the_keys_of_the_ring(folders):
    """Its settings still name the key that the ring has forgotten."""
    secret = {**FAST, "CAXTON_CLUSTER__KEY": OLD_KEY}
    async with rest_node(folders[0], **ring("a", key=OLD_KEY)) as a:
        client = Client(a.session)
        options = ("--name", "b", "--gossip", ANYWHERE, "--peers", await client.address(a))
        async with node_process(folders[1], *options, **secret) as b:
            await client.sees(a, a="alive", b="alive")
            [old] = (await a.get("cluster/keys"))["items"]
            new = await a.post("cluster/keys", {"key": NEW_KEY}, status=201)
            await a.post(f"cluster/keys/{new['fingerprint']}/use")
            gone = await a.call("DELETE", f"cluster/keys/{old['fingerprint']}")
            assert gone["nodes"]["done"] == ["a", "b"]
            await b.kill()
        await client.sees(a, a="alive", b="dead")

        async with node_process(folders[1], *options, **secret):
            await client.sees(a, a="alive", b="alive")


async def test_a_node_whose_settings_have_changed_since_a_rotation_says_so(tmp_path, caplog):
    async with rest_node(tmp_path, **ring("a", key=OLD_KEY)) as a:
        new = await a.post("cluster/keys", {"key": NEW_KEY}, status=201)
        await a.post(f"cluster/keys/{new['fingerprint']}/use")
    other_key = base64.b64encode(b"o" * 32).decode()

    async with rest_node(tmp_path, **ring("a", key=other_key)) as a:
        [problem] = (await a.get("cluster/status"))["problems"]
        [key] = (await a.get("cluster/keys"))["items"]

    assert f"the settings name the keys {key['fingerprint']}, and" in problem
    assert f"rotated to {new['fingerprint']}" in problem
    assert problem in caplog.text
    assert not any(secret in caplog.text for secret in (OLD_KEY, NEW_KEY, other_key))


async def test_the_key_in_use_stays_and_an_unknown_one_is_not_found(tmp_path):
    async with rest_node(tmp_path, **ring("a", key=OLD_KEY)) as a:
        [key] = (await a.get("cluster/keys"))["items"]
        refused = await a.call("DELETE", f"cluster/keys/{key['fingerprint']}", status=409)
        assert refused["code"] == "state_conflict"
        missing = await a.post(f"cluster/keys/{'0' * 16}/use", status=404)
        assert missing["code"] == "key_not_found"


async def test_a_node_without_the_key_is_kept_out(folders):
    async with rest_node(folders[0], **ring("a", key=OLD_KEY)) as a:
        address = (await a.get("cluster/status"))["address"]
        async with rest_node(folders[1], **ring("b", peers=address)) as b:

            async def is_heard():
                return a.node.ring.cluster.statistics.not_for_us

            await until(is_heard)
            assert (await b.get("cluster/status"))["state"] == "joining"
            assert list(await Client(a.session).members(a)) == ["a"]


async def test_peers_that_do_not_answer_are_told_and_do_not_stop_the_node(tmp_path, monkeypatch):
    monkeypatch.setattr("caxton_node.ring.JOIN_REPORT_FIRST_S", 0.05)
    # Port 9 discards what it gets, where anybody listens there at all.
    async with rest_node(tmp_path, **ring("a", peers="127.0.0.1:9")) as a:

        async def problems():
            return (await a.get("cluster/status"))["problems"]

        assert "127.0.0.1:9" in (await until(problems))[0]
        readiness = await a.get("/ready")
        assert readiness["status"] == "ready"
        assert readiness["components"]["ring"].startswith("degraded: ")


async def test_a_node_finds_its_ring_again_without_being_told_where(folders):
    async with rest_node(folders[0], **ring("a")) as a:
        client = Client(a.session)
        address = await client.address(a)
        async with rest_node(folders[1], **ring("b", peers=address)) as b:
            await client.sees(b, a="alive", b="alive")
        async with rest_node(folders[1], **ring("b")) as b:
            await client.sees(b, a="alive", b="alive")


async def test_two_nodes_of_one_name_are_told_to_take_another(folders, caplog):
    async with rest_node(folders[0], **ring("a")) as a:
        address = (await a.get("cluster/status"))["address"]
        async with opened_node(folders[1], **ring("a", peers=address)):

            async def is_told():
                return "two nodes are called a" in caplog.text

            await until(is_told)


async def test_a_node_in_no_ring_knows_itself_and_cannot_leave(tmp_path):
    async with rest_node(tmp_path, node__name="a") as a:
        [member] = (await a.get("cluster/members"))["items"]
        assert (member["name"], member["state"], member["is_self"]) == ("a", "alive", True)
        assert (await a.get("cluster/status"))["state"] == "off"
        assert (await a.get("cluster/keys"))["items"] == []
        refused = await a.post("cluster/leave", status=409)
        assert "--gossip" in refused["hint"]


async def test_a_key_that_is_none_is_refused_and_not_repeated(tmp_path):
    async with rest_node(tmp_path, **ring("a", key=OLD_KEY)) as a:
        refused = await a.post("cluster/keys", {"key": "c2VjcmV0"}, status=422)
        assert "16, 24 or 32 bytes, not 6" in refused["errors"][0]["message"]
        assert "c2VjcmV0" not in str(refused)


async def test_a_taken_port_is_told_in_a_sentence(folders):
    async with rest_node(folders[0], **ring("a")) as a:
        address = (await a.get("cluster/status"))["address"]
        with pytest.raises(Conflict, match="The ring cannot listen on"):
            async with opened_node(folders[1], **ring("b") | {"cluster__gossip": address}):
                raise AssertionError("it opened")


@needs_serf
async def test_serf_sees_our_node_with_its_tags_and_sees_it_leave(tmp_path):
    serf = Agent("go0", tmp_path / "go0.log")
    async with AsyncExitStack() as stack:
        await serf.start(stack)
        await serf.sees("go0", "alive")
        async with rest_node(tmp_path, **ring("a", preset="lan", peers=serf.address)) as a:
            row = await serf.sees("a", "alive")
            assert row["tags"].items() >= {"role": "caxton", "version": __version__}.items()
            members = await Client(a.session).sees(a, a="alive", go0="alive")
            assert members["go0"]["tags"] == {"role": "go"}
        await serf.sees("a", "left")
