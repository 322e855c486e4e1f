"""What each side of a parted network does, in namespaces: who decides, who refuses, what waits."""

import asyncio
from contextlib import AsyncExitStack

import pytest

from tests.integration.fault_lab import FaultLab
from tests.integration.netns_lab import why_not

pytestmark = pytest.mark.timeout(240)

MODE_WITHIN_S = 20.0
DELIVERED_WITHIN_S = 30.0


@pytest.fixture
async def new_lab(tmp_path):
    """Give a maker of labs, and clear them away afterwards."""
    reason = why_not()
    if reason is not None:
        pytest.skip(reason)
    async with AsyncExitStack() as stack:

        async def make(count):
            lab = FaultLab(stack, tmp_path, count=count, preset="fast")
            await lab.form()
            return lab

        yield make


async def until_mode(host, mode):
    async with asyncio.timeout(MODE_WITHIN_S):
        while (await host.get("cluster/partition"))["mode"] != mode:
            await asyncio.sleep(0.1)


async def deployment(lab, host, name):
    source = (
        f'name = "{name}"\nkind = "python"\ncapabilities = ["work.late"]\n'
        f'handler = "tests.handlers:WritesDown"\n[parameters]\n'
        f'path = "{lab.effects_path}"\npause_s = 0.0\n'
    )
    return await host.post("agents", {"source": source, "format": "toml"})


def request(name, receiver):
    return {
        "id": name,
        "performative": "request",
        "sender": "client",
        "receiver": receiver,
        "content": "work",
        "conversation_id": name,
    }


async def status(host, name):
    return (await host.get(f"messages/{name}")).get("status")


SPLITS = [
    pytest.param(3, ([1, 2], [3]), ("majority", "isolated"), id="2+1"),
    pytest.param(3, ([1], [2], [3]), ("isolated",) * 3, id="1+1+1"),
    pytest.param(5, ([1, 2, 3], [4, 5]), ("majority", "minority"), id="3+2"),
]


async def assert_decides_as(lab, host, mode, count):
    """Deploy on a node; a majority takes it, others say why not and what to do."""
    answer = await deployment(lab, host, f"Late{host.number}")
    if mode == "majority":
        assert answer["http"] in {200, 201}, answer
        return
    assert (answer["http"], answer["code"]) == (503, "no_majority"), answer
    assert f"of {count} nodes" in answer["detail"]
    assert "caxton cluster remove" in answer["hint"]


async def send_both_ways(host, other):
    """Send to the node's own agent, which answers, and to one of the other side, which waits."""
    near, far = f"near-{host.number}", f"far-{host.number}"
    for name, receiver in ((near, f"Worker{host.number}"), (far, f"Worker{other}")):
        receipt = await host.post("messages", request(name, receiver))
        assert receipt["http"] == 202, receipt
    await delivered(host, near)
    assert await status(host, far) == "accepted"
    return far


async def delivered(host, name):
    async with asyncio.timeout(DELIVERED_WITHIN_S):
        while await status(host, name) != "delivered":
            await asyncio.sleep(0.05)


@pytest.mark.parametrize(("count", "groups", "modes"), SPLITS)
async def test_only_a_majority_changes_agents_and_the_others_keep_messages(
    new_lab, count, groups, modes
):
    lab = await new_lab(count)
    for host in lab.hosts:
        await lab.deploy(host, f"Worker{host.number}")
    lab.split(*groups)
    for group, mode in zip(groups, modes, strict=True):
        for number in group:
            await until_mode(lab.hosts[number - 1], mode)

    sent = {}
    for group, mode in zip(groups, modes, strict=True):
        host = lab.hosts[group[0] - 1]
        await assert_decides_as(lab, host, mode, count)
        if mode != "majority":
            other = next(one[0] for one in groups if one is not group)
            sent[await send_both_ways(host, other)] = host

    lab.heal()
    await lab.until_all_alive()
    for name, host in sent.items():
        await delivered(host, name)
    assert sent, "somebody had to keep something"
