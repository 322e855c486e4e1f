"""How a guest calls a tool of the node: the context that the tool gets."""

from collections.abc import Awaitable, Callable
from dataclasses import replace
from itertools import count
from pathlib import Path

from caxton_node.domain.agent import AgentSpec
from caxton_node.domain.message import Message
from caxton_node.runtime.agent import TurnContext
from caxton_node.tools.artifacts import open_artifacts
from caxton_node.tools.tool import ToolContext

__all__ = ["agent_tool_context", "server_tool_context"]

MakeContext = Callable[[str], Awaitable[ToolContext]]


def agent_tool_context(
    spec: AgentSpec,
    message: Message,
    context: TurnContext,
    folder: Path,
    clock_ms: Callable[[], int],
) -> MakeContext:
    """Return what makes the context of a tool that an agent's guest calls within a turn."""
    numbers = count(1)

    async def make(name: str) -> ToolContext:
        number = next(numbers)
        return ToolContext(
            agent=spec.name,
            conversation_id=message.conversation_id,
            message_id=message.id,
            effect_id=f"{message.id}/{number}",
            config=spec.tool_config.get(name, {}),
            permissions=spec.permissions,
            folder=folder,
            artifacts=await open_artifacts(folder, message.conversation_id),
            outbox=context.step_outbox(number),
            timeout_s=max(0.0, (context.deadline_ms - clock_ms()) / 1000),
            traceparent=context.traceparent,
        )

    return make


def server_tool_context(context: ToolContext) -> MakeContext:
    """Return what makes the context of a tool that a server calls within a call of its own."""
    numbers = count(1)

    async def make(_: str) -> ToolContext:
        return replace(context, config={}, effect_id=f"{context.effect_id}.{next(numbers)}")

    return make
