"""On whose behalf a guest runs, and the parts of the node that it reaches."""

from collections.abc import Awaitable, Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from caxton_node.memory.service import Memory
from caxton_node.routing.clock import Clock
from caxton_node.runtime.past import Pasts
from caxton_node.runtime.purse import Purse
from caxton_node.store.protocol import Store
from caxton_node.telemetry.counts import Counts
from caxton_node.telemetry.events import Events
from caxton_node.telemetry.spans import Attribute, Kind, NoSpan, Span, Tracing
from caxton_node.tools.fetch import Fetcher
from caxton_node.tools.registry import ToolRegistry
from caxton_node.tools.tool import Outbox, ToolContext
from caxton_node.wasm.kv import KeyValueStore

__all__ = ["Caller", "HostParts", "OpenSpan", "Refusal", "number_of", "text_of"]

OpenSpan = Callable[
    [str, Kind, Mapping[str, Attribute | None]], AbstractContextManager[Span | NoSpan]
]
"""Records a part of what a guest does, where its trace is recorded: a name, a kind, facts."""

TIME_S_MIN: Final = 0.001


@dataclass(frozen=True, slots=True, kw_only=True)
class HostParts:
    """The parts of the node that guests reach, through grants."""

    tools: ToolRegistry
    memory: Memory | None
    kv: KeyValueStore
    fetcher: Fetcher
    events: Events
    clock: Clock
    counts: Counts
    tracing: Tracing
    store: Store
    pasts: Pasts
    secrets: Mapping[str, str]
    """Variables of the environment that may be granted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Caller:
    """On whose behalf a guest runs, for one call."""

    agent: str
    conversation_id: str
    outbox: Outbox | None
    """None for an MCP server: it does not speak for the agent that calls it."""
    folder: Path | None
    """Of the agent's files; None for an MCP server."""
    left_s: Callable[[], float]
    """What is left of the time."""
    tool_context: Callable[[str], Awaitable[ToolContext]]
    """Makes the context for a tool by its name."""
    traceparent: str | None
    """What the call belongs to, for whoever the guest asks in turn."""
    span: OpenSpan
    purse: Purse | None
    """What the call may spend on models; None for an MCP server: its grant bounds it."""

    def time_s(self, wanted_s: float) -> float:
        """Return a time that is wanted, within what is left; never nothing at all."""
        return max(TIME_S_MIN, min(wanted_s, self.left_s()))


class Refusal(Exception):
    """An operation is answered with an error.

    Attributes:
        code: One of the documented codes.
    """

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


def text_of(values: Mapping[str, Any], key: str, *, is_empty_allowed: bool = False) -> str:
    """Return a text among arguments.

    Raises:
        ValueError: There is none.
    """
    value = values.get(key)
    if not isinstance(value, str) or not (value or is_empty_allowed):
        raise ValueError(f"`{key}` is a text")
    return value


def number_of(values: Mapping[str, Any], key: str) -> float:
    """Return a number among arguments.

    Raises:
        ValueError: There is none.
    """
    value = values.get(key)
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError(f"`{key}` is a number")  # noqa: TRY004 - all are answered alike
    return float(value)
