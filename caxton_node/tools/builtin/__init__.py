"""The tools that every node has, one file each, and the one function that builds them all."""

import contextlib
from collections.abc import AsyncIterator, Iterable

from aiohttp.abc import AbstractResolver

from caxton_node.domain.errors import Place, Rejected
from caxton_node.tools.builtin.chart_generator import ChartGenerator
from caxton_node.tools.builtin.csv_parser import CsvParser
from caxton_node.tools.builtin.echo import Echo
from caxton_node.tools.builtin.file_storage import FileStorage
from caxton_node.tools.builtin.http_client import HttpClient
from caxton_node.tools.builtin.http_sender import HttpSender
from caxton_node.tools.builtin.json_processor import JsonProcessor
from caxton_node.tools.builtin.message_client import MessageClient
from caxton_node.tools.builtin.state_tool import StateTool
from caxton_node.tools.builtin.statistics_engine import StatisticsEngine
from caxton_node.tools.builtin.template_engine import TemplateEngine
from caxton_node.tools.builtin.text_processor import TextProcessor
from caxton_node.tools.builtin.ticket_system import TicketSystem
from caxton_node.tools.fetch import Fetcher
from caxton_node.tools.network_rule import HostPattern, NetworkRule, parse_host_pattern
from caxton_node.tools.own_files import FileLimits
from caxton_node.tools.tool import Tool

__all__ = ["builtin_tools"]


@contextlib.asynccontextmanager
async def builtin_tools(
    *,
    allowed_private_hosts: Iterable[str] = (),
    user_agent: str = "caxton",
    file_limits: FileLimits | None = None,
    resolver: AbstractResolver | None = None,
) -> AsyncIterator[tuple[Tool, ...]]:
    """Build the built-in tools, and close what they hold open when the context ends.

    Args:
        allowed_private_hosts: Hosts (`host`, `host:port`, `*.host`) inside the node's own network
            that agents may fetch from. The operator's setting.
        user_agent: As web servers see the node.
        file_limits: Quotas of `file_storage`.
        resolver: Who resolves names; the operating system when absent.

    Yields:
        The tools, for a `ToolRegistry`.

    Raises:
        Rejected: `invalid_settings`, for a host that cannot be read.
    """
    rule = NetworkRule(_patterns(allowed_private_hosts))
    async with Fetcher(rule, user_agent=user_agent, resolver=resolver) as fetcher:
        yield (
            ChartGenerator(),
            CsvParser(),
            Echo(),
            FileStorage(file_limits),
            HttpClient(fetcher),
            HttpSender(fetcher),
            JsonProcessor(),
            MessageClient(),
            StateTool(),
            StatisticsEngine(),
            TemplateEngine(),
            TextProcessor(),
            TicketSystem(),
        )


def _patterns(hosts: Iterable[str]) -> tuple[HostPattern, ...]:
    patterns = []
    for index, host in enumerate(hosts):
        try:
            patterns.append(parse_host_pattern(host))
        except ValueError as error:
            place = Place(str(error), field=f"allowed_private_hosts[{index}]", rule="host_pattern")
            raise Rejected(
                "invalid_settings", "The list of allowed private hosts is wrong.", places=[place]
            ) from error
    return tuple(patterns)
