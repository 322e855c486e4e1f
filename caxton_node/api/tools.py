"""Tools: what the models of this node's agents may be allowed to call."""

from typing import Any, Final

from caxton_node.api.table import API_PREFIX, Endpoint, NoQuery, Request, Shape
from caxton_node.api.types import View
from caxton_node.domain.tool import ToolSpec
from caxton_node.runtime.node import Node

__all__ = ["ENDPOINTS", "ToolView", "show_tool"]


class ToolView(View):
    """A tool."""

    name: str
    description: str
    parameters: dict[str, Any]
    read_only: bool
    destructive: bool


class ToolList(View):
    """All tools by name."""

    items: list[ToolView]
    total: int
    next_cursor: None = None


def show_tool(spec: ToolSpec) -> ToolView:
    """Return a tool for a client."""
    return ToolView(
        name=spec.name,
        description=spec.description,
        parameters=dict(spec.parameters),
        read_only=spec.is_read_only,
        destructive=spec.is_destructive,
    )


async def list_tools(_: Request[NoQuery, None], node: Node) -> ToolList:
    """List the tools of this node."""
    specs = node.tools.specs(node.tools.names)
    return ToolList(
        items=[show_tool(spec) for spec in specs],
        total=len(specs),
    )


ENDPOINTS: Final = (
    Endpoint(
        method="GET",
        path=f"{API_PREFIX}/tools",
        summary="List tools",
        tag="tools",
        handle=list_tools,
        responses={200: Shape("All of them.", ToolList)},
    ),
)
