"""Five processes on a network of their own: partitions, stopped and killed nodes."""

import asyncio
import signal
from contextlib import AsyncExitStack

import pytest

from tests.integration.netns_lab import Lab, why_no_filters, why_not

pytestmark = pytest.mark.timeout(120)

STOPPED_S = 10.0
ONE_WAY_S = 6.0
"""Twice what it takes to declare somebody dead by `fast`."""


@pytest.fixture
async def lab():
    """Give an empty lab, and clear it away afterwards."""
    reason = why_not()
    if reason is not None:
        pytest.skip(reason)
    async with AsyncExitStack() as stack:
        yield Lab(stack)


async def test_a_partitioned_ring_splits_and_heals(lab: Lab):
    await lab.form(2, 3, "fast")
    names = [host.name for host in lab.hosts]

    lab.pull_cable()
    for host in lab.hosts:
        await host.until_live(*(names[:2] if host.name in names[:2] else names[2:]))
    lab.plug_cable()

    await lab.until_all_live()


@pytest.fixture
async def filtered_lab(lab: Lab):
    """Give an empty lab with packet filters."""
    reason = why_no_filters()
    if reason is not None:
        pytest.skip(reason)
    return lab


async def test_a_ring_that_packet_filters_part_in_the_middle_heals(filtered_lab: Lab):
    lab = filtered_lab
    await lab.form(5, 0, "fast")
    sides = lab.hosts[1::2], lab.hosts[::2]

    lab.part(*sides)
    for side in sides:
        for host in side:
            await host.until_live(*(one.name for one in side))
    lab.let_all_pass()

    await lab.until_all_live()


async def test_two_of_whom_one_does_not_hear_the_other_stay_members(filtered_lab: Lab):
    lab = filtered_lab
    await lab.form(4, 0, "fast")

    lab.deafen(lab.hosts[1], lab.hosts[2])
    await asyncio.sleep(ONE_WAY_S)

    for host in lab.hosts:
        await host.end()
        assert host.ever_gone == set()


async def test_a_node_stopped_for_ten_seconds_evicts_no_healthy_one(lab: Lab):
    await lab.form(2, 1, "lan")
    stopped = lab.hosts[1]

    healthy = [host for host in lab.hosts if host is not stopped]

    stopped.process.send_signal(signal.SIGSTOP)
    await asyncio.sleep(STOPPED_S)
    stopped.process.send_signal(signal.SIGCONT)

    for host in healthy:
        # The stopped one was rightly given up for a while; it objects as soon as it can.
        await host.until_live(*(host.name for host in healthy))
        await host.until_live(*(host.name for host in lab.hosts))
    for host in lab.hosts:
        await host.end()
    assert all(host.ever_gone == {stopped.name} for host in healthy)
    assert stopped.ever_gone == set()
    assert stopped.live == [host.name for host in lab.hosts]


async def test_a_killed_node_is_known_dead_on_both_sides_of_the_cable(lab: Lab):
    await lab.form(2, 2, "fast")
    victim = lab.hosts.pop()

    victim.process.kill()

    await lab.until_all_live()
    assert all(victim.name in host.ever_gone for host in lab.hosts)
