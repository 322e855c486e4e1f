"""Which agents there are in the whole cluster: every node knows, nobody is asked.

Each node writes the records of its own agents and pushes every change to all peers; what gets
lost on the way is noticed by comparing digests and pulled. Membership (`caxton_cluster.swim`)
says who is alive. Like membership this is a machine without I/O: bytes, values and times go in,
values come out.

**How a driver uses it.** Everything belongs to one task or loop; call, then settle::

    registry = Registry(RegistryConfig(), Owner(node_name, epoch), random=Random(), now=clock())

    def settle():
        for delta in registry.take_deltas():       # to every live peer, in order, over its link
            for link in links.values(): link.send(encode(delta))
        for out in registry.take_digests():        # to one peer; where there is no link, drop it
            if out.peer in links: links[out.peer].send(encode(out.digest))
        for pull in registry.take_pulls():         # a stream of its own; end every one
            tasks.create_task(run_pull(pull))
        for event in registry.take_events(): publish(event)
        arm_timer(registry.wakeup_at())            # then registry.tick(clock()), settle()

    async def run_pull(pull):
        is_complete = False
        try:
            async for delta in peer_stub(pull.peer).pull(pull.owner, pull.after_version):
                registry.receive_chunk(pull.id, delta, clock()); settle()
            is_complete = True
        finally:
            registry.pull_ended(pull.id, clock(), is_complete=is_complete); settle()

- Membership: `member_up(name, epoch, now)` when a member joined, recovered or changed the epoch
  in its metadata; `member_suspect(name)`; `member_down(name, now)` when it failed or left;
  `joined()` once the join succeeded or there is nobody to join. Leave out members that have no
  epoch in their metadata: they have no registry.
- Links: `connected(name)` when one opens; `decode(bytes)` gives a `Delta` for
  `receive_delta(delta, now)` or a `Digest` for `receive_digest(peer, digest, now)`, and raises
  `MalformedPacket` alone. The fields of both are those of `RegistryDelta` and `RegistryDigest`
  in `peer.proto`, for who frames with protobuf. A delta that is lost is repaired in about a
  second; a link that drops what it cannot send is fine.
- Serving: `serve_pull(owner, after_version)` returns deltas of up to 256 kB, to be streamed in
  order. It is quick; what it returns does not change any more.
- Digests may also ride on membership: `Cluster.set_digest(encode(registry.digest(512)))` after
  each settle, and `DigestHeard` into `receive_digest`.
- Our agents: `put(AgentRecord(...), now)`, `remove(name, now)`, `report_load(name, count, now)`.
- Questions: `registry.lookup`: `locate(agent)`, `winner(agent)`, `choose(capability, ...)`,
  `providers(capability)`, `suggest_agents`, `suggest_capabilities`, `agents()`, `capabilities()`.
  A `Listing` has `.node`, `.agent`, `.is_running`, `.load` at hand, and `.record` unpacked anew.
- `is_ready` and `waiting_for()`: whether lookups can be trusted to know of everyone.
- `listings(node)`: what a node runs; of a dead node for ten minutes more, for failover.
- After `Superseded(epoch)`: choose a higher epoch, put it in the metadata, call `renew`.

Reading: `table` (what goes in and out), `acceptance` (the rule), `holding` (one owner's records),
`replicas` (those of the others), `query` (who is found), then `author`, `repair`, `digests`,
`readiness`, `records`.

Reference: van Renesse et al., "Efficient Reconciliation and Flow Control for Anti-Entropy
Protocols", LADIS 2008 (Scuttlebutt); chitchat's resets and tombstones.
"""

from caxton_cluster.registry.author import load_bucket
from caxton_cluster.registry.config import RegistryConfig
from caxton_cluster.registry.events import (
    AgentAppeared,
    AgentChanged,
    AgentVanished,
    DigestToSend,
    Event,
    OwnerAppeared,
    OwnerVanished,
    Pull,
    Superseded,
)
from caxton_cluster.registry.holding import Listing
from caxton_cluster.registry.query import Lookup, Strategy
from caxton_cluster.registry.records import (
    LOAD_MAX,
    RUNNING,
    AgentRecord,
    Delta,
    Digest,
    Entry,
    Frame,
    Owner,
    OwnerDigest,
    decode,
    encode,
)
from caxton_cluster.registry.replicas import RegistryStatistics
from caxton_cluster.registry.table import Registry

__all__ = [
    "LOAD_MAX",
    "RUNNING",
    "AgentAppeared",
    "AgentChanged",
    "AgentRecord",
    "AgentVanished",
    "Delta",
    "Digest",
    "DigestToSend",
    "Entry",
    "Event",
    "Frame",
    "Listing",
    "Lookup",
    "Owner",
    "OwnerAppeared",
    "OwnerDigest",
    "OwnerVanished",
    "Pull",
    "Registry",
    "RegistryConfig",
    "RegistryStatistics",
    "Strategy",
    "Superseded",
    "decode",
    "encode",
    "load_bucket",
]
