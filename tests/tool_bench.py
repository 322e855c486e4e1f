"""What a tool's test needs around it: a context with real artifacts, and an outbox that answers."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from caxton_node.domain.agent import EMPTY, PermissionSettings
from caxton_node.domain.errors import CaxtonError
from caxton_node.domain.message import Message, encode_content
from caxton_node.domain.performatives import Performative
from caxton_node.domain.tool import ToolResult
from caxton_node.tools.arguments import check_arguments
from caxton_node.tools.artifacts import ArtifactLimits, open_artifacts
from caxton_node.tools.tool import Tool, ToolContext

__all__ = ["AnsweringOutbox", "call", "tool_context"]


@dataclass
class AnsweringOutbox:
    """Answers every question with one act, or fails with one error; remembers what was sent."""

    performative: Performative = Performative.INFORM
    content: Any = "done"
    error: CaxtonError | None = None
    sent: list[dict[str, Any]] = field(default_factory=list)

    async def tell(self, **message: Any) -> str:
        self.sent.append(message)
        if self.error:
            raise self.error
        return "msg-1"

    async def ask(self, **message: Any) -> Message:
        self.sent.append(message)
        if self.error:
            raise self.error
        return Message(
            id="msg-2",
            performative=self.performative,
            sender=message["receiver"] or "Somebody",
            content=encode_content(self.content),
        )


async def tool_context(
    folder: Path,
    *,
    config: Mapping[str, Any] = EMPTY,
    permissions: PermissionSettings | None = None,
    outbox: AnsweringOutbox | None = None,
    timeout_s: float = 10.0,
    artifact_limits: ArtifactLimits | None = None,
) -> ToolContext:
    return ToolContext(
        agent="Tester",
        conversation_id="conv-1",
        message_id="msg-1",
        effect_id="msg-1/0",
        config=config,
        permissions=permissions or PermissionSettings(),
        folder=folder / "Tester",
        artifacts=await open_artifacts(folder / "Tester", "conv-1", limits=artifact_limits),
        outbox=outbox or AnsweringOutbox(),
        timeout_s=timeout_s,
    )


async def call(tool: Tool, context: ToolContext, **arguments: Any) -> ToolResult:
    """Call as a turn does: check first, then call with defaults filled in."""
    checked = check_arguments(tool.spec.parameters, arguments)
    assert not checked.places, [str(place) for place in checked.places]
    return await tool.call(checked.values, context)
