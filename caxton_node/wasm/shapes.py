"""The four shapes of a guest, told apart by what it exports."""

from collections.abc import Collection
from enum import StrEnum
from typing import Final

from caxton_node.wasm.errors import UnfitModule

__all__ = ["Shape", "shape_of_component", "shape_of_core"]


class Shape(StrEnum):
    """What a guest is, and by which interface."""

    CORE_AGENT = "core-agent"
    CORE_SERVER = "core-mcp"
    STDIO_SERVER = "wasi-mcp"
    COMPONENT_AGENT = "component-agent"
    COMPONENT_SERVER = "component-mcp"

    @property
    def is_component(self) -> bool:
        """Whether it is a component, not a core module."""
        return self in (Shape.COMPONENT_AGENT, Shape.COMPONENT_SERVER)

    @property
    def is_agent(self) -> bool:
        """Whether it is an agent, not a server of tools."""
        return self in (Shape.CORE_AGENT, Shape.COMPONENT_AGENT)


_NEEDS: Final = (
    "Export handle_message for an agent, list_tools and handle_tool_call for a server of tools, or "
    "_start for one that speaks MCP on stdin and stdout."
)


def shape_of_core(exports: Collection[str]) -> Shape:
    """Return the shape of a core module.

    Args:
        exports: Names of the functions and memories that it exports.

    Raises:
        UnfitModule: `shape`.
    """
    is_agent = "handle_message" in exports
    is_server = "handle_tool_call" in exports
    if is_agent and is_server:
        raise UnfitModule("shape", "it exports both handle_message and handle_tool_call")
    if is_agent or is_server:
        required = ["memory", "alloc"] + ["list_tools"] * is_server
        missing = [name for name in required if name not in exports]
        if "snapshot" in exports and "restore" not in exports:
            missing.append("restore")
        if missing:
            raise UnfitModule("shape", f"it does not export {' and '.join(missing)}")
        return Shape.CORE_AGENT if is_agent else Shape.CORE_SERVER
    if "_start" in exports:
        if "memory" not in exports:
            raise UnfitModule("shape", "it does not export its memory")
        return Shape.STDIO_SERVER
    raise UnfitModule("shape", f"nothing that it exports can be called. {_NEEDS}")


def shape_of_component(exports: Collection[str]) -> Shape:
    """Return the shape of a component.

    Args:
        exports: Names of the functions that it exports.

    Raises:
        UnfitModule: `shape`.
    """
    is_agent = "handle-message" in exports
    is_server = "list-tools" in exports and "call-tool" in exports
    if is_agent and is_server:
        raise UnfitModule("shape", "it exports both handle-message and call-tool")
    if ("snapshot" in exports) != ("restore" in exports):
        raise UnfitModule("shape", "snapshot and restore go together")
    if is_agent:
        return Shape.COMPONENT_AGENT
    if is_server:
        return Shape.COMPONENT_SERVER
    raise UnfitModule(
        "shape", "it exports neither handle-message nor list-tools and call-tool of caxton:guest"
    )
