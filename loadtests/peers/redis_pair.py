"""Redis streams between two processes, kept in an append-only file.

everysec, always   one way, XADD in pipelines of 64, read by a consumer group and acknowledged;
                   the file is synced every second, or before every answer
ask, ask64         a question in one stream, its answer in another (synced every second)
"""

import asyncio
import sys
import tempfile
import time

import pair
import redis.asyncio as redis

ONE_WAY = 51_200
ASKS = 2_000
ASKS_64 = 20_000
PIPELINE = 64


async def receive(port, scenario):
    client = redis.Redis(port=port, socket_timeout=None)
    await client.xgroup_create("numbers", "readers", id="0", mkstream=True)
    await client.set("ready", "1")
    seen = 0
    while True:
        found = await client.xreadgroup("readers", "one", {"numbers": ">"}, count=256, block=1000)
        for _, entries in found:
            seen += len(entries)
            pipe = client.pipeline(transaction=False)
            pipe.xack("numbers", "readers", *(number for number, _ in entries))
            if scenario.startswith("ask"):
                for _, fields in entries:
                    pipe.xadd("answers", fields, maxlen=100_000)
            await pipe.execute()
            if seen == ONE_WAY and not scenario.startswith("ask"):
                await client.xadd("answers", {"seen": seen})


async def send(port, scenario):
    client = redis.Redis(port=port, socket_timeout=None)
    while await client.get("ready") is None:
        await asyncio.sleep(0.05)
    started = time.perf_counter()
    if not scenario.startswith("ask"):
        for _ in range(0, ONE_WAY, PIPELINE):
            pipe = client.pipeline(transaction=False)
            for _ in range(PIPELINE):
                pipe.xadd("numbers", {"body": pair.BODY})
            await pipe.execute()
        await client.xread({"answers": "0"}, block=60_000)
        pair.print_rate(ONE_WAY, time.perf_counter() - started)
        return
    many = scenario == "ask64"
    waiting: dict[bytes, asyncio.Future[None]] = {}
    number = 0

    async def listen():
        reader, last = redis.Redis(port=port, socket_timeout=None), "0"
        while True:
            for _, entries in await reader.xread({"answers": last}, count=256, block=1000):
                last = entries[-1][0]
                for _, fields in entries:
                    waiting.pop(fields[b"id"]).set_result(None)

    async def ask():
        nonlocal number
        number += 1
        key = b"%d" % number
        future = waiting[key] = asyncio.get_running_loop().create_future()
        await client.xadd("numbers", {"id": key, "body": pair.BODY})
        await future

    async with asyncio.TaskGroup() as tasks:
        listener = tasks.create_task(listen())
        figures = await pair.ask_many(
            ask, count=ASKS_64 if many else ASKS, at_once=64 if many else 1
        )
        listener.cancel()
    pair.print_answers(*figures)


def main():
    if sys.argv[1] == "--receiver":
        asyncio.run(receive(int(sys.argv[2]), sys.argv[3]))
        return
    scenario, port = sys.argv[1], pair.free_port()
    pair.pin_sender()
    sync = "always" if scenario == "always" else "everysec"
    with tempfile.TemporaryDirectory(prefix="redis-bench-") as folder:
        server = [
            "redis-server", "--port", str(port), "--bind", "127.0.0.1", "--dir", folder,
            "--appendonly", "yes", "--appendfsync", sync, "--save", "",
        ]  # fmt: skip
        with pair.child(server):
            pair.wait_for_port(port)
            with pair.receiver(__file__, str(port), scenario):
                asyncio.run(asyncio.wait_for(send(port, scenario), 100))


main()
