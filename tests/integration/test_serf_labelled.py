"""A labelled ring with members by a current serf library: serf's agent program knows no labels."""

import asyncio
from base64 import b64encode
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from caxton_cluster import Cluster, ClusterSettings
from caxton_cluster.errors import JoinFailed
from caxton_cluster.serf.overlay import SerfOverlay, SerfUserEvent
from caxton_cluster.serf.tags import decode_tags, encode_tags
from caxton_cluster.swim.events import MemberFailed, MemberSuspected
from tests.integration.cluster_ring import states, until
from tests.integration.go_peers import DEADLINE_S, GoPeers, built_program, start_peers

pytestmark = pytest.mark.timeout(480)

KEY = b"k" * 32
LABEL = "production"
SIZE = 3
HOLD_S = 60.0
"""How long nobody may suspect anybody."""

TAGS = {"role": "caxton", "zone": "b"}


@pytest.fixture(scope="module")
def program(tmp_path_factory) -> Path:
    return built_program("serf_peer", tmp_path_factory.mktemp("go"))


async def start_ring(stack: AsyncExitStack, program: Path, *keys: bytes) -> tuple[GoPeers, Cluster]:
    flags = [f"-key={b64encode(key).decode()}" for key in keys]
    go = await start_peers(stack, program, f"-n={SIZE}", f"-label={LABEL}", *flags)
    settings = ClusterSettings(
        name="ours", bind_port=0, label=LABEL, keys=keys, meta=encode_tags(TAGS)
    )
    ours = await stack.enter_async_context(Cluster(settings, overlay=SerfOverlay))
    await ours.join([go.addresses[0]], timeout_s=DEADLINE_S)
    await until(ours, lambda: len(ours.live_members()) == SIZE + 1)
    for index in range(SIZE):
        await go.until(lambda members: is_seen(members, "alive"), "members", index)
    return go, ours


def is_seen(members: dict, status: str) -> bool:
    return members.get("ours", {}).get("status") == status


async def test_a_labelled_ring_of_serf_and_ours_holds_for_a_minute(program):
    # A plain ring and an encrypted one at the same time: the minute is the same.
    async with asyncio.TaskGroup() as tasks:
        for keys in ((), (KEY,)):
            tasks.create_task(_hold_for_a_minute(program, *keys))


async def _hold_for_a_minute(program: Path, *keys: bytes) -> None:
    async with AsyncExitStack() as stack:
        go, ours = await start_ring(stack, program, *keys)
        with ours.subscribe() as events:
            wrong = await _first_accusation(events)

        assert wrong is None
        assert set(states(ours).values()) == {"alive"}
        assert {decode_tags(m.meta)["role"] for m in ours.members()} == {"go", "caxton"}
        for index in range(SIZE):
            members = await go.ask("members", index)
            assert {row["status"] for row in members.values()} == {"alive"}
            assert members["ours"]["tags"] == TAGS
        assert ours.statistics.malformed == ours.statistics.not_for_us == 0


async def _first_accusation(events) -> object | None:
    try:
        async with asyncio.timeout(HOLD_S):
            async for event in events:
                if isinstance(event, MemberSuspected | MemberFailed):
                    return event
    except TimeoutError:
        pass
    return None


async def test_events_and_goodbyes_pass_under_a_label(program):
    async with AsyncExitStack() as stack:
        go, ours = await start_ring(stack, program, KEY)
        with ours.subscribe() as events:
            assert await go.ask("event", 1, "from-go", "payload") == "ok"
            async with asyncio.timeout(DEADLINE_S):
                async for event in events:
                    if isinstance(event, SerfUserEvent) and event.name == "from-go":
                        break
        ours.carry_out(ours.overlay.send_event("from-us", b"payload"))
        for index in range(SIZE):
            await go.until(lambda heard: "from-us" in heard, "heard", index)

        await ours.leave()

        for index in range(SIZE):
            await go.until(lambda members: is_seen(members, "left"), "members", index)


async def test_members_without_the_label_and_those_with_it_do_not_meet(program):
    async with AsyncExitStack() as stack:
        go = await start_peers(stack, program, "-n=1", f"-label={LABEL}")
        settings = ClusterSettings(name="ours", bind_port=0, meta=encode_tags(TAGS))
        ours = await stack.enter_async_context(Cluster(settings, overlay=SerfOverlay))
        with pytest.raises(JoinFailed):
            await ours.join(go.addresses, timeout_s=3.0)

        assert list(await go.ask("members", 0)) == ["go0"]
        assert list(states(ours)) == ["ours"]
