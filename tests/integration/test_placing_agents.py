"""Where agents run in a cluster of whole nodes: seen everywhere, moved, scaled, handed over."""

import asyncio
from contextlib import ExitStack

import pytest

from caxton_node.domain.agent import AgentState
from caxton_node.domain.errors import Unavailable
from tests.clustered_nodes import cluster_of, clustered_node, is_whole, until
from tests.opened_node import ask, deploy, message, python_agent


def homes(node, agent):
    """Return which nodes run an agent, as one of them believes."""
    return sorted(node.cluster.fleet.holders(agent))


def runs(node, agent):
    return node.roster.find(agent) is not None


def only(nodes, agent, *names):
    """Whether just these run an agent, and everybody knows."""
    here = sorted(node.name for node in nodes if runs(node, agent))
    return here == sorted(names) and all(homes(node, agent) == here for node in nodes)


async def test_an_agent_is_found_on_every_node_and_answers_there(tmp_path):
    async with cluster_of(tmp_path, "a", "b", "c") as nodes:
        await deploy(nodes[0], python_agent("Echo", "Echo"))
        await until(lambda: only(nodes, "Echo", "a"))
        for node in nodes:
            answer = await ask(node, receiver="Echo", content={"from": node.name})
            assert answer.sender == "Echo"


async def test_what_is_said_to_be_deployed_is_known_to_a_majority(tmp_path):
    async with cluster_of(tmp_path, "a", "b") as (a, b):
        await deploy(a, python_agent("Echo", "Echo"))
        assert homes(b, "Echo") == []
        assert await a.cluster.fleet.secure("Echo") == 1
        assert homes(b, "Echo") == ["a"]


async def test_replicas_are_spread_and_scaled_down_again(tmp_path):
    async with cluster_of(tmp_path, "a", "b", "c") as nodes:
        source = python_agent("Echo", "Echo", more="deployment.replicas = 3\n")
        await deploy(nodes[0], source)
        await until(lambda: only(nodes, "Echo", "a", "b", "c"))
        await nodes[1].deployments.place("Echo", replicas=1)
        await until(lambda: only(nodes, "Echo", "b"))


async def test_a_replica_follows_a_new_version_and_a_rollback(tmp_path):
    async with cluster_of(tmp_path, "a", "b") as nodes:
        first = python_agent("Echo", "Echo", more="deployment.replicas = 2\n")
        second = 'version = "2.0.0"\n' + first
        await deploy(nodes[0], first)
        await until(lambda: only(nodes, "Echo", "a", "b"))

        def version_everywhere(version):
            return all(node.roster.seat("Echo").spec.version == version for node in nodes)

        await deploy(nodes[0], second)
        await until(lambda: version_everywhere("2.0.0"))
        await nodes[0].deployments.rollback("Echo")
        await until(lambda: version_everywhere("1.0.0"))
        assert only(nodes, "Echo", "a", "b")


async def test_a_moved_agent_takes_its_version_its_state_and_a_higher_epoch(tmp_path):
    async with cluster_of(tmp_path, "a", "b") as nodes:
        a, b = nodes
        await deploy(a, python_agent("Echo", "Echo"))
        await deploy(a, 'version = "1.1.0"\n' + python_agent("Echo", "Echo"))
        await a.deployments.change_state("Echo", AgentState.SUSPENDED)

        def told():
            return [(one.node, one.number, one.state) for one in b.cluster.fleet.agents(["Echo"])]

        await until(lambda: told() == [("a", 2, AgentState.SUSPENDED)])
        a.cluster.fleet.move("Echo", "b")
        await until(lambda: only(nodes, "Echo", "b"))
        seat = b.roster.seat("Echo")
        assert (seat.spec.version, seat.tenant.number) == ("1.1.0", 2)
        assert seat.state is AgentState.SUSPENDED
        assert b.deployments.claim("Echo").epoch == 2
        [record] = [one for one in await a.store.agents() if one.name == "Echo"]
        assert record.is_here is False


async def test_a_move_is_made_though_the_agent_changes_meanwhile(tmp_path):
    async with cluster_of(tmp_path, "a", "b") as nodes:
        a, b = nodes
        await deploy(a, python_agent("Echo", "Echo"))
        await until(lambda: only(nodes, "Echo", "a"))
        takeovers = b.cluster.fleet._parts.takeovers
        permit = takeovers.permit

        async def permit_after_a_change(like, epoch):
            takeovers.permit = permit
            await deploy(a, 'version = "2.0.0"\n' + python_agent("Echo", "Echo"))
            await until(lambda: b.cluster.fleet.agents(["Echo"])[0].version == "2.0.0")
            return await permit(like, epoch)

        takeovers.permit = permit_after_a_change
        a.cluster.fleet.move("Echo", "b")
        await until(lambda: only(nodes, "Echo", "b"))
        assert b.roster.seat("Echo").spec.version == "2.0.0"


async def test_what_waits_goes_with_its_agent_in_order(tmp_path):
    async with cluster_of(tmp_path, "a", "b") as nodes:
        a, b = nodes
        await deploy(a, python_agent("Echo", "Echo"))
        await a.deployments.change_state("Echo", AgentState.SUSPENDED)
        await until(lambda: only(nodes, "Echo", "a"))
        questions = [
            message(a, receiver="Echo", conversation_id="c", content={"n": n}) for n in range(20)
        ]
        with ExitStack() as waits:
            answers = [
                waits.enter_context(a.answers.expect(question.sender, question.answers_go_under))
                for question in questions
            ]
            for question in questions:
                await a.pipeline.send(question)
            a.cluster.fleet.move("Echo", "b")
            await until(lambda: only(nodes, "Echo", "b"))
            await b.deployments.change_state("Echo", AgentState.RUNNING)
            async with asyncio.timeout(20):
                got = await asyncio.gather(*answers)
        assert [one.in_reply_to for one in got] == [one.answers_go_under for one in questions]


async def test_a_drained_node_has_no_agents_and_takes_none(tmp_path):
    async with cluster_of(tmp_path, "a", "b", "c") as nodes:
        a, b, c = nodes
        for number in range(6):
            await deploy(a, python_agent(f"Echo{number}", "Echo"))
        await until(lambda: len(c.cluster.fleet.agent_names()) == 6)
        drained = await a.cluster.fleet.drain(10.0)
        assert (drained.moved_count, list(drained.left)) == (6, [])
        assert len(a.roster) == 0
        assert len(b.roster) + len(c.roster) == 6
        answer = await ask(a, receiver="Echo3")
        assert answer.sender == "Echo3"


async def test_a_drain_goes_on_with_the_next_node_when_the_first_does_not_act(tmp_path):
    async with cluster_of(tmp_path, "a", "b", "c") as (a, b, c):
        for number in range(4):
            await deploy(a, python_agent(f"Echo{number}", "Echo"))
        await until(lambda: len(c.cluster.fleet.agent_names()) == 4)
        b.cluster.fleet._placing._action = lambda _agent: None
        drained = await a.cluster.fleet.drain(15.0)
        assert (drained.moved_count, len(b.roster), len(c.roster)) == (4, 0, 4)


async def test_what_no_other_node_may_run_stays_on_a_drained_node(tmp_path):
    async with cluster_of(tmp_path, "a", "b") as nodes:
        a = nodes[0]
        await deploy(a, python_agent("Pinned", "Echo", more='deployment.placement="node=a"\n'))
        await deploy(a, python_agent("Free", "Echo"))
        drained = await a.cluster.fleet.drain(10.0)
        assert list(drained.left) == ["Pinned"]
        assert runs(nodes[1], "Free")


async def test_a_rebalancing_moves_a_share_to_the_newcomer(tmp_path):
    async with cluster_of(tmp_path, "a", "b") as nodes:
        a = nodes[0]
        for number in range(9):
            await deploy(a, python_agent(f"Echo{number}", "Echo"))
        async with clustered_node(tmp_path / "c", "c", cluster__peers=a.ring.address) as c:
            three = [*nodes, c]
            await until(lambda: all(is_whole(node, 3) for node in three))
            await until(lambda: len(c.cluster.fleet.agent_names()) == 9)
            assert len(a.roster) == 9, "a join moves nothing"
            assert a.cluster.fleet.rebalance() == 6
            await until(lambda: sorted(len(node.roster) for node in three) == [3, 3, 3])


async def test_an_agent_whose_class_is_not_allowed_goes_to_the_next_node(tmp_path):
    async with cluster_of(tmp_path, "a", "b") as nodes:
        a, b = nodes
        closed = clustered_node(
            tmp_path / "c", "c", cluster__peers=a.ring.address, python__allow="other.*"
        )
        async with closed as c:
            await until(lambda: all(is_whole(node, 3) for node in (a, b, c)))
            for number in range(4):
                await deploy(a, python_agent(f"Echo{number}", "Echo"))
            await a.cluster.fleet.drain(10.0)
            assert len(b.roster) == 4
            assert len(c.roster) == 0


async def test_agents_of_a_node_that_left_run_on(tmp_path):
    async with cluster_of(tmp_path, "a", "b") as nodes:
        a, b = nodes
        async with clustered_node(tmp_path / "c", "c", cluster__peers=a.ring.address) as c:
            await until(lambda: all(is_whole(node, 3) for node in (a, b, c)))
            await deploy(c, python_agent("Echo", "Echo"))
            await until(lambda: homes(a, "Echo") == ["c"])
            while not await a.store.definition_digests():
                await asyncio.sleep(0.05)
        await until(lambda: runs(a, "Echo") or runs(b, "Echo"))
        assert (await ask(a, receiver="Echo")).sender == "Echo"


async def test_a_minority_refuses_changes_and_serves_its_own(tmp_path):
    async with clustered_node(tmp_path / "a", "a", cluster__expect="3") as a:
        with pytest.raises(Unavailable, match="1 of 3 nodes, and 2 make a majority") as refused:
            await deploy(a, python_agent("Echo", "Echo"))
        assert refused.value.code == "no_majority"
        assert a.cluster.fleet.partition.mode == "isolated"
        assert a.components()["cluster"] == "degraded: isolated, 1 of 3 nodes"
        kept = await a.pipeline.send(message(a, receiver="Elsewhere"))
        assert not kept.is_over


async def test_a_node_that_left_goes_on_alone_and_comes_back(tmp_path):
    async with cluster_of(tmp_path, "a", "b") as nodes:
        a, b = nodes
        await b.ring.leave()
        b.cluster.go_alone()
        await until(lambda: [one.name for one in a.cluster.fleet.nodes()] == ["a"])
        await until(lambda: b.cluster.fleet.partition.is_writable)
        await deploy(a, python_agent("Echo", "Echo"))
        await deploy(b, python_agent("Own", "Echo"))
        assert b.cluster.fleet.partition.expected_count == 1
        await b.ring.join([a.ring.address])
        b.cluster.come_back()
        await until(lambda: all(is_whole(node, 2) for node in nodes))
        await until(lambda: only(nodes, "Echo", "a") and only(nodes, "Own", "b"))


async def test_a_deleted_agent_is_gone_with_all_replicas_and_does_not_come_back(tmp_path):
    async with cluster_of(tmp_path, "a", "b") as nodes:
        a, b = nodes
        source = python_agent("Echo", "Echo", more="deployment.replicas = 2\n")
        await deploy(a, source)
        await until(lambda: only(nodes, "Echo", "a", "b"))
        await a.deployments.delete("Echo")
        await until(lambda: only(nodes, "Echo"))
        assert list(await b.store.agents()) == []
        await deploy(b, source)
        await until(lambda: only(nodes, "Echo", "a", "b"))


async def test_an_agent_deleted_while_its_former_node_is_away_stays_deleted(tmp_path):
    async with cluster_of(tmp_path, "a", "b") as nodes:
        a, b = nodes
        async with clustered_node(tmp_path / "c", "c", cluster__peers=a.ring.address) as c:
            await until(lambda: all(is_whole(node, 3) for node in (a, b, c)))
            await deploy(c, python_agent("Echo", "Echo"))
            while not [one for node in (a, b) for one in await node.store.definition_digests()]:
                await asyncio.sleep(0.05)
        home = await until(lambda: a if runs(a, "Echo") else b if runs(b, "Echo") else None)
        await home.deployments.delete("Echo")
        async with clustered_node(tmp_path / "c", "c", cluster__peers=a.ring.address) as c:
            await until(lambda: all(is_whole(node, 3) for node in (a, b, c)))
            await until(lambda: only((a, b, c), "Echo"))


async def test_replicas_are_suspended_and_resumed_together(tmp_path):
    async with cluster_of(tmp_path, "a", "b") as nodes:
        a, b = nodes
        await deploy(a, python_agent("Echo", "Echo", more="deployment.replicas = 2\n"))
        await until(lambda: only(nodes, "Echo", "a", "b"))
        await a.deployments.change_state("Echo", AgentState.SUSPENDED)
        await until(lambda: b.roster.seat("Echo").state is AgentState.SUSPENDED)
        await b.deployments.change_state("Echo", AgentState.RUNNING)
        await until(lambda: a.roster.seat("Echo").is_running)
        assert only(nodes, "Echo", "a", "b")


async def test_what_is_followed_never_undoes_a_change_made_meanwhile(tmp_path):
    async with clustered_node(tmp_path / "a", "a") as a:
        await deploy(a, python_agent("Echo", "Echo"))
        old = a.deployments.claim("Echo")
        await a.deployments.place("Echo", replicas=3)
        definition = await a.store.definition(old.digest)
        await a.deployments.adopt(definition, old, number=1, state=AgentState.SUSPENDED)
        assert a.deployments.claim("Echo").replicas == 3
        assert a.roster.seat("Echo").is_running


def silence(node, other):
    """Let nothing of another node in any more, while membership knows nothing of it."""
    link = node.cluster.links._link(other)
    link._note_echo = lambda _number: None


async def test_who_is_being_cut_off_takes_nothing_over_before_it_knows(tmp_path):
    async with cluster_of(tmp_path, "a", "b", "c") as (a, b, c):
        names = [f"Echo{number}" for number in range(6)]
        for name in names:
            await deploy(b, python_agent(name, "Echo"))
        await until(lambda: a.cluster.fleet.agent_names() == names)
        fleet = a.cluster.fleet
        echoes = a.cluster.links._link("c")._note_echo
        silence(a, "b")
        silence(a, "c")
        fleet.member_down("b", has_left=False)
        assert fleet.partition.mode == "majority", "c is not known to be gone yet"
        takeovers = fleet._parts.takeovers
        await until(lambda: takeovers.refused_count > 0)
        assert [seat.agent for seat in a.roster] == []
        with pytest.raises(Unavailable, match="may be cut off just now") as refused:
            await deploy(a, python_agent("New", "Echo"))
        assert refused.value.code == "no_majority"
        a.cluster.links._link("c")._note_echo = echoes
        await until(lambda: len(tuple(a.roster)) > 0)
        assert takeovers.granted_count > 0
        assert c.cluster.fleet.partition.mode == "majority"
