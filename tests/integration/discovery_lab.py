"""How soon a new agent is found from every node: on a whole network, and on one that is not.

Nodes in namespaces, over mTLS. An agent is *found* on a node when the node's own list of providers
names it; whoever asks there by capability is routed from then on.
"""

import asyncio
import time
from contextlib import AsyncExitStack, asynccontextmanager

import aiohttp

from tests.integration.fault_lab import FaultLab, Host
from tests.integration.netns_lab import ip

POLL_S = 0.004
FOUND_WITHIN_S = 20.0
BROKEN_FOR_S = 0.2
"""How long the stream is refused before a deployment, and again after it was asked for."""


def rules(host: Host, *lines: str) -> None:
    """Give a host's packet filter other rules for what comes in."""
    table = ("add table inet d; flush table inet d; ",)
    chain = "add chain inet d in { type filter hook input priority 0; }; "
    text = "".join((*table, chain, *(f"add rule inet d in {line}; " for line in lines)))
    ip("netns", "exec", host.space, "nft", text)


def lose(lab: FaultLab, percent: int) -> None:
    """Let every host lose some of what comes in from the others; 0 loses nothing."""
    loss = [f'iifname "eth0" numgen random mod 100 < {percent} drop'] if percent else []
    for host in lab.hosts:
        rules(host, *loss)


@asynccontextmanager
async def broken_streams(host: Host, percent: int):
    """Reset every connection between a host and the other nodes, as a firewall that restarts."""
    loss = f'iifname "eth0" numgen random mod 100 < {percent} drop'
    # Not what begins a connection: dropped, that would be tried again by the kernel after a second.
    ways = [
        f"tcp {end} 50052 tcp flags & syn == 0 reject with tcp reset" for end in ("dport", "sport")
    ]
    rules(host, *ways, loss)
    await asyncio.sleep(BROKEN_FOR_S)
    try:
        yield
    finally:
        rules(host, loss)


async def found_after_s(lab: FaultLab, home: Host, name: str, *, broken_percent: int = 0) -> float:
    """Deploy an agent and return after how long the last of the other nodes found it.

    The time counts from the request: the answer comes when a majority knows already.
    """
    others = [host for host in lab.hosts if host is not home]
    async with AsyncExitStack() as broken:
        if broken_percent:
            await broken.enter_async_context(broken_streams(home, broken_percent))
        began_s = time.perf_counter()
        async with asyncio.timeout(FOUND_WITHIN_S), asyncio.TaskGroup() as tasks:
            tasks.create_task(lab.deploy(home, name))
            found = [tasks.create_task(_found_at_s(host, name)) for host in others]
            await asyncio.sleep(BROKEN_FOR_S)
            await broken.aclose()
    return max(one.result() for one in found) - began_s


async def _found_at_s(host: Host, name: str) -> float:
    while True:
        try:
            told = await host.get(f"capabilities/work.{name.lower()}")
        except aiohttp.ClientError:
            told = {"http": 0}
        if told["http"] == 200 and told["agents"]:
            return time.perf_counter()
        await asyncio.sleep(POLL_S)
