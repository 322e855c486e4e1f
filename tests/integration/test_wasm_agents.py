"""Agents in WebAssembly on a whole node: messages, state, versions, grants, limits, crashes."""

import asyncio
import os
import signal

import pytest

from caxton_node.agentfile import AgentFormat
from caxton_node.domain.errors import CaxtonError, Unavailable
from caxton_node.domain.performatives import Performative
from tests import wasm_guests
from tests.opened_node import ask, deploy, opened_node, python_agent


async def deploy_guest(node, module, *, name="Guest", version="1.0.0", more=""):
    """Deploy an agent of kind `wasm` whose file is there already."""
    digest = await node.guests.put_module(module)
    await deploy(
        node,
        f'name = "{name}"\nkind = "wasm"\nversion = "{version}"\ncapabilities = ["test"]\n'
        f'[wasm]\nsha256 = "{digest}"\n{more}',
    )


async def test_a_message_goes_into_a_guest_and_its_reply_comes_out(tmp_path):
    async with opened_node(tmp_path) as node:
        await deploy_guest(node, wasm_guests.answering('{"content":{"hello":[1,2]}}'))
        answer = await ask(node, receiver="Guest")
    assert answer.performative is Performative.INFORM
    assert answer.body() == {"hello": [1, 2]}


async def test_a_guest_may_answer_with_an_act_of_its_own(tmp_path):
    async with opened_node(tmp_path) as node:
        await deploy_guest(
            node, wasm_guests.answering('{"performative":"refuse","content":"not today"}')
        )
        answer = await ask(node, receiver="Guest")
    assert answer.performative is Performative.REFUSE
    assert answer.body() == "not today"


async def test_a_new_version_goes_on_from_the_state_of_the_old_one(tmp_path):
    async with opened_node(tmp_path) as node:
        await deploy_guest(node, wasm_guests.COUNTER)
        assert [(await ask(node, receiver="Guest")).body() for _ in range(2)] == ["001", "002"]
        await deploy_guest(node, wasm_guests.COUNTER, version="1.1.0")
        assert (await ask(node, receiver="Guest")).body() == "003"


async def test_a_rollback_goes_on_from_the_state_too(tmp_path):
    async with opened_node(tmp_path) as node:
        await deploy_guest(node, wasm_guests.COUNTER)
        await deploy_guest(node, wasm_guests.COUNTER, version="1.1.0")
        await ask(node, receiver="Guest")
        await node.deployments.rollback("Guest")
        assert (await ask(node, receiver="Guest")).body() == "002"


async def test_messages_that_come_during_a_new_version_are_all_answered_in_order(tmp_path):
    async with opened_node(tmp_path) as node:
        await deploy_guest(node, wasm_guests.COUNTER)
        async with asyncio.TaskGroup() as tasks:
            answers = [tasks.create_task(ask(node, receiver="Guest")) for _ in range(100)]
            for number in range(1, 6):
                await deploy_guest(node, wasm_guests.COUNTER, version=f"1.{number}.0")
        bodies = sorted(answer.result().body() for answer in answers)
    assert bodies == [f"{number:03}" for number in range(1, 101)]


async def test_a_new_version_that_cannot_start_leaves_the_old_one_as_it_was(tmp_path):
    broken = wasm_guests.guest(
        '(func (export "handle_message") (param i32 i32) (result i32) i32.const 0)'
        "(func $boom unreachable) (start $boom)"
    )
    async with opened_node(tmp_path) as node:
        await deploy_guest(node, wasm_guests.COUNTER)
        await ask(node, receiver="Guest")
        with pytest.raises(CaxtonError):
            await deploy_guest(node, broken, version="2.0.0")
        assert (await ask(node, receiver="Guest")).body() == "002"


async def test_a_call_without_its_grant_is_denied_and_names_it(tmp_path):
    module = wasm_guests.asking("kv.set", '{"key":"k","value":1}')
    async with opened_node(tmp_path) as node:
        await deploy_guest(node, module)
        with node.events.watch(lambda event: event.kind == "guest.denied") as watcher:
            answer = await ask(node, receiver="Guest")
            seen = await watcher.next(timeout_s=5)
    assert answer.body()["error"]["code"] == "denied"
    assert 'kv = "64KB"' in answer.body()["error"]["message"]
    assert seen.data["operation"] == "kv.set"


async def test_what_a_guest_keeps_outlives_the_node(tmp_path):
    grant = '[grants]\nkv = "1KB"\n'
    async with opened_node(tmp_path) as node:
        await deploy_guest(
            node, wasm_guests.asking("kv.set", '{"key":"k","value":[7]}'), more=grant
        )
        assert (await ask(node, receiver="Guest")).body() == {"ok": None}
    async with opened_node(tmp_path) as node:
        await deploy_guest(node, wasm_guests.asking("kv.get", '{"key":"k"}'), more=grant)
        assert (await ask(node, receiver="Guest")).body() == {"ok": [7]}


async def test_a_guest_keeps_no_more_than_it_was_granted(tmp_path):
    module = wasm_guests.asking("kv.set", '{"key":"k","value":"' + "x" * 200 + '"}')
    async with opened_node(tmp_path) as node:
        await deploy_guest(node, module, more="[grants]\nkv = 100\n")
        answer = await ask(node, receiver="Guest")
    assert answer.body()["error"]["code"] == "too_large"


async def test_a_guest_asks_another_agent(tmp_path):
    module = wasm_guests.asking(
        "messaging.request", '{"receiver":"Echo","content":{"n":5},"timeout_ms":5000}'
    )
    async with opened_node(tmp_path) as node:
        await deploy(node, python_agent("Echo", "Echo"))
        await deploy_guest(node, module, more='[grants]\nmessaging = ["Echo"]\n')
        answer = await ask(node, receiver="Guest")
    assert answer.body()["ok"]["sender"] == "Echo"


async def test_a_guest_that_asks_itself_is_refused(tmp_path):
    module = wasm_guests.asking(
        "messaging.request", '{"receiver":"Guest","content":1,"timeout_ms":5000}'
    )
    async with opened_node(tmp_path) as node:
        await deploy_guest(node, module, more='[grants]\nmessaging = ["*"]\n')
        answer = await ask(node, receiver="Guest")
    assert answer.body()["error"]["code"] == "conflict"


async def test_a_version_that_asks_for_more_needs_a_person_to_agree(tmp_path):
    async with opened_node(tmp_path) as node:
        await deploy_guest(node, wasm_guests.COUNTER)
        with pytest.raises(CaxtonError) as caught:
            await deploy_guest(
                node,
                wasm_guests.COUNTER,
                version="2.0.0",
                more='[grants]\nhttp = ["https://a.b"]\n',
            )
        assert caught.value.facts["added_grants"] == ['http = ["GET,HEAD https://a.b:443"]']
        digest = await node.guests.put_module(wasm_guests.COUNTER)
        source = (
            'name = "Guest"\nkind = "wasm"\nversion = "2.0.0"\ncapabilities = ["test"]\n'
            f'[wasm]\nsha256 = "{digest}"\n[grants]\nhttp = ["https://a.b"]\n'
        )
        done = await node.deployments.deploy(source, AgentFormat.TOML, has_approval=True)
    assert done.version == "2.0.0"


async def test_a_guest_that_never_ends_is_stopped_and_its_sender_told(tmp_path):
    spinning = wasm_guests.guest(
        '(func (export "handle_message") (param i32 i32) (result i32) (loop br 0) i32.const 0)'
    )
    async with opened_node(tmp_path) as node:
        await deploy_guest(node, spinning, more='[limits]\ncpu = "50ms"\n')
        answer = await ask(node, receiver="Guest")
    assert answer.performative is Performative.FAILURE
    assert answer.body()["code"] == "budget_exhausted"


async def test_a_guest_that_is_stopped_again_and_again_is_put_into_quarantine(tmp_path):
    spinning = wasm_guests.guest(
        '(func (export "handle_message") (param i32 i32) (result i32) (loop br 0) i32.const 0)'
    )
    async with opened_node(tmp_path) as node:
        await deploy_guest(node, spinning, more='[limits]\ncpu = "10ms"\n')
        codes = [(await ask(node, receiver="Guest")).body()["code"] for _ in range(6)]
        assert codes == ["budget_exhausted"] * 5 + ["denied"]


async def test_a_guest_goes_on_after_its_worker_was_killed(tmp_path):
    async with opened_node(tmp_path) as node:
        await deploy_guest(node, wasm_guests.COUNTER)
        await ask(node, receiver="Guest")
        (worker,) = node.guests.workers.pids
        os.kill(worker, signal.SIGKILL)
        answer = await ask(node, receiver="Guest")
    assert answer.performative is Performative.INFORM


async def test_a_trap_is_a_crash_after_which_the_agent_goes_on(tmp_path):
    # It breaks on the first message only: its count is one again after that.
    breaking = wasm_guests.guest(
        """(func (export "handle_message") (param $at i32) (param $n i32) (result i32)
             (if (i32.gt_u (local.get $n) (i32.const 300)) (then unreachable))
             (call $result (i32.const 1024) (i32.const 14)))""",
        (1024, '{"content": 1}'),
    )
    async with opened_node(tmp_path, retry__attempts="1") as node:
        await deploy_guest(node, breaking)
        broken = await ask(node, receiver="Guest", content="x" * 400)
        well = await ask(node, receiver="Guest", content="x")
    assert broken.body()["code"] == "agent_failed"
    assert well.body() == 1


@pytest.fixture
def refuse(monkeypatch):
    """Return what makes a node's store refuse to write agents down, until told otherwise."""

    def start(node):
        async def full(*_):
            raise Unavailable("storage_unavailable", "the disk is full")

        monkeypatch.setattr(node.store, "put_agent", full)
        return monkeypatch.undo

    return start


async def test_a_version_that_cannot_be_written_down_gives_its_turns_back(tmp_path, refuse):
    async with opened_node(tmp_path) as node:
        await deploy_guest(node, wasm_guests.COUNTER)
        await ask(node, receiver="Guest")
        go_on = refuse(node)
        with pytest.raises(Unavailable, match="disk is full"):
            await deploy_guest(node, wasm_guests.COUNTER, version="1.1.0")
        assert (await ask(node, receiver="Guest")).body() == "002"
        assert node.roster.seat("Guest").spec.version == "1.0.0"
        go_on()
        await deploy_guest(node, wasm_guests.COUNTER, version="1.1.0")
        assert (await ask(node, receiver="Guest")).body() == "003"
        assert node.roster.seat("Guest").spec.version == "1.1.0"


async def test_a_rollback_that_cannot_be_written_down_leaves_the_version_in_force(tmp_path, refuse):
    async with opened_node(tmp_path) as node:
        await deploy_guest(node, wasm_guests.COUNTER)
        await deploy_guest(node, wasm_guests.COUNTER, version="1.1.0")
        await ask(node, receiver="Guest")
        refuse(node)
        with pytest.raises(Unavailable):
            await node.deployments.rollback("Guest")
        assert (await ask(node, receiver="Guest")).body() == "002"
        assert node.roster.seat("Guest").spec.version == "1.1.0"
