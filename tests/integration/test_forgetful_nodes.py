"""Nodes that come back without what they knew, and what the others remember for them."""

import asyncio
import shutil

from caxton_node.domain.delivery import DeliveryMode, DeliveryStatus
from caxton_node.store.sqlite import SqliteStore
from tests.clustered_nodes import cluster_of, clustered_node, is_whole, until
from tests.handlers import Gate
from tests.linked_nodes import linked, linked_node, linked_nodes, place
from tests.opened_node import ask, deploy, message, python_agent

DEADLINE_S = 15.0
LATER = 10**15
"""An epoch that no clock tells for a while."""


async def keep_number(folder, name, value):
    folder.mkdir(exist_ok=True)
    store = SqliteStore(folder / "caxton.db", is_synced=False)
    await store.open()
    await store.put_node_number(name, value)
    await store.close()


def homes(node, agent):
    return [one.node for one in node.cluster.fleet.agents([agent])]


async def test_a_node_whose_clock_went_back_is_heard_again(tmp_path):
    folder = tmp_path / "b"
    await keep_number(folder, "epoch", LATER)
    async with cluster_of(tmp_path, "a") as [a]:
        joins = {"cluster__peers": a.ring.address}
        async with clustered_node(folder, "b", **joins) as b:
            await until(lambda: is_whole(b, 2) and is_whole(a, 2))
            assert b.ring.epoch > LATER
        shutil.rmtree(folder)  # its clock tells less than the others remember
        async with clustered_node(folder, "b", **joins) as b:
            assert b.ring.epoch < LATER
            await until(lambda: b.ring.epoch > LATER)
            await until(lambda: is_whole(b, 2) and is_whole(a, 2))
            await deploy(b, python_agent("Echo", "Echo"))
            await until(lambda: homes(a, "Echo") == ["b"])
            assert (await ask(a, receiver="Echo", content="hi")).body() == "hi"
            assert await b.store.node_number("epoch") == b.ring.epoch


async def test_a_deleted_agent_stays_deleted_though_all_who_knew_were_restarted(tmp_path):
    async with cluster_of(tmp_path, "a") as [a]:
        await deploy(a, python_agent("Echo", "Echo"))
        await a.deployments.delete("Echo")
    # A node that was away still has it.
    async with clustered_node(tmp_path / "b", "b") as b:
        await deploy(b, python_agent("Echo", "Echo"))
    async with clustered_node(tmp_path / "a", "a") as a:
        joins = {"cluster__peers": a.ring.address}
        async with clustered_node(tmp_path / "b", "b", **joins) as b:
            await until(lambda: is_whole(b, 2) and is_whole(a, 2))
            await until(lambda: b.roster.find("Echo") is None)
            assert homes(a, "Echo") == []


async def test_a_node_that_was_away_hears_that_another_was_removed(tmp_path):
    async with cluster_of(tmp_path, "a", "b") as [a, b]:
        fleet = a.cluster.fleet
        fleet.member_up("gone", 1)
        fleet.member_down("gone", has_left=False)
        fleet.strike_off("gone")
        await until(lambda: b.cluster.fleet._nodes.is_struck_off("gone"))
    async with clustered_node(tmp_path / "a", "a") as a:
        joins = {"cluster__peers": a.ring.address}
        async with clustered_node(tmp_path / "c", "c", **joins) as c:
            await until(lambda: c.cluster.fleet._nodes.is_struck_off("gone"))


async def test_a_node_that_lost_its_journal_does_not_repeat_what_it_may_have_done(tmp_path):
    Gate.close()
    async with linked_nodes(tmp_path, "a") as (atlas, (a,)):
        async with linked_node(tmp_path, "b", atlas, journal=7) as b:
            await linked(a, b)
            await place(atlas, b, "Gate", "Gate")
            question = message(a.node, receiver="Gate", delivery=DeliveryMode.EXACTLY_ONCE)
            await a.node.pipeline.send(question)
            await asyncio.wait_for(Gate.entered.wait(), DEADLINE_S)
        a.peers.lose("b")
        shutil.rmtree(tmp_path / "b")
        Gate.opened.set()
        async with linked_node(tmp_path, "b", atlas, journal=8) as b:
            await deploy(b.node, python_agent("Gate", "Gate"))
            await linked(a, b)

            async def is_over():
                stored = await a.node.store.message(question.id)
                return stored if stored.status is not DeliveryStatus.ACCEPTED else None

            async with asyncio.timeout(DEADLINE_S):
                while not (stored := await is_over()):
                    await asyncio.sleep(0.01)
            assert stored.status is DeliveryStatus.DEAD
            assert stored.reason.startswith("outcome_unknown: b had the message, and has lost")
    assert Gate.seen == ["hello"]
