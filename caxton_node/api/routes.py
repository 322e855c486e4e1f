"""All endpoints: the one table from which everything else follows."""

from typing import Final

from caxton_node.api import (
    agent_life,
    agent_logs,
    agents,
    capabilities,
    chat,
    cluster,
    config,
    conversations,
    dead_letters,
    events,
    fleet,
    health,
    memory,
    memory_care,
    memory_moves,
    messages,
    metadata,
    metrics,
    modules,
    reference,
    rollouts,
    templates,
    tool_servers,
    tools,
    trace,
    validate,
)
from caxton_node.api.table import Endpoint

__all__ = ["ENDPOINTS"]

ENDPOINTS: Final[tuple[Endpoint, ...]] = (
    *agents.ENDPOINTS,
    *chat.ENDPOINTS,
    *agent_life.ENDPOINTS,
    *rollouts.ENDPOINTS,
    *agent_logs.ENDPOINTS,
    *validate.ENDPOINTS,
    *messages.ENDPOINTS,
    *trace.ENDPOINTS,
    *conversations.ENDPOINTS,
    *dead_letters.ENDPOINTS,
    *capabilities.ENDPOINTS,
    *tools.ENDPOINTS,
    *tool_servers.ENDPOINTS,
    *modules.ENDPOINTS,
    *templates.ENDPOINTS,
    *memory.ENDPOINTS,
    *memory_care.ENDPOINTS,
    *memory_moves.ENDPOINTS,
    *events.ENDPOINTS,
    *health.ENDPOINTS,
    *cluster.ENDPOINTS,
    *fleet.ENDPOINTS,
    *metadata.ENDPOINTS,
    *config.ENDPOINTS,
    *metrics.ENDPOINTS,
    *reference.ENDPOINTS,
)
