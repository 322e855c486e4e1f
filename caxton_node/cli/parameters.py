"""Arguments and options that several commands share, with their shell completion."""

from collections.abc import Callable
from typing import Any, Final

import click

from caxton_node.cli.session import session_from

__all__ = ["agent_argument", "complete_agent", "complete_capability", "limit_option"]

COMPLETION_TIMEOUT_S: Final = 1.0
"""Nobody waits longer for a Tab."""

Decorator = Callable[[Callable[..., Any]], Callable[..., Any]]


def complete_agent(_: click.Context, __: click.Parameter, incomplete: str) -> list[str]:
    """Return the names of the server's agents that begin with `incomplete`; none in trouble."""
    return _names("agents", incomplete)


def complete_capability(_: click.Context, __: click.Parameter, incomplete: str) -> list[str]:
    """Return the capabilities on offer that begin with `incomplete`; none in trouble."""
    return _names("capabilities", incomplete)


def _names(resource: str, incomplete: str) -> list[str]:
    import os

    from caxton_node.cli.client import Client, path_of
    from caxton_node.domain.errors import CaxtonError

    try:
        client = Client(session_from(os.environ).server, timeout_s=COMPLETION_TIMEOUT_S)
        items = client.get(path_of(resource))["items"]
    except (CaxtonError, click.UsageError):
        # A shell in the middle of a line is no place for an error.
        return []
    return [item["name"] for item in items if item["name"].startswith(incomplete)]


def agent_argument(*, is_many: bool = False) -> Decorator:
    """Return the decorator for the name of an agent: `name`, or `names` for several."""
    return click.argument(
        "names" if is_many else "name",
        metavar="AGENT…" if is_many else "AGENT",
        nargs=-1 if is_many else 1,
        required=True,
        shell_complete=complete_agent,
    )


def limit_option(default: int = 50) -> Decorator:
    """Return the decorator for `--limit`, of a list."""
    return click.option(
        "--limit",
        "count_max",
        type=click.IntRange(1, 100_000),
        default=default,
        show_default=True,
        help="How many to list at most.",
    )
