"""aetcd, another client of etcd for asyncio: `aetcd_puts.py HOST PORT SECONDS`, JSON on stdout."""

import asyncio
import json
import sys
import time

import aetcd


async def rate(work, workers, seconds):
    """Return how often `workers` at once do `work` in a second."""
    done = 0
    ends_at = time.perf_counter() + seconds

    async def repeat(worker):
        nonlocal done
        while time.perf_counter() < ends_at:
            await work(worker, done)
            done += 1

    started = time.perf_counter()
    await asyncio.gather(*(repeat(worker) for worker in range(workers)))
    return done / (time.perf_counter() - started)


async def main():
    host, port, seconds = sys.argv[1], int(sys.argv[2]), float(sys.argv[3])
    async with aetcd.Client(host=host, port=port) as client:

        async def put(worker, number):
            await client.put(b"/peer/%d" % worker, b"%d" % number)

        async def get(worker, _):
            await client.get(b"/peer/%d" % worker)

        rates = {
            "puts/s, one at a time": await rate(put, 1, seconds),
            "puts/s, 64 at a time": await rate(put, 64, seconds),
            "gets/s, one at a time": await rate(get, 1, seconds),
            "gets/s, 64 at a time": await rate(get, 64, seconds),
        }
        delays_ms = []
        watch = await client.watch_prefix(b"/peer/watched")

        async def follow():
            async for event in watch:
                sent_ns = int(event.kv.value)
                delays_ms.append((time.perf_counter_ns() - sent_ns) / 1e6)
                if len(delays_ms) == 500:
                    return

        async with asyncio.TaskGroup() as tasks:
            following = tasks.create_task(follow())
            await asyncio.sleep(0.2)
            while not following.done():
                await client.put(b"/peer/watched", b"%d" % time.perf_counter_ns())
        print(json.dumps({"rates": rates, "watch_ms": delays_ms}))


asyncio.run(main())
