"""Canaries on whole nodes: who gets them, when they come into force, and what ends them."""

import asyncio

import aiohttp
import pytest

from caxton_node.agentfile import AgentFormat
from caxton_node.domain.agent import AgentState
from caxton_node.domain.errors import Conflict, Unavailable
from caxton_node.domain.performatives import Performative
from caxton_node.runtime.rollout import CanarySettings
from tests import wasm_guests
from tests.node_process import node_process
from tests.opened_node import ask, deploy, opened_node, python_agent
from tests.rest_node import rest_node

ALL_OF_THEM = CanarySettings(share=1.0, watch_s=3_600.0, turns_min=10_000)
"""Every new conversation gets it, and it ends by command only."""

SOON = CanarySettings(share=1.0, watch_s=0.0, turns_min=3)


def version(number, handler="Echo", *, prefix=None):
    prefix = f"v{number} " if prefix is None else prefix
    return python_agent(
        "Ada", handler, more=f'version = "1.{number}.0"\n[parameters]\nprefix = "{prefix}"\n'
    )


async def try_out(node, source, settings=ALL_OF_THEM, **more):
    return await node.rollouts.begin(source, AgentFormat.TOML, settings, **more)


async def said(node, **more):
    return (await ask(node, receiver="Ada", **more)).body()


async def a_moment_later(node):
    """Let what begins next begin later, to the millisecond, than what has begun."""
    before = node.clock.now_ms()
    while node.clock.now_ms() == before:
        await asyncio.sleep(0)


async def ended(node):
    """Wait until the canary has ended by itself; return how."""
    async with asyncio.timeout(10):
        while node.rollouts.is_under_way("Ada"):
            await asyncio.sleep(0.01)
    return node.rollouts.find("Ada")


async def test_new_conversations_get_the_canary_and_old_ones_stay(tmp_path):
    async with opened_node(tmp_path) as node:
        await deploy(node, version(1))
        assert await said(node, conversation_id="old") == "v1 hello"
        await a_moment_later(node)
        begun = await try_out(node, version(2))
        assert begun.is_canary
        assert begun.number == 1
        assert await said(node, conversation_id="new") == "v2 hello"
        assert await said(node, conversation_id="old") == "v1 hello"
        assert await said(node, conversation_id="new") == "v2 hello"


async def test_a_share_of_conversations_gets_the_canary(tmp_path):
    async with opened_node(tmp_path) as node:
        await deploy(node, version(1))
        await try_out(node, version(2), CanarySettings(share=0.3, watch_s=3_600.0))
        answers = await asyncio.gather(*(said(node) for _ in range(200)))
        trial = node.rollouts.find("Ada").trial
    assert 30 <= answers.count("v2 hello") <= 90
    assert trial.of_canary.turns == answers.count("v2 hello")
    assert trial.of_running.turns == answers.count("v1 hello")


async def test_a_canary_is_no_version_until_it_is_promoted(tmp_path):
    async with opened_node(tmp_path) as node:
        await deploy(node, version(1))
        await try_out(node, version(2))
        assert [one.number for one in await node.deployments.versions("Ada")] == [1]
        promoted = await node.rollouts.promote("Ada")
        assert promoted.number == 2
        assert [one.version for one in await node.deployments.versions("Ada")] == ["1.1.0", "1.2.0"]
        assert await said(node) == "v2 hello"
        assert node.rollouts.find("Ada").outcome == "promoted"


async def test_a_canary_that_does_well_is_promoted_by_itself(tmp_path):
    async with opened_node(tmp_path) as node:
        await deploy(node, version(1))
        await try_out(node, version(2), SOON)
        for _ in range(3):
            await said(node)
        assert (await ended(node)).outcome == "promoted"
        assert node.roster.seat("Ada").spec.version == "1.2.0"


async def test_a_canary_that_crashes_is_rolled_back_and_the_agent_is_well(tmp_path):
    crashing = python_agent("Ada", "Counter", more='version = "1.2.0"\n')
    async with opened_node(tmp_path, retry__attempts=2) as node:
        await deploy(node, version(1))
        await try_out(node, crashing)
        for _ in range(3):
            await ask(node, receiver="Ada", content="crash")
        rollout = await ended(node)
        assert (rollout.outcome, rollout.reason.split(";")[0]) == (
            "rolled_back",
            f"{rollout.trial.of_canary.failures} of {rollout.trial.of_canary.turns} turns failed",
        )
        assert await said(node) == "v1 hello"
        seat = node.roster.seat("Ada")
        assert seat.state is AgentState.RUNNING
        assert seat.tenant.number == 1


async def test_a_turn_of_the_canary_ends_with_it_after_a_rollback(tmp_path):
    from tests.handlers import Gate

    Gate.close()
    gate = python_agent("Ada", "Gate", more='version = "1.2.0"\n')
    async with opened_node(tmp_path) as node:
        await deploy(node, version(1))
        await try_out(node, gate)
        async with asyncio.TaskGroup() as tasks:
            under_way = tasks.create_task(said(node, content="begun"))
            await Gate.entered.wait()
            node.rollouts.roll_back("Ada")
            assert await said(node, content="next") == "v1 next"
            Gate.opened.set()
        assert under_way.result() == "begun"


async def test_another_deployment_ends_a_canary(tmp_path):
    async with opened_node(tmp_path) as node:
        await deploy(node, version(1))
        await try_out(node, version(2))
        await deploy(node, version(3))
        assert await said(node) == "v3 hello"
        assert node.rollouts.find("Ada").outcome == "replaced"
        with pytest.raises(Conflict):
            await node.rollouts.promote("Ada")


async def test_an_agent_has_one_canary_at_a_time(tmp_path):
    async with opened_node(tmp_path) as node:
        await deploy(node, version(1))
        await try_out(node, version(2))
        with pytest.raises(Conflict, match="has a canary already"):
            await try_out(node, version(3))


async def test_an_agent_that_is_deleted_takes_its_canary_along(tmp_path):
    async with opened_node(tmp_path) as node:
        await deploy(node, version(1))
        await try_out(node, version(2))
        await node.deployments.delete("Ada")
        assert not node.rollouts.is_under_way("Ada")
        assert node.roster.find("Ada") is None


async def test_the_first_version_of_an_agent_is_no_canary(tmp_path):
    async with opened_node(tmp_path) as node:
        begun = await try_out(node, version(1))
        assert begun.is_new
        assert not begun.is_canary
        assert await said(node) == "v1 hello"


async def test_a_canary_is_begun_seen_and_ended_over_rest(tmp_path):
    async with rest_node(tmp_path) as rest:
        await rest.deploy(version(1))
        begun = await rest.deploy(version(2), params={"canary": "100"})
        assert (begun["is_canary"], begun["number"]) == (True, 1)
        seen = await rest.get("agents/Ada/rollout")
        assert (seen["outcome"], seen["share_percent"]) == ("under_way", 100.0)
        assert (seen["running"]["version"], seen["canary"]["version"]) == ("1.1.0", "1.2.0")
        back = await rest.post("agents/Ada/rollback")
        assert (back["version"], back["number"]) == ("1.1.0", 1)
        assert (await rest.get("agents/Ada/rollout"))["outcome"] == "rolled_back"
        await rest.post("agents/Ada/promote", status=409)


async def test_at_once_and_as_a_canary_contradict_each_other(tmp_path):
    async with rest_node(tmp_path) as rest:
        body = {"source": version(1), "format": "toml"}
        more = {"params": {"strategy": "immediate", "canary": "10"}}
        problem = await rest.post("agents", body, status=422, **more)
    assert problem["code"] == "invalid_request"


# Guests in WebAssembly.


async def guest(node, module, *, number, time="10s"):
    digest = await node.guests.put_module(module)
    return (
        f'name = "Ada"\nkind = "wasm"\nversion = "1.{number}.0"\ncapabilities = ["test"]\n'
        f'[wasm]\nsha256 = "{digest}"\n[limits]\ntime = "{time}"\n'
    )


async def test_a_guest_and_its_canary_count_each_for_themselves_until_it_is_promoted(tmp_path):
    async with opened_node(tmp_path) as node:
        await deploy(node, await guest(node, wasm_guests.COUNTER, number=1))
        assert [await said(node, conversation_id="old") for _ in range(2)] == ["001", "002"]
        await a_moment_later(node)
        await try_out(node, await guest(node, wasm_guests.COUNTER, number=2))
        # It began with a copy of what the other knows.
        assert await said(node, conversation_id="new") == "003"
        assert await said(node, conversation_id="old") == "003"
        assert await said(node, conversation_id="old") == "004"
        await node.rollouts.promote("Ada")
        assert await said(node, conversation_id="new") == "005"


async def test_a_canary_leaves_no_state_behind(tmp_path):
    async with opened_node(tmp_path) as node:
        await deploy(node, await guest(node, wasm_guests.COUNTER, number=1))
        await said(node)
        await try_out(node, await guest(node, wasm_guests.COUNTER, number=2))
        for _ in range(3):
            await said(node)
        given = await node.rollouts.find("Ada").trial.canary.give_state()
        assert given.state == b'"004"'
    async with opened_node(tmp_path) as node:
        assert await said(node) == "002"


async def test_a_guest_that_spins_is_rolled_back(tmp_path):
    spin = wasm_guests.guest(
        '(func (export "handle_message") (param i32 i32) (result i32) (loop br 0) i32.const 0)'
    )
    async with opened_node(tmp_path, retry__attempts=1) as node:
        await deploy(node, await guest(node, wasm_guests.COUNTER, number=1))
        await try_out(node, await guest(node, spin, number=2, time="100ms"))
        answers = [await ask(node, receiver="Ada") for _ in range(3)]
        assert {answer.performative for answer in answers} == {Performative.FAILURE}
        assert (await ended(node)).outcome == "rolled_back"
        assert await said(node) == "001"


# A node that is killed in the middle.


async def test_a_node_killed_with_a_canary_comes_back_with_the_version_in_force(tmp_path):
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=30)) as session:
        async with node_process(tmp_path) as node:
            api = f"{node.url}/api/v1"
            async with session.post(
                f"{api}/modules",
                data=wasm_guests.COUNTER,
                headers={"Content-Type": "application/wasm"},
            ) as response:
                digest = (await response.json())["sha256"]

            async def deployed(number, query):
                source = (
                    f'name = "Ada"\nkind = "wasm"\nversion = "1.{number}.0"\n'
                    f'capabilities = ["test"]\n[wasm]\nsha256 = "{digest}"\n'
                )
                body = {"source": source, "format": "toml"}
                async with session.post(f"{api}/agents{query}", json=body) as response:
                    assert response.status in (200, 201), await response.text()
                    return await response.json()

            async def chat():
                async with session.post(
                    f"{api}/agents/Ada/chat", json={"message": "count"}
                ) as response:
                    assert response.status == 200, await response.text()

            await deployed(1, "")
            assert (await deployed(2, "?canary=50"))["is_canary"]
            async with asyncio.TaskGroup() as tasks:
                asked = [tasks.create_task(chat()) for _ in range(20)]
            assert all(one.done() for one in asked)
            await node.kill()
        async with node_process(tmp_path) as node:
            api = f"{node.url}/api/v1"
            async with session.get(f"{api}/agents/Ada") as response:
                assert (await response.json())["version"] == "1.1.0"
            async with session.get(f"{api}/agents/Ada/rollout") as response:
                assert response.status == 404
            async with session.post(
                f"{api}/agents/Ada/chat", json={"message": "count"}
            ) as response:
                assert response.status == 200


async def test_a_promotion_that_cannot_be_written_down_leaves_the_canary_a_canary(
    tmp_path, monkeypatch
):
    async def full(*_):
        raise Unavailable("storage_unavailable", "the disk is full")

    async with opened_node(tmp_path) as node:
        await deploy(node, await guest(node, wasm_guests.COUNTER, number=1))
        await said(node, conversation_id="old")
        await a_moment_later(node)
        await try_out(node, await guest(node, wasm_guests.COUNTER, number=2))
        with monkeypatch.context() as patched:
            patched.setattr(node.store, "put_agent", full)
            with pytest.raises(Unavailable):
                await node.rollouts.promote("Ada")
        assert node.rollouts.is_under_way("Ada")
        assert await said(node, conversation_id="old") == "002"
        assert (await node.rollouts.promote("Ada")).number == 2
        assert await said(node, conversation_id="old") == "003"
