"""The StatefulSet of the chart, rehearsed without Kubernetes: restarted, scaled, nothing lost."""

import asyncio
from contextlib import AsyncExitStack, asynccontextmanager

import pytest

from tests.integration.netns_lab import why_not
from tests.integration.statefulset_lab import StatefulSetLab
from tests.integration.test_deploy_files import needs_helm
from tests.ledger import faults

pytestmark = [pytest.mark.slow, pytest.mark.timeout(420), needs_helm]

TURN_S = 0.02
CLIENT_COUNT = 3
WORK_BETWEEN_S = 1.0


@pytest.fixture
async def lab(tmp_path):
    reason = why_not()
    if reason is not None:
        pytest.skip(reason)
    async with AsyncExitStack() as stack:
        lab = StatefulSetLab(stack, tmp_path, replicas_max=5)
        await lab.open()
        yield lab


async def started(lab, *settings):
    """Start three pods and wait until they see each other."""
    lab.apply(3, *settings)
    await lab.start(3)
    await lab.until_whole()


@asynccontextmanager
async def at_work(lab):
    """Let clients of the first three pods talk to an agent of each, as long as the block lasts."""
    pods = lab.hosts[:CLIENT_COUNT]
    for pod in pods:
        await lab.deploy(pod, f"Worker{pod.number}", pause_s=TURN_S)
    async with asyncio.TaskGroup() as tasks:
        for pod in pods:
            for other in pods:
                agent = f"Worker{other.number}"
                tasks.create_task(lab.converse(pod, agent, f"c{pod.number}-{agent.lower()}"))
        await asyncio.sleep(WORK_BETWEEN_S)
        try:
            yield
            await asyncio.sleep(WORK_BETWEEN_S)
        finally:
            lab.is_over = True


async def assert_nothing_lost(lab):
    ledger = await lab.close_books()
    assert faults(ledger) == [], ledger.summary()
    assert all(one.is_accepted for one in ledger.sent), ledger.summary()
    assert len(ledger.ends) == len(ledger.sent), ledger.summary()
    assert set(ledger.ends.values()) == {"delivered"}, ledger.summary()
    print(ledger.summary())


async def test_pods_that_start_one_after_the_other_are_ready_alone_and_find_each_other(lab):
    await started(lab, "podManagementPolicy=OrderedReady")
    async with at_work(lab):
        # As an upgrade does: the last one first, drained by its preStop, the next when it is ready.
        await lab.roll()
    await assert_nothing_lost(lab)


async def test_a_rolling_restart_under_load_loses_nothing(lab):
    await started(lab)
    before = [pod.address for pod in lab.running]
    async with at_work(lab):
        await lab.roll()
    assert not set(before) & {pod.address for pod in lab.running}, "pods come back elsewhere"
    await assert_nothing_lost(lab)


async def test_scaling_from_three_to_five_and_back_loses_nothing_and_keeps_the_volumes(lab):
    await started(lab)
    async with at_work(lab):
        # `helm upgrade --set replicaCount=5`: new pods first, then the others for the new settings.
        lab.apply(5)
        await lab.add(3, 4)
        await lab.until_whole()
        await lab.roll()
        lab.apply(3)
        await lab.remove(4)
        await lab.remove(3)
        await lab.until_whole()
        await lab.roll()
    await assert_nothing_lost(lab)
    for number in (3, 4):
        assert (lab.hosts[number].folder / "data" / "caxton.db").stat().st_size > 0
