"""Shows a stream of events until it ends, the server leaves or the user has seen enough."""

from collections.abc import Callable, Iterator
from typing import Any

from caxton_node.cli.event_stream import ServerEvent
from caxton_node.cli.problem import error_of_problem

__all__ = ["follow", "raise_error_event"]


def raise_error_event(event: ServerEvent) -> None:
    """Raise the error that an event of the kind `error` carries.

    Raises:
        CaxtonError: The server's own error.
    """
    if event.kind == "error" and isinstance(event.data, dict):
        problem = event.data.get("problem", event.data)
        raise error_of_problem(problem, int(problem.get("status", 500)))


def follow(events: Iterator[ServerEvent], show: Callable[[dict[str, Any]], None]) -> None:
    """Show the data of each event.

    Raises:
        CaxtonError: The server says that it cannot go on.
    """
    for event in events:
        raise_error_event(event)
        if event.kind != "lost" and isinstance(event.data, dict):
            show(event.data)
