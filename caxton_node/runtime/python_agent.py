"""Agents written in Python: a class with one coroutine, allowed by the node's operator.

    class Echo:
        def __init__(self, parameters): ...
        async def handle(self, message, context):
            return message.body()

A definition names its class as `package.module:Class`. Importing it runs its code with the rights
of the server, so nothing is importable until the settings (`python.allow`) say so.

Whatever that code raises is a fault of the definition, never of the node: a deploy is refused,
and a node that starts leaves the agent out.
"""

import importlib
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Any, Final, Protocol

from caxton_node.domain.errors import Denied, Rejected
from caxton_node.domain.message import Message
from caxton_node.runtime.agent import TurnContext

__all__ = ["Handler", "PythonAgent", "load_handler"]

ERROR_TEXT_MAX: Final = 500
"""Characters of an author's exception that a refusal repeats."""

_log = logging.getLogger("caxton.runtime")


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

    Returns:
        What builds the class. It raises `invalid_agent` when the constructor raises anything.

    Raises:
        Denied: `denied`, when no pattern allows it. Nothing was imported then.
        Rejected: `invalid_agent`, when there is no such class, or importing it raised anything.
    """
    if not any(fnmatchcase(path, pattern) for pattern in allow):
        raise Denied(
            "denied",
            f"this node does not allow the Python agent {path!r}",
            hint="The operator allows classes by name under `python.allow` in caxton.toml.",
        )
    module_name, _, class_name = path.partition(":")
    try:
        factory: HandlerFactory = getattr(importlib.import_module(module_name), class_name)
    except (Exception, SystemExit) as error:  # a script without a main guard may exit
        raise Rejected("invalid_agent", f"cannot load {path!r}: {_told(error)}") from error

    def build(parameters: Mapping[str, Any]) -> Handler:
        try:
            handler = factory(parameters)
        except (Exception, SystemExit) as error:
            raise Rejected("invalid_agent", f"cannot build {path!r}: {_told(error)}") from error
        if not callable(getattr(handler, "handle", None)):
            raise Rejected("invalid_agent", f"{path!r} has no coroutine `handle`")
        return handler

    return build


def _told(error: BaseException) -> str:
    """Return the type and the text of an exception that somebody's code raised."""
    try:
        text = str(error)
    except Exception:
        text = "(its text cannot be shown)"
    # Half a surrogate pair, from a file name say, has no place in a JSON answer.
    text = text.encode("utf-8", "replace").decode()[:ERROR_TEXT_MAX]
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


class PythonAgent:
    """Runs an author's class. After a crash the class is built anew, its state with it."""

    def __init__(self, factory: HandlerFactory, parameters: Mapping[str, Any]) -> None:
        self._factory = factory
        self._parameters = parameters
        self.handle: Callable[[Message, TurnContext], Awaitable[Any]] = factory(parameters).handle
        """Takes a turn: the author's own coroutine, with nothing in between."""

    def after_crash(self) -> None:
        """Build the class anew. When that fails too, the old one goes on: it may still serve."""
        try:
            self.handle = self._factory(self._parameters).handle
        except Exception:
            _log.exception("after a crash the agent's class cannot be built; the old one goes on")

    async def close(self) -> None:
        """Nothing to release."""
