"""Ray actors: a driver on one core calls an actor in another process.

one_way     calls whose results nobody reads, 1,000 under way, then one that counts them
ask, ask64  calls awaited, with one and with 64 under way
"""

import asyncio
import os
import sys
import time

os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")

import pair
import ray

ONE_WAY = 10_000
ASKS = 1_000
ASKS_64 = 10_000
UNDER_WAY = 1_000


@ray.remote(num_cpus=0, max_concurrency=1)
class Agent:
    def __init__(self, core):
        os.sched_setaffinity(0, {core})
        self.count = 0

    def handle(self, body):
        self.count += 1
        return body

    def seen(self):
        return self.count


async def ask_all(agent, *, many):
    async def ask():
        await agent.handle.remote(pair.BODY)

    return await pair.ask_many(ask, count=ASKS_64 if many else ASKS, at_once=64 if many else 1)


def main():
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False, logging_level="ERROR")
    agent = Agent.remote(pair.cores()[1])
    ray.get(agent.seen.remote())
    pair.pin_sender()
    if sys.argv[1] == "one_way":
        started = time.perf_counter()
        for begin in range(0, ONE_WAY, UNDER_WAY):
            ray.get(
                [agent.handle.remote(pair.BODY) for _ in range(min(UNDER_WAY, ONE_WAY - begin))]
            )
        seen = ray.get(agent.seen.remote())
        pair.print_rate(seen, time.perf_counter() - started)
    else:
        pair.print_answers(*asyncio.run(ask_all(agent, many=sys.argv[1] == "ask64")))
    ray.shutdown()


main()
