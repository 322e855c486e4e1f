"""Nodes that are processes: one is killed, stopped, restarted, and its agents run on."""

import asyncio
import signal
import time

import aiohttp
import pytest

from tests.integration.process_lab import cluster, until
from tests.opened_node import python_agent

FAILOVER_S = 10.0


async def test_a_killed_nodes_agents_run_on_with_what_was_accepted(tmp_path):
    async with cluster(tmp_path, "a", "b", "c") as lab:
        for number in range(5):
            await lab.deploy("c", python_agent(f"Echo{number}", "Echo"))
        await lab.post("c", "agents/Echo0/suspend")
        for number in range(5):
            await lab.runs_at(f"Echo{number}", "c", seen_by="ab")
        await asyncio.sleep(1.0)  # the definitions travel behind the news
        accepted = [
            await lab.post("a", "messages", _message("Echo0", number), status=(202,))
            for number in range(10)
        ]
        killed_at = time.monotonic()
        await lab.nodes["c"].kill()

        async def all_run():
            homes = [await lab.homes("a", f"Echo{number}") for number in range(5)]
            return all(home in (["a"], ["b"]) for home in homes)

        await until(all_run, FAILOVER_S)
        took_s = time.monotonic() - killed_at
        print(f"failover of 5 agents: {took_s:.2f} s after kill -9")
        [home] = await lab.homes("a", "Echo0")
        await lab.post(home, "agents/Echo0/resume")
        for one in accepted:
            await until(lambda one=one: _is_delivered(lab, "a", one["message_id"]))
        partition = await lab.get("a", "cluster/partition")
        assert (partition["mode"], partition["alive"], partition["expected"]) == ("majority", 2, 3)
        assert partition["unreachable"] == ["c"]


def _message(receiver, number):
    return {
        "performative": "request",
        "sender": "client",
        "receiver": receiver,
        "content": {"n": number},
        "conversation_id": f"conv-{number}",
    }


async def _is_delivered(lab, name, message_id):
    document = await lab.get(name, f"messages/{message_id}")
    return document["status"] == "delivered"


async def test_every_node_takes_every_request(tmp_path):
    async with cluster(tmp_path, "a", "b", "c") as lab:
        source = {"source": python_agent("Echo", "Echo"), "format": "toml"}
        await lab.post("a", "agents?node=c&replicas=2", source)
        for name in "abc":
            await until(lambda name=name: lab.has_homes(name, "Echo", 2))
        assert "c" in await lab.homes("b", "Echo")
        await lab.post("b", "agents/Echo/scale", {"replicas": 1})
        home = await until(lambda: lab.only_home("b", "Echo"))
        target = "b" if home == "a" else "a"
        await lab.post("c", "agents/Echo/move", {"node": target})
        await lab.runs_at("Echo", target, seen_by="abc")
        again = await lab.post("c", "agents", source)
        assert again["is_changed"] is False, "it is deployed where it runs"
        for name in "abc":
            [shown] = (await lab.get(name, "agents"))["items"]
            assert (shown["name"], shown["nodes"]) == ("Echo", [target])
            [provider] = (await lab.get(name, "capabilities/test"))["agents"]
            assert (provider["name"], provider["node"]) == ("Echo", target)
        other = next(name for name in "abc" if name != target)
        address = f"{lab.nodes[other].url}/api/v1/agents/Echo"
        async with lab.session.delete(address) as response:
            assert response.status == 204
        await until(lambda: lab.has_homes(other, "Echo", 0))


@pytest.mark.slow
async def test_a_node_that_was_frozen_gives_up_what_others_took_over(tmp_path):
    async with cluster(tmp_path, "a", "b", "c") as lab:
        await lab.deploy("c", python_agent("Echo", "Echo"))
        await lab.runs_at("Echo", "c", seen_by="ab")
        await asyncio.sleep(1.0)
        frozen = lab.nodes["c"].process
        frozen.send_signal(signal.SIGSTOP)

        async def has_moved():
            return await lab.homes("a", "Echo") in (["a"], ["b"])

        await until(has_moved, FAILOVER_S + 5)
        frozen.send_signal(signal.SIGCONT)
        await until(lambda: lab.is_whole("a", "b", "c"))
        home = await until(lambda: lab.only_home("a", "Echo"))
        assert home != "c"
        await lab.runs_at("Echo", home, seen_by="abc")
        agent = await lab.get("c", "agents/Echo")
        assert agent["nodes"] == [home]


async def test_a_restarted_node_does_not_run_what_others_took_over(tmp_path):
    async with cluster(tmp_path, "a", "b", "c") as lab:
        await lab.deploy("c", python_agent("Echo", "Echo"))
        await lab.runs_at("Echo", "c", seen_by="ab")
        await asyncio.sleep(1.0)
        await lab.nodes["c"].kill()

        async def has_moved():
            return await lab.homes("a", "Echo") in (["a"], ["b"])

        await until(has_moved, FAILOVER_S)
        began_at = time.monotonic()
        await lab.start("c")
        print(f"a node that had agents was ready after {time.monotonic() - began_at:.2f} s")
        await until(lambda: lab.is_whole("a", "b", "c"))
        [home] = await lab.homes("a", "Echo")
        await lab.runs_at("Echo", home, seen_by="abc")
        log = (tmp_path / "c" / "node.log").read_text()
        assert "runs on another node by now" in log
        assert "left Echo" not in log


@pytest.mark.slow
async def test_a_minority_refuses_deployments_until_it_is_healed(tmp_path):
    async with cluster(tmp_path, "a", "b", "c") as lab:
        await lab.deploy("a", python_agent("Own", "Echo"))
        for name in "bc":
            lab.nodes[name].process.send_signal(signal.SIGSTOP)

        async def is_isolated():
            return (await lab.get("a", "cluster/partition"))["mode"] == "isolated"

        await until(is_isolated)
        refused = await lab.post(
            "a",
            "agents",
            {"source": python_agent("New", "Echo"), "format": "toml"},
            status=(503,),
        )
        assert refused["code"] == "no_majority"
        assert "caxton cluster remove" in refused["hint"]
        answer = await lab.post("a", "agents/Own/chat", {"message": "hello"})
        assert "hello" in str(answer)
        for name in "bc":
            lab.nodes[name].process.send_signal(signal.SIGCONT)

        async def is_healed():
            return (await lab.get("a", "cluster/partition"))["mode"] == "majority"

        await until(is_healed)
        await lab.deploy("a", python_agent("New", "Echo"))


@pytest.mark.timeout(120)
async def test_a_rolling_restart_loses_no_message(tmp_path):
    async with cluster(tmp_path, "a", "b", "c") as lab:
        for number in range(6):
            await lab.deploy("abc"[number % 3], python_agent(f"Echo{number}", "Echo"))
        for number in range(6):
            await lab.runs_at(f"Echo{number}", "abc"[number % 3], seen_by="abc")
        accepted, is_over = [], asyncio.Event()
        async with asyncio.TaskGroup() as clients:
            clients.create_task(_keep_sending(lab, accepted, is_over))
            for name in "abc":
                assert await lab.nodes[name].stop() == 0
                others = [other for other in "abc" if other != name]
                lab.addresses[:] = [
                    (await lab.get(other, "cluster/status"))["address"] for other in others
                ]
                await lab.start(name)
                await until(lambda: lab.is_whole("a", "b", "c"))
            is_over.set()
        assert len(accepted) > 100
        print(f"{len(accepted)} messages accepted during a rolling restart of three nodes")
        for name, message_id in accepted:
            await until(lambda n=name, m=message_id: _is_delivered(lab, n, m))


async def _keep_sending(lab, accepted, is_over):
    number = 0
    while not is_over.is_set():
        number += 1
        name = "abc"[number % 3]
        address = f"{lab.nodes[name].url}/api/v1/messages"
        try:
            body = _message(f"Echo{number % 6}", number)
            async with lab.session.post(address, json=body) as response:
                if response.status == 202:
                    accepted.append((name, (await response.json())["message_id"]))
        except aiohttp.ClientError:
            pass  # it is being restarted: nothing was promised
        await asyncio.sleep(0.02)
