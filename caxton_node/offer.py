"""What a node shows of itself in etcd, for whoever reads that: its agents and what they can do.

Looked at every so often instead of told of each change: nothing in the runtime knows of it.
"""

import asyncio
import json
from collections.abc import Callable, Mapping
from typing import Any, Final, NamedTuple, assert_never

from caxton_cluster.metadata.mirror import Mirror
from caxton_node.domain.agent import AgentSpec, AgentState
from caxton_node.runtime.node import Node

__all__ = ["Offer", "OfferedAgent", "OfferedNode", "keep_offering", "what_it_offers"]

COPY_EVERY_S: Final = 1.0
"""How old the copy may get. Nothing is sent where nothing changed."""


class OfferedAgent(NamedTuple):
    """What makes an agent's entry: while both are the same, so is the entry."""

    spec: AgentSpec
    state: AgentState


class OfferedNode(NamedTuple):
    """What makes the node's own entry."""

    name: str
    version: str
    started_at: int
    address: str | None


Offer = Callable[[], Mapping[str, OfferedAgent | OfferedNode]]
"""Returns what others may read of this node, by key."""


def what_it_offers(node: Node) -> dict[str, OfferedAgent | OfferedNode]:
    """Return what others may read of a node in etcd: itself, and its agents' capabilities."""
    offers: dict[str, OfferedAgent | OfferedNode] = {
        f"agents/{seat.agent}": OfferedAgent(seat.spec, seat.state) for seat in node.roster
    }
    address = None if node.ring is None else node.ring.address
    offers["node"] = OfferedNode(node.name, node.version, node.started_at, address)
    return offers


def _entry(offered: OfferedAgent | OfferedNode) -> bytes:
    match offered:
        case OfferedAgent(spec, state):
            document: dict[str, Any] = {
                "capabilities": [str(capability) for capability in spec.capabilities],
                "state": state.value,
                "version": spec.version,
            }
        case OfferedNode():
            document = offered._asdict()
        case _:
            assert_never(offered)
    return json.dumps(document, sort_keys=True).encode()


async def keep_offering(mirror: Mirror, offer: Offer) -> None:
    """Keep a mirror like the offer until cancelled."""
    known: Mapping[str, OfferedAgent | OfferedNode] = {}
    while True:
        offered = offer()
        for key, one in offered.items():
            # Entries are made of what changed only: a node may have thousands of agents.
            if known.get(key) != one:
                mirror.put(key, _entry(one))
        for key in known.keys() - offered.keys():
            mirror.remove(key)
        known = offered
        await asyncio.sleep(COPY_EVERY_S)
