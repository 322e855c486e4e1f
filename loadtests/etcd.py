"""How fast the metadata store is, and how long it takes over what goes wrong.

    python -m loadtests.etcd

Three members of etcd on loopback, with their data on this disk: a write is synced by a majority
of them before it is confirmed, so that the disk decides. Etcd and all clients share the machine.
`direct` is etcd asked through its JSON gateway by a bare HTTP client, one call at a time: what the
members take. aetcd, another client for asyncio, runs in `.venv-peers` in the same run; without it
its column is left out. It speaks to one member and knows no failover, so the rest is ours alone.

A watch's delay is from before the put to the event, the put included. A handover is from the
release of a lock to the next holder's having it; the waiter is at another member. After `kill -9`
of the leader, the gap is the longest time between two writes that were confirmed, and between two
events of a watch at the member that died. Medians and worst cases; build/bench/etcd.json.
"""

import argparse
import asyncio
import contextlib
import itertools
import json
import os
import shutil
import statistics
import subprocess
import tempfile
import time
from collections.abc import Awaitable, Callable
from contextlib import aclosing
from pathlib import Path
from urllib.parse import urlsplit

import aiohttp
import uvloop

from caxton_cluster.errors import MetadataError
from caxton_cluster.metadata import EtcdSettings
from caxton_cluster.metadata.etcd import EtcdStore
from tests.integration.etcd_cluster import EtcdCluster, etcd_cluster, text

ROOT = Path(__file__).parent.parent
PEER_PYTHON = ROOT / ".venv-peers" / "bin" / "python"
PEER = ROOT / "loadtests" / "peers" / "aetcd_puts.py"
WORKERS = 64
EVENTS = 500
HANDOVERS = 50
KILLS = 5
SCENARIO_TIMEOUT_S = 120


async def rate(work: Callable[[int, int], Awaitable[object]], workers: int, seconds: float):
    """Return how often `workers` at once do `work` in a second."""
    done = 0
    ends_at = time.perf_counter() + seconds

    async def repeat(worker: int) -> None:
        nonlocal done
        while time.perf_counter() < ends_at:
            await work(worker, done)
            done += 1

    started = time.perf_counter()
    async with asyncio.TaskGroup() as tasks:
        for worker in range(workers):
            tasks.create_task(repeat(worker))
    return done / (time.perf_counter() - started)


def settings(cluster: EtcdCluster, first: int) -> EtcdSettings:
    """Begin with one of the members."""
    urls = cluster.endpoints
    return EtcdSettings(endpoints=urls[first:] + urls[:first], prefix="/bench/")


async def rates(cluster: EtcdCluster, seconds: float) -> dict[str, float]:
    """Measure calls that nothing disturbs."""
    async with EtcdStore(settings(cluster, 0)) as store:
        return {
            "puts/s, one at a time": await rate(
                lambda w, n: store.put(f"p/{w}", b"%d" % n), 1, seconds
            ),
            "puts/s, 64 at a time": await rate(
                lambda w, n: store.put(f"p/{w}", b"%d" % n), WORKERS, seconds
            ),
            "gets/s, one at a time": await rate(lambda w, _: store.get(f"p/{w}"), 1, seconds),
            "gets/s, 64 at a time": await rate(lambda w, _: store.get(f"p/{w}"), WORKERS, seconds),
        }


async def direct(cluster: EtcdCluster, seconds: float) -> dict[str, float]:
    """Ask etcd without a client."""
    url = cluster.endpoints[0]
    async with aiohttp.ClientSession() as session:

        async def ask(path: str, **body: str) -> None:
            async with session.post(f"{url}/v3/kv/{path}", json=body) as answer:
                await answer.read()

        return {
            "puts/s, one at a time": await rate(
                lambda _, n: ask("put", key=text("/direct"), value=text(str(n))), 1, seconds
            ),
            "gets/s, one at a time": await rate(
                lambda *_: ask("range", key=text("/direct")), 1, seconds
            ),
        }


async def watch_delays_ms(cluster: EtcdCluster) -> list[float]:
    """Measure from before a put to its event at another member."""
    delays_ms: list[float] = []
    async with (
        EtcdStore(settings(cluster, 0)) as writer,
        EtcdStore(settings(cluster, 1)) as reader,
        aclosing(reader.watch("w/")) as watch,
    ):
        await anext(watch)
        # The first change opens the stream.
        async with asyncio.TaskGroup() as tasks:
            opening = tasks.create_task(anext(watch))
            await writer.put("w/a", b"")
            await opening
        while len(delays_ms) < EVENTS:
            started = time.perf_counter()
            async with asyncio.TaskGroup() as tasks:
                coming = tasks.create_task(anext(watch))
                await writer.put("w/a", b"")
                await coming
            delays_ms.append((time.perf_counter() - started) * 1e3)
    return delays_ms


async def lock_times_ms(cluster: EtcdCluster) -> dict[str, list[float]]:
    """Measure taking and giving back a free lock, and handing one over."""
    free_ms: list[float] = []
    handover_ms: list[float] = []
    async with EtcdStore(settings(cluster, 0)) as one, EtcdStore(settings(cluster, 1)) as other:
        for _ in range(HANDOVERS):
            started = time.perf_counter()
            async with one.lock("free", holder="a", ttl_s=10, timeout_s=10):
                pass
            free_ms.append((time.perf_counter() - started) * 1e3)

        async def follow(released: asyncio.Future[float]) -> None:
            async with other.lock("job", holder="b", ttl_s=10, timeout_s=10):
                handover_ms.append((time.perf_counter() - await released) * 1e3)

        for _ in range(HANDOVERS):
            released: asyncio.Future[float] = asyncio.get_running_loop().create_future()
            async with (
                asyncio.TaskGroup() as tasks,
                one.lock("job", holder="a", ttl_s=10, timeout_s=10),
            ):
                tasks.create_task(follow(released))
                while (await one.locks())[0].waiting_count < 1:
                    await asyncio.sleep(0.002)
                # Until the waiter watches.
                await asyncio.sleep(0.02)
                released.set_result(time.perf_counter())
    return {"free lock, taken and given back": free_ms, "handover": handover_ms}


async def gaps_ms(cluster: EtcdCluster) -> dict[str, list[float]]:
    """Kill the leader under a writer and a watcher that both began with it."""
    writes_ms: list[float] = []
    events_ms: list[float] = []
    for _ in range(KILLS):
        victim = cluster.leader()
        first = cluster.members.index(victim)
        told: list[float] = []
        confirmed: list[float] = []
        stop = asyncio.Event()

        async def write(store: EtcdStore, confirmed=confirmed, stop=stop) -> None:
            while not stop.is_set():
                with contextlib.suppress(MetadataError):
                    await store.put("k", b"")
                    confirmed.append(time.perf_counter())

        async def follow(store: EtcdStore, told=told) -> None:
            async with aclosing(store.watch("")) as watch:
                async for _ in watch:
                    told.append(time.perf_counter())

        async with (
            EtcdStore(settings(cluster, first)) as writer,
            EtcdStore(settings(cluster, first)) as reader,
            asyncio.TaskGroup() as tasks,
        ):
            tasks.create_task(write(writer))
            following = tasks.create_task(follow(reader))
            await asyncio.sleep(1.0)
            killed_at = time.perf_counter()
            await asyncio.to_thread(victim.kill)
            await asyncio.sleep(4.0)
            stop.set()
            await asyncio.sleep(0.5)
            following.cancel()
        writes_ms.append(longest_ms(confirmed, killed_at))
        events_ms.append(longest_ms(told, killed_at))
        await asyncio.to_thread(cluster.mend)
    return {"writes": writes_ms, "watch": events_ms}


def longest_ms(instants: list[float], killed_at: float) -> float:
    """Return the longest time between two instants, the second of which is after the kill."""
    pairs = itertools.pairwise(instants)
    return max((later - sooner) * 1e3 for sooner, later in pairs if later > killed_at)


def peer(cluster: EtcdCluster, seconds: float) -> dict | None:
    """Run aetcd against the same members, if it is there."""
    if not PEER_PYTHON.exists():
        return None
    parts = urlsplit(cluster.endpoints[0])
    ran = subprocess.run(
        [PEER_PYTHON, PEER, parts.hostname, str(parts.port), str(seconds)],
        capture_output=True,
        text=True,
        timeout=SCENARIO_TIMEOUT_S,
        check=False,
    )
    if ran.returncode:
        print("aetcd is left out:", ran.stderr.strip().splitlines()[-1:])
        return None
    return json.loads(ran.stdout)


def percentiles(values: list[float]) -> dict[str, float]:
    """Return median, p99 and worst."""
    ordered = sorted(values)
    return {
        "p50": statistics.median(ordered),
        "p99": ordered[min(len(ordered) - 1, int(len(ordered) * 0.99))],
        "max": ordered[-1],
    }


def show(results: dict) -> None:
    """Print the tables."""
    other = results["aetcd"]
    print(f"{'':28}{'Caxton':>10}{'direct':>10}{'aetcd':>10}")
    for name, value in results["rates"].items():
        bare = results["direct"].get(name)
        beside = other["rates"][name] if other else None
        cells = "".join(f"{'-' if v is None else f'{v:,.0f}':>10}" for v in (value, bare, beside))
        print(f"{name:28}{cells}")
    rows = {"put to event, ms": results["watch_ms"]}
    if other:
        rows["put to event, aetcd, ms"] = percentiles(other["watch_ms"])
    rows |= {f"{name}, ms": value for name, value in results["locks_ms"].items()}
    rows |= {f"leader killed, {name}, ms": value for name, value in results["gaps_ms"].items()}
    print(f"\n{'':42}{'p50':>10}{'p99':>10}{'max':>10}")
    for name, row in rows.items():
        print(f"{name:42}" + "".join(f"{row[key]:>10.1f}" for key in ("p50", "p99", "max")))


async def measure(cluster: EtcdCluster, seconds: float) -> dict:
    """Run every scenario of ours."""
    return {
        "rates": await rates(cluster, seconds),
        "direct": await direct(cluster, seconds),
        "watch_ms": percentiles(await watch_delays_ms(cluster)),
        "locks_ms": {k: percentiles(v) for k, v in (await lock_times_ms(cluster)).items()},
        "gaps_ms": {k: percentiles(v) for k, v in (await gaps_ms(cluster)).items()},
    }


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=3.0, help="for each rate")
    arguments = parser.parse_args()
    if shutil.which("etcd") is None:
        print("etcd is not installed: apt-get install etcd-server")
        return
    build = ROOT / "build" / "bench"
    os.makedirs(build, exist_ok=True)
    # On the disk of the project, not in a memory that calls itself one.
    with (
        tempfile.TemporaryDirectory(prefix="etcd-", dir=build) as folder,
        etcd_cluster(Path(folder)) as cluster,
    ):
        beside = peer(cluster, arguments.seconds)
        results = uvloop.run(measure(cluster, arguments.seconds)) | {"aetcd": beside}
    show(results)
    if beside:
        beside["watch_ms"] = percentiles(beside["watch_ms"])
    (build / "etcd.json").write_text(json.dumps(results, indent=2))


if __name__ == "__main__":
    main()
