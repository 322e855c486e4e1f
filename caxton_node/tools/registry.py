"""The tools of a node by name: those it was built with, and those of its servers of tools."""

from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Any, Final

from caxton_node.documents.nearest import nearest
from caxton_node.domain.errors import Place, Rejected
from caxton_node.domain.tool import ToolSpec
from caxton_node.tools.arguments import CheckArguments, check_arguments
from caxton_node.tools.tool import Tool

__all__ = ["ToolRegistry"]

_NO_CONFIG: Final[Mapping[str, Any]] = MappingProxyType(
    {"type": "object", "properties": {}, "additionalProperties": False}
)


class ToolRegistry:
    """Names and tools. Whoever has it sees what there is now.

    Args:
        tools: Each under a name of its own. They are always there.
    """

    def __init__(self, tools: Iterable[Tool]) -> None:
        by_name: dict[str, Tool] = {}
        for tool in tools:
            assert tool.spec.name not in by_name, f"two tools are called {tool.spec.name!r}"
            by_name[tool.spec.name] = tool
        self._tools: Mapping[str, Tool] = MappingProxyType(dict(sorted(by_name.items())))
        self._own = self._tools
        self._served: dict[str, tuple[Tool, ...]] = {}

    def serve(self, server: str, tools: Iterable[Tool]) -> None:
        """Offer the tools of a server, in place of those that it had; none take it away.

        Args:
            server: Its name.
            tools: Each called `server.tool`, which no other tool can be.
        """
        served = tuple(tools)
        wrong = [tool.spec.name for tool in served if not tool.spec.name.startswith(f"{server}.")]
        assert not wrong, f"tools of {server} are called otherwise: {wrong}"
        self._served.pop(server, None)
        if served:
            self._served[server] = served
        everything = dict(self._own)
        for more in self._served.values():
            everything.update({tool.spec.name: tool for tool in more})
        self._tools = MappingProxyType(dict(sorted(everything.items())))

    @property
    def names(self) -> tuple[str, ...]:
        """All names, in alphabetical order."""
        return tuple(self._tools)

    def get(self, name: str) -> Tool:
        """Return the tool called `name`.

        Raises:
            Rejected: `tool_not_found`, with the nearest name if one is near.
        """
        tool = self._tools.get(name)
        if tool is None:
            near = nearest(name, self._tools)
            raise Rejected(
                "tool_not_found",
                f"There is no tool called {name[:64]!r}.",
                hint=f"Did you mean {near!r}?" if near else f"There are: {', '.join(self.names)}.",
                facts={"tool": name[:64], "nearest": near},
            )
        return tool

    def specs(self, names: Iterable[str]) -> tuple[ToolSpec, ...]:
        """Return what a model is told of the tools `names`, in that order.

        Raises:
            Rejected: `tool_not_found`.
        """
        return tuple(self.get(name).spec for name in names)

    def config_mistakes(
        self, name: str, config: Mapping[str, Any], *, check: CheckArguments = check_arguments
    ) -> tuple[Place, ...]:
        """Return what is wrong with an agent's `[tool_config.<name>]`, for whoever deploys it.

        Nothing where there is no such tool: its name is the mistake, and told elsewhere.
        """
        tool = self._tools.get(name)
        if tool is None:
            return ()
        return check(tool.spec.config_schema or _NO_CONFIG, config).places
