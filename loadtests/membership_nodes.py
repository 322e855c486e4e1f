"""How fast real nodes form a ring and find each other dead, as processes over their public API.

    python -m loadtests.membership_nodes              three nodes, presets lan and fast
    python -m loadtests.membership_nodes --rounds 10  more deaths of each kind

A round starts three `caxton-node` processes in turn, of which two were told of the first, and
waits until each lists three alive. Then one is killed with SIGKILL (its host refuses connections)
or stopped with SIGSTOP (its ports stay open and nobody answers); the others say when they hold it
dead. A stopped one goes on afterwards: how long until all list three alive again, and whether
anybody else was held dead by anybody meanwhile, which must never be.

Instants are those at which a poll of the API every 20 ms sees it. Written to
build/bench/membership_nodes.json.
"""

import argparse
import asyncio
import json
import os
import random
import signal
import statistics
import tempfile
import time
from collections.abc import Callable
from contextlib import AsyncExitStack
from pathlib import Path

import aiohttp

from tests.node_process import NodeProcess, node_process

TARGET = Path(__file__).parent.parent / "build" / "bench" / "membership_nodes.json"
NAMES = ("a", "b", "c")
POLL_INTERVAL_S = 0.02
DEADLINE_S = 30.0
STOPPED_S = 10.0
"""How long a stopped node stays so, at least."""

Views = dict[str, dict[str, str]]


class Ring:
    """Three nodes, and what each of them lists."""

    def __init__(self, session: aiohttp.ClientSession, nodes: dict[str, NodeProcess]) -> None:
        self.session = session
        self.nodes = nodes
        self.ever_dead: set[tuple[str, str]] = set()
        """Who held whom dead at any poll."""

    async def _view(self, name: str) -> dict[str, str]:
        url = f"{self.nodes[name].url}/api/v1/cluster/members"
        async with self.session.get(url) as response:
            rows = (await response.json())["items"]
        view = {row["name"]: row["state"] for row in rows}
        self.ever_dead |= {(name, other) for other, state in view.items() if state == "dead"}
        return view

    async def until(self, observers: tuple[str, ...], is_so: Callable[[dict], bool]) -> list[float]:
        """Return when each observer's view first was so, in seconds from now."""
        began = time.perf_counter()

        async def watch(name: str) -> float:
            while not is_so(await self._view(name)):
                await asyncio.sleep(POLL_INTERVAL_S)
            return time.perf_counter() - began

        async with asyncio.timeout(DEADLINE_S):
            return list(await asyncio.gather(*map(watch, observers)))

    async def until_formed(self) -> float:
        """Return when all list all alive, in seconds from now."""
        wanted = dict.fromkeys(NAMES, "alive")
        return max(await self.until(NAMES, lambda view: view == wanted))


async def start(stack: AsyncExitStack, folder: Path, preset: str) -> Ring:
    """Start three nodes: the first, then the others at once."""
    session = await stack.enter_async_context(aiohttp.ClientSession())
    nodes: dict[str, NodeProcess] = {}

    async def begin(name: str, *options: str) -> None:
        home = folder / name
        home.mkdir()
        process = node_process(
            home,
            *("--name", name, "--gossip", "127.0.0.1:0", *options),
            CAXTON_CLUSTER__PRESET=preset,
        )
        nodes[name] = await stack.enter_async_context(process)

    await begin("a")
    async with session.get(f"{nodes['a'].url}/api/v1/cluster/status") as response:
        seed = (await response.json())["address"]
    for name in ("b", "c"):
        await begin(name, "--peers", seed)
    return Ring(session, nodes)


async def one_round(preset: str, how: str, samples: dict[str, list[float]]) -> None:
    """Form a ring, end one of its nodes, note what was seen."""
    async with AsyncExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="caxton-bench-")))
        ring = await start(stack, folder, preset)
        samples.setdefault("formed after the last was ready", []).append(await ring.until_formed())
        await asyncio.sleep(2 + random.random() * 2)
        victim = random.choice(NAMES)
        others = tuple(name for name in NAMES if name != victim)
        process = ring.nodes[victim].process
        process.send_signal(signal.SIGKILL if how == "SIGKILL" else signal.SIGSTOP)
        ended_at = time.perf_counter()
        took_s = await ring.until(others, lambda view: view[victim] == "dead")
        samples.setdefault(f"{how}: first held dead", []).append(min(took_s))
        samples.setdefault(f"{how}: held dead by all", []).append(max(took_s))
        if how != "SIGKILL":
            await asyncio.sleep(max(0.0, STOPPED_S - (time.perf_counter() - ended_at)))
            os.kill(process.pid, signal.SIGCONT)
            samples.setdefault(f"{how}: all alive again", []).append(await ring.until_formed())
        wrongly = [pair for pair in ring.ever_dead if pair[1] != victim]
        samples.setdefault(f"{how}: others held dead", []).append(len(wrongly))


async def measure(rounds: int) -> dict[str, dict[str, list[float]]]:
    """Measure every preset."""
    found: dict[str, dict[str, list[float]]] = {}
    for preset in ("lan", "fast"):
        for _ in range(rounds):
            for how in ("SIGKILL", "SIGSTOP"):
                await one_round(preset, how, found.setdefault(preset, {}))
    return found


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description="Real nodes: forming a ring, dying, coming back.")
    parser.add_argument("--rounds", type=int, default=5, help="deaths of each kind and preset")
    found = asyncio.run(measure(parser.parse_args().rounds))
    print("| three nodes | preset | samples | median, s | worst, s |\n|---|---|---|---|---|")
    for preset, samples in found.items():
        for figure, values in samples.items():
            middle, worst = statistics.median(values), max(values)
            print(f"| {figure} | {preset} | {len(values)} | {middle:.2f} | {worst:.2f} |")
    print(f"load average of {os.cpu_count()} cores: {os.getloadavg()[0]:.1f}")
    TARGET.parent.mkdir(parents=True, exist_ok=True)
    TARGET.write_text(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
