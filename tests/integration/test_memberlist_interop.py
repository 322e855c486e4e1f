"""Mixed rings: five memberlist peers of a current release, in Go, and five of ours."""

from base64 import b64encode
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from caxton_cluster import Cluster, ClusterSettings
from tests.integration.cluster_ring import states, until
from tests.integration.go_peers import DEADLINE_S, GoPeers, built_program, start_peers

pytestmark = pytest.mark.timeout(400)

KEY, NEW_KEY = b"k" * 32, b"n" * 16
SIZE = 5


@pytest.fixture(scope="module")
def program(tmp_path_factory) -> Path:
    return built_program("memberlist_peer", tmp_path_factory.mktemp("go"))


async def all_see(go: GoPeers, names: set[str], but: int | None = None) -> None:
    """Return once each Go peer, `but` one, sees exactly `names`."""
    for index in set(range(SIZE)) - {but}:
        await go.until(lambda members: set(members) == names, "members", index)


@pytest.fixture
async def stack():
    async with AsyncExitStack() as stack:
        yield stack


@pytest.fixture(params=["plain", "labelled and encrypted"])
def secrets(request) -> dict:
    return {} if request.param == "plain" else {"label": "prod", "keys": (KEY,)}


async def start_ring(stack: AsyncExitStack, program: Path, secrets: dict):
    key = secrets.get("keys")
    flags = [f"-label={secrets['label']}", f"-key={b64encode(key[0]).decode()}"] if key else []
    go = await start_peers(stack, program, f"-n={SIZE}", *flags)
    for index in range(1, SIZE):
        assert await go.ask("join", index, go.addresses[0]) == "ok"
    ours = [
        await stack.enter_async_context(
            Cluster(ClusterSettings(name=f"py{index}", bind_port=0, **secrets))
        )
        for index in range(SIZE)
    ]
    for index, node in enumerate(ours):
        await node.join([go.addresses[index]], timeout_s=DEADLINE_S)
    for node in ours:
        await until(node, lambda node=node: len(node.live_members()) == 2 * SIZE)
    await all_see(go, everyone())
    return go, ours


def everyone(*but: str) -> set[str]:
    return {f"{kind}{index}" for kind in ("go", "py") for index in range(SIZE)} - set(but)


async def test_either_kind_is_seen_to_die(stack, program, secrets):
    go, ours = await start_ring(stack, program, secrets)
    victim = await stack.enter_async_context(AsyncExitStack())
    doomed = Cluster(ClusterSettings(name="victim", bind_port=0, **secrets))
    await victim.enter_async_context(doomed)
    await doomed.join([go.addresses[0]], timeout_s=DEADLINE_S)
    await all_see(go, everyone() | {"victim"})

    await go.ask("kill", 4)
    await victim.aclose()

    for node in ours:
        await until(node, lambda node=node: states(node).get("go4") == "dead")
        await until(node, lambda node=node: states(node).get("victim") == "dead")
    await all_see(go, everyone("go4"), but=4)


async def test_either_kind_is_seen_to_leave_and_to_change(stack, program, secrets):
    go, ours = await start_ring(stack, program, secrets)

    ours[0].set_metadata(b"changed by us")
    await go.ask("meta", 0, "changed-by-go")
    for node in ours:
        await until(
            node,
            lambda node=node: any(m.meta == b"changed-by-go" for m in node.members()),
        )
    await go.until(lambda members: members["py0"] == "changed by us", "members", 3)

    await go.ask("leave", 4)
    await ours[4].leave()
    for node in ours[:4]:
        await until(node, lambda node=node: states(node).get("go4") == "left")
        await until(node, lambda node=node: states(node).get("py4") == "left")
    await all_see(go, everyone("go4", "py4"), but=4)


async def test_keys_rotate_while_a_mixed_ring_runs(stack, program):
    go, ours = await start_ring(stack, program, {"label": "prod", "keys": (KEY,)})
    for step, key in (("install", NEW_KEY), ("use", NEW_KEY), ("remove", KEY)):
        for index in range(SIZE):
            assert await go.ask(step, index, b64encode(key).decode()) == "ok"
            getattr(ours[index], f"{step}_key")(key)
        ours[0].set_metadata(step.encode())
        await go.until(lambda members, step=step: members["py0"] == step, "members", 4)

    await all_see(go, everyone())
    assert all(set(states(node).values()) == {"alive"} for node in ours)
    assert all(node.keys() == (NEW_KEY,) for node in ours)
    assert sum(node.statistics.malformed for node in ours) == 0
