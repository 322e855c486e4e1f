"""Real members on loopback ports, and waiting for what they should come to believe."""

import asyncio
from collections.abc import Callable
from contextlib import AsyncExitStack

from caxton_cluster import Cluster, ClusterSettings, fast

DEADLINE_S = 20.0


async def start(stack: AsyncExitStack, name: str, *, overlay=None, **settings) -> Cluster:
    settings.setdefault("bind_port", 0)
    settings.setdefault("swim", fast())
    return await stack.enter_async_context(
        Cluster(ClusterSettings(name=name, **settings), overlay=overlay)
    )


async def start_ring(stack: AsyncExitStack, size: int, **settings) -> list[Cluster]:
    first = await start(stack, "n0", **settings)
    others = [await start(stack, f"n{number}", **settings) for number in range(1, size)]
    for other in others:
        await other.join([str(first.address)], timeout_s=DEADLINE_S)
    ring = [first, *others]
    for node in ring:
        await until(node, lambda node=node: len(node.live_members()) == size)
    return ring


async def until(cluster: Cluster, condition: Callable[[], bool]) -> None:
    """Return once `condition` holds, looking again at each event of `cluster`."""
    with cluster.subscribe() as events:
        async with asyncio.timeout(DEADLINE_S):
            if condition():
                return
            async for _ in events:
                if condition():
                    return


def states(cluster: Cluster) -> dict[str, str]:
    return {member.name: member.state.name.lower() for member in cluster.members()}
