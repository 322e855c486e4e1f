"""A clock that is set while turns are under way ends none of them early, and none too late."""

import asyncio
import logging
import time

import pytest

from caxton_node.agentfile import AgentFormat
from caxton_node.domain.performatives import Performative
from tests.handlers import Gate
from tests.opened_node import ask, opened_node, python_agent

HOUR_NS = 3_600 * 1_000_000_000


@pytest.fixture
def set_clock(monkeypatch):
    """Return a way to set the time of day."""
    real_ns, offset_ns = time.time_ns, [0]
    monkeypatch.setattr(time, "time_ns", lambda: real_ns() + offset_ns[0])

    def put(by_ns):
        offset_ns[0] += by_ns

    return put


@pytest.fixture
async def node(tmp_path):
    async with opened_node(tmp_path, memory__enabled="false") as node:
        yield node


async def noticed(caplog):
    async with asyncio.timeout(10):
        while "the clock was set by" not in caplog.text:
            await asyncio.sleep(0.01)


async def begin(node, tasks, limits):
    """Let a turn begin that waits at the gate; return its answer to come."""
    Gate.close()
    source = python_agent("gate", "Gate", more=limits)
    await node.deployments.deploy(source, AgentFormat.TOML)
    asked = tasks.create_task(ask(node, receiver="gate"))
    async with asyncio.timeout(10):
        await Gate.entered.wait()
    return asked


async def test_a_clock_put_forward_ends_no_turn(node, set_clock, caplog):
    caplog.set_level(logging.WARNING)
    async with asyncio.TaskGroup() as tasks:
        asked = await begin(node, tasks, '[limits]\ntime = "60s"\n')
        set_clock(HOUR_NS)
        await noticed(caplog)
        Gate.opened.set()
    assert asked.result().performative is Performative.INFORM
    assert "+3600" in caplog.text


async def test_a_clock_put_back_does_not_let_a_turn_go_on_for_ever(node, set_clock):
    async with asyncio.TaskGroup() as tasks:
        asked = await begin(node, tasks, '[limits]\ntime = "1s"\n')
        set_clock(-HOUR_NS)
    assert asked.result().performative is Performative.FAILURE
    assert b"longer than 1 s" in asked.result().content
