"""Holds a lease and a lock until it is killed: `etcd_lease_holder.py PREFIX TTL_S ENDPOINT…`."""

import asyncio
import sys

from caxton_cluster.metadata import EtcdSettings
from caxton_cluster.metadata.etcd import EtcdStore


async def main():
    prefix, ttl_s, *endpoints = sys.argv[1:]
    async with (
        EtcdStore(EtcdSettings(endpoints=tuple(endpoints), prefix=prefix)) as store,
        store.lock("job", holder="victim", ttl_s=float(ttl_s), timeout_s=5) as lock,
    ):
        print(lock.token, lock.lease.id, flush=True)
        print(await lock.lease.lost(), flush=True)


asyncio.run(main())
