"""Agents written in Python: a class with one coroutine, allowed by the node's operator.

    class Echo:
        def __init__(self, parameters): ...
        async def handle(self, message, context):
            return message.body()

A definition names its class as `package.module:Class`. Importing it runs its code with the rights
of the server, so nothing is importable until the settings (`python.allow`) say so.
"""

import importlib
from collections.abc import Awaitable, Callable, Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Any, Protocol

from caxton_node.domain.errors import Denied, Rejected
from caxton_node.domain.message import Message
from caxton_node.runtime.agent import TurnContext

__all__ = ["Handler", "PythonAgent", "load_handler"]


class Handler(Protocol):
    """What an author writes."""

    def handle(self, message: Message, context: TurnContext) -> Awaitable[Any]:
        """Take a turn and return a JSON value, a `Reply`, or None for no answer."""
        ...


HandlerFactory = Callable[[Mapping[str, Any]], Handler]
"""Takes the definition's `parameters`."""


def load_handler(path: str, allow: Sequence[str]) -> HandlerFactory:
    """Import the class that a definition names.

    Args:
        path: `package.module:Class`.
        allow: Patterns of such paths; `*` matches anything.

    Raises:
        Denied: `denied`, when no pattern allows it. Nothing was imported then.
        Rejected: `invalid_agent`, when there is no such class.
    """
    if not any(fnmatchcase(path, pattern) for pattern in allow):
        raise Denied(
            "denied",
            f"this node does not allow the Python agent {path!r}",
            hint="The operator allows classes by name under `python.allow` in caxton.toml.",
        )
    module_name, _, class_name = path.partition(":")
    try:
        found = getattr(importlib.import_module(module_name), class_name)
    except (ImportError, AttributeError) as problem:
        raise Rejected("invalid_agent", f"cannot load {path!r}: {problem}") from None
    factory: HandlerFactory = found
    return factory


class PythonAgent:
    """Runs an author's class. After a crash the class is built anew, its state with it."""

    def __init__(self, factory: HandlerFactory, parameters: Mapping[str, Any]) -> None:
        self._factory = factory
        self._parameters = parameters
        self._handler = factory(parameters)

    def handle(self, message: Message, context: TurnContext) -> Awaitable[Any]:
        """Take a turn: the author's own coroutine, with nothing in between."""
        return self._handler.handle(message, context)

    def after_crash(self) -> None:
        """Build the class anew."""
        self._handler = self._factory(self._parameters)

    async def close(self) -> None:
        """Nothing to release."""
