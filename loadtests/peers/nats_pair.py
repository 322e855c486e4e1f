"""NATS between two processes: core (fast, lost with a crash) and JetStream (kept in files).

one_way     published to a subject that the other process subscribes to
ask, ask64  requests with one and with 64 under way
durable     JetStream, file storage, as many as the server takes with 1,000 unconfirmed;
            each consumed and acknowledged by the other process. The server syncs its files
            every two minutes, as it does by default: kept over its crash, not over a power cut
"""

import asyncio
import shutil
import sys
import tempfile
import time

import nats
import pair
from nats.js.api import AckPolicy, ConsumerConfig, StorageType

ONE_WAY = 100_000
DURABLE = 20_000
ASKS = 2_000
ASKS_64 = 20_000
UNCONFIRMED_MAX = 1_000


def command(folder, port):
    server = shutil.which("nats-server") or "/usr/sbin/nats-server"
    return [server, "-a", "127.0.0.1", "-p", str(port), "-js", "-sd", folder]


async def receive(port, scenario):
    client = await nats.connect(f"nats://127.0.0.1:{port}", pending_size=64_000_000)
    seen = 0

    async def count(message):
        nonlocal seen
        if message.data == b"last":
            await client.publish("done", str(seen).encode())
            return
        seen += 1

    async def answer(message):
        await message.respond(message.data)

    await client.subscribe("numbers", cb=count, pending_msgs_limit=-1, pending_bytes_limit=-1)
    await client.subscribe("questions", cb=answer)
    await client.subscribe("ready", cb=answer)
    if scenario == "durable":
        stream = client.jetstream()
        await stream.add_stream(
            name="kept", subjects=["kept"], storage=StorageType.FILE, duplicate_window=0
        )
        consumer = await stream.pull_subscribe(
            "kept", "reader", config=ConsumerConfig(ack_policy=AckPolicy.ALL, max_ack_pending=-1)
        )
        while seen < DURABLE:
            try:
                batch = await consumer.fetch(256, timeout=1)
            except TimeoutError:
                continue
            seen += len(batch)
            await batch[-1].ack()
        await client.publish("done", str(seen).encode())
    await asyncio.sleep(60)


async def send(port, scenario):
    client = await nats.connect(f"nats://127.0.0.1:{port}", pending_size=64_000_000)
    done = asyncio.get_running_loop().create_future()

    async def over(message):
        done.set_result(int(message.data))

    await client.subscribe("done", cb=over)
    while True:
        try:
            await client.request("ready", b"", timeout=0.5)
            break
        except (nats.errors.NoRespondersError, nats.errors.TimeoutError):
            await asyncio.sleep(0.05)
    started = time.perf_counter()
    match scenario:
        case "one_way":
            for number in range(ONE_WAY):
                await client.publish("numbers", pair.BODY)
                if number % 64 == 0:
                    await asyncio.sleep(0)
            await client.publish("numbers", b"last")
            pair.print_rate(await done, time.perf_counter() - started)
        case "durable":
            stream = client.jetstream()
            await asyncio.sleep(0.5)
            started = time.perf_counter()
            room = asyncio.Semaphore(UNCONFIRMED_MAX)

            async def keep():
                async with room:
                    await stream.publish("kept", pair.BODY, timeout=30)

            async with asyncio.TaskGroup() as tasks:
                for _ in range(DURABLE):
                    tasks.create_task(keep())
            pair.print_rate(await done, time.perf_counter() - started)
        case _:
            many = scenario == "ask64"

            async def ask():
                await client.request("questions", pair.BODY, timeout=10)

            pair.print_answers(
                *await pair.ask_many(
                    ask, count=ASKS_64 if many else ASKS, at_once=64 if many else 1
                )
            )


def main():
    if sys.argv[1] == "--receiver":
        asyncio.run(receive(int(sys.argv[2]), sys.argv[3]))
        return
    scenario, port = sys.argv[1], pair.free_port()
    pair.pin_sender()
    with (
        tempfile.TemporaryDirectory(prefix="nats-bench-") as folder,
        pair.child(command(folder, port)),
    ):
        pair.wait_for_port(port)
        with pair.receiver(__file__, str(port), scenario):
            asyncio.run(asyncio.wait_for(send(port, scenario), 100))


main()
