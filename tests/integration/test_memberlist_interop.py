"""Mixed rings: five memberlist peers of a current release, in Go, and five of ours."""

import asyncio
import json
import os
import shutil
import subprocess
from base64 import b64encode
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from caxton_cluster import Cluster, ClusterSettings
from tests.integration.cluster_ring import states, until

pytestmark = pytest.mark.timeout(120)

SOURCE = Path(__file__).parent / "memberlist_peer"
KEY, NEW_KEY = b"k" * 32, b"n" * 16
DEADLINE_S = 30.0
POLL_INTERVAL_S = 0.1
SIZE = 5


@pytest.fixture(scope="module")
def program(tmp_path_factory) -> Path:
    """Build the Go peers, or skip with the reason why they cannot be built."""
    go = shutil.which("go")
    if go is None:
        pytest.skip("the Go toolchain is not installed")
    program = tmp_path_factory.mktemp("go") / "memberlist_peer"
    try:
        subprocess.run(
            [go, "build", "-o", str(program), "."],
            cwd=SOURCE,
            env={**os.environ, "GOTOOLCHAIN": "local", "GOFLAGS": "-mod=readonly -buildvcs=false"},
            capture_output=True,
            text=True,
            check=True,
            timeout=100,
        )
    except (subprocess.CalledProcessError, subprocess.TimeoutExpired) as error:
        lines = str(getattr(error, "stderr", "") or error).strip().splitlines()
        pytest.skip(f"memberlist cannot be built here: {lines[-1]}")
    return program


class GoPeers:
    """The process with the Go peers."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self.addresses: list[str] = []

    async def ask(self, command: str, index: int, *arguments: str):
        self._process.stdin.write(f"{command} {index} {' '.join(arguments)}\n".encode())
        return await self.hear()

    async def hear(self):
        async with asyncio.timeout(DEADLINE_S):
            return json.loads(await self._process.stdout.readline())

    async def see(self, names: set[str], but: int | None = None) -> None:
        """Return once each peer, `but` one, sees exactly `names`."""
        for index in range(SIZE):
            if index == but:
                continue
            async with asyncio.timeout(DEADLINE_S):
                while set(await self.ask("members", index)) != names:
                    await asyncio.sleep(POLL_INTERVAL_S)


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
    process = await asyncio.create_subprocess_exec(
        program,
        f"-n={SIZE}",
        *flags,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    stack.push_async_callback(_end, process)
    go = GoPeers(process)
    go.addresses = await go.hear()
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
    await go.see(everyone())
    return go, ours


async def _end(process: asyncio.subprocess.Process) -> None:
    process.kill()
    await process.wait()


def everyone(*but: str) -> set[str]:
    return {f"{kind}{index}" for kind in ("go", "py") for index in range(SIZE)} - set(but)


async def test_either_kind_is_seen_to_die(stack, program, secrets):
    go, ours = await start_ring(stack, program, secrets)
    victim = await stack.enter_async_context(AsyncExitStack())
    doomed = Cluster(ClusterSettings(name="victim", bind_port=0, **secrets))
    await victim.enter_async_context(doomed)
    await doomed.join([go.addresses[0]], timeout_s=DEADLINE_S)
    await go.see(everyone() | {"victim"})

    await go.ask("kill", 4)
    await victim.aclose()

    for node in ours:
        await until(node, lambda node=node: states(node).get("go4") == "dead")
        await until(node, lambda node=node: states(node).get("victim") == "dead")
    await go.see(everyone("go4"), but=4)


async def test_either_kind_is_seen_to_leave_and_to_change(stack, program, secrets):
    go, ours = await start_ring(stack, program, secrets)

    ours[0].set_metadata(b"changed by us")
    await go.ask("meta", 0, "changed-by-go")
    for node in ours:
        await until(
            node,
            lambda node=node: any(m.meta == b"changed-by-go" for m in node.members()),
        )
    async with asyncio.timeout(DEADLINE_S):
        while (await go.ask("members", 3))["py0"] != "changed by us":
            await asyncio.sleep(POLL_INTERVAL_S)

    await go.ask("leave", 4)
    await ours[4].leave()
    for node in ours[:4]:
        await until(node, lambda node=node: states(node).get("go4") == "left")
        await until(node, lambda node=node: states(node).get("py4") == "left")
    await go.see(everyone("go4", "py4"), but=4)


async def test_keys_rotate_while_a_mixed_ring_runs(stack, program):
    go, ours = await start_ring(stack, program, {"label": "prod", "keys": (KEY,)})
    for step, key in (("install", NEW_KEY), ("use", NEW_KEY), ("remove", KEY)):
        for index in range(SIZE):
            assert await go.ask(step, index, b64encode(key).decode()) == "ok"
            getattr(ours[index], f"{step}_key")(key)
        ours[0].set_metadata(step.encode())
        async with asyncio.timeout(DEADLINE_S):
            while (await go.ask("members", 4))["py0"] != step:
                await asyncio.sleep(POLL_INTERVAL_S)

    await go.see(everyone())
    assert all(set(states(node).values()) == {"alive"} for node in ours)
    assert all(node.keys() == (NEW_KEY,) for node in ours)
    assert sum(node.statistics.malformed for node in ours) == 0
