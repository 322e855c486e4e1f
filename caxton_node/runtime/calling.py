"""A call of a tool by a person, outside of any agent's turn: to try it out.

Only tools of servers are called so. They get an empty folder and nobody to speak for.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from caxton_node.domain.agent import EMPTY, PermissionSettings
from caxton_node.domain.errors import Denied, Rejected
from caxton_node.domain.message import Message
from caxton_node.domain.performatives import Performative
from caxton_node.domain.tool import ToolResult
from caxton_node.runtime.node import Node
from caxton_node.tools.arguments import check_arguments
from caxton_node.tools.artifacts import open_artifacts
from caxton_node.tools.tool import ToolContext

__all__ = ["call_tool"]

CALLER: Final = "client"


class _Nobody:
    """The outbox of a person: tools that are tried out send no messages."""

    async def tell(
        self, *, receiver: str, capability: str | None, performative: Performative, content: Any
    ) -> str:
        """Refuse."""
        raise _no_messages(receiver, capability, performative, content)

    async def ask(
        self,
        *,
        receiver: str,
        capability: str | None,
        performative: Performative,
        content: Any,
        timeout_s: float,
    ) -> Message:
        """Refuse."""
        raise _no_messages(receiver, capability, performative, (content, timeout_s))


def _no_messages(*_: object) -> Denied:
    return Denied("denied", "a tool that is tried out sends no messages")


async def call_tool(
    node: Node,
    name: str,
    arguments: Mapping[str, Any],
    *,
    timeout_s: float,
    traceparent: str | None = None,
) -> ToolResult:
    """Call a tool of a server.

    Args:
        node: Whose tool it is.
        name: `server.tool`.
        arguments: Checked against its schema here.
        timeout_s: For the call.
        traceparent: What the call belongs to.

    Raises:
        Rejected: `tool_not_found`; `invalid_request`, when the arguments do not fit.
        Failed: `tool_failed`.
    """
    tool = node.tools.get(name)
    checked = check_arguments(tool.spec.parameters, arguments)
    if checked.places:
        raise Rejected("invalid_request", f"the arguments do not fit {name}", places=checked.places)
    folder: Path = node.guests.folder / "tried"
    call_id = node.new_id("call")
    context = ToolContext(
        agent=CALLER,
        conversation_id=call_id,
        message_id=call_id,
        effect_id=call_id,
        config=EMPTY,
        permissions=PermissionSettings(),
        folder=folder,
        artifacts=await open_artifacts(folder, call_id),
        outbox=_Nobody(),
        timeout_s=timeout_s,
        traceparent=traceparent,
    )
    return await tool.call(checked.values, context)
