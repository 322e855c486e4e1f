"""On which side of a partition a node is, as clients see it."""

from typing import Final, Literal

from pydantic import Field

from caxton_node.api.types import Instant, View, instant
from caxton_node.runtime.fleet import PartitionState
from caxton_node.runtime.node import Node

__all__ = ["DRAIN_S_MAX", "PartitionView", "show_partition"]

DRAIN_S_MAX: Final = 600.0
"""How long a drain may be asked to take."""


class PartitionView(View):
    """On which side of a partition the node is."""

    mode: Literal["majority", "minority", "isolated"] = Field(
        description="`majority` does everything; `minority` serves its own agents, refuses changes "
        "and keeps messages for the others; `isolated` sees nobody."
    )
    is_writable: bool = Field(description="Whether deployments and other changes are taken.")
    alive: int = Field(description="Nodes alive, this one included.")
    expected: int = Field(description="Nodes that there should be.")
    majority: int = Field(description="Nodes that make a majority.")
    since: Instant
    unreachable: list[str] = Field(description="Nodes that died and are expected back.")


def show_partition(node: Node) -> PartitionView:
    """Return the node's side. A node in no ring has the majority of one."""
    if node.cluster is None:
        state = PartitionState(
            mode="majority",
            alive_count=1,
            expected_count=1,
            majority_count=1,
            since_ms=node.started_at,
            unreachable=(),
        )
    else:
        state = node.cluster.fleet.partition
    return PartitionView(
        mode=state.mode,
        is_writable=state.is_writable,
        alive=state.alive_count,
        expected=state.expected_count,
        majority=state.majority_count,
        since=instant(state.since_ms),
        unreachable=list(state.unreachable),
    )
