"""How fast the store journals, beside what the disk allows: `python -m loadtests.store`.

One process, one event loop, real files, every commit synced. Three questions:

- Saturated: accepted and settled messages a second, while the loop does nothing but feed.
- At a set rate (10,000/s and 25,000/s) with a busy loop: how long from `append` to the callback.
- Beside them `fdatasync` of a 4 KiB page, alone: no durable commit can be quicker than that.

A message is accepted in one batch and settled in a later one, after its commit, as in the
server. The busy loop burns a set share of each millisecond in Python, holding the interpreter
lock, as parsing and routing would.
"""

import argparse
import asyncio
import json
import os
import statistics
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import uvloop

from caxton_node.domain.delivery import DeliveryStatus
from caxton_node.domain.errors import Unavailable
from caxton_node.domain.message import Message
from caxton_node.domain.performatives import Performative
from caxton_node.store.protocol import Settlement
from caxton_node.store.sqlite import SqliteStore

BUSY_SHARE = 0.3
"""Part of the loop's time that is burnt besides the store's own work, at a set rate."""

WINDOW = 20_000
"""Messages in flight when saturated, about what a pipeline would bound its backlog to."""

CONTENT = b'{"action":"calculate","series":"' + b"x" * 160 + b'"}'


@dataclass(frozen=True)
class Result:
    """One line of the table."""

    name: str
    rate_per_s: float
    p50_ms: float
    p99_ms: float
    loop_cpu_share: float


def percentile(values: list[float], share: float) -> float:
    return sorted(values)[min(len(values) - 1, int(len(values) * share))]


def fdatasync_ms(directory: Path, *, count: int = 300) -> list[float]:
    times = []
    descriptor = os.open(directory / "fdatasync", os.O_RDWR | os.O_CREAT)
    try:
        for number in range(count):
            os.pwrite(descriptor, b"x" * 4096, number * 4096)
            began = time.perf_counter()
            os.fdatasync(descriptor)
            times.append((time.perf_counter() - began) * 1e3)
    finally:
        os.close(descriptor)
    return times


class Load:
    """Feeds one store and settles what was committed, in groups as a pipeline would."""

    def __init__(self, store: SqliteStore) -> None:
        self.store = store
        self.seq = 0
        self.settled = 0
        self.in_flight = 0
        self.latencies: list[float] = []
        self.committed: list[int] = []
        self.has_room = asyncio.Event()

    def message(self) -> tuple[int, Message]:
        self.seq += 1
        seq = self.seq
        return seq, Message(
            id=f"msg-0mfa3k2v9qw7x0a1b-{seq:08x}",
            performative=Performative.REQUEST,
            sender="client",
            receiver="agent-b",
            content=CONTENT,
            conversation_id=f"conv-0mfa3k2v9qw7x0a1b-{seq // 10:08x}",
            created_at=1_700_000_000_000 + seq,
        )

    def send(self, count: int) -> None:
        """Accept `count` messages, each by a call of its own, and settle those committed."""
        for _ in range(count):
            entry = self.message()
            self.in_flight += 1
            began = time.perf_counter()

            def committed(error: Unavailable | None, seq=entry[0], began=began) -> None:
                assert error is None
                self.latencies.append((time.perf_counter() - began) * 1e3)
                self.committed.append(seq)
                self.in_flight -= 1
                self.has_room.set()

            self.store.append([entry], (), committed)

    def settle(self) -> None:
        for seq in self.committed:
            self.store.append(
                (),
                (
                    Settlement(
                        seq,
                        DeliveryStatus.DELIVERED,
                        1_700_000_100_000,
                        "agent-b",
                        1_700_000_000_000,
                        1,
                    ),
                ),
            )
        self.settled += len(self.committed)
        self.committed.clear()


async def drained(load: Load) -> None:
    while load.in_flight or load.committed or load.store.backlog:
        load.settle()
        await asyncio.sleep(0.001)


async def saturated(directory: Path, seconds: float) -> Result:
    store = SqliteStore(directory / "saturated.db")
    await store.open()
    load = Load(store)
    began, cpu = time.perf_counter(), time.thread_time()
    while time.perf_counter() - began < seconds:
        if load.in_flight >= WINDOW:
            load.has_room.clear()
            await load.has_room.wait()
        else:
            load.send(100)
            await asyncio.sleep(0)
        load.settle()
    await drained(load)
    took = time.perf_counter() - began
    share = (time.thread_time() - cpu) / took
    counts = await store.status_counts()
    assert counts == {DeliveryStatus.DELIVERED: load.seq}, counts
    await store.close()
    return Result(
        "saturated",
        load.seq / took,
        statistics.median(load.latencies),
        percentile(load.latencies, 0.99),
        share,
    )


async def at_rate(directory: Path, rate: int, seconds: float) -> Result:
    store = SqliteStore(directory / f"rate-{rate}.db")
    await store.open()
    load = Load(store)
    began, cpu = time.perf_counter(), time.thread_time()
    while (elapsed := time.perf_counter() - began) < seconds:
        load.settle()
        load.send(int(elapsed * rate) - load.seq)
        burn_until = time.perf_counter() + 0.001 * BUSY_SHARE
        while time.perf_counter() < burn_until:
            pass
        await asyncio.sleep(max(0.0, 0.001 - (time.perf_counter() - began - elapsed)))
    await drained(load)
    took = time.perf_counter() - began
    share = (time.thread_time() - cpu) / took
    await store.close()
    return Result(
        f"{rate:,}/s, busy loop",
        load.seq / took,
        statistics.median(load.latencies),
        percentile(load.latencies, 0.99),
        share,
    )


async def run(directory: Path, seconds: float) -> tuple[list[Result], list[float]]:
    disk = fdatasync_ms(directory)
    results = [
        await saturated(directory, seconds),
        await at_rate(directory, 10_000, seconds),
        await at_rate(directory, 25_000, seconds),
    ]
    return results, disk


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=5.0, help="for each line of the table")
    parser.add_argument("--directory", type=Path, default=Path("build/bench"))
    parser.add_argument("--switch-interval", type=float, default=sys.getswitchinterval())
    arguments = parser.parse_args()
    sys.setswitchinterval(arguments.switch_interval)
    arguments.directory.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=arguments.directory) as scratch:
        results, disk = uvloop.run(run(Path(scratch), arguments.seconds))
    sync_p50_ms, sync_p99_ms = statistics.median(disk), percentile(disk, 0.99)
    print(f"fdatasync of 4 KiB: p50 {sync_p50_ms:.3f} ms, p99 {sync_p99_ms:.3f} ms")
    print(f"{'load':22}{'messages/s':>12}{'p50 ms':>9}{'p99 ms':>9}{'p50 / sync':>12}{'loop':>7}")
    for result in results:
        print(
            f"{result.name:22}{result.rate_per_s:12,.0f}{result.p50_ms:9.2f}{result.p99_ms:9.2f}"
            f"{result.p50_ms / sync_p50_ms:11.1f}x{result.loop_cpu_share:7.0%}"
        )
    report = {
        "fdatasync_p50_ms": sync_p50_ms,
        "fdatasync_p99_ms": sync_p99_ms,
        "switch_interval_s": arguments.switch_interval,
        "results": [
            asdict(result) | {"p50_per_fdatasync": result.p50_ms / sync_p50_ms}
            for result in results
        ],
    }
    (arguments.directory / "store.json").write_text(json.dumps(report, indent=2) + "\n")


if __name__ == "__main__":
    main()
