"""A member in a process of its own, to be killed: prints a line once it has joined.

Arguments: name, seed, key in base64 or nothing.
"""

import asyncio
import sys
from base64 import b64decode

from caxton_cluster import Cluster, ClusterSettings
from caxton_cluster.serf.overlay import SerfOverlay
from caxton_cluster.serf.tags import encode_tags


async def main(name: str, seed: str, key: str = "") -> None:
    settings = ClusterSettings(
        name=name,
        bind_port=0,
        keys=(b64decode(key),) if key else (),
        meta=encode_tags({"role": "victim"}),
    )
    async with Cluster(settings, overlay=SerfOverlay) as cluster:
        await cluster.join([seed], timeout_s=20)
        print("joined", flush=True)
        await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
