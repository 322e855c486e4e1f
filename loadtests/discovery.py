"""How soon a new agent is found from every node, on real nodes in network namespaces.

    python -m loadtests.discovery                       5 nodes, 40 agents on each kind of network
    python -m loadtests.discovery --nodes 3 --agents 10

The time counts from the request to deploy until the last of the other nodes names the agent
among the providers of its capability, as a poll of their API every 4 ms sees it. The `lan` preset,
mTLS. With loss, every host drops 5 % of the packets that come in; with a broken stream besides, the
connections of the node that deploys are reset right before and come back under that loss.

Needs root, for namespaces. Written to build/bench/discovery.json.
"""

import argparse
import asyncio
import json
import statistics
import sys
import tempfile
from contextlib import AsyncExitStack
from pathlib import Path

from tests.integration.discovery_lab import found_after_s, lose
from tests.integration.fault_lab import FaultLab
from tests.integration.netns_lab import why_not

TARGET = Path(__file__).parent.parent / "build" / "bench" / "discovery.json"
LOSS_PERCENT = 5


async def measure(folder, nodes, agents):
    """Return the seconds until found, sorted, by kind of network."""
    kinds = {
        "whole": (0, 0),
        "5 % loss": (LOSS_PERCENT, 0),
        "5 % loss, broken": (LOSS_PERCENT,) * 2,
    }
    taken = {}
    async with AsyncExitStack() as stack:
        lab = FaultLab(stack, folder, count=nodes, preset="lan")
        await lab.form()
        await asyncio.sleep(1.0)
        for place, (kind, (loss, broken)) in enumerate(kinds.items()):
            lose(lab, loss)
            taken[kind] = sorted(
                [
                    await found_after_s(
                        lab, lab.hosts[number % nodes], f"A{place}x{number}", broken_percent=broken
                    )
                    for number in range(agents)
                ]
            )
    return taken


def main():
    """Measure, print, write."""
    parser = argparse.ArgumentParser(prog="python -m loadtests.discovery", description=__doc__)
    parser.add_argument("--nodes", type=int, default=5)
    parser.add_argument("--agents", type=int, default=40)
    given = parser.parse_args()
    reason = why_not()
    if reason is not None:
        print(f"left out: {reason}")
        sys.exit(0)
    with tempfile.TemporaryDirectory(prefix="cx-") as folder:
        taken = asyncio.run(measure(Path(folder), given.nodes, given.agents))
    figures = {}
    for kind, samples in taken.items():
        figures[kind] = {
            "p50_ms": statistics.median(samples) * 1e3,
            "p95_ms": samples[int(len(samples) * 0.95)] * 1e3,
            "worst_ms": samples[-1] * 1e3,
            "count": len(samples),
        }
        print(f"{kind:20}" + "".join(f"{k:>10} {v:8.1f}" for k, v in figures[kind].items()))
    TARGET.parent.mkdir(parents=True, exist_ok=True)
    TARGET.write_text(json.dumps({"nodes": given.nodes} | figures, indent=2) + "\n")


if __name__ == "__main__":
    main()
