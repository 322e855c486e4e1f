"""With etcd only one node at a time takes agents over: dead holders, cut-off ones, and no etcd."""

import asyncio
import itertools
import json
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace

import pytest

from caxton_cluster.metadata import EtcdSettings
from caxton_cluster.metadata.etcd import EtcdStore
from caxton_node.domain.errors import CaxtonError, Unavailable
from caxton_node.forwarding.node_table import NodeTable
from caxton_node.forwarding.takeovers import CLAIMS_FOLDER, LOCK_NAME, Takeovers
from caxton_node.runtime.placement import Copy, leader
from caxton_node.telemetry.events import Events
from tests.clustered_nodes import cluster_of
from tests.integration.etcd_cluster import etcd_cluster, needs_etcd, text
from tests.integration.process_lab import ENVIRONMENT, cluster, until
from tests.opened_node import deploy, python_agent

pytestmark = [needs_etcd, pytest.mark.timeout(120)]

FAILOVER_S = 10.0
PREFIXES = (f"/f{number}/" for number in itertools.count())
LIKE = Copy(agent="Echo", node="dead", revision=1, epoch=1, digest="d")


@pytest.fixture(scope="module")
def whole_etcd(tmp_path_factory):
    with etcd_cluster(tmp_path_factory.mktemp("etcd"), count=1) as members:
        yield members


@pytest.fixture
def etcd(whole_etcd):
    yield whole_etcd
    whole_etcd.mend()


@pytest.fixture
def prefix():
    return next(PREFIXES)


@pytest.fixture
async def open_store(etcd, prefix):
    """Give a maker of stores that see the same keys."""
    async with AsyncExitStack() as stack:

        async def make(endpoints=etcd.endpoints):
            settings = EtcdSettings(
                endpoints=endpoints, prefix=prefix, timeout_s=1.0, attempt_timeout_s=0.5
            )
            return await stack.enter_async_context(EtcdStore(settings))

        yield make


class Wire:
    """A way to etcd that can be cut: bytes go through or nowhere."""

    def __init__(self, target):
        self._target = target
        self._writers = set()
        self.is_cut = False

    @asynccontextmanager
    async def laid(self):
        server = await asyncio.start_server(self._carry, "127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        try:
            yield self
        finally:
            self.cut()
            server.close()

    def cut(self):
        self.is_cut = True
        for writer in self._writers:
            writer.transport.abort()

    async def _carry(self, reader, writer):
        if self.is_cut:
            writer.transport.abort()
            return
        host, _, port = self._target.removeprefix("http://").rpartition(":")
        far_reader, far_writer = await asyncio.open_connection(host, int(port))
        self._writers |= {writer, far_writer}
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(_pump(reader, far_writer))
            tasks.create_task(_pump(far_reader, writer))


async def _pump(reader, writer):
    try:
        while data := await reader.read(65_536):
            writer.write(data)
            await writer.drain()
    except OSError:
        pass  # it was cut
    finally:
        writer.close()


class Assent:
    """A majority that answers; what a test does meanwhile happens under the lock."""

    def __init__(self):
        self.meanwhile = None
        self.asked_count = 0

    async def confirm(self, _timeout_s):
        self.asked_count += 1
        if self.meanwhile is not None:
            meanwhile, self.meanwhile = self.meanwhile, None
            await meanwhile()


@pytest.fixture
async def contender(open_store):
    """Give a maker of nodes that may take agents over, without the rest of a node."""
    async with asyncio.TaskGroup() as tasks:
        running = []

        async def make(name, *, live=(), store=None):
            nodes = NodeTable(name)
            for other in live:
                nodes.up(other, 1)
            assent = Assent()
            found = store or await open_store()
            takeovers = Takeovers(name, assent, found, nodes, Events(lambda: 0))
            running.append(tasks.create_task(takeovers.run()))
            await until(lambda: _is_leased(takeovers))
            return takeovers, assent

        yield make
        for one in running:
            one.cancel()


async def _is_leased(takeovers):
    return takeovers._lease is not None and takeovers.right.value == "lease"


# One node at a time.


async def test_two_that_want_the_same_agent_do_not_both_get_it(contender):
    a, _ = await contender("a", live=["b"])
    b, _ = await contender("b", live=["a"])
    answers = await asyncio.gather(a.permit(LIKE, 2), b.permit(LIKE, 2), return_exceptions=True)
    [refused] = [one for one in answers if isinstance(one, CaxtonError)]
    [epoch] = [one for one in answers if isinstance(one, int)]
    assert (refused.code, "has just taken Echo over" in refused.detail) == (
        "metadata_unavailable",
        True,
    )
    assert epoch >= 2


async def test_what_is_asked_for_together_takes_one_turn(contender, open_store):
    a, assent = await contender("a")
    likes = [replace(LIKE, agent=f"Echo{number}") for number in range(20)]
    epochs = await asyncio.gather(*(a.permit(like, 2) for like in likes))
    assert assent.asked_count <= 2
    assert min(epochs) > 2, "the fencing token of the lock"
    found = await (await open_store()).list(CLAIMS_FOLDER)
    assert {json.loads(item.value)["node"] for item in found.items} == {"a"}
    assert all(item.lease_id for item in found.items), "they go with their node"


async def test_a_holder_that_died_is_waited_for_no_longer_than_its_lease(
    contender, etcd, prefix, open_store
):
    a, _ = await contender("a")
    store = await open_store()
    lease = etcd.ask("lease/grant", TTL=2)["ID"]
    key = f"{prefix}locks/{LOCK_NAME}/{int(lease):016x}"
    etcd.ask("kv/put", key=text(key), value=text("dead"), lease=lease)

    async def is_waiting():
        [lock] = await store.locks()
        return (lock.holder, lock.waiting_count) == ("dead", 1)

    async with asyncio.TaskGroup() as tasks:
        asking = tasks.create_task(a.permit(LIKE, 2))
        await until(is_waiting)
        assert not asking.done()
    assert asking.result() >= 2


async def test_a_holder_that_lost_its_lock_meanwhile_takes_nothing(contender, etcd, open_store):
    a, assent = await contender("a", live=["b"])
    b, _ = await contender("b", live=["a"])

    async def lose_it():
        locks = await (await open_store()).locks()
        etcd.ask("lease/revoke", ID=next(one.lease_id for one in locks if one.name == LOCK_NAME))
        await b.permit(replace(LIKE, agent="Other"), 2)

    assent.meanwhile = lose_it
    with pytest.raises(Unavailable, match="gave the lock to another node"):
        await a.permit(LIKE, 2)
    [item] = (await (await open_store()).list(CLAIMS_FOLDER)).items
    assert item.key == f"{CLAIMS_FOLDER}Other"


async def test_a_holder_that_is_cut_off_from_etcd_in_its_turn_takes_nothing(
    contender, etcd, open_store
):
    async with Wire(etcd.endpoints[0]).laid() as wire:
        a, assent = await contender("a", store=await open_store((wire.url,)))
        b, _ = await contender("b")

        async def cut():
            wire.cut()

        assent.meanwhile = cut
        with pytest.raises(Unavailable) as refused:
            await a.permit(LIKE, 2)
        assert refused.value.code == "metadata_unavailable"
        # Its lease ends without it, and the next one has a higher token.
        assert await b.permit(LIKE, 2) >= 2


async def test_who_acts_late_on_an_old_turn_ranks_below_the_later_holder(contender):
    a, _ = await contender("a")
    b, _ = await contender("b")  # to b, a is not alive
    stale = await a.permit(LIKE, 2)
    later = await b.permit(LIKE, 2)
    copies = [replace(LIKE, node="a", epoch=stale), replace(LIKE, node="b", epoch=later)]
    assert leader(copies).node == "b"


# Whole nodes.


async def test_a_node_without_etcd_leaves_agents_to_those_that_have_it(tmp_path, etcd, prefix):
    flags = {"etcd__prefix": prefix, "etcd__timeout": "1s", "etcd__attempt_timeout": "500ms"}
    async with (
        Wire(etcd.endpoints[0]).laid() as wire,
        AsyncExitStack() as stack,
    ):
        direct = {**flags, "etcd__endpoints": etcd.endpoints[0]}
        by_wire = {"a": {**flags, "etcd__endpoints": wire.url}}
        nodes = await stack.enter_async_context(
            cluster_of(tmp_path, "a", "b", "c", own=by_wire, **direct)
        )
        a, b, c = nodes

        def rights():
            return {node.name: node.cluster.fleet.failover.right for node in nodes}

        await until(_sees(lambda: set(rights().values()) == {"lease"}))
        for number in range(6):
            await deploy(c, python_agent(f"Echo{number}", "Echo"))
        await until(_sees(lambda: len(a.cluster.fleet.agent_names()) == 6))
        wire.cut()
        await until(_sees(lambda: rights() == {"a": "withheld", "b": "lease", "c": "lease"}))
        await c.cluster.fleet.drain(20.0)
        assert (len(a.roster), len(b.roster), len(c.roster)) == (0, 6, 0)
        assert a.cluster.fleet.failover.refused_count > 0
        claims = [b.deployments.claim(seat.agent).epoch for seat in b.roster]
        assert min(claims) > 2, "fencing tokens"


def _sees(condition):
    async def is_so():
        return condition()

    return is_so


async def test_when_etcd_is_lost_to_all_failover_goes_on_by_majority_and_says_so(
    tmp_path, etcd, prefix, monkeypatch
):
    monkeypatch.setitem(ENVIRONMENT, "CAXTON_ETCD__ENDPOINTS", ",".join(etcd.endpoints))
    monkeypatch.setitem(ENVIRONMENT, "CAXTON_ETCD__PREFIX", prefix)
    async with cluster(tmp_path, "a", "b", "c") as lab:

        async def right(name):
            return (await lab.get(name, "cluster/status"))["failover"]["right"]

        async def all_have(wanted):
            return [await right(name) for name in "ab"] == [wanted, wanted]

        async def all_moved():
            homes = [await lab.homes("a", f"Echo{number}") for number in range(4)]
            return all(home in (["a"], ["b"]) for home in homes)

        await until(lambda: all_have("lease"))
        for number in range(4):
            await lab.deploy("c", python_agent(f"Echo{number}", "Echo"))
        for number in range(4):
            await lab.runs_at(f"Echo{number}", "c", seen_by="ab")
        await asyncio.to_thread(etcd.members[0].kill)
        await lab.nodes["c"].kill()
        await until(all_moved, FAILOVER_S)
        await until(lambda: all_have("degraded"))
        async with lab.session.get(f"{lab.nodes['a'].url}/metrics") as answer:
            assert 'caxton_failover_right{right="degraded"} 1.0' in await answer.text()
        log = (tmp_path / "a" / "node.log").read_text()
        assert "agents of dead nodes are taken over by: degraded" in log
        etcd.members[0].start()
        await until(lambda: all_have("lease"))
