"""How soon an agent is known everywhere, and how soon it runs again when its node dies.

`python -m loadtests.placing [--agents N] [--kills N]` opens three whole nodes in one process and
deploys agents on one of them: the time counts from the call until both others can route to it.
Then rings of three processes with the `lan` preset lose the node that has all the agents, by
`kill -9`: the time counts from the signal until the survivors run every one of them.
"""

import argparse
import asyncio
import statistics
import tempfile
import time
from pathlib import Path

from tests.clustered_nodes import cluster_of
from tests.integration.process_lab import ENVIRONMENT, cluster, until
from tests.opened_node import deploy, python_agent


async def visibility(folder, count):
    """Return the seconds from a deployment until each of two other nodes has it, sorted."""
    taken = []
    async with cluster_of(folder, "a", "b", "c") as (a, b, c):
        for number in range(count):
            name = f"Echo{number}"
            began_at = time.perf_counter()
            await deploy(a, python_agent(name, "Echo"))
            deployed_at = time.perf_counter()
            while any(node.pipeline.elsewhere.inbox(name) is None for node in (b, c)):
                await asyncio.sleep(0.0005)
            taken.append((time.perf_counter() - began_at, time.perf_counter() - deployed_at))
    return sorted(one[0] for one in taken), sorted(one[1] for one in taken)


async def failover(folder, agent_count, preset):
    """Return the seconds from `kill -9` of a node until the survivors run all of its agents."""
    ENVIRONMENT["CAXTON_CLUSTER__PRESET"] = preset
    async with cluster(folder, "a", "b", "c") as lab:
        for number in range(agent_count):
            await lab.deploy("c", python_agent(f"Echo{number}", "Echo"))
        await asyncio.sleep(2.0)
        began_at = time.perf_counter()
        await lab.nodes["c"].kill()

        async def all_run():
            document = await lab.get("a", "cluster/agents")
            return sum(one["node"] != "c" for one in document["items"]) == agent_count

        await until(all_run, 30.0)
        return time.perf_counter() - began_at


def line(name, samples):
    """Print a row: median, 99th percentile, worst."""
    late = samples[min(len(samples) - 1, int(len(samples) * 0.99))]
    print(
        f"{name:<52} median {statistics.median(samples) * 1000:8.1f} ms"
        f"   p99 {late * 1000:8.1f} ms   worst {samples[-1] * 1000:8.1f} ms"
    )


def main():
    """Measure and print."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--agents", type=int, default=200)
    parser.add_argument("--kills", type=int, default=3)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        whole, behind = asyncio.run(visibility(Path(folder), given.agents))
        line("deployed, until two other nodes route to it", whole)
        line("of this, after the deployment was written", behind)
    for preset in ("lan", "fast"):
        times = []
        for _ in range(given.kills):
            with tempfile.TemporaryDirectory() as folder:
                times.append(asyncio.run(failover(Path(folder), 20, preset)))
        line(f"kill -9, until 20 agents run again, {preset}", sorted(times))


if __name__ == "__main__":
    main()
