"""Our members in one ring with real serf agents: an independent judge of the wire."""

import asyncio
import signal
import sys
from base64 import b64encode
from contextlib import AsyncExitStack
from pathlib import Path
from random import Random

import pytest

from caxton_cluster import Cluster, ClusterSettings
from caxton_cluster.errors import KeyRejected
from caxton_cluster.key_rotation import KeyRotation
from caxton_cluster.serf.overlay import SerfOverlay, SerfUserEvent
from caxton_cluster.serf.tags import decode_tags, encode_tags
from caxton_cluster.swim.digest import DIGEST_SIZE_BYTES_MAX
from caxton_cluster.swim.events import MemberFailed, MemberSuspected
from tests.integration.cluster_ring import states, until
from tests.integration.serf_agents import DEADLINE_S, Agent, needs_serf, poll, start_agents

pytestmark = [needs_serf, pytest.mark.timeout(150)]

KEY, NEW_KEY = b"k" * 32, b"n" * 32
HOLD_S = 60.0
"""How long nobody may suspect anybody."""


@pytest.fixture
async def stack():
    async with AsyncExitStack() as stack:
        yield stack


@pytest.fixture(params=["plain", "encrypted"])
def keys(request) -> tuple[bytes, ...]:
    return () if request.param == "plain" else (KEY,)


def arguments(keys: tuple[bytes, ...]) -> list[str]:
    return [f"-encrypt={b64encode(keys[0]).decode()}"] if keys else []


async def join(stack: AsyncExitStack, agent: Agent, keys: tuple[bytes, ...], **settings) -> Cluster:
    cluster = Cluster(
        ClusterSettings(
            name="ours",
            bind_port=0,
            keys=keys,
            meta=encode_tags({"role": "caxton", "zone": "b"}),
            is_digest_reader=lambda member: decode_tags(member.meta)["role"] == "caxton",
            **settings,
        ),
        overlay=SerfOverlay,
    )
    await stack.enter_async_context(cluster)
    await cluster.join([agent.address], timeout_s=DEADLINE_S)
    await until(cluster, lambda: len(cluster.live_members()) == 4)
    return cluster


async def start_ring(stack: AsyncExitStack, folder: Path, keys: tuple[bytes, ...]):
    agents = await start_agents(stack, folder, 3, *arguments(keys))
    ours = await join(stack, agents[0], keys)
    for agent in agents:
        await agent.sees("ours", "alive")
    return agents, ours


async def test_serf_and_we_see_each_other_alive_for_a_minute(tmp_path):
    # A plain ring and an encrypted one at the same time: the minute is the same.
    async with asyncio.TaskGroup() as tasks:
        for number, keys in enumerate([(), (KEY,)]):
            folder = tmp_path / str(number)
            folder.mkdir()
            tasks.create_task(_hold_for_a_minute(folder, keys))


async def _hold_for_a_minute(folder: Path, keys: tuple[bytes, ...]) -> None:
    async with AsyncExitStack() as stack:
        agents, ours = await start_ring(stack, folder, keys)
        for agent in agents:
            row = await agent.sees("ours", "alive")
            assert row["tags"] == {"role": "caxton", "zone": "b"}
        tags = {member.name: decode_tags(member.meta) for member in ours.members()}
        assert tags["go1"] == {"role": "go"}
        ours.set_digest(bytes(DIGEST_SIZE_BYTES_MAX))

        with ours.subscribe() as events:
            wrong = await _first_accusation(events)

        assert wrong is None
        assert set(states(ours).values()) == {"alive"}
        for agent in agents:
            assert (await agent.members())["ours"]["status"] == "alive"
            log = agent.log.read_text()
            assert "Suspect ours" not in log
            assert "ping version" not in log, "our digest is nothing for serf"
            assert "Failed to decode" not in log
        assert ours.statistics.malformed == 0


async def _first_accusation(events) -> object | None:
    try:
        async with asyncio.timeout(HOLD_S):
            async for event in events:
                if isinstance(event, MemberSuspected | MemberFailed):
                    return event
    except TimeoutError:
        pass
    return None


async def test_serf_sees_our_goodbye_as_left(stack, tmp_path, keys):
    agents, ours = await start_ring(stack, tmp_path, keys)

    await ours.leave()

    for agent in agents:
        await agent.sees("ours", "left")
        assert "EventMemberFailed: ours" not in agent.log.read_text()


async def test_serf_sees_us_come_back_after_a_goodbye(stack, tmp_path):
    agents, ours = await start_ring(stack, tmp_path, ())
    await ours.leave()
    for agent in agents:
        await agent.sees("ours", "left")

    await ours.join([agents[1].address], timeout_s=DEADLINE_S)

    for agent in agents:
        await agent.sees("ours", "alive")
    await until(ours, lambda: set(states(ours).values()) == {"alive"})


async def test_we_see_serfs_goodbye_as_left(stack, tmp_path):
    agents, ours = await start_ring(stack, tmp_path, ())

    await agents[2].run("leave")

    await until(ours, lambda: states(ours).get("go2") == "left")


async def test_serf_sees_a_killed_member_as_failed(stack, tmp_path, keys):
    agents = await start_agents(stack, tmp_path, 3, *arguments(keys))
    key = ["--key", b64encode(keys[0]).decode()] if keys else []
    victim = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "tests.integration.cluster_member",
        "victim",
        "--seed",
        agents[0].address,
        *key,
        stdout=asyncio.subprocess.PIPE,
        cwd=Path(__file__).parents[2],
    )
    async with asyncio.timeout(DEADLINE_S):
        assert await victim.stdout.readline() == b"joined\n"
    for agent in agents:
        assert (await agent.sees("victim", "alive"))["tags"] == {"role": "victim"}

    victim.kill()
    await victim.wait()

    for agent in agents:
        await agent.sees("victim", "failed")


async def test_we_see_a_killed_agent_as_failed(stack, tmp_path):
    agents, ours = await start_ring(stack, tmp_path, ())
    async with AsyncExitStack() as doomed:
        agent = Agent("doomed", tmp_path / "doomed.log")
        await agent.start(doomed, f"-retry-join={agents[0].address}")
        await until(ours, lambda: states(ours).get("doomed") == "alive")

    await until(ours, lambda: states(ours).get("doomed") == "dead")


async def test_user_events_pass_both_ways(stack, tmp_path, keys):
    agents, ours = await start_ring(stack, tmp_path, keys)

    with ours.subscribe() as events:
        await agents[1].run("event", "from-serf", "payload of go")
        async with asyncio.timeout(DEADLINE_S):
            async for event in events:
                if isinstance(event, SerfUserEvent):
                    break
    ours.carry_out(ours.overlay.send_event("from-ours", b"payload of py"))

    assert (event.name, event.payload) == ("from-serf", b"payload of go")
    for agent in agents:

        async def has_it(agent=agent) -> bool:
            return "user-event: from-ours" in agent.log.read_text()

        await poll(has_it)


async def test_new_tags_reach_serf(stack, tmp_path):
    agents, ours = await start_ring(stack, tmp_path, ())

    ours.set_metadata(encode_tags({"role": "caxton", "zone": "c"}))

    async def has_it() -> bool:
        rows = [(await agent.members()).get("ours", {}) for agent in agents]
        return all(row.get("tags") == {"role": "caxton", "zone": "c"} for row in rows)

    await poll(has_it)


async def test_serf_reaches_us_with_its_queries(stack, tmp_path):
    agents, _ = await start_ring(stack, tmp_path, ())

    report = await agents[2].run("reachability")

    assert "Successfully contacted all live nodes" in report


async def test_serf_rotates_our_keys(stack, tmp_path):
    agents, ours = await start_ring(stack, tmp_path, (KEY,))
    old, new = (b64encode(key).decode() for key in (KEY, NEW_KEY))

    for step in (f"-install={new}", f"-use={new}", f"-remove={old}"):
        assert "Error" not in await agents[0].run("keys", step)

    assert ours.keys() == (NEW_KEY,)
    listing = await agents[1].run("keys", "-list")
    assert new in listing
    assert "[4/4]" in listing
    assert set(states(ours).values()) == {"alive"}


async def test_we_rotate_serfs_keys(stack, tmp_path):
    agents, ours = await start_ring(stack, tmp_path, (KEY,))
    other = await stack.enter_async_context(
        Cluster(ClusterSettings(name="other", bind_port=0, keys=(KEY,)), overlay=SerfOverlay)
    )
    await other.join([agents[0].address], timeout_s=DEADLINE_S)
    for node in (ours, other):
        await until(node, lambda node=node: len(node.live_members()) == 5)
    rotation = KeyRotation(ours, Random(1))

    with pytest.raises(KeyRejected, match="5 of 5 members lack the key"):
        await rotation.use(NEW_KEY)
    for report in (
        await rotation.install(NEW_KEY),
        await rotation.use(NEW_KEY),
        await rotation.remove(KEY),
    ):
        assert report.done == ("go0", "go1", "go2", "other", "ours")
        assert report.is_complete

    listing = await rotation.list()
    assert listing.holder_counts == {b64encode(NEW_KEY): 5}
    assert other.keys() == ours.keys() == (NEW_KEY,)
    seen_by_serf = await agents[1].run("keys", "-list")
    assert b64encode(NEW_KEY).decode() in seen_by_serf
    assert b64encode(KEY).decode() not in seen_by_serf
    assert set(states(ours).values()) == {"alive"}


async def test_a_key_is_not_used_while_somebody_is_silent(stack, tmp_path):
    agents, ours = await start_ring(stack, tmp_path, (KEY,))
    rotation = KeyRotation(ours, Random(1))
    await rotation.install(NEW_KEY)
    agents[2].process.send_signal(signal.SIGSTOP)

    with pytest.raises(KeyRejected, match="go2 did not say"):
        await rotation.use(NEW_KEY)

    agents[2].process.send_signal(signal.SIGCONT)
    assert ours.keys() == (KEY, NEW_KEY)


async def test_a_compressing_member_is_understood(stack, tmp_path):
    agents = await start_agents(stack, tmp_path, 3)
    ours = await join(stack, agents[0], (), compresses=True)

    for agent in agents:
        await agent.sees("ours", "alive")
    assert len(ours.live_members()) == 4
