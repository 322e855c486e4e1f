"""A member in a process of its own, to be killed, stopped and cut off.

Prints a line once it has joined, and then a line of JSON with its view at each event.
"""

import argparse
import asyncio
import json
from base64 import b64decode

from caxton_cluster import Cluster, ClusterSettings, config
from caxton_cluster.serf.overlay import SerfOverlay
from caxton_cluster.serf.tags import encode_tags

PRESETS = {"lan": config.lan, "fast": config.fast}


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("name")
    parser.add_argument("--seed", help="host:port of a member")
    parser.add_argument("--bind", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--key", default="", help="in base64")
    parser.add_argument("--preset", choices=sorted(PRESETS), default="lan")
    return parser.parse_args()


def view(cluster: Cluster) -> str:
    members = cluster.members()
    return json.dumps(
        {
            "live": [member.name for member in members if not member.state.is_gone],
            "gone": [member.name for member in members if member.state.is_gone],
        }
    )


async def main(arguments: argparse.Namespace) -> None:
    settings = ClusterSettings(
        name=arguments.name,
        bind_host=arguments.bind,
        bind_port=arguments.port,
        keys=(b64decode(arguments.key),) if arguments.key else (),
        meta=encode_tags({"role": "victim"}),
        swim=PRESETS[arguments.preset](),
    )
    async with Cluster(settings, overlay=SerfOverlay) as cluster:
        events = cluster.subscribe()
        if arguments.seed:
            await cluster.join([arguments.seed], timeout_s=20)
        print("joined", flush=True)
        async for _ in events:
            print(view(cluster), flush=True)


if __name__ == "__main__":
    asyncio.run(main(parse()))
