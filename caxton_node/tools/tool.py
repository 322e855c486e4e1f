"""What every tool looks like to a turn.

A tool is built once for the node and holds no state of its own; all that belongs to a call
arrives in the `ToolContext`. It reports what a model can mend by an `is_error` result; it raises
only for what ends the turn (`Denied`, a bug).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from caxton_node.domain.agent import PermissionSettings
from caxton_node.domain.message import Message
from caxton_node.domain.performatives import Performative
from caxton_node.domain.tool import Artifact, ToolResult, ToolSpec

__all__ = ["Artifacts", "Outbox", "Tool", "ToolContext"]


class Artifacts(Protocol):
    """The data that one conversation keeps. Bounded; files below the agent's folder."""

    async def put(self, *, name: str, media_type: str, data: bytes) -> Artifact:
        """Keep `data` and return its handle.

        Raises:
            Failed: `tool_failed`, when the conversation's room is used up.
        """
        ...

    async def get(self, handle: str) -> tuple[Artifact, bytes]:
        """Return what a handle names.

        Raises:
            Failed: `tool_failed`, when it names nothing in this conversation.
        """
        ...

    def path(self, handle: str) -> Path:
        """Return the file behind a handle, for a person who asks where the chart is."""
        ...


class Outbox(Protocol):
    """How a tool speaks for its agent. Messages take the same path as all others."""

    async def tell(
        self,
        *,
        receiver: str,
        capability: str | None,
        performative: Performative,
        content: Any,
    ) -> str:
        """Send without waiting for an answer; return the message's id."""
        ...

    async def ask(
        self,
        *,
        receiver: str,
        capability: str | None,
        performative: Performative,
        content: Any,
        timeout_s: float,
    ) -> Message:
        """Send and return the answer, which may be a negative act.

        Raises:
            TimedOut: `timed_out`.
        """
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolContext:
    """All that belongs to one call."""

    agent: str
    conversation_id: str
    message_id: str
    effect_id: str
    """The same for every attempt at this step: an idempotency key for the world outside."""
    config: Mapping[str, Any]
    """The agent's `[tool_config.<tool>]`."""
    permissions: PermissionSettings
    folder: Path
    """The agent's own folder. It may not exist yet."""
    artifacts: Artifacts
    outbox: Outbox
    timeout_s: float
    """What is left of the turn's time; a tool's own limits apply below it."""
    traceparent: str | None = None
    """What the call belongs to, for whoever the tool asks in turn."""


class Tool(Protocol):
    """Something a model may call."""

    @property
    def spec(self) -> ToolSpec:
        """Name, description and schema."""
        ...

    async def call(self, arguments: Mapping[str, Any], context: ToolContext) -> ToolResult:
        """Do it. `arguments` were checked against `spec.parameters`."""
        ...
