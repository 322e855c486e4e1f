"""Twenty thousand agents over ten node processes, and an eleventh node that joins them empty.

    python -m loadtests.many_agents                           10 nodes of 2,000 agents each
    python -m loadtests.many_agents --nodes 4 --agents 250    a smaller one
    python -m loadtests.many_agents --listed                  without deploying all of them

Each node is a process with everything that a node has but the REST API, on loopback, with the
`lan` preset. Every agent is deployed for real: parsed, written to disk, seated; with `--listed` one
a node is, and its record is listed under the names of all others, which is what the registry and an
empty node that joins see of them. What is told:

- how long the last deployment takes to be known everywhere, and whether all nodes know the same;
- the memory of the fullest node, resident, with its 2,000 agents and the list of all others;
- what a node says by gossip in a second in which nothing happens, beside the budget for it: one
  full datagram of 1,400 bytes for each probe, of which the preset makes one a second;
- how long an empty node takes, from its first step (disk, ring, links, registry) until it can
  route to every agent.

Written to build/bench/many_agents.json.
"""

import argparse
import asyncio
import json
import os
import sys
import tempfile
import time
from contextlib import AsyncExitStack
from pathlib import Path

import msgspec
import uvloop

from tests.clustered_nodes import clustered_node
from tests.opened_node import deploy, python_agent

ROOT = Path(__file__).parent.parent
TARGET = ROOT / "build" / "bench" / "many_agents.json"
BUDGET_BYTES_PER_S = 1_400
QUIET_S = 10.0
COMMAND_TIMEOUT_S = 400.0
LINE_BYTES_MAX = 1 << 20
LISTED_AT_ONCE = 20


def resident_mb():
    """Return the resident memory of this process, in megabytes."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


async def until_known(node, count):
    """Wait until a node can route to so many agents."""
    while len(node.cluster.feed.whereabouts) < count:
        await asyncio.sleep(0.005)


def said_bytes(node):
    """Return what the node has said by gossip so far."""
    counted = node.ring.cluster.statistics
    return counted.datagram_bytes_sent + counted.stream_bytes_sent


async def deploy_all(node, name, agents):
    """Deploy the agents of a node one after the other."""
    for number in range(agents):
        await deploy(node, python_agent(f"Agent-{name}-{number}", "Echo"))


async def list_all(node, name, agents):
    """Deploy one agent, and list its record under as many names."""
    await deploy(node, python_agent(f"Agent-{name}-0", "Echo"))
    feed = node.cluster.feed
    [listing] = feed.registry.listings(name)
    for number in range(1, agents):
        feed.put(msgspec.structs.replace(listing.record, agent=f"Agent-{name}-{number}"))
        if number % LISTED_AT_ONCE == 0:
            await asyncio.sleep(0)


async def be_a_node(name, folder, peer, agents, total, *, is_listed):
    """Be one node: deploy, tell, and end when asked on stdin."""
    began_s = time.perf_counter()
    flags = {"cluster__preset": "lan"} | ({"cluster__peers": peer} if peer else {})
    loop = asyncio.get_running_loop()
    async with clustered_node(Path(folder), name, **flags) as node:
        if not agents:
            await until_known(node, total)
        tell({"gossip": str(node.ring.address), "joined_s": time.perf_counter() - began_s})
        while (line := await loop.run_in_executor(None, sys.stdin.readline)) not in ("end\n", ""):
            word = line.strip()
            if word == "deploy":
                began_s = time.perf_counter()
                await (list_all if is_listed else deploy_all)(node, name, agents)
                tell({"deployed_s": time.perf_counter() - began_s})
            elif word == "known":
                await until_known(node, total)
                names = sorted(node.cluster.fleet.agent_names())
                tell({"known": len(names), "at_s": time.monotonic(), "digest": hash_of(names)})
            elif word == "quiet":
                before, began_s = said_bytes(node), time.perf_counter()
                cpu_s = time.process_time()
                await asyncio.sleep(QUIET_S)
                took_s = time.perf_counter() - began_s
                tell(
                    {
                        "said_bytes_per_s": (said_bytes(node) - before) / took_s,
                        "cpu_share": (time.process_time() - cpu_s) / took_s,
                        "resident_mb": resident_mb(),
                    }
                )


def hash_of(names):
    """Return what tells two lists of names apart."""
    import hashlib

    return hashlib.sha256("\n".join(names).encode()).hexdigest()


def tell(document):
    """Answer the parent."""
    print(json.dumps(document), flush=True)


class Child:
    """A node process, and what it tells."""

    def __init__(self, name, process):
        self.name = name
        self.process = process

    async def hear(self):
        """Return the next thing that it tells."""
        async with asyncio.timeout(COMMAND_TIMEOUT_S):
            line = await self.process.stdout.readline()
        if not line:
            raise RuntimeError(f"node {self.name} ended")
        return json.loads(line)

    async def ask(self, word):
        """Tell it to do something, and return what it tells."""
        self.say(word)
        return await self.hear()

    def say(self, word):
        """Tell it to do something."""
        self.process.stdin.write(f"{word}\n".encode())


async def start(stack, folder, name, *, peer="", agents, total, is_listed):
    """Start a node process and return it with what it told first."""
    command = [sys.executable, "-m", "loadtests.many_agents", "--node", name]
    if is_listed:
        command.append("--listed")
    process = await asyncio.create_subprocess_exec(
        *command,
        *("--folder", str(folder / name), "--peer", peer),
        *("--agents", str(agents), "--total", str(total)),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        cwd=ROOT,
        limit=LINE_BYTES_MAX,
    )
    child = Child(name, process)

    async def end():
        if process.returncode is None:
            process.kill()
            await process.wait()

    stack.push_async_callback(end)
    return child, await child.hear()


async def measure(folder, nodes, agents, *, is_listed):
    """Return the figures of one cluster."""
    total = nodes * agents
    async with AsyncExitStack() as stack:
        children, peer = [], ""
        for number in range(nodes):
            child, told = await start(
                stack,
                folder,
                f"n{number}",
                peer=peer,
                agents=agents,
                total=total,
                is_listed=is_listed,
            )
            peer = peer or told["gossip"]
            children.append(child)
        began_s = time.monotonic()
        deployed = await asyncio.gather(*(child.ask("deploy") for child in children))
        ended_s = time.monotonic()
        known = await asyncio.gather(*(child.ask("known") for child in children))
        newest_s = max(one["at_s"] for one in known)
        quiet = await asyncio.gather(*(child.ask("quiet") for child in children))
        joins = []
        for number in range(3):
            newcomer, told = await start(
                stack,
                folder,
                f"new{number}",
                peer=peer,
                agents=0,
                total=total,
                is_listed=is_listed,
            )
            joins.append(told["joined_s"])
            memory = (await newcomer.ask("quiet"))["resident_mb"]
            newcomer.say("end")
            await newcomer.process.wait()
        return {
            "nodes": nodes,
            "are_only_listed": is_listed,
            "agents": total,
            "deployed_per_s": total / (ended_s - began_s),
            "slowest_node_deployed_s": max(one["deployed_s"] for one in deployed),
            "known_everywhere_after_last_s": max(0.0, newest_s - ended_s),
            "is_converged": len({one["digest"] for one in known}) == 1
            and all(one["known"] == total for one in known),
            "resident_mb_max": max(one["resident_mb"] for one in quiet),
            "resident_mb_empty_node": memory,
            "gossip_bytes_per_s_max": max(one["said_bytes_per_s"] for one in quiet),
            "gossip_budget_bytes_per_s": BUDGET_BYTES_PER_S,
            "cpu_share_at_rest_max": max(one["cpu_share"] for one in quiet),
            "empty_node_joined_s": sorted(joins),
        }


def main():
    """Measure, print, write."""
    parser = argparse.ArgumentParser(prog="python -m loadtests.many_agents", description=__doc__)
    parser.add_argument("--nodes", type=int, default=10)
    parser.add_argument("--agents", type=int, default=2_000, help="of each node")
    parser.add_argument("--listed", action="store_true", help="deploy one, list all others")
    parser.add_argument("--node", help=argparse.SUPPRESS)
    parser.add_argument("--folder", help=argparse.SUPPRESS)
    parser.add_argument("--peer", default="", help=argparse.SUPPRESS)
    parser.add_argument("--total", type=int, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.node:
        uvloop.run(
            be_a_node(
                given.node,
                given.folder,
                given.peer,
                given.agents,
                given.total,
                is_listed=given.listed,
            )
        )
        return
    with tempfile.TemporaryDirectory(prefix="caxton-bench-") as folder:
        figures = asyncio.run(
            measure(Path(folder), given.nodes, given.agents, is_listed=given.listed)
        )
    for name, value in figures.items():
        shown = f"{value:,.3f}" if isinstance(value, float) else value
        print(f"{name:34}{shown!s:>20}")
    TARGET.parent.mkdir(parents=True, exist_ok=True)
    TARGET.write_text(json.dumps(figures, indent=2) + "\n")


if __name__ == "__main__":
    main()
