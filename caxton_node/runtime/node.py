"""What a running node is made of, as the edges get it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from caxton_node.domain.ids import IdFactory
from caxton_node.memory.service import Memory
from caxton_node.routing.clock import Clock
from caxton_node.routing.directory import Directory
from caxton_node.routing.pipeline import Pipeline
from caxton_node.routing.waiting import Answers
from caxton_node.runtime.deployments import Deployments
from caxton_node.runtime.fleet import ClusterPlace
from caxton_node.runtime.guests import Guests
from caxton_node.runtime.metadata import Metadata
from caxton_node.runtime.past import Pasts
from caxton_node.runtime.ring import Ring
from caxton_node.runtime.rollouts import Rollouts
from caxton_node.runtime.roster import Roster
from caxton_node.runtime.supervisor import Supervisor
from caxton_node.runtime.tool_servers import ToolServers
from caxton_node.store.protocol import Store
from caxton_node.telemetry.counts import Counts
from caxton_node.telemetry.events import Events
from caxton_node.telemetry.spans import Tracing
from caxton_node.tools.registry import ToolRegistry

__all__ = ["Node"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """The parts of a node, built and connected by `caxton_node.app`. Edges use, never replace."""

    name: str
    version: str
    started_at: int
    """Milliseconds since 1970, UTC."""
    store: Store
    pipeline: Pipeline
    directory: Directory
    answers: Answers
    roster: Roster
    deployments: Deployments
    rollouts: Rollouts
    """The canaries of its agents."""
    supervisor: Supervisor
    pasts: Pasts
    """What its agents look back on."""
    tools: ToolRegistry
    guests: Guests
    """What runs in sandboxes."""
    tool_servers: ToolServers
    """The MCP servers in WebAssembly."""
    events: Events
    counts: Counts
    tracing: Tracing
    clock: Clock
    new_id: IdFactory
    settings_in_force: Mapping[str, tuple[Any, str]]
    """Dotted key → value to show (secrets hidden) and where it came from."""
    ring: Ring | None
    """The nodes it knows of; None where it is in no ring."""
    cluster: ClusterPlace | None
    """What connects it to them; likewise."""
    metadata: Metadata
    """What all nodes agree on; it says so where there is no etcd."""
    memory: Memory | None
    """What its agents remember; None where it keeps none or could not open it."""
    data_dir: Path
    certificate_ends_at_s: Callable[[], float | None]
    """Seconds since 1970; None on a node without certificates."""
    components: Callable[[], Mapping[str, str]]
    """Name of a part → `ready`, `degraded: why` or `failed: why`."""
